"""Pictures that are kept in a repository: one for each pipeline, where it keeps any, and always current."""

from pathlib import Path

from kfp_lifecycle.compiler.compile import compile_repository
from kfp_lifecycle.compiler.files import differences, write
from kfp_lifecycle.compiler.graph.pictures import FOLDER, pictures
from tests.repositories import GOOD, OTHER, PIPELINE, ROOT, tiny


def test_a_repository_with_the_folder_keeps_one_of_each_pipeline(tmp_path: Path) -> None:
    repository = tiny(tmp_path, {"good": GOOD, "other": OTHER}, {"flow": PIPELINE})
    compiled = [c for c in compile_repository(repository) if c.definition.source.kind == "pipeline"]
    assert list(pictures(repository, compiled)) == []

    (tmp_path / FOLDER).mkdir(parents=True)
    (picture,) = pictures(repository, compiled)
    assert picture.path == f"{FOLDER}/flow.svg"
    assert differences(tmp_path, [picture])[0].kind == "missing"

    write(tmp_path, [picture])
    assert differences(tmp_path, pictures(repository, compiled)) == []
    (tmp_path / picture.path).write_text(picture.text.replace("flow", "flaw"))
    assert differences(tmp_path, [picture])[0].kind == "changed"


def test_the_picture_of_the_training_pipeline_has_its_five_steps() -> None:
    text = (ROOT / FOLDER / "training.svg").read_text()
    for step in ("prepare", "featurize", "train", "evaluate", "register"):
        assert text.count(f'data-path="{step}"') == 1
