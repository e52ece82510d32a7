"""Every component's face is thin: a docstring, one import, one call that passes on everything by name."""

import ast
import inspect
import subprocess
import sys
from importlib import import_module

import pytest

from kfp_lifecycle.compiler.discover import Definition, Source, load, sources
from kfp_lifecycle.compiler.repository import find_repository
from tests.repositories import ROOT

REPOSITORY = find_repository(ROOT)
COMPONENTS = [source for source in sources(REPOSITORY) if source.kind == "component"]


def sibling(source: Source, name: str) -> str:
    """Import name of a module beside the face."""
    return f"{source.module.removesuffix('component')}{name}"


@pytest.fixture(params=COMPONENTS, ids=lambda source: source.name)
def definition(request: pytest.FixtureRequest) -> Definition:
    (found,) = load(REPOSITORY, [request.param])
    return found


def test_the_package_gives_the_component(definition: Definition) -> None:
    package = import_module(definition.source.module.removesuffix(".component"))
    assert getattr(package, definition.source.attribute) is definition.component
    with pytest.raises(AttributeError, match="has no attribute 'other'"):
        _ = package.other


def test_its_body_is_one_import_and_one_call(definition: Definition) -> None:
    (function,) = [
        node
        for node in ast.parse(definition.source.file.read_text()).body
        if isinstance(node, ast.FunctionDef) and node.name == definition.source.attribute
    ]
    docstring, imported, last = function.body
    assert isinstance(docstring, ast.Expr)
    assert isinstance(imported, ast.ImportFrom)
    assert isinstance(last, (ast.Expr, ast.Return))
    assert isinstance(last.value, ast.Call)
    assert imported.module == sibling(definition.source, "step")
    passed = {keyword.arg: ast.unparse(keyword.value) for keyword in last.value.keywords}
    parameters = list(inspect.signature(definition.function or print).parameters)
    assert not last.value.args
    assert passed == {name: name for name in parameters}


def test_the_step_takes_what_the_face_passes(definition: Definition) -> None:
    step = import_module(sibling(definition.source, "step"))
    function = getattr(step, f"{definition.source.attribute}_step")
    face = inspect.signature(definition.function or print).parameters
    inspect.signature(function).bind(**dict.fromkeys(face))


@pytest.mark.parametrize("source", COMPONENTS, ids=lambda source: source.name)
def test_the_step_never_imports_kfp(source: Source) -> None:
    code = f"import sys, {sibling(source, 'step')}; sys.exit('kfp' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
