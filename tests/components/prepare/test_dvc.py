"""Data that DVC tracks, at a revision, from a real repository with a folder as its remote."""

import contextlib
import shutil
import subprocess

import polars as pl
import pytest

from kfp_lifecycle.components.shared.errors import SourceError

pytest.importorskip("dvc.api", reason="dvc is not installed")

OLD = pl.DataFrame({"y": ["a", "b"] * 10, "n": range(20)})
NEW = pl.DataFrame({"y": ["a", "b"] * 15, "n": range(30)})


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """Version v1 has the old table, HEAD the new one; the data itself is in the remote alone."""
    from dvc.cli import main

    folder = tmp_path_factory.mktemp("dvc")
    repo = folder / "repo"
    repo.mkdir()

    def git(*arguments):
        who = ("-c", "user.name=Test", "-c", "user.email=test@example.com")
        subprocess.run(["git", *who, *arguments], cwd=repo, check=True, capture_output=True)

    def dvc(*arguments):
        # In this process: DVC's command line takes a second to import.
        with contextlib.chdir(repo):
            assert main([*arguments, "-q"]) == 0

    def track(table, message):
        (repo / "data" / "parts").mkdir(parents=True, exist_ok=True)
        table.write_csv(repo / "data" / "table.csv")
        table[:10].write_parquet(repo / "data" / "parts" / "1.parquet")
        table[10:].write_parquet(repo / "data" / "parts" / "2.parquet")
        dvc("add", "data/table.csv", "data/parts")
        git("add", "-A")
        git("commit", "-qm", message)

    git("init", "-q", "-b", "main")
    dvc("init")
    dvc("config", "core.analytics", "false")
    dvc("remote", "add", "-d", "store", str(folder / "store"))
    track(OLD, "old")
    git("tag", "v1")
    track(NEW, "new")
    dvc("push", "-a", "-T")
    shutil.rmtree(repo / ".dvc" / "cache")
    shutil.rmtree(repo / "data" / "parts")
    (repo / "data" / "table.csv").unlink()
    return repo


def table(made):
    return made.both.select("y", "n").sort("n")


def test_a_file_at_a_revision_and_at_head(prepare, repository):
    old = prepare(f"dvc://{repository}/data/table.csv", revision="v1", target="y")
    new = prepare(f"dvc://{repository}/data/table.csv", target="y")
    assert table(old).equals(OLD)
    assert table(new).equals(NEW)
    assert old.schema.source_digest.startswith("md5:")
    assert old.schema.source_digest != new.schema.source_digest
    assert old.schema.source_uri == f"dvc://{repository}/data/table.csv@v1"
    assert old.schema.parameters["revision"] == "v1"


def test_a_tracked_folder(prepare, repository):
    made = prepare(f"dvc://{repository}/data/parts", revision="v1", target="y")
    assert table(made).equals(OLD)
    assert made.schema.source_digest.startswith("md5:")


def test_a_git_address_and_a_path_divided_by_two_slashes(prepare, repository):
    made = prepare(f"dvc://file://{repository}//data/table.csv", revision="v1", target="y")
    assert table(made).equals(OLD)


def test_a_git_address_that_ends_in_git(prepare, repository):
    bare = repository.with_name("bare.git")
    subprocess.run(["git", "clone", "-q", "--bare", str(repository), str(bare)], check=True)
    made = prepare(f"dvc://file://{bare}/data/table.csv", revision="v1", target="y")
    assert table(made).equals(OLD)


@pytest.mark.parametrize(
    ("path", "revision", "said"),
    [
        ("data/tabel.csv", "v1", "Did you mean 'table.csv'?"),
        ("data/table.csv", "v9", "at 'v9' cannot be read"),
    ],
)
def test_what_is_not_there(prepare, repository, path, revision, said):
    with pytest.raises(SourceError) as raised:
        prepare(f"dvc://{repository}/{path}", revision=revision, target="y")
    assert said in str(raised.value)


def test_no_repository(prepare, tmp_path):
    with pytest.raises(SourceError, match="lies in no DVC repository"):
        prepare(f"dvc://{tmp_path}/data/table.csv", target="y")


def test_data_that_was_never_pushed(prepare, repository):
    lost = repository.with_name("lost")
    shutil.copytree(repository, lost)
    store = repository.with_name("store")
    store.rename(store.with_name("moved"))
    try:
        with pytest.raises(SourceError, match="dvc push"):
            prepare(f"dvc://{lost}/data/table.csv", target="y")
    finally:
        store.with_name("moved").rename(store)
