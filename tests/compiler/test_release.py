"""Released versions: what can never change, which number a change needs, and what stays callable."""

import json
import re
import shutil
import sys
from pathlib import Path

import pytest

from kfp_lifecycle.compiler.compile import compile_repository, compiled_files
from kfp_lifecycle.compiler.errors import CompileError
from kfp_lifecycle.compiler.files import differences, write
from kfp_lifecycle.compiler.mark import released_catalog
from kfp_lifecycle.compiler.profiles.find import read_profile
from kfp_lifecycle.compiler.release import next_version
from kfp_lifecycle.compiler.repository import Repository
from tests.repositories import GOOD, OTHER, PIPELINE, copy_of_this, files, run, tiny

PATH = "compiled/components/good/1.2.3.yaml"


def release(repository: Repository, *names: str) -> list[str]:
    write(repository.root, compiled_files(repository))
    catalog, anew = released_catalog(repository, names)
    write(repository.root, [catalog])
    return anew


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """A component and a pipeline, released; another component that is not."""
    made = tiny(tmp_path / "r", {"good": GOOD, "other": OTHER}, {"flow": PIPELINE})
    assert release(made, "good", "flow") == ["components/good/1.2.3.yaml", "pipelines/flow/2.0.0.yaml"]
    return made


def edit(repository: Repository, old: str, new: str, *, file: str = "components/good/component.py") -> None:
    place = repository.root / file
    text = place.read_text()
    assert old in text
    place.write_text(text.replace(old, new))
    forget(repository)


def forget(repository: Repository) -> None:
    """A process compiles a repository once; here one does it again after a change."""
    for name, module in list(sys.modules.items()):
        if (getattr(module, "__file__", None) or "").startswith(f"{repository.root}/"):
            del sys.modules[name]
    for cache in repository.root.rglob("__pycache__"):
        shutil.rmtree(cache)


def marks(repository: Repository) -> dict[str, bool]:
    catalog = json.loads((repository.compiled / "catalog.json").read_text())
    return {entry["path"]: entry["released"] for entry in catalog["files"]}


def test_the_catalog_says_what_is_released(repository: Repository) -> None:
    expected = {
        "components/good/1.2.3.yaml": True,
        "components/other/1.2.3.yaml": False,
        "pipelines/flow/2.0.0.yaml": True,
    }
    assert marks(repository) == expected
    assert differences(repository.root, compiled_files(repository)) == []
    assert released_catalog(repository, ["good"])[1] == []


def test_what_is_not_released_may_change(repository: Repository) -> None:
    edit(repository, "size: int = 3", "size: int = 4", file="components/other/component.py")
    write(repository.root, compiled_files(repository, ["other"]))
    text = (repository.compiled / "components/other/1.2.3.yaml").read_text()
    assert "defaultValue: 4" in text


#: What changes in the component, what is said of it, and the number that it needs.
CHANGES = {
    "body": ("return name", "return name + name", "What it runs changes", "1.2.4"),
    "image": ('"registry/python-x:1"', '"registry/python-y:1"', "The image changes", "1.2.4"),
    "description": ("What to call it.", "What one calls it.", "description", "1.2.4"),
    "new optional input": ('name: str = "a"', 'name: str = "a", more: str = ""', "'more'", "1.3.0"),
    "new output": ("result: dsl", "more: dsl.Output[dsl.HTML], result: dsl", "'more'", "1.3.0"),
    "required input": ("size: int = 3, ", "size: int, ", "'size'", "2.0.0"),
    "changed default": ("size: int = 3", "size: int = 4", "'size'", "2.0.0"),
    "renamed input": ("size", "extent", "'size'", "2.0.0"),
    "removed output": ("result: dsl.Output[dsl.Metrics], ", "", "'result'", "2.0.0"),
    "retyped input": ("size: int = 3", "size: float = 3.0", "'size'", "2.0.0"),
    "retyped output": ("dsl.Output[dsl.Metrics]", "dsl.Output[dsl.Model]", "'result'", "2.0.0"),
    "new required input": ("table: dsl", "more: str, table: dsl", "'more'", "2.0.0"),
}


def change(repository: Repository, kind: str) -> tuple[str, str]:
    old, new, said, needed = CHANGES[kind]
    edit(repository, old, new)
    if "more" in new:
        edit(repository, "    Args:\n", "    Args:\n        more: More.\n")
    return said, needed


