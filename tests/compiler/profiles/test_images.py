"""The images of a profile: registries, replacements, digests."""

import re
from pathlib import Path

import pytest
import yaml

from kfp_lifecycle.compiler.compile import compile_repository
from kfp_lifecycle.compiler.errors import CompileError, ProfileError
from kfp_lifecycle.compiler.profiles.find import read_profile
from kfp_lifecycle.compiler.profiles.images import LOCK, ImageNames, repository_of
from kfp_lifecycle.compiler.profiles.model import Images
from kfp_lifecycle.compiler.repository import Repository
from tests.repositories import GOOD, OTHER, PIPELINE, tiny

DIGEST = "sha256:" + "ab" * 32
HERE = Path("/nowhere")


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("kfp-lifecycle/python-core:0.1.0", "eu.example:5000/team/python-core:0.1.0"),
        ("kfp-lifecycle-extra/python-core:0.1.0", "kfp-lifecycle-extra/python-core:0.1.0"),
        ("docker.io/library/python:3.11", "mirror/library/python:3.11"),
        (f"docker.io/mine/x@{DIGEST}", f"elsewhere/x@{DIGEST}"),
        ("registry:5000/one:2", "two:3"),
        ("registry:5000/one", "two:3"),
        ("registry:5000/one/more:2", "registry:5000/one/more:2"),
    ],
)
def test_names(image: str, name: str) -> None:
    registries = {
        "kfp-lifecycle": "eu.example:5000/team",
        "docker.io": "mirror",
        "docker.io/mine": "elsewhere",
    }
    images = ImageNames(Images(registries, {"registry:5000/one": "two:3"}), HERE)
    assert images.name(image) == name


@pytest.mark.parametrize(
    "image", ["a:5000/b/c", "a:5000/b/c:1", f"a:5000/b/c@{DIGEST}", f"a:5000/b/c:1@{DIGEST}"]
)
def test_an_images_name_is_without_tag_and_digest(image: str) -> None:
    assert repository_of(image) == "a:5000/b/c"


def test_digests_come_from_the_lock_file(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / LOCK).write_text(f'{{"images": {{"r.example/core:1": "{DIGEST}"}}}}')
    images = ImageNames(Images({"kfp-lifecycle": "r.example"}, locked=True, require_digests=True), tmp_path)
    assert images.name("kfp-lifecycle/core:1") == f"r.example/core:1@{DIGEST}"
    assert images.name(f"other@{DIGEST}") == f"other@{DIGEST}"
    with pytest.raises(CompileError, match=r"images\.lock has no digest of the image r\.example/core:2"):
        images.name("kfp-lifecycle/core:2")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "No such file or directory. Run kfp-lifecycle images lock."),
        ("images:\n  core:1: md5:1\n", ":2: images.core:1 must be a digest: sha256"),
        ("image: {}", "There is no setting 'image'. Did you mean 'images'?"),
    ],
)
def test_a_lock_file_that_is_no_good(text: str | None, said: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "images").mkdir()
        (tmp_path / LOCK).write_text(text)
    with pytest.raises(ProfileError, match=re.escape(said)):
        ImageNames(Images(locked=True), tmp_path)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """A pipeline that tells a task its own image, as register is told, and another task a like text."""
    text = PIPELINE.replace("    Args:\n", "    Args:\n        name: Which.\n")
    text = text.replace('name="first"', 'name="registry/python-x:1"').replace(
        "size=7, name=name", 'size=7, name="see registry/python-x:1"'
    )
    return tiny(tmp_path / "r", {"good": GOOD, "other": OTHER}, {"flow": text})


def test_a_task_that_is_told_its_image_is_told_the_same(repository: Repository) -> None:
    file = repository.root / "profile.yaml"
    file.write_text("images: {registries: {registry: eu.example}}")
    (flow,) = compile_repository(repository, ["flow"], read_profile(file))
    spec = yaml.safe_load(flow.text)
    images = {
        e["container"]["image"] for e in spec["deploymentSpec"]["executors"].values() if "container" in e
    }
    assert images == {"eu.example/python-x:1"}
    told = spec["root"]["dag"]["tasks"]["good"]["inputs"]["parameters"]["name"]
    assert told == {"runtimeValue": {"constant": "eu.example/python-x:1"}}
    assert "see registry/python-x:1" in flow.text


def test_a_profile_can_demand_digests(repository: Repository) -> None:
    file = repository.root / "profile.yaml"
    file.write_text("images: {require_digests: true}")
    with pytest.raises(
        CompileError, match="image registry/python-x:1 has no digest, and the profile demands"
    ):
        compile_repository(repository, ["good"], read_profile(file))


def test_an_image_that_a_parameter_names_stays(tmp_path: Path) -> None:
    text = PIPELINE.replace('name="first")', 'name="first").set_container_image(name)')
    repository = tiny(tmp_path / "r", {"good": GOOD, "other": OTHER}, {"flow": text})
    (flow,) = compile_repository(repository, ["flow"])
    assert "image: '{{$.inputs.parameters[''pipelinechannel--name'']}}'" in flow.text
