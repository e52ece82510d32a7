"""Compiling: the same bytes everywhere, true files, and an error that names the place for what cannot be."""

import json
import shutil
from pathlib import Path

import pytest
import yaml
from kfp import components as kfp_components

from kfp_lifecycle.compiler.compile import compile_repository, compiled_files
from kfp_lifecycle.compiler.files import differences
from kfp_lifecycle.compiler.repository import find_repository
from kfp_lifecycle.compiler.spec import artifacts, parameters
from tests.repositories import GOOD, OTHER, PIPELINE, ROOT, copy_of_this, files, run, tiny

REPOSITORY = find_repository(ROOT)
IMAGES = tuple(
    f"kfp-lifecycle/python-{name}:0.1.0" for name in ("core", "feast", "monitor", "serve", "torch", "tune")
)
#: Parameters that no default can be right for.
MUST_BE_GIVEN = {
    *("source", "target", "model_name", "search_space", "feature_store", "model", "current", "history"),
    *("output", "shards", "records", "summary", "decision", "pipeline_name", "training_parameters"),
}
COMPILED_FILES = sorted(ROOT.glob("compiled/*/*/*.yaml"))

#: A default of several keys: KFP's own comment header comes out in another order in each process.
DICTS = GOOD.replace('name: str = "a"', 'name: dict = {k: k + k for k in "zyxwvutsrq"}').replace(
    "    return name", "    return str(name)"
)


def test_compiled_is_what_the_code_gives() -> None:
    assert differences(ROOT, compiled_files(REPOSITORY)) == []


def test_the_same_bytes_in_every_folder_process_and_with_every_hash_seed(tmp_path: Path) -> None:
    seen = []
    for folder, seed in (("one", "0"), ("two words/deep", "1"), ("three", "4242")):
        copy = copy_of_this(tmp_path / folder)
        shutil.rmtree(copy / "compiled")
        surroundings = {
            "PYTHONHASHSEED": seed,
            "KFP_DISABLE_EXECUTION_CACHING_BY_DEFAULT": seed,
            "LC_ALL": "C",
        }
        done = run("compile", cwd=copy / "components", env=surroundings | {"HOME": str(copy)})
        assert done.returncode == 0, done.stderr
        seen.append(files(copy / "compiled"))
    assert seen[0] == seen[1] == seen[2]
    assert seen[0].keys() >= {
        "components/prepare/1.0.0.yaml",
        "pipelines/training/1.0.0.yaml",
        "catalog.json",
    }


def test_a_default_of_several_keys_is_the_same_in_every_process(tmp_path: Path) -> None:
    repository = tiny(tmp_path / "r", {"good": DICTS})
    texts = set()
    for seed in "0123":
        assert run("compile", cwd=repository.root, env={"PYTHONHASHSEED": seed}).returncode == 0
        texts.add((repository.compiled / "components/good/1.2.3.yaml").read_text())
    assert len(texts) == 1
    assert "{'q': 'qq', 'r': 'rr'" in texts.pop()


def test_the_code_of_the_repository_one_is_in_is_compiled(tmp_path: Path) -> None:
    copy = copy_of_this(tmp_path / "clone")
    image = copy / "components/shared/image.py"
    image.write_text(image.read_text().replace('REGISTRY = "kfp-lifecycle"', 'REGISTRY = "elsewhere"'))
    assert run("compile", "prepare", cwd=copy).returncode == 0
    assert "image: elsewhere/python-core" in (copy / "compiled/components/prepare/1.0.0.yaml").read_text()


@pytest.mark.parametrize("file", COMPILED_FILES, ids=lambda f: f"{f.parent.name}-{f.stem}")
def test_every_compiled_file_loads_and_says_what_its_inputs_are(file: Path) -> None:
    loaded = kfp_components.load_component_from_file(str(file))
    assert loaded.name == file.parent.name
    assert loaded.description
    root = yaml.safe_load(file.read_text())["root"]
    for side in ("inputDefinitions", "outputDefinitions"):
        for name, item in {**parameters(root, side), **artifacts(root, side)}.items():
            assert item["description"], name
            assert item.get("parameterType") or item.get("artifactType"), name
    for name, item in parameters(root, "inputDefinitions").items():
        given = "defaultValue" in item or item["parameterType"] == "TASK_FINAL_STATUS"  # by KFP itself
        assert given == item.get("isOptional", False), name
        assert item.get("isOptional") or name in MUST_BE_GIVEN, name


