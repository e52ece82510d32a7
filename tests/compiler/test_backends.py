"""What an older API server does not know is named, with its source; what it knows is not."""

import re
from pathlib import Path
from typing import Any

import pytest

from kfp_lifecycle.compiler.backends import FEATURES, FIELDS, INSTEAD, NEWEST, parse_version, too_new
from kfp_lifecycle.compiler.ir import Pipeline
from kfp_lifecycle.compiler.lint import Options, lint, lint_compiled
from kfp_lifecycle.compiler.reader import read, read_bytes
from kfp_lifecycle.compiler.spec_fields import MESSAGES, VERSION
from kfp_lifecycle.components.shared.errors import ParameterError
from tests.compiler.specs import Spec, changed, settings


def test_rows_name_fields_that_there_are_and_say_where_it_is_written() -> None:
    known = {f"{message}.{field}" for message, fields in MESSAGES.items() for field in fields}
    for row in FIELDS:
        assert (row.what in known) is (row.until is None), row.what
    assert len({row.what for row in FIELDS}) == len(FIELDS)
    for row in (*FIELDS, *(change for change, _ in FEATURES)):
        assert re.match(r"CHANGELOG 2\.\d+\.0, kubeflow/pipelines#\d+$|first in kfp-", row.source), row
        assert (2, 0) < row.since <= NEWEST
        if row.source.startswith("CHANGELOG"):
            assert row.source.split()[1].startswith(f"{row.since[0]}.{row.since[1]}.")
    assert VERSION.startswith("2.17.")


def test_older_fields_that_say_the_same_exist() -> None:
    fields = {field for message in MESSAGES.values() for field in message}
    assert INSTEAD.keys() | set(INSTEAD.values()) <= fields


@pytest.mark.parametrize(
    ("text", "version"), [("2.5", (2, 5)), ("v2.14.3", (2, 14)), ("2.16.0-rc.1", (2, 16))]
)
def test_versions(text: str, version: tuple[int, int]) -> None:
    assert parse_version(text) == version


@pytest.mark.parametrize("text", ["", "2", "new", "2.x", "1.8.5", "9" * 99 + ".1"])
def test_no_versions(text: str) -> None:
    with pytest.raises(ParameterError):
        parse_version(text)


def unknown(file: Path, version: str) -> set[str]:
    return {found.change.what for found in too_new(Pipeline(read(file)), parse_version(version))}


def test_what_kfp_compiles_is_known_to_its_own_server(compiled: dict[str, Path]) -> None:
    for file in compiled.values():
        assert unknown(file, "2.17") == unknown(file, "2.99") == set()


def test_kubernetes_settings(compiled: dict[str, Path]) -> None:
    assert unknown(compiled["cluster"], "2.16") == {
        "PipelineConfig.activeDeadlineSeconds",
        "PipelineConfig.resourceTtlOnCompletion",
    }
    assert unknown(compiled["cluster"], "2.15") - unknown(compiled["cluster"], "2.16") == {
        "KubernetesExecutorConfig.securityContext",
        "PvcMount.subPath",
    }
    # An older field beside it says the same, or a default says nothing; drivers up to 2.4 fail on either.
    assert "SecretAsEnv.secretNameParameter" in unknown(compiled["cluster"], "2.4")
    assert "SecretAsVolume.optional" in unknown(compiled["cluster"], "2.1")
    assert "KubernetesExecutorConfig.tolerations" in unknown(compiled["cluster"], "2.0")
    assert "KubernetesExecutorConfig.tolerations" not in unknown(compiled["cluster"], "2.1")


def test_resources_are_written_for_older_servers_too(compiled: dict[str, Path]) -> None:
    assert unknown(compiled["plain"], "2.2") == {"PipelineTaskSpec.CachingOptions.cacheKey"}
    assert unknown(compiled["plain"], "2.4") == set()


def test_features_without_a_field(compiled: dict[str, Path]) -> None:
    assert unknown(compiled["loops"], "2.10") == {"dsl.Collected"}
    assert unknown(compiled["loops"], "2.3") == {
        *("dsl.Collected", "outputs of a nested graph", "a limit on a loop's parallel tasks"),
    }
    assert unknown(compiled["exits"], "2.10") == {"a PipelineTaskFinalStatus input"}
    assert "placeholders of the job or task" in unknown(compiled["exits"], "2.4")
    assert unknown(compiled["outer"], "2.10") == {"an optional input of a nested pipeline"}


def container(key: str, value: Any) -> Any:
    return lambda spec, platform: spec["deploymentSpec"]["executors"]["exec-use"]["container"].update(
        {key: value}
    )


def importer(spec: Spec, platform: Spec) -> None:
    spec["deploymentSpec"]["executors"]["exec-x"] = {"importer": {"artifactUri": {"constant": "oci://model"}}}


def nested_retry(spec: Spec, platform: Spec) -> None:
    from tests.compiler.specs import nested

    nested(spec, platform)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (container("image", "{{$.inputs.parameters['base_image']}}"), "an image that a parameter names"),
        (
            container("resources", {"resourceCpuLimit": "{{$.inputs.parameters['cpu']}}"}),
            "resources that a parameter sets",
        ),
        (importer, "an importer of an oci:// model"),
        (nested_retry, "retries of a nested pipeline"),
    ],
)
def test_more_features(change: Any, what: str) -> None:
    pipeline = Pipeline(read_bytes(changed(change), "f.yaml"))
    assert what in {found.change.what for found in too_new(pipeline, (2, 3))}
    assert list(too_new(pipeline, NEWEST)) == []


def test_a_field_that_newer_servers_dropped() -> None:
    def ttl(spec: Spec, platform: Spec) -> None:
        platform["platforms"] = {"kubernetes": {"pipelineConfig": {"resourceTtl": 60}}}

    file = read_bytes(changed(ttl), "f.yaml")
    (found,) = (f for f in lint_compiled(file) if f.rule == "KL002")
    assert "Only API servers up to 2.16 know it." in found.message
    assert [f for f in lint_compiled(file, Options((2, 16))) if f.rule == "KL002"] == []
    assert [f.rule for f in lint_compiled(file, Options((2, 17))) if f.rule == "KL002"] == ["KL002"]


def test_what_each_place_of_an_unknown_field_leads_to(tmp_path: Path) -> None:
    file = tmp_path / "f.yaml"

    def many(spec: Spec, platform: Spec) -> None:
        spec["root"]["dag"]["tasks"]["use"]["cachingOptions"]["cacheKey"] = "v"
        spec["deploymentSpec"]["executors"]["exec-use"]["container"]["resources"] = {"resourceCpuLimit": "1"}
        settings(platform, "exec-use")["tolerations"] = [{"operator": "Exists"}]
        platform["platforms"]["kubernetes"]["pipelineConfig"] = {"workspace": {"size": "1Gi"}}

    file.write_bytes(changed(many))
    said = " ".join(f.message for f in lint(file, Options((2, 0))) if f.rule == "KL801")
    assert "2.4: it refuses the file (CHANGELOG 2.4.0, kubeflow/pipelines#11434)" in said
    assert "resourceCpuLimit, which came with 2.3: the setting has no effect" in said
    assert "tolerations, which came with 2.1: the task fails" in said
    assert "workspace, which came with 2.14: it leaves out the whole platform spec without a word" in said
