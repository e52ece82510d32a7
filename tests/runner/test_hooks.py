"""What is changed in kfp.local is there, takes what is expected, and is put back."""

import contextlib
import importlib
import inspect
import sys
from datetime import UTC, datetime
from functools import reduce
from pathlib import Path
from typing import Any

import pytest

from kfp_lifecycle.runner.events import RunResult
from kfp_lifecycle.runner.hooks import HOOKED, hooked, with_this_python
from kfp_lifecycle.runner.session import Session
from kfp_lifecycle.runner.values import shield, unshield, whole_numbers


def original(module: str, name: str) -> Any:
    return reduce(getattr, name.split("."), importlib.import_module(module))


@pytest.mark.parametrize(("module", "name"), HOOKED)
def test_kfp_has_what_is_hooked(module: str, name: str) -> None:
    """When this fails, an upgrade of kfp has changed what a local run relies on."""
    found = original(module, name)

    assert tuple(inspect.signature(found).parameters) == HOOKED[module, name]


def test_kfp_waits_between_attempts_by_what_is_hooked() -> None:
    from kfp.local.orchestrator import task_executor

    source = inspect.getsource(task_executor)
    assert source.count("time.") == source.count("time.sleep(") == 1


def test_everything_is_put_back(tmp_path: Path) -> None:
    from kfp.local.orchestrator import task_executor

    run = RunResult(
        run_id="id",
        name="name",
        version="",
        file=tmp_path,
        sha256="",
        output_dir=tmp_path,
        parameters={},
        tracking_uri="sqlite:///mlflow.db",
        started=datetime.now(UTC),
    )

    def functions() -> list[Any]:
        return [*(original(*key) for key in HOOKED), task_executor.time]

    before = functions()
    with contextlib.suppress(ZeroDivisionError), hooked(Session(run, {}, [])):
        assert all(now is not then for now, then in zip(functions(), before, strict=True))
        _ = 1 / 0
    assert functions() == before


def test_only_the_script_gets_this_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/a b/python3")
    script = "apt-get install python3-pip; python3 -m kfp.dsl.executor_main /usr/bin/python3"
    command = ["sh", "-ec", script, "run('python3')", "--executor_input", '{"text": "python3"}']

    changed = with_this_python(command)
    assert changed[2] == script.replace("python3 -m", "'/a b/python3' -m")
    assert changed[:2] + changed[3:] == command[:2] + command[3:]


def test_values_come_out_as_they_went_in() -> None:
    value = {"{{$.a}}": ["{{$}}", {"b": "{{$"}, 1, None], "c": True}

    assert "{{$" not in str(shield(value))
    assert unshield(shield(value)) == value


def test_only_numbers_inside_lists_and_mappings_become_whole() -> None:
    value = [1.0, {"a": 2.0, "b": [3.5]}, True, 1e300]

    assert repr(whole_numbers(value)) == "[1, {'a': 2, 'b': [3.5]}, True, 1e+300]"
    assert repr(whole_numbers(1.0)) == "1.0"
