"""Every kind of change is found between two files, in its category, and nothing between two alike."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kfp_lifecycle.compiler.diff import KINDS, Category, Change, Subject, bump, diff, graphs, to_json
from kfp_lifecycle.compiler.diff.page import changes_page
from kfp_lifecycle.compiler.errors import CompiledFileError
from kfp_lifecycle.compiler.reader import read, read_bytes
from tests.compiler.lint.cases import both, drop, put
from tests.compiler.specs import Change as Edit
from tests.compiler.specs import Spec, component, container, nested, pipeline, settings, task, to_bytes

ROOT = Path(__file__).resolve().parents[3]

TEXT = "root/inputDefinitions/parameters/text"
TASK = "root/dag/tasks/use"
USE = "deploymentSpec/executors/exec-use/container"


def between(*edits: Edit, before: Edit | None = None) -> list[Change]:
    """The changes from the small pipeline to the same after ``edits``."""
    spec, platform = pipeline(), Spec()
    if before is not None:
        before(spec, platform)
    old = read_bytes(to_bytes(spec, platform), "old.yaml")
    for edit in edits:
        edit(spec, platform)
    return diff(old, read_bytes(to_bytes(copy.deepcopy(spec), platform), "new.yaml"))


def kubernetes(**values: Any) -> Edit:
    return lambda spec, platform: settings(platform, "exec-use").update(values)


def run(**values: Any) -> Edit:
    def edit(spec: Spec, platform: Spec) -> None:
        kubernetes = platform.setdefault("platforms", {}).setdefault("kubernetes", {})
        kubernetes["pipelineConfig"] = values

    return edit


def importer(uri: str) -> Edit:
    return put("deploymentSpec/executors/exec-use", {"importer": {"artifactUri": {"constant": uri}}})


def another_task(spec: Spec, platform: Spec) -> None:
    spec["components"]["comp-more"] = component("more", {}, {})
    spec["deploymentSpec"]["executors"]["exec-more"] = {"container": container("more")}
    spec["root"]["dag"]["tasks"]["more"] = task("more", {})


def loop(spec: Spec, platform: Spec) -> None:
    spec["root"]["dag"]["tasks"]["use"]["iteratorPolicy"] = {"parallelismLimit": 2}


MORE = {"parameterType": "LIST"}
DEFAULT = {"defaultValue": [], "isOptional": True}

#: How the second file differs, what is said of it, and how the first differs from the small pipeline.
EDITS: dict[str, tuple[Edit, str, Edit | None]] = {
    "pipeline-renamed": (put("pipelineInfo/name", "other"), "from 'small' to 'other'", None),
    "input-removed": (drop(TEXT), "'text' (STRING) is gone", None),
    "input-added-required": (put("root/inputDefinitions/parameters/more", MORE), "must be given", None),
    "input-added": (put("root/inputDefinitions/parameters/more", MORE | DEFAULT), "defaults to []", None),
    "input-type-changed": (put(f"{TEXT}/parameterType", "LIST"), "was 'STRING' and is 'LIST'", None),
    "input-now-required": (
        both(drop(f"{TEXT}/defaultValue"), drop(f"{TEXT}/isOptional")),
        "must be given now; it was 'hello'",
        None,
    ),
    "input-now-optional": (
        put(f"{TEXT}/defaultValue", "x"),
        "'x' by default",
        both(drop(f"{TEXT}/defaultValue"), drop(f"{TEXT}/isOptional")),
    ),
    "input-default-changed": (put(f"{TEXT}/defaultValue", "bye"), "from 'hello' to 'bye'", None),
    "input-literals-narrowed": (put(f"{TEXT}/literals", ["hello"]), "takes fewer values", None),
    "input-literals-widened": (
        put(f"{TEXT}/literals", ["hello", "bye"]),
        "takes more values",
        put(f"{TEXT}/literals", ["hello"]),
    ),
    "output-removed": (
        both(drop("root/outputDefinitions/parameters/result"), drop("root/dag/outputs/parameters/result")),
        "'result' (STRING) is gone",
        None,
    ),
    "output-added": (
        put("root/outputDefinitions/parameters/more", {"parameterType": "STRING"}),
        "'more' (STRING) is new",
        None,
    ),
    "output-type-changed": (
        put("root/outputDefinitions/parameters/result/parameterType", "LIST"),
        "was 'STRING' and is 'LIST'",
        None,
    ),
    "description-changed": (put(f"{TEXT}/description", "A text."), "description of the input 'text'", None),
    "display-name-changed": (put(f"{TASK}/taskInfo/name", "Use it"), "from 'use' to 'Use it'", None),
    "task-added": (another_task, "is new", None),
    "task-removed": (drop("root/dag/tasks/more"), "is gone", another_task),
    "task-kind-changed": (importer("gs://b/x"), "was a container and is a importer", None),
    "task-dependencies-changed": (drop(f"{TASK}/dependentTasks"), "no more for 'make'", None),
    "task-argument-changed": (
        put(f"{TASK}/inputs/parameters/text", {"componentInputParameter": "text"}),
        "was given 'Output' of 'make' and is given the input 'text'",
        None,
    ),
    "task-condition-changed": (
        put(f"{TASK}/triggerPolicy", {"condition": "inputs.parameter_values['text'] == 'a'"}),
        "condition changes from 'none' to",
        None,
    ),
    "task-loop-changed": (loop, "How many of its items run at once changes", None),
    "graph-outputs-changed": (
        put("root/dag/outputs/parameters/result/valueFromParameter/producerSubtask", "make"),
        "'result' comes from elsewhere",
        None,
    ),
    "inner-interface-changed": (
        put("components/comp-use/inputDefinitions/parameters/text/defaultValue", "x"),
        "default of 'text' changes from none to 'x'",
        None,
    ),
    "command-changed": (put(f"{USE}/args", ["--executor_input", "{{$}}"]), "2 lines gone, 0 new", None),
    "environment-changed": (put(f"{USE}/env", [{"name": "A", "value": "b"}]), "variable 'A' is new", None),
    "importer-changed": (importer("gs://b/y"), "What it imports changes", importer("gs://b/x")),
    "image-changed": (put(f"{USE}/image", "python:3.12"), "to 'python:3.12'", None),
    "resources-changed": (
        put(f"{USE}/resources/resourceCpuRequest", "2"),
        "CPU request changes from 1 to 2",
        None,
    ),
    "accelerator-changed": (
        put(f"{USE}/resources/accelerator", {"resourceType": "nvidia.com/gpu", "resourceCount": "2"}),
        "from none to 2 x nvidia.com/gpu",
        None,
    ),
    "caching-changed": (
        put(f"{TASK}/cachingOptions", {"enableCache": True}),
        "from off to enableCache true",
        None,
    ),
    "retries-changed": (put(f"{TASK}/retryPolicy/maxRetryCount", 5), "maxRetryCount 5", None),
    "secrets-changed": (
        kubernetes(
            secretAsEnv=[{"secretName": "db", "keyToEnv": [{"secretKey": "password", "envVar": "P"}]}]
        ),
        "secrets as variables",
        None,
    ),
    "config-maps-changed": (
        kubernetes(configMapAsVolume=[{"configMapName": "m", "mountPath": "/m"}]),
        "config maps as files",
        None,
    ),
    "volumes-changed": (kubernetes(pvcMount=[{"constant": "c", "mountPath": "/c"}]), "volume claims", None),
    "tolerations-changed": (kubernetes(tolerations=[{"operator": "Exists"}]), "tolerations", None),
    "node-selector-changed": (kubernetes(nodeSelector={"labels": {"pool": "gpu"}}), '"pool": "gpu"', None),
    "affinity-changed": (kubernetes(podAffinity=[{"topologyKey": "zone"}]), "pod affinity", None),
    "timeout-changed": (kubernetes(activeDeadlineSeconds="60"), "time-out changes from none to 60", None),
    "pod-metadata-changed": (kubernetes(podMetadata={"labels": {"a": "b"}}), "pod labels", None),
    "image-pull-changed": (kubernetes(imagePullPolicy="Always"), "from none to 'Always'", None),
    "security-context-changed": (kubernetes(securityContext={"runAsUser": "1"}), "security context", None),
    "pod-fields-changed": (
        kubernetes(fieldPathAsEnv=[{"name": "POD", "fieldPath": "metadata.name"}]),
        "pod fields",
        None,
    ),
    "run-settings-changed": (
        run(activeDeadlineSeconds=60),
        "activeDeadlineSeconds changes from none to 60",
        None,
    ),
    "pipeline-root-changed": (put("defaultPipelineRoot", "gs://b"), "from none to 'gs://b'", None),
    "sdk-version-changed": (put("sdkVersion", "kfp-2.18.0"), "to 'kfp-2.18.0'", None),
}


@pytest.mark.parametrize("kind", EDITS)
def test_each_kind_of_change_is_found(kind: str) -> None:
    edit, said, before = EDITS[kind]
    found = [change for change in between(edit, before=before) if change.id == kind]
    assert len(found) == 1, found
    (change,) = found
    assert said in change.message
    assert (change.category, change.subject) == (KINDS[kind].category, KINDS[kind].subject)
    assert change.old_line or change.new_line
    assert change.message.isprintable()


def test_each_kind_has_its_test() -> None:
    assert list(EDITS) == list(KINDS)


@pytest.mark.parametrize("kind", EDITS)
def test_nothing_changes_between_a_file_and_itself(kind: str) -> None:
    edit, _, before = EDITS[kind]
    assert between(before=both(before, edit) if before else edit) == []


def test_real_files(compiled: dict[str, Path]) -> None:
    for file in compiled.values():
        assert diff(read(file), read(file)) == []
    changes = diff(read(compiled["loops"]), read(compiled["branches"]))
    assert {change.category for change in changes} == set(Category)


def test_changes_inside_a_nested_pipeline_are_internal_and_placed() -> None:
    changes = between(
        put("components/comp-inside/inputDefinitions/parameters/more", MORE),
        put(f"{USE}/image", "python:3.12"),
        before=nested,
    )
    assert {(c.id, c.place, c.category) for c in changes} == {
        ("image-changed", "inside/use", Category.INTERNAL),
        ("inner-interface-changed", "inside", Category.INTERNAL),
    }


def test_what_two_tasks_share_is_compared_once() -> None:
    def twice(spec: Spec, platform: Spec) -> None:
        spec["root"]["dag"]["tasks"]["again"] = task("again", {}) | {"componentRef": {"name": "comp-use"}}

    assert [c.id for c in between(put(f"{USE}/image", "python:3.12"), before=twice)] == ["image-changed"]


def test_renaming_is_guessed() -> None:
    changes = between(drop(TEXT), put("root/inputDefinitions/parameters/texts", {"parameterType": "STRING"}))
    removed, added = (
        next(c for c in changes if c.id == kind) for kind in ("input-removed", "input-added-required")
    )
    assert removed.hint == "Renamed? The other file has 'texts'."
    assert added.hint == "Renamed? The other file has 'text'."

    def rename(spec: Spec, platform: Spec) -> None:
        tasks = spec["root"]["dag"]["tasks"]
        tasks["apply"] = tasks.pop("use")
        spec["deploymentSpec"]["executors"]["exec-use"]["container"]["args"] = ["--only", "here"]

    def args(spec: Spec, platform: Spec) -> None:
        spec["deploymentSpec"]["executors"]["exec-use"]["container"]["args"] = ["--only", "here"]

    (gone,) = (c for c in between(rename, before=args) if c.id == "task-removed")
    assert gone.hint == "Renamed? 'apply' runs the same."


def test_the_version_that_changes_ask_for() -> None:
    cases = {"input-removed": "major", "input-added": "minor", "image-changed": "patch"}
    assert {kind: bump(between(EDITS[kind][0])) for kind in cases} == cases
    assert bump([]) == "none"


def test_secrets_are_not_shown() -> None:
    changes = between(
        put(f"{USE}/env", [{"name": "API_TOKEN", "value": "hunter2hunter2"}]),
        put(TEXT, {"parameterType": "STRING", "isOptional": True, "defaultValue": "AKIA" + "A" * 16}),
        put(f"{TASK}/inputs/parameters/password", {"runtimeValue": {"constant": "hunter2hunter2"}}),
    )
    report = json.dumps(to_json(changes, "old", "new"))
    assert "hunter2" not in report
    assert "AKIA" not in report
    assert "***" in report


def test_whole_numbers_are_alike_and_booleans_are_not_numbers() -> None:
    number = put(TEXT, {"parameterType": "NUMBER_INTEGER", "isOptional": True, "defaultValue": 5})
    assert between(put(f"{TEXT}/defaultValue", 5.0), before=number) == []
    one = put(TEXT, {"parameterType": "STRUCT", "isOptional": True, "defaultValue": {"a": 1}})
    assert [c.id for c in between(put(f"{TEXT}/defaultValue", {"a": True}), before=one)] == [
        "input-default-changed"
    ]


def test_json_has_all_there_is_to_say() -> None:
    report = to_json(between(EDITS["image-changed"][0]), "old.yaml", "new.yaml")
    assert report["format"] == 1
    assert (report["breaking"], report["compatible"], report["internal"]) == (0, 0, 1)
    (change,) = report["changes"]
    assert change.keys() == {
        *("id", "category", "subject", "place", "message", "old", "new", "old_line", "new_line", "hint"),
    }
    assert change["new"] == "python:3.12"
    assert change["subject"] == Subject.IMAGES


def test_crosswise_graphs_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Graphs whose components use each other crosswise can be paired in very many ways."""

    def chain(order: Callable[[int], int]) -> bytes:
        spec = pipeline()
        for n in range(400):
            refs = {f"t{k}": {"componentRef": {"name": f"c{order(n + k + 1)}"}} for k in range(2)}
            spec["components"][f"c{n}"] = (
                {"dag": {"tasks": refs}} if n < 390 else {"executorLabel": "exec-use"}
            )
        spec["root"]["dag"]["tasks"]["deep"] = {"componentRef": {"name": "c0"}}
        return to_bytes(spec)

    one = read_bytes(chain(lambda n: n), "old.yaml")
    other = read_bytes(chain(lambda n: min(n + n % 3, 395)), "new.yaml")
    monkeypatch.setattr(graphs, "MOST_TASKS", 500)
    with pytest.raises(CompiledFileError, match="too many tasks"):
        diff(one, other)


def test_the_page_of_changes_is_current() -> None:
    assert (ROOT / "docs" / "diff-changes.md").read_text(encoding="utf-8") == changes_page()
