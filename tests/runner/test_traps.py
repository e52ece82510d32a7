"""Every trap is found, is real, and is not seen where it is not."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from kfp import compiler, dsl

from kfp_lifecycle.runner.errors import PipelineFileError
from kfp_lifecycle.runner.load import RunnableFile, load
from kfp_lifecycle.runner.traps import Severity, check, refuse
from tests.runner import trap_pipelines
from tests.runner.components import take
from tests.runner.conftest import Compile, Run

#: What the finding says, and what plain kfp.local does: an error, or steps that print the wrong thing.
BAD: dict[str, tuple[str, Any]] = {
    "bad_container": ("is a container component", "RuntimeError"),
    "bad_containerized": ("is a containerized Python component", "RuntimeError"),
    "bad_nested_artifact": ("is a nested pipeline that takes artifacts", "ValueError"),
    "bad_one_of": ("gives a dsl.OneOf of artifacts", "ValueError"),
    "bad_loop_over_named": ("loops over the named output 'names'", "ValueError"),
    "bad_outer_output_in_loop": ("uses the output 'Output' of 'say'", ["'1' '1'", "'2' '2'", "'outer'"]),
    "bad_items_in_loop": ("uses the output 'Output' of 'one-list'", ["'a'", "'a'", "'b'", "'b'"]),
    "bad_loop_in_loop": ("uses the item of an outer loop", ["'a' 'a'", "'a' 'a'", "'b' 'b'", "'b' 'b'"]),
    "bad_text_of_two_items": ("takes 'loop-item-param-", "RuntimeError"),
    "bad_if_on_named": ("without Else on the named output 'flag'", []),
    "bad_none_default": ("Parameter 'text' has the default None", "ValueError"),
    "bad_none_inside": ("leaves 'text' at None", "ValueError"),
    "bad_none_integer": ("leaves 'number' at None", "TypeError"),
}

#: What the steps print.
GOOD: dict[str, list[str]] = {
    "good_nested_artifact": [],
    "good_one_of": ["'1'", "'1'"],
    "good_loop_over_single": ["'a'", "'b'"],
    "good_outer_artifact_in_loop": [],
    "good_loop_in_loop": ["'1' 'a'", "'1' 'b'", "'2' 'a'", "'2' 'b'"],
    "good_if_else_on_named": ["'held'"],
    "good_if_on_single": ["'held'", "'yes'"],
    "good_none_text": ["None 1"],
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunnableFile]:
    """Every pipeline of trap_pipelines, compiled."""
    folder = tmp_path_factory.mktemp("compiled")
    found = {}
    for name in (*BAD, *GOOD, "noted"):
        compiler.Compiler().compile(getattr(trap_pipelines, name), str(folder / f"{name}.yaml"))
        found[name] = load(folder / f"{name}.yaml")
    return found


@pytest.fixture(scope="module")
def plain(files: dict[str, RunnableFile]) -> dict[str, tuple[list[str], str]]:
    """What plain kfp.local makes of each: what the steps print, and the error."""
    program = Path(__file__).with_name("plain_kfp.py")
    paths = [str(files[name].path) for name in (*BAD, *GOOD)]
    done = subprocess.run(
        [sys.executable, program, *paths], capture_output=True, text=True, check=True, timeout=300
    )
    results, said = {}, []
    for line in done.stdout.splitlines():
        if match := re.match(r"\s*SAID (.*)", line):
            said.append(match[1])
        elif line.startswith("DONE "):
            path, error = json.loads(line[5:])
            results[Path(path).stem] = (sorted(said), error)
            said = []
    return results


@pytest.mark.parametrize("name", BAD)
def test_a_trap_is_found_and_refused(name: str, files: dict[str, RunnableFile]) -> None:
    findings = check(files[name])

    assert any(BAD[name][0] in finding.problem for finding in findings), findings
    assert all(finding.severity is Severity.ERROR and finding.fix for finding in findings)
    with pytest.raises(PipelineFileError, match="cannot be run locally"):
        refuse(findings)


@pytest.mark.parametrize("name", BAD)
def test_a_trap_is_real(name: str, plain: dict[str, tuple[list[str], str]]) -> None:
    said, error = plain[name]

    expected = BAD[name][1]
    if isinstance(expected, str):
        assert error.startswith(expected)
    else:  # no error: wrong, without a word
        assert error == ""
        assert said == expected


@pytest.mark.parametrize("name", GOOD)
def test_the_neighbour_of_a_trap_is_let_through(name: str, files: dict[str, RunnableFile]) -> None:
    assert check(files[name]) == []


@pytest.mark.parametrize("name", GOOD)
def test_the_neighbour_of_a_trap_runs_right(name: str, plain: dict[str, tuple[list[str], str]]) -> None:
    said, error = plain[name]

    assert error == ""
    assert said == GOOD[name] or GOOD[name] == []


def test_what_has_no_effect_here_is_noted(files: dict[str, RunnableFile]) -> None:
    findings = check(files["noted"])

    assert {finding.severity for finding in findings} == {Severity.NOTE}
    said = "\n".join(f"{finding.problem} {finding.fix}" for finding in findings)
    assert "CPU, memory and accelerator limits have no effect here (say)" in said
    assert "nodeSelector, tolerations (say)" in said
    assert "secretAsEnv (say); not set: A_TOKEN_THAT_IS_NOT_SET. Set the variables in your shell." in said
    assert "pvcMount (say)" in said
    assert "imports gs://bucket/model, which is not downloaded here" in said
    refuse(findings)


def test_a_variable_that_is_set_is_not_missed(
    files: dict[str, RunnableFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_TOKEN_THAT_IS_NOT_SET", "x")

    assert not any("not set" in finding.problem for finding in check(files["noted"]))


def test_an_artifact_cannot_be_an_argument(compiled: Compile) -> None:
    with pytest.raises(PipelineFileError, match="takes the artifact 'data'"):
        refuse(check(compiled(take)))


def test_a_default_none_harms_only_who_relies_on_it(files: dict[str, RunnableFile]) -> None:
    assert check(files["bad_none_default"], given=["text"]) == []


def test_packages_that_a_step_would_install_are_noted(compiled: Compile) -> None:
    @dsl.pipeline(name="installing-pipeline")
    def pipeline() -> None:
        trap_pipelines.installing(text="a")

    [finding] = check(compiled(pipeline))
    assert finding.severity is Severity.NOTE
    assert "'installing' installs packages into the environment" in finding.problem


def test_a_run_of_a_trap_makes_no_folder(run_it: Run, here: Path) -> None:
    with pytest.raises(PipelineFileError):
        run_it(trap_pipelines.bad_if_on_named)
    assert not (here / "runs").exists()
