"""A new component: a small one that works, to be changed into what is wanted."""

import builtins
import keyword
import re

from kfp_lifecycle.compiler.errors import CompileError
from kfp_lifecycle.compiler.files import GeneratedFile
from kfp_lifecycle.compiler.render import render
from kfp_lifecycle.compiler.repository import Repository

#: So that no line that holds the name twice gets longer than the line length.
MAX_NAME_LENGTH = 26

#: Names with a meaning of their own in every component's folder or module.
_TAKEN = {"component", "step", "shared", "dsl", "kfp", "measure", "metrics", "table"}
_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


def new_component(repository: Repository, name: str) -> list[GeneratedFile]:
    """The files of a new component: its face, its step, its logic and its test.

    Args:
        repository: Where it will be.
        name: Name of its folder and function, such as ``clean_text``.

    Raises:
        CompileError: The name is no good, or is taken; says which would do.
    """
    _check_name(repository, name)
    verb = _module_name(name)
    values = {
        "name": name,
        "verb": verb,
        "module": repository.module("components", name),
        "image": _image_module(repository),
    }
    folder = f"components/{name}"
    places = {
        "__init__.py": f"{folder}/__init__.py",
        "component.py": f"{folder}/component.py",
        "step.py": f"{folder}/step.py",
        "logic.py": f"{folder}/{verb}.py",
        "test.py": f"tests/{folder}/test_{name}.py",
    }
    return [GeneratedFile(place, render(f"component/{t}.j2", **values)) for t, place in places.items()]


def _image_module(repository: Repository) -> str:
    """The module with the image that components run in: the repository's own, which holds their code."""
    place = ("components", "shared", "image")
    own = repository.root.joinpath(*place).with_suffix(".py").is_file()
    return repository.module(*place) if own else ".".join(("kfp_lifecycle", *place))


def _check_name(repository: Repository, name: str) -> None:
    if not _NAME.fullmatch(name) or len(name) > MAX_NAME_LENGTH:
        raise CompileError(
            f"{name!r} cannot be a component's name: it becomes a folder, a function and a name in Kubeflow.",
            f"Use at most {MAX_NAME_LENGTH} lower-case letters, digits and single underscores, and begin "
            f"with a letter, such as {_nearest(name)!r}.",
        )
    if _reserved(name):
        raise CompileError(f"{name!r} means something else in Python or in a component.", f"Try {name}_data.")
    places = (repository.root / "components" / name, repository.root / "pipelines" / f"{name}.py")
    if any(place.exists() for place in places):
        raise CompileError(f"There is a component or pipeline {name!r} already.", "Choose another name.")


def _reserved(name: str) -> bool:
    return keyword.iskeyword(name) or hasattr(builtins, name) or name in _TAKEN


def _module_name(name: str) -> str:
    """The logic's module is named for what it does, by the name's first word where that is free."""
    first = name.partition("_")[0]
    return name if _reserved(first) else first


def _nearest(name: str) -> str:
    words = re.findall(r"[a-z0-9]+", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower())
    near = "_".join(words)[:MAX_NAME_LENGTH].strip("_")
    return near if _NAME.fullmatch(near) and not _reserved(near) else "clean_text"
