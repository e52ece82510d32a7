"""What cannot be compiled is an error that says where it is and what to do."""

from pathlib import Path

import pytest

from kfp_lifecycle.compiler import checks
from kfp_lifecycle.compiler.compile import compile_repository
from kfp_lifecycle.compiler.errors import CompileError
from kfp_lifecycle.compiler.repository import find_repository
from kfp_lifecycle.compiler.spec import in_order
from tests.repositories import GOOD, OTHER, PIPELINE, ROOT, tiny

#: What to change in a good component; what the error must say is wrong; what it must say to do.
CHANGES = {
    "no version": ('VERSION = "1.2.3"', "", "no VERSION", 'VERSION = "1.0.0"'),
    "a version that is none": ("1.2.3", "1.2", "the VERSION '1.2'", "semantic version"),
    "no such function": ("def good", "def bad", "no component 'good'", "folder is named"),
    "an input not described": ("        name: What to call it.\n", "", "'name' is for", "under Args"),
    "an output not described": (
        "        result: What came out.\n",
        "",
        "'result' is for",
        "under Args or Returns",
    ),
    "a default of None": ("size: int = 3", "size: int = None", "'size'", 'such as ""'),
    "an integer in a list": ('name: str = "a"', "name: list = [1]", "KFP makes 200 into 200.0", "JSON"),
    "an integer in a dict": (
        'name: str = "a"',
        'name: dict = {"a": [{"b": 1}]}',
        "integer in its dict",
        "JSON",
    ),
    "a default of another type": ("size: int = 3", 'size: int = "many"', "'good'", "types"),
    "a fraction for an integer": ("size: int = 3", "size: int = 2.5", "its default is 2.5", "Change"),
    "a version without an end": ("1.2.3", f"1.2.{'3' * 130}", "has a version of 134 characters", "127"),
    "an input without a type": ("size: int = 3", "size=3", "cannot be imported", "component.py, line"),
    "a placeholder as default": ('name: str = "a"', 'name: str = "{{$.x}}"', "placeholder", "{{$"),
    "packages at start": ("=False", '=False, packages_to_install=["x"]', "installs packages", "image"),
    "kfp at start": (", install_kfp_package=False", "", "installs packages", "install_kfp_package=False"),
    "text that is not ASCII": ("Does good.", "Does g\u00f6\u00f6d.", "'\\xf6'", "ASCII"),
    "a control character": ('name: str = "a"', 'name: str = "a\\x07"', "'\\x07' in", "ASCII"),
    "a syntax error": ("def good(", "def good((", "SyntaxError", "component.py, line"),
    "another name": ("    return name\n", "    return name\n\n\ngood.name = 'ugly'\n", "'ugly'", "'good'"),
}


@pytest.mark.parametrize("case", CHANGES)
def test_a_component_that_breaks_a_rule(case: str, tmp_path: Path) -> None:
    old, new, problem, fix = CHANGES[case]
    assert old in GOOD
    said = _refused(tmp_path, GOOD.replace(old, new))
    assert problem in said
    assert fix in said
    assert "good" in said


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("good = 3\nVERSION = '1.0.0'\n", "no component 'good'"),
        ("import no_such_module\n", r"No module named 'no_such_module' (.*component.py, line 1)"),
        ("\n\nraise RuntimeError('boom')\n", r"RuntimeError: boom (.*component.py, line 3)"),
    ],
)
def test_a_module_that_defines_nothing(text: str, problem: str, tmp_path: Path) -> None:
    before, _, after = problem.partition(".*")
    said = _refused(tmp_path, text)
    assert before in said
    assert after in said


def test_a_pipeline_parameter_that_nothing_describes_is_named(tmp_path: Path) -> None:
    text = PIPELINE.replace("        depth: How deep.\n", "        size: Size.\n")
    repository = tiny(tmp_path / "r", {"good": GOOD, "other": OTHER}, {"flow": text})
    with pytest.raises(CompileError, match=r"pipeline 'flow' .* does not say what 'depth' is for"):
        compile_repository(repository)


def test_a_name_that_the_server_refuses(tmp_path: Path) -> None:
    long = "good" * 40
    repository = tiny(tmp_path / "r", {long: GOOD.replace("def good", f"def {long}")})
    with pytest.raises(CompileError, match="at most 128 lower-case letters"):
        compile_repository(repository)


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(CompileError, match=r"'trainng'.* Did you mean 'training'"):
        compile_repository(find_repository(ROOT), ["trainng"])


def test_a_file_larger_than_the_server_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "MAX_FILE_BYTES", 1000)
    assert "the API server takes 32" in _refused(tmp_path, GOOD)


def test_tasks_that_wait_for_each_other() -> None:
    tasks = {"a": {"dependentTasks": ["b"]}, "b": {"dependentTasks": ["a"]}}
    with pytest.raises(CompileError, match="depend on each other in a circle: "):
        in_order({"tasks": tasks})


def test_no_repository_here(tmp_path: Path) -> None:
    with pytest.raises(CompileError, match=f"{tmp_path} is not in a repository"):
        find_repository(tmp_path)


def test_settings_that_are_not_toml(tmp_path: Path) -> None:
    (tmp_path / "components").mkdir()
    (tmp_path / "pyproject.toml").write_text("[tool")
    with pytest.raises(CompileError, match=r"pyproject\.toml cannot be read"):
        find_repository(tmp_path)


def _refused(folder: Path, text: str) -> str:
    with pytest.raises(CompileError) as error:
        compile_repository(tiny(folder / "r", {"good": text}))
    return str(error.value)
