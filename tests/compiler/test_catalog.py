"""The catalog: true of every file, whole, in order, and an error for a file that does not belong."""

import hashlib
import json
import random
import shutil
from pathlib import Path

import pytest
import yaml

from kfp_lifecycle.compiler.catalog import to_text
from kfp_lifecycle.compiler.compile import compiled_files
from kfp_lifecycle.compiler.digest import spec_digest
from kfp_lifecycle.compiler.errors import CompileError
from kfp_lifecycle.compiler.files import write
from kfp_lifecycle.compiler.versions import precedence
from tests.repositories import GOOD, ROOT, tiny

CATALOG = json.loads((ROOT / "compiled/catalog.json").read_text())


def test_every_compiled_file_is_in_it_once() -> None:
    on_disk = {f.relative_to(ROOT / "compiled").as_posix() for f in ROOT.glob("compiled/*/*/*.yaml")}
    listed = [entry["path"] for entry in CATALOG["files"]]
    assert sorted(listed) == sorted(on_disk)


@pytest.mark.parametrize("entry", CATALOG["files"], ids=lambda e: e["name"])
def test_an_entry_says_what_the_file_is(entry: dict[str, object]) -> None:
    content = (ROOT / "compiled" / str(entry["path"])).read_bytes()
    spec = yaml.safe_load(content)
    root = spec["root"]
    assert entry["sha256"] == hashlib.sha256(content).hexdigest()
    assert entry["spec_digest"] == spec_digest(spec)
    assert entry["path"] == f"{entry['kind']}s/{entry['name']}/{entry['version']}.yaml"
    assert entry["name"] == spec["pipelineInfo"]["name"]
    assert entry["sdk"] == spec["sdkVersion"] == "kfp-2.17.0"
    assert entry["description"]
    executors = spec["deploymentSpec"]["executors"].values()
    assert entry["images"] == sorted({e["container"]["image"] for e in executors})
    for listed, side in ((entry["inputs"], "inputDefinitions"), (entry["outputs"], "outputDefinitions")):
        assert isinstance(listed, list)
        defined = root.get(side, {}).get("parameters", {}) | root.get(side, {}).get("artifacts", {})
        assert {i["name"]: i["description"] for i in listed} == {
            n: d["description"] for n, d in defined.items()
        }
        for item in listed:
            assert item.get("default") == defined[item["name"]].get("defaultValue")


def test_types_and_defaults_are_as_in_python(tmp_path: Path) -> None:
    repository = tiny(tmp_path / "r", {"good": GOOD})
    (entry,) = json.loads(compiled_files(repository)[-1].text)["files"]
    shown = [(i["name"], i["type"], i["required"], i.get("default")) for i in entry["inputs"]]
    assert shown == [("table", "Dataset", True, None), ("name", "str", False, "a"), ("size", "int", False, 3)]
    assert [(o["name"], o["type"]) for o in entry["outputs"]] == [("result", "Metrics"), ("Output", "str")]


def test_files_of_other_versions_stay_and_are_listed_in_order(tmp_path: Path) -> None:
    repository = tiny(tmp_path / "r", {"good": GOOD})
    write(repository.root, compiled_files(repository))
    folder = repository.compiled / "components/good"
    for version in ("1.10.0", "1.9.0", "2.0.0-rc.1"):
        shutil.copy(folder / "1.2.3.yaml", folder / f"{version}.yaml")
    old = (folder / "1.9.0.yaml").read_bytes()
    done = write(repository.root, compiled_files(repository))
    assert done == {"compiled/components/good/1.2.3.yaml": "unchanged", "compiled/catalog.json": "changed"}
    assert (folder / "1.9.0.yaml").read_bytes() == old
    listed = [e["version"] for e in json.loads((repository.compiled / "catalog.json").read_text())["files"]]
    assert listed == ["1.2.3", "1.9.0", "1.10.0", "2.0.0-rc.1"]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("components/good/0.1.0.yaml", "no: [closing"),
        ("components/good/0.1.0.yaml", "root: 3\n"),
        ("components/good/0.1.0.yaml", "just text\n"),
        ("components/good/0.1.0.yaml", ""),
        ("components/good/newest.yaml", "root: {}\nsdkVersion: x\n"),
        ("others/good/1.0.0.yaml", "root: {}\nsdkVersion: x\n"),
    ],
)
def test_a_file_that_is_not_a_compiled_one_is_named(path: str, text: str, tmp_path: Path) -> None:
    file = tmp_path / "compiled" / path
    file.parent.mkdir(parents=True)
    file.write_text(text)
    with pytest.raises(CompileError, match=path):
        to_text(tmp_path / "compiled", {})


def test_precedence_is_that_of_semantic_versions() -> None:
    pre = ["1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-beta", "1.0.0-rc.2", "1.0.0-rc.11"]
    ordered = ["0.9.0", *pre, "1.0.0", "1.2.0", "1.10.0"]
    for seed in range(20):
        shuffled = random.Random(seed).sample(ordered, len(ordered))
        assert sorted(shuffled, key=precedence) == ordered
