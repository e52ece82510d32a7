"""What released files call in this repository: it must be there, and take what they give it.

A component's file holds its body, which imports a function and calls it. A released file keeps its body, and
runs with whatever library its image holds; this check keeps the library such that any image will do. Nothing
is imported: what a body calls may need packages that only the image has.
"""

import ast
import functools
import importlib.machinery
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import kfp_lifecycle.components
from kfp_lifecycle.compiler.errors import CompileError
from kfp_lifecycle.compiler.repository import CODE_FOLDERS, Repository
from kfp_lifecycle.compiler.serialize import from_yaml
from kfp_lifecycle.compiler.spec import executors
from kfp_lifecycle.components.shared.errors import did_you_mean

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Call:
    """A call of an imported function.

    Args:
        module: Where the function is imported from.
        name: Its name there.
        positional: How many arguments are given by place.
        keywords: Those given by name.
        is_open: Whether ``*`` or ``**`` may add others.
    """

    module: str
    name: str
    positional: int
    keywords: frozenset[str]
    is_open: bool


def check_calls(repository: Repository, released: Mapping[str, str]) -> None:
    """Checks every call in every released file.

    Args:
        repository: Where the functions are.
        released: The released files by path.

    Raises:
        CompileError: A function is gone, or takes other arguments; names the file and the function.
    """
    for path, text in released.items():
        spec = from_yaml(text)[0]
        for executor in executors(spec).values():
            command = executor.get("container", {}).get("command", [])
            for call in calls(command[-1]) if command else ():
                problem = _problem(repository, call)
                if problem:
                    raise CompileError(
                        f"compiled/{path} is released and calls {call.module}.{call.name}: {problem}.",
                        "Keep the function and its arguments as they were, and add a new one beside it.",
                    )


def calls(source: str) -> Iterator[Call]:
    """The calls of imported functions in a component's source; none where it is no Python."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return
    functions: dict[str, tuple[str, str]] = {}
    modules: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            functions |= {a.asname or a.name: (node.module, a.name) for a in node.names}
        elif isinstance(node, ast.Import):
            modules |= {a.asname or a.name: a.name for a in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and (target := _target(node.func, functions, modules)):
            given = {keyword.arg for keyword in node.keywords}
            is_open = None in given or any(isinstance(a, ast.Starred) for a in node.args)
            yield Call(*target, len(node.args), frozenset(k for k in given if k), is_open)


def _target(
    called: ast.expr, functions: Mapping[str, tuple[str, str]], modules: Mapping[str, str]
) -> tuple[str, str] | None:
    if isinstance(called, ast.Name):
        return functions.get(called.id)
    if not isinstance(called, ast.Attribute):
        return None
    base = ast.unparse(called.value)
    if base in functions:  # from package import module
        return ".".join(functions[base]), called.attr
    return (modules[base], called.attr) if base in modules else None


def _problem(repository: Repository, call: Call) -> str:
    """What is wrong with a call; empty where nothing is, or where it is no code of ours."""
    folder = _folder(repository, call.module)
    if folder is None:
        return ""
    found = _find(*folder, call.name)
    if isinstance(found, str):
        return found
    return _misfit(found, call) if isinstance(found, Function) else ""


def _folder(repository: Repository, module: str) -> tuple[Path, tuple[str, ...]] | None:
    """The folder of code that a module is in, and its path below; None for what others publish."""
    places = {repository.module(folder): repository.root / folder for folder in CODE_FOLDERS}
    places.setdefault("kfp_lifecycle.components", Path(next(iter(kfp_lifecycle.components.__path__))))
    for package, folder in places.items():
        if module == package or module.startswith(f"{package}."):
            return folder, tuple(module.removeprefix(package).strip(".").split("."))
    return None


def _find(folder: Path, parts: tuple[str, ...], name: str) -> ast.stmt | str:
    """What a module defines under ``name``, or why there is nothing."""
    file = folder.joinpath(*parts)
    file = file / "__init__.py" if file.is_dir() else file.with_suffix(importlib.machinery.SOURCE_SUFFIXES[0])
    if not file.is_file():
        return "there is no such module"
    defined = _definitions(file.read_bytes())
    if name not in defined:
        return (
            f"it has no {name!r}; {did_you_mean(name, defined)}".strip("; .?") if defined else "it is empty"
        )
    return defined[name]


@functools.cache
def _definitions(source: bytes) -> dict[str, ast.stmt]:
    """Everything that a module's own lines define or import, by name."""
    found: dict[str, ast.stmt] = {}
    for node in ast.parse(source).body:
        if isinstance(node, Function | ast.ClassDef):
            found[node.name] = node
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {a.asname or a.name.partition(".")[0]: node for a in node.names}
        elif isinstance(node, ast.Assign):
            found |= {t.id: node for t in node.targets if isinstance(t, ast.Name)}
    return found


def _misfit(function: Function, call: Call) -> str:
    """Why a function does not take what a call gives it; empty where it does."""
    arguments = function.args
    by_place = [a.arg for a in (*arguments.posonlyargs, *arguments.args)]
    named = {a.arg for a in (*arguments.args, *arguments.kwonlyargs)}
    if (unknown := call.keywords - named) and arguments.kwarg is None:
        return f"it takes no {', '.join(map(repr, sorted(unknown)))}"
    if call.positional > len(by_place) and arguments.vararg is None:
        return f"it takes {len(by_place)} arguments by place, not {call.positional}"
    required = set(by_place[: len(by_place) - len(arguments.defaults)])
    defaults = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    required |= {a.arg for a, default in defaults if default is None}
    missing = required - call.keywords - set(by_place[: call.positional])
    if missing and not call.is_open:
        return f"it now needs {', '.join(map(repr, sorted(missing)))} too"
    return ""
