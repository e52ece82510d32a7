"""images/images.yaml, and the locked requirements beside it; no engine is needed."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from kfp_lifecycle.compiler.errors import CompileError, ProfileError
from kfp_lifecycle.compiler.images.definitions import find_images
from kfp_lifecycle.compiler.images.requirements import FILE, lock
from kfp_lifecycle.compiler.repository import Repository
from tests.repositories import ROOT, copy_of_this

IMAGES = find_images(Repository(ROOT, "kfp_lifecycle"))
PINNED = re.compile(r"^([A-Za-z0-9_.\-]+)(?:\[.*\])?==(\S+)", re.MULTILINE)


def pinned(text: str) -> dict[str, str]:
    return {canonicalize_name(name): version.partition("+")[0] for name, version in PINNED.findall(text)}


def locked(name: str) -> str:
    return "".join(file.read_text() for file in sorted(IMAGES.folder(name).glob("*.txt")))


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return copy_of_this(tmp_path / "clone")


def test_every_image_that_components_name_is_built_here() -> None:
    named = set()
    for file in (ROOT / "compiled").rglob("*.yaml"):
        named |= set(re.findall(r"kfp-lifecycle/python-[\w.:\-]+", file.read_text()))
    assert named
    assert named <= set(IMAGES.references.values())
    assert all("python" in reference for reference in IMAGES.references.values())


def test_the_manifests_name_no_image_that_is_not_built_yet_but_the_model_servers() -> None:
    named = set()
    for file in (ROOT / "manifests").rglob("*.yaml"):
        named |= set(re.findall(r"kfp-lifecycle/python-([\w\-]+)", file.read_text()))
    assert {"cli", "mlflow", "torch"} <= named
    assert named - set(IMAGES.images) <= {"serve"}


@pytest.mark.parametrize("name", IMAGES.images)
def test_locked_requirements_hold_the_extras_at_the_locked_versions_with_hashes(name: str) -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    there, lines = pinned(locked(name)), (ROOT / "constraints.txt").read_text()
    definition = IMAGES.images[name]
    wanted = [text for extra in definition.extras for text in project["optional-dependencies"][extra]]
    wanted += project["dependencies"] if definition.command else ["kfp==2.17.0"]
    for text in [*wanted, "dumb-init>=1.2.5"]:
        requirement = Requirement(text)
        version = there.get(canonicalize_name(requirement.name))
        assert version is not None, f"{name}: run kfp-lifecycle images requirements"
        assert requirement.specifier.contains(version, prereleases=True)
    # For some packages constraints.txt has a version for each Python.
    known = [(canonicalize_name(n), v) for n, v in PINNED.findall(lines)]
    assert {n for n in there if n in dict(known) and (n, there[n]) not in known} == set()
    for block in re.split(r"\n(?=\S)", locked(name)):
        assert block.startswith("#") or "--hash=sha256:" in block, block[:80]


def test_pytorch_has_cuda_in_one_image_and_not_in_the_other() -> None:
    assert "nvidia-cublas==" in locked("torch")
    assert "nvidia" not in locked("torch-cpu")
    assert re.search(r"^torch==[\d.]+\+cpu ", locked("torch-cpu"), re.MULTILINE)
    # Else they are the same.
    differing = pinned(locked("torch")).keys() ^ pinned(locked("torch-cpu")).keys()
    assert {n for n in differing if not n.startswith(("nvidia", "cuda", "triton"))} == set()


def test_hadolint_has_nothing_to_say() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, ROOT / "images/Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("", 0)


def test_the_image_for_gpus_is_built_by_the_lines_of_the_others() -> None:
    text = (ROOT / "images/Dockerfile").read_text()
    assert "torch-cpu" not in text
    assert not re.search(r"\b(cuda|nvidia)\b", text.lower())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"base": None}, "base must be a text"),
        ({"python": 3.11}, "python must be a version of Python in quotes"),
        ({"images": {"Core": {"about": "x"}}}, "lower-case letters"),
        ({"images": {"core": {"about": "x", "extra": []}}}, "Did you mean 'extras'"),
        ({"images": {"core": {"extras": []}}}, "has no 'about'"),
        ({"images": {"core": {"about": "x", "torch": "gpu"}}}, "torch must be cpu"),
    ],
)
def test_a_setting_that_cannot_be_is_named_with_its_line(
    copy: Path, change: dict[str, object], said: str
) -> None:
    file = copy / "images/images.yaml"
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | change, sort_keys=False))
    with pytest.raises(ProfileError, match=said) as raised:
        find_images(Repository(copy, "kfp_lifecycle"))
    assert re.search(r"images\.yaml:\d+: ", str(raised.value))


def test_an_unknown_image_and_no_images_at_all(tmp_path: Path) -> None:
    with pytest.raises(CompileError, match=r"There is no image 'troch'\. Did you mean 'torch'\?"):
        IMAGES.chosen(["troch"])
    assert IMAGES.chosen([]) == list(IMAGES.images)
    with pytest.raises(CompileError, match=r"images\.yaml cannot be read"):
        find_images(Repository(tmp_path))


def test_an_extra_that_is_not_there(copy: Path) -> None:
    file = copy / "images/images.yaml"
    file.write_text(file.read_text().replace("extras: [steps, gcs, s3, sql]", "extras: [stpes]"))
    images = find_images(Repository(copy, "kfp_lifecycle"))
    with pytest.raises(CompileError, match=r"'stpes', which pyproject\.toml does not have"):
        lock(images, "core")


def test_without_uv_requirements_are_not_locked(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(copy / "python"))
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(CompileError, match=r"uv, which is not installed\. pip install uv"):
        lock(find_images(Repository(copy, "kfp_lifecycle")), "core")


def test_an_image_without_locked_requirements_is_not_built(copy: Path) -> None:
    from kfp_lifecycle.compiler.errors import ImageError
    from kfp_lifecycle.compiler.images.build import build
    from kfp_lifecycle.compiler.images.engine import Engine

    (copy / "images/core" / FILE).unlink()
    with pytest.raises(ImageError, match=r"not locked\. Run kfp-lifecycle images requirements"):
        build(find_images(Repository(copy, "kfp_lifecycle")), "core", Engine("docker", "/bin/false"))


def test_without_a_module_that_names_them_there_are_no_images(copy: Path) -> None:
    (copy / "components/shared/image.py").unlink()
    with pytest.raises(CompileError, match=r"image\.py gives no names to images.*Define image\(name\)"):
        find_images(Repository(copy, "kfp_lifecycle"))


def test_without_its_client_no_registry_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    from kfp_lifecycle.compiler.errors import ImageError
    from kfp_lifecycle.compiler.images.registry import digest

    monkeypatch.setitem(sys.modules, "oras.container", None)
    with pytest.raises(ImageError, match=r"pip install 'kfp-lifecycle\[images\]'"):
        digest("127.0.0.1:1/x:1")