@pytest.mark.parametrize("kind", CHANGES)
def test_a_released_file_never_changes_and_the_needed_number_is_said(
    kind: str, repository: Repository
) -> None:
    said, needed = change(repository, kind)
    before = files(repository.compiled)
    with pytest.raises(CompileError) as raised:
        compiled_files(repository, ["good"])
    assert str(raised.value).startswith("good 1.2.3 is released, but the code gives another file: ")
    assert said in str(raised.value)
    assert str(raised.value).endswith(f'Set VERSION = "{needed}".')
    assert files(repository.compiled) == before


@pytest.mark.parametrize("kind", CHANGES)
@pytest.mark.parametrize("version", ["1.2.4", "1.3.0", "2.0.0-rc.1", "2.0.0"])
def test_a_new_version_has_the_number_that_its_changes_need(
    kind: str, version: str, repository: Repository
) -> None:
    said, needed = change(repository, kind)
    edit(repository, 'VERSION = "1.2.3"', f'VERSION = "{version}"')
    if version.partition("-")[0] >= needed:
        write(repository.root, compiled_files(repository, ["good"]))
        assert marks(repository)["components/good/1.2.3.yaml"] is True
        assert marks(repository)[f"components/good/{version}.yaml"] is False
        return
    with pytest.raises(CompileError) as raised:
        compiled_files(repository, ["good"])
    assert str(raised.value).startswith(f"good {version} changes more than its number says since 1.2.3: ")
    assert said in str(raised.value)
    assert str(raised.value).endswith(f'Set VERSION = "{needed}".')


def test_a_pipelines_version_is_its_own(repository: Repository) -> None:
    edit(repository, "return name", "return name + name")
    edit(repository, 'VERSION = "1.2.3"', 'VERSION = "1.2.4"')
    with pytest.raises(CompileError, match=r"flow 2\.0\.0 is released.*good: What it runs.*\"2\.0\.1\""):
        compiled_files(repository)


def test_a_number_below_a_release_is_measured_against_the_one_before_it(repository: Repository) -> None:
    edit(repository, 'VERSION = "1.2.3"', 'VERSION = "3.0.0"')
    edit(repository, "size: int = 3", "size: int = 4")
    edit(repository, 'VERSION = "2.0.0"', 'VERSION = "3.0.0"', file="pipelines/flow.py")
    release(repository, "good")
    edit(repository, 'VERSION = "3.0.0"', 'VERSION = "1.2.4"')
    with pytest.raises(CompileError, match=r"since 1\.2\.3"):
        compiled_files(repository, ["good"])


@pytest.mark.parametrize("named", [["good"], ["other"], []])
@pytest.mark.parametrize("damage", ["edited", "gone"])
def test_a_released_file_is_not_touched_by_hand(
    damage: str, named: list[str], repository: Repository
) -> None:
    edit(repository, 'VERSION = "1.2.3"', 'VERSION = "1.2.4"')
    file = repository.root / PATH
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes() + b"# note\n")
    with pytest.raises(CompileError) as raised:
        compiled_files(repository, named)
    expected = {"gone": "is released, but is gone", "edited": "is released, but was changed since"}
    assert f"{PATH} {expected[damage]}. Get it back from version control" in str(raised.value)


def test_a_released_file_that_the_code_still_gives_is_put_back(repository: Repository) -> None:
    before = (repository.root / PATH).read_bytes()
    (repository.root / PATH).unlink()
    write(repository.root, compiled_files(repository, ["good"]))
    assert (repository.root / PATH).read_bytes() == before


