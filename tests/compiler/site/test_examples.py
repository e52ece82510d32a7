"""Examples run as they are."""

import shlex
from pathlib import Path

import pytest

from kfp_lifecycle.compiler.repository import Repository
from kfp_lifecycle.compiler.site.collect import Item, collect
from kfp_lifecycle.compiler.site.examples import examples
from tests.compiler.site.conftest import HOSTILE_INPUT, edit
from tests.repositories import ROOT

OURS = collect([Repository(ROOT, "kfp_lifecycle")])


def of(item: Item, own: bool = True) -> dict[str, str]:
    return {e.title: e.code for e in examples(item, item.current, own, item.name)}


#: It takes the final status of the pipeline that it ends.
EXIT_HANDLER = "notify-failure"


def test_an_exit_handler_is_not_shown_by_itself() -> None:
    (item,) = (item for item in OURS if item.name == EXIT_HANDLER)
    assert of(item) == {}


@pytest.mark.parametrize(
    "item",
    [item for item in OURS if item.name != EXIT_HANDLER],
    ids=lambda item: f"{item.kind}-{item.name}",
)
def test_the_python_of_ours_makes_a_pipeline(item: Item, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    found = of(item)
    for title in ("From the YAML file", "From Python"):
        names: dict[str, object] = {}
        exec(found[title], names)
        made = names["my_pipeline"].pipeline_spec  # type: ignore[attr-defined]
        assert list(made.root.dag.tasks) == [item.name]
    if "On a cluster" in found:
        compile(found["On a cluster, with kfp"], "example", "exec")


def test_what_only_takes_parameters_is_run_and_submitted_by_itself() -> None:
    ours = {item.name: of(item) for item in OURS}
    for title, verb in (("On this machine", "run"), ("On a cluster", "submit")):
        words = shlex.split(ours["training"][title])
        assert words[:3] == ["kfp-lifecycle", verb, "training"]
        assert "source=SOURCE" in words
    assert '"source": "SOURCE"' in ours["training"]["On a cluster, with kfp"]
    assert "On this machine" not in ours["evaluate"]


def test_a_version_that_is_not_the_current_one_is_named(repository: Repository) -> None:
    (good,) = (item for item in collect([repository]) if item.name == "good")
    titles = [e.title for e in examples(good, good.others[0], True, "good")]
    assert titles == ["From the YAML file"]


def test_no_example_for_a_name_that_python_cannot_have(repository: Repository) -> None:
    def odd(spec: dict[str, dict[str, dict[str, dict[str, object]]]]) -> None:
        spec["root"]["inputDefinitions"]["parameters"][HOSTILE_INPUT] = {"parameterType": "STRING"}

    edit(repository, "components/other/1.2.3.yaml", odd)
    (other,) = (item for item in collect([repository]) if item.name == "other")
    assert of(other) == {}


def test_downloaded_is_said_by_the_files_name(tmp_path: Path) -> None:
    (prepare,) = (item for item in OURS if item.name == "prepare")
    number = prepare.current.number
    assert (
        f'load_component_from_file("prepare-{number}.yaml")' in of(prepare, own=False)["From the YAML file"]
    )
    assert f"compiled/components/prepare/{number}.yaml" in of(prepare)["From the YAML file"]
