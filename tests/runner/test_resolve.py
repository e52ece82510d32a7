"""From a name to the compiled file."""

from pathlib import Path

import pytest

from kfp_lifecycle.runner.errors import PipelineFileError
from kfp_lifecycle.runner.resolve import INSTALLED, find, names


@pytest.fixture
def compiled(tmp_path: Path) -> Path:
    """A folder ``compiled/`` with a pipeline and two components."""
    for file in (
        "pipelines/training/1.2.0.yaml",
        "pipelines/training/1.10.0.yaml",
        "pipelines/training/2.0.0-rc.1.yaml",
        "pipelines/training/notes.yaml",
        "pipelines/early/0.1.0-a.yaml",
        "components/train-gpu/1.0.0.yaml",
        "components/both/1.0.0.yaml",
        "pipelines/both/2.0.0.yaml",
    ):
        path = tmp_path / "compiled" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "below" / "further").mkdir(parents=True)
    return tmp_path / "compiled"


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("training", "pipelines/training/1.10.0.yaml"),  # the newest, and no pre-release
        ("training@1.2.0", "pipelines/training/1.2.0.yaml"),
        ("training@2.0.0-rc.1", "pipelines/training/2.0.0-rc.1.yaml"),
        ("early", "pipelines/early/0.1.0-a.yaml"),  # there is no other
        ("train-gpu", "components/train-gpu/1.0.0.yaml"),
        ("train_gpu", "components/train-gpu/1.0.0.yaml"),
        ("components/both", "components/both/1.0.0.yaml"),
        ("pipelines/both@2.0.0", "pipelines/both/2.0.0.yaml"),
    ],
)
@pytest.mark.parametrize("start", [".", "below/further"])
def test_a_name_is_found_from_here_upwards(name: str, file: str, start: str, compiled: Path) -> None:
    assert find(name, compiled.parent / start) == compiled / file


def test_a_name_that_is_nowhere_near_comes_with_the_library(compiled: Path) -> None:
    found = find("prepare", compiled.parent)

    assert found.parent == INSTALLED / "components" / "prepare"
    assert {"training", "prepare"} <= set(names(compiled.parent))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("trainig", r"There is no compiled pipeline or component 'trainig'\. Did you mean 'training'\?"),
        (
            "training@9.9.9",
            r"no version '9\.9\.9'\. There is 2\.0\.0-rc\.1, 1\.10\.0, 1\.2\.0\.",
        ),
        ("both", r"'both' is both a pipeline and a component\. Say pipelines/both or components/both\."),
        ("none.yaml", r"There is no file none\.yaml"),
        ("some/where/else", r"There is no file some/where/else"),
        ("", r"There is no file "),
    ],
)
def test_a_name_that_is_not_there_is_said_with_the_nearest(name: str, message: str, compiled: Path) -> None:
    with pytest.raises(PipelineFileError, match=message):
        find(name, compiled.parent)


def test_a_file_is_taken_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").touch()
    Path("training").touch()

    assert find("mine.yaml") == Path("mine.yaml")
    assert find(str(tmp_path / "mine.yaml")) == tmp_path / "mine.yaml"
    assert find("training") == Path("training")