def test_another_layout_of_the_same_yaml_keeps_the_file(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kfp_lifecycle.compiler.serialize.WIDTH", 40)
    assert differences(repository.root, compiled_files(repository, ["good", "flow"])) == []


@pytest.mark.parametrize("text", ["{", "[]", '{"files": 3}', '{"files": [3]}'])
def test_a_damaged_catalog_is_no_catalog_without_marks(text: str, repository: Repository) -> None:
    (repository.compiled / "catalog.json").write_text(text)
    with pytest.raises(CompileError, match=r"says what is released, is damaged"):
        compiled_files(repository)


def test_a_newer_image_changes_what_is_not_released_and_nothing_else(repository: Repository) -> None:
    before = files(repository.compiled)
    for name in ("good", "other"):
        edit(repository, "python-x:1", "python-x:2", file=f"components/{name}/component.py")
    write(repository.root, compiled_files(repository))
    after = files(repository.compiled)
    assert {path for path in before if before[path] != after[path]} == {
        "components/other/1.2.3.yaml",
        "catalog.json",
    }
    assert b"image: registry/python-x:2" in after["components/other/1.2.3.yaml"]


def test_a_profile_gives_a_released_version_its_released_tag(repository: Repository) -> None:
    edit(repository, "python-x:1", "python-x:2")
    file = repository.root / "p.yaml"
    file.write_text("images: {registries: {registry: eu.example}}")
    (good,) = compile_repository(repository, ["good"], read_profile(file))
    assert "image: eu.example/python-x:1" in good.text


def test_a_newer_sdk_alone_changes_no_released_file(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kfp.__version__", "2.99.0")
    found = differences(repository.root, compiled_files(repository))
    assert [d.path for d in found] == ["compiled/components/other/1.2.3.yaml", "compiled/catalog.json"]


@pytest.mark.parametrize(
    ("version", "part", "needed"),
    [
        ("1.2.3", "major", "2.0.0"),
        ("1.2.3", "minor", "1.3.0"),
        ("1.2.3", "patch", "1.2.4"),
        ("1.2.3", "none", "1.2.4"),
        ("0.2.3", "major", "0.3.0"),
        ("0.2.3", "minor", "0.2.4"),
        ("0.2.3", "patch", "0.2.4"),
        ("2.0.0-rc.1", "major", "2.0.0"),
    ],
)
def test_numbers(version: str, part: str, needed: str) -> None:
    assert next_version(version, part) == needed


def test_a_pre_release_promises_nothing(tmp_path: Path) -> None:
    text = GOOD.replace('"1.2.3"', '"2.0.0-rc.1"')
    repository = tiny(tmp_path / "r", {"good": text})
    release(repository, "good")
    edit(repository, "size: int = 3", "size: int = 4")
    with pytest.raises(CompileError, match=r'Set VERSION = "2\.0\.0"'):
        compiled_files(repository)
    edit(repository, "2.0.0-rc.1", "2.0.0-rc.2")
    compiled_files(repository)


def test_only_what_is_current_and_clean_is_released(tmp_path: Path) -> None:
    repository = tiny(tmp_path / "r", {"good": GOOD, "other": OTHER})
    release(repository, "good")
    edit(repository, "size: int = 3", "size: int = 4", file="components/other/component.py")
    with pytest.raises(CompileError, match=r"other/1\.2\.3\.yaml is not what the code gives\. Run kfp-lif"):
        released_catalog(repository, ["other"])
    edit(repository, "python-x:1", "python-x:latest", file="components/other/component.py")
    write(repository.root, compiled_files(repository))
    with pytest.raises(CompileError, match=r"breaks the rule KL302"):
        released_catalog(repository, ["other"])
    with pytest.raises(CompileError, match="There is no component or pipeline 'othre'"):
        released_catalog(repository, ["othre"])


def test_the_command_says_what_it_did(repository: Repository) -> None:
    done = run("release", "other", "good", cwd=repository.root)
    assert done.stdout == (
        "compiled/components/other/1.2.3.yaml is released.\nCommit compiled/catalog.json.\n"
    )
    assert run("release", "other", cwd=repository.root).stdout == "All of them were released before.\n"
    edit(repository, "return name", "return name + name")
    check = run("compile", "--check", cwd=repository.root)
    assert check.returncode == 1
    assert check.stderr.startswith("CompileError: good 1.2.3 is released, but the code gives another file")
    assert "Traceback" not in check.stderr


CALLER = GOOD.replace("    return name\n", "    from components.good.work import do\n\n    return do({})\n")
WORK = "def do(first, /, name, *, size=3):\n    return name\n"


@pytest.mark.parametrize(
    ("given", "work", "problem"),
    [
        ("1, name=name", WORK, ""),
        ("1, name", WORK, ""),
        ("1, name, size=size", WORK, ""),
        ("1, name, **{}", WORK, ""),
        ("*[1, name]", WORK, ""),
        ("1, name=name", "async def do(*args, **others): ...", ""),
        ("1, name=name", "from components.good.else_where import do", ""),
        ("1, name=name", "class do: ...", ""),
        ("1, name=name", "do = print", ""),
        ("1, name=name", None, "there is no such module"),
        ("1, name=name", "def doo(first, name): ...", "it has no 'do'; Did you mean 'doo'"),
        ("1, name=name", "", "it is empty"),
        ("1, name=name", "def do(first): ...", "it takes no 'name'"),
        ("1, name=name", "def do(first, /, title): ...", "it takes no 'name'"),
        ("1, name", "def do(first): ...", "it takes 1 arguments by place, not 2"),
        ("1, name=name", "def do(first, name, more): ...", "it now needs 'more' too"),
        ("1, name=name", "def do(first, name, *, more, other=1): ...", "it now needs 'more' too"),
    ],
)
def test_what_a_released_file_calls_is_kept(
    given: str, work: str | None, problem: str, tmp_path: Path
) -> None:
    repository = tiny(tmp_path / "r", {"good": CALLER.format(given)})
    file = repository.root / "components/good/work.py"
    file.write_text(WORK)
    release(repository, "good")
    if work is None:
        file.unlink()
    else:
        file.write_text(work)
    if not problem:
        assert differences(repository.root, compiled_files(repository)) == []
        return
    with pytest.raises(CompileError) as raised:
        compiled_files(repository)
    said = f"{PATH} is released and calls components.good.work.do: {problem}. Keep the function"
    assert said in str(raised.value)


@pytest.mark.parametrize(
    "imports",
    [
        "import components.good.work as w\n\n    return w.do",
        "from components.good import work\n\n    return work.do",
    ],
)
def test_a_call_through_the_module_counts_too(imports: str, tmp_path: Path) -> None:
    text = CALLER.replace("from components.good.work import do\n\n    return do", imports).format("1, name")
    repository = tiny(tmp_path / "r", {"good": text})
    file = repository.root / "components/good/work.py"
    file.write_text(WORK)
    release(repository, "good")
    file.write_text("def did(first, name): ...")
    with pytest.raises(CompileError, match=r"calls components\.good\.work\.do: it has no 'do'"):
        compiled_files(repository)


def test_a_version_that_the_code_gives_no_more_is_checked_too(tmp_path: Path) -> None:
    repository = tiny(tmp_path / "r", {"good": CALLER.format("1, name=name")})
    work = repository.root / "components/good/work.py"
    work.write_text(WORK)
    release(repository, "good")
    edit(repository, "do(1, name=name)", "do_it(1, name)")
    edit(repository, "import do\n", "import do_it\n")
    edit(repository, '"1.2.3"', '"1.2.4"')
    work.write_text(WORK + "\n\ndef do_it(first, name): ...\n")
    write(repository.root, compiled_files(repository))
    work.write_text("def do_it(first, name): ...\n")
    with pytest.raises(CompileError, match=r"good/1\.2\.3\.yaml is released and calls"):
        compiled_files(repository, ["good"])


def test_a_new_release_of_this_library_changes_none_of_its_released_files(tmp_path: Path) -> None:
    copy = copy_of_this(tmp_path / "clone")
    assert run("release", "training", "train", cwd=copy).returncode == 0
    before = files(copy / "compiled")
    image = copy / "components/shared/image.py"
    text, bumped = re.subn(r'TAG = "[^"]*"', 'TAG = "99.0.0"', image.read_text())
    assert bumped == 1
    image.write_text(text)
    assert run("compile", cwd=copy).returncode == 0
    after = files(copy / "compiled")
    kept = {path for path in before if before[path] == after[path]}
    assert kept == {p for p in before if "/train/" in p or "/training/" in p}
    assert all(b":99.0.0" in after[path] for path in after.keys() - kept)


def test_an_image_never_changes_under_a_tag_of_a_release(tmp_path: Path) -> None:
    copy = copy_of_this(tmp_path / "clone")
    module = copy / "components/train/folds.py"
    module.write_text(module.read_text() + "# before the release\n")
    assert run("compile", "--check", cwd=copy).returncode == 0
    assert run("release", "train", cwd=copy).returncode == 0
    recorded = json.loads((copy / "compiled/catalog.json").read_text())["images"]
    assert [(name.rpartition("/")[2], digest[:7]) for name, digest in recorded.items()] == [
        ("python-core:0.1.0", "sha256:")
    ]
    assert run("compile", "--check", cwd=copy).returncode == 0
    module.write_text(module.read_text() + "# after it\n")
    done = run("compile", "--check", cwd=copy)
    assert done.returncode == 1
    assert "python-core:0.1.0 belongs to a release, but what goes into it has changed" in done.stderr
    image = copy / "components/shared/image.py"
    image.write_text(re.sub(r'TAG = "[^"]*"', 'TAG = "0.2.0"', image.read_text()))
    assert run("compile", cwd=copy).returncode == 0
    assert run("compile", "--check", cwd=copy).returncode == 0
    # The release's own images are remembered.
    assert json.loads((copy / "compiled/catalog.json").read_text())["images"] == recorded


def test_this_librarys_steps_keep_their_arguments(tmp_path: Path) -> None:
    copy = copy_of_this(tmp_path / "clone")
    assert run("release", "training", cwd=copy).returncode == 0
    step = copy / "components/train/step.py"
    text = step.read_text()
    assert "folds: int" in text
    step.write_text(text.replace("folds", "fold_count"))
    done = run("compile", "--check", cwd=copy)
    assert done.returncode == 1
    assert "calls kfp_lifecycle.components.train.step.train_step: it takes no 'folds'" in done.stderr
