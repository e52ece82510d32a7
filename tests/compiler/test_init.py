"""What ``init`` writes, beside the whole that tests/end_to_end/test_user_repository.py works through."""

from pathlib import Path

import pytest

from kfp_lifecycle.compiler.errors import CompileError
from kfp_lifecycle.compiler.files import GeneratedFile
from kfp_lifecycle.compiler.init import FILES, new_repository, project_name, refuse_existing
from kfp_lifecycle.compiler.profiles import find_profile
from kfp_lifecycle.compiler.render import render
from kfp_lifecycle.compiler.repository import Repository


@pytest.mark.parametrize(
    ("folder", "name"),
    [("my-models", "my-models"), ("My Models!", "my-models"), ("", "pipelines"), ("ü", "pipelines")],
)
def test_the_folder_names_the_project(folder: str, name: str) -> None:
    assert project_name(folder) == name


def test_a_long_name_is_cut_at_a_word() -> None:
    assert len(project_name("a-very-long-name-" * 9)) <= 40
    assert not project_name("x" * 39 + "-y").endswith("-")


def test_the_same_name_gives_the_same_bytes() -> None:
    files = new_repository("one")
    assert files == new_repository("one")
    assert not any("/tmp" in file.text for file in files)


@pytest.mark.parametrize("name", ["123", "true", "a", "x" * 60])
def test_the_profile_is_one_whatever_the_name(tmp_path: Path, name: str) -> None:
    text = render("init/profiles/cluster.yaml.j2", project=project_name(name), version="0")
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles/cluster.yaml").write_text(text)
    profile = find_profile(Repository(tmp_path), "cluster")
    assert profile.images.replace[f"{project_name(name)}/python-steps"].startswith("registry.example.com/")


def test_every_template_is_used() -> None:
    folder = Path(__file__).parents[2] / "compiler/templates/init"
    there = {file.relative_to(folder).as_posix() for file in folder.rglob("*.j2")}
    assert there == {f"{template}.j2" for template in FILES.values()}


def test_a_few_of_many_files_in_the_way_are_named(tmp_path: Path) -> None:
    files = [GeneratedFile(f"{n}.txt", "") for n in range(9)]
    for file in files:
        (tmp_path / file.path).touch()
    with pytest.raises(CompileError, match=r"0\.txt, 1\.txt, 2\.txt, 3\.txt, 4\.txt and 4 more"):
        refuse_existing(tmp_path, files)


def test_a_file_is_no_folder_to_begin_in(tmp_path: Path) -> None:
    (tmp_path / "here").touch()
    with pytest.raises(CompileError, match="is a file"):
        refuse_existing(tmp_path / "here", [])
