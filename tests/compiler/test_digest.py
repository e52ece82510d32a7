"""The digest: the same however a spec is written down, another for every change, and a lie is found."""

import copy
import hashlib
import itertools
import json
from pathlib import Path

import pytest
import yaml
from google.protobuf import json_format
from kfp import components as kfp_components

from kfp_lifecycle.compiler.compile import compile_repository
from kfp_lifecycle.compiler.digest import spec_digest, verify_digest
from kfp_lifecycle.compiler.errors import CompileError
from kfp_lifecycle.compiler.spec import Spec
from tests.repositories import GOOD, OTHER, PIPELINE, ROOT, tiny

TRAINING = ROOT / "compiled/pipelines/training/1.0.0.yaml"


@pytest.fixture
def spec() -> Spec:
    loaded: Spec = yaml.safe_load(TRAINING.read_text())
    return loaded


def test_the_compiled_pipeline_carries_its_own_digest(spec: Spec) -> None:
    digest = verify_digest(spec)
    task = spec["root"]["dag"]["tasks"]["register"]["inputs"]["parameters"]
    assert task["pipeline_digest"]["runtimeValue"]["constant"] == digest
    assert task["pipeline_version"]["runtimeValue"]["constant"] == TRAINING.stem


def test_it_is_the_sha256_of_the_canonical_json_with_its_own_field_blank(spec: Spec) -> None:
    blank = copy.deepcopy(spec)
    task = blank["root"]["dag"]["tasks"]["register"]["inputs"]["parameters"]
    task["pipeline_digest"]["runtimeValue"]["constant"] = ""
    whole = json.loads(json.dumps(blank), parse_float=_number)
    text = json.dumps(whole, sort_keys=True, separators=(",", ":"))
    assert spec_digest(spec) == "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def _number(text: str) -> int | float:
    return int(float(text)) if float(text).is_integer() else float(text)


def test_a_round_through_kfp_and_protobuf_keeps_it(spec: Spec) -> None:
    loaded = kfp_components.load_component_from_file(str(TRAINING))
    returned = json_format.MessageToDict(loaded.pipeline_spec)
    assert "5.0" in json.dumps(returned)
    assert verify_digest(returned) == verify_digest(spec)


def test_every_change_gives_another(spec: Spec) -> None:
    changed = copy.deepcopy(spec)
    changed["deploymentSpec"]["executors"]["exec-train"]["container"]["image"] += "x"
    assert spec_digest(changed) != spec_digest(spec)
    with pytest.raises(CompileError, match="'training' was changed after compiling"):
        verify_digest(changed)


def test_a_pipeline_without_one_is_an_error(tmp_path: Path) -> None:
    *_, flow = compile_repository(tiny(tmp_path / "r", {"good": GOOD, "other": OTHER}, {"flow": PIPELINE}))
    with pytest.raises(CompileError, match="'flow' carries no digest"):
        verify_digest(flow.spec)


def test_a_task_inside_a_condition_gets_it_and_another_constant_is_left_alone(tmp_path: Path) -> None:
    changes = (
        ('name: str = "a"', 'pipeline_digest: str = ""'),
        ("return name", 'return ""'),
        ("name: What", "pipeline_digest: What"),
    )
    texts = {"good": GOOD, "other": OTHER}
    for (old, new), name in itertools.product(changes, texts):
        texts[name] = texts[name].replace(old, new)
    text = PIPELINE.replace(', name: str = "b"', "").replace("name=name", 'pipeline_digest=""')
    text = text.replace('name="first"', 'pipeline_digest="mine"')
    *_, flow = compile_repository(tiny(tmp_path / "r", texts, {"flow": text}))
    inner = flow.spec["components"]["comp-condition-1"]["dag"]["tasks"]["other"]
    outer = flow.spec["root"]["dag"]["tasks"]["good"]
    given = [t["inputs"]["parameters"]["pipeline_digest"]["runtimeValue"]["constant"] for t in (inner, outer)]
    assert given == [verify_digest(flow.spec), "mine"]