@pytest.mark.parametrize("file", COMPILED_FILES, ids=lambda f: f"{f.parent.name}-{f.stem}")
def test_every_compiled_file_is_plain(file: Path) -> None:
    content = file.read_bytes()
    assert content.isascii()
    assert b"\r" not in content
    assert b"pip install" not in content
    assert b"sdkVersion: kfp-2.17.0" in content
    for executor in yaml.safe_load(content)["deploymentSpec"]["executors"].values():
        assert executor["container"]["image"] in IMAGES


def test_integers_stay_integers(tmp_path: Path) -> None:
    good, _, flow = compile_repository(
        tiny(tmp_path / "r", {"good": GOOD, "other": OTHER}, {"flow": PIPELINE})
    )
    default = good.spec["root"]["inputDefinitions"]["parameters"]["size"]["defaultValue"]
    assert (default, type(default)) == (3, int)
    assert "size: int [Default: 3]\n" in good.text
    assert flow.spec["root"]["inputDefinitions"]["parameters"]["size"]["defaultValue"] == 5
    inner = flow.spec["components"]["comp-condition-1"]["dag"]["tasks"]["other"]
    constant = inner["inputs"]["parameters"]["size"]["runtimeValue"]["constant"]
    assert (constant, type(constant)) == (7, int)


def test_a_pipeline_parameter_gets_the_description_of_the_first_task_that_takes_it(tmp_path: Path) -> None:
    *_, flow = compile_repository(tiny(tmp_path / "r", {"good": GOOD, "other": OTHER}, {"flow": PIPELINE}))
    found = {n: p["description"] for n, p in flow.spec["root"]["inputDefinitions"]["parameters"].items()}
    assert found == {"size": "How large, in rows.", "name": "What to call it.", "depth": "How deep."}


def test_output_artifacts_and_return_values_are_described(tmp_path: Path) -> None:
    (good,) = compile_repository(tiny(tmp_path / "r", {"good": GOOD}))
    for definition in (good.spec["root"], good.spec["components"]["comp-good"]):
        assert artifacts(definition, "outputDefinitions")["result"]["description"] == "What came out."
        assert parameters(definition, "outputDefinitions")["Output"]["description"] == "What it did."


def test_a_pipelines_output_is_described_under_returns(tmp_path: Path) -> None:
    text = PIPELINE.replace("-> None", "-> str")
    text = text.replace("How deep.\n", "How deep.\n\n    Returns:\n        The last.\n")
    sources = {"good": GOOD, "other": OTHER}, {"flow": text + '    return last.outputs["Output"]\n'}
    *_, flow = compile_repository(tiny(tmp_path / "r", *sources))
    assert parameters(flow.spec["root"], "outputDefinitions")["Output"]["description"] == "The last."


def test_a_component_that_is_itself_loaded_from_yaml(tmp_path: Path) -> None:
    file = next(f for f in COMPILED_FILES if f.parent.name == "prepare")
    text = "from kfp import components\n"
    text += f"prepare = components.load_component_from_file({str(file)!r})\nVERSION = '3.0.0'\n"
    (compiled,) = compile_repository(tiny(tmp_path / "r", {"prepare": text}))
    assert compiled.path == "components/prepare/3.0.0.yaml"
    assert compiled.spec == yaml.safe_load(file.read_text())


def test_underscores_of_folders_are_dashes_of_names(tmp_path: Path) -> None:
    repository = tiny(tmp_path / "r", {"very_good": GOOD.replace("def good", "def very_good")})
    for spelling in ("very_good", "very-good"):
        (compiled,) = compile_repository(repository, [spelling])
        assert compiled.path == "components/very-good/1.2.3.yaml"
        assert compiled.spec["pipelineInfo"]["name"] == "very-good"


def test_only_what_is_named_is_imported(tmp_path: Path) -> None:
    repository = tiny(tmp_path / "r", {"good": GOOD, "broken": "1/0"})
    assert [c.path for c in compile_repository(repository, ["good"])] == ["components/good/1.2.3.yaml"]


def test_kubernetes_settings_are_the_second_document(tmp_path: Path) -> None:
    text = PIPELINE.replace("from kfp import dsl", "from kfp import dsl, kubernetes").replace(
        'name="first")', 'name="first")\n    kubernetes.use_secret_as_env(last, "s", {"key": "KEY"})'
    )
    repository = tiny(tmp_path / "r", {"good": GOOD, "other": OTHER}, {"flow": text})
    (flow,) = compile_repository(repository, ["flow"])
    spec, platform = yaml.safe_load_all(flow.text)
    assert json.loads(json.dumps(spec)) == flow.spec
    assert platform["platforms"]["kubernetes"]
