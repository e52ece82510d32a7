"""The site as files: what a page says, that it is the same each time, and what cannot be made one."""

import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from kfp_lifecycle.compiler.errors import CompileError
from kfp_lifecycle.compiler.files import GeneratedFile, write
from kfp_lifecycle.compiler.repository import Repository, find_repository
from kfp_lifecycle.compiler.site import outdated, site
from tests.compiler.site.conftest import HOSTILE, HOSTILE_INPUT, edit, relist
from tests.repositories import ROOT, run

OURS = Repository(ROOT, "kfp_lifecycle")


class Page(HTMLParser):
    """What a browser would take from a page: its elements with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.parts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.parts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.parts).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def pages(*repositories: Repository) -> dict[str, Page]:
    return {f.path: Page(f.text) for f in site(repositories) if f.path.endswith(".html")}


def test_a_page_for_each_and_every_file_to_download(repository: Repository) -> None:
    files = {file.path: file.text for file in site([repository])}
    assert sorted(files) == [
        "components/good.html",
        "components/other.html",
        "files/components/good-1.0.0.yaml",
        "files/components/good-1.2.3.yaml",
        "files/components/other-1.2.3.yaml",
        "files/pipelines/flow-2.0.0.yaml",
        "index.html",
        "pipelines/flow.html",
    ]
    for path, text in files.items():
        if path.endswith(".yaml"):
            kind, file = path.split("/")[1:]
            name, _, version = file.partition("-")
            original = (repository.compiled / kind / name / version).read_bytes()
            assert text.encode() == original
            assert hashlib.sha256(original).hexdigest() in files[f"{kind}/{name}.html"]


def test_a_page_says_everything(repository: Repository) -> None:
    text = pages(repository)["components/good.html"].text
    for said in (
        "Does good.",
        "registry/python-x:1",
        "table Dataset required The table.",
        "size int 3 How large, in rows.",
        'mode str "fast" One of "fast" , "exact" .',
        "result Metrics What came out.",
        "Output str What it did.",
        "1.2.3 not released",
        "1.0.0 released",
        "Breaking: runs, schedules or scripts that use it fail or differ",
        "input-default-changed",
        "Used by flow",
    ):
        assert said in text, said
    assert "hunter2" not in text


def test_a_pipeline_is_linked_with_what_it_is_made_of(repository: Repository) -> None:
    links = [a["href"] for a in pages(repository)["pipelines/flow.html"].all("a")]
    assert "../components/good.html#v1.2.3" in links
    assert "../components/other.html#v1.2.3" in links
    assert "../components/good.html#v1.0.0" not in links


@pytest.mark.parametrize("where", ["tiny", "ours"])
def test_every_link_leads_somewhere_inside(where: str, repository: Repository) -> None:
    repositories = [repository, OURS] if where == "tiny" else [OURS]
    files = {file.path: file.text for file in site(repositories)}
    found = {path: Page(text) for path, text in files.items() if path.endswith(".html")}
    ids = {path: {a["id"] for _, a in page.elements if "id" in a} for path, page in found.items()}
    for path, page in found.items():
        assert len(ids[path]) == len([a for _, a in page.elements if "id" in a]), "an id is there twice"
        for attributes in page.all("a"):
            target, _, anchor = (attributes["href"] or "").partition("#")
            full = (Path("/") / path).parent.joinpath(target).resolve() if target else Path("/") / path
            inside = str(full.relative_to("/"))
            assert inside in files
            assert not anchor or anchor in ids[inside]
    embedded = re.search(r'id="search-data">(.*?)</script>', files["index.html"])
    assert embedded is not None
    for item in json.loads(embedded[1]):
        for port in item["ports"]:
            target, _, anchor = port["href"].partition("#")
            assert anchor in ids[target]


def test_nothing_is_asked_for_outside_the_page(repository: Repository) -> None:
    for page in pages(repository, OURS).values():
        tags = {tag for tag, _ in page.elements}
        assert not tags & {"link", "img", "iframe", "object", "embed", "base", "audio", "video", "use"}
        assert all("src" not in attributes for _, attributes in page.elements)
        assert not any(key.startswith("on") for _, attributes in page.elements for key in attributes)
        policies = [m["content"] or "" for m in page.all("meta") if "http-equiv" in m]
        assert [policy.partition(";")[0] for policy in policies] == ["default-src 'none'"]


def test_hostile_texts_are_shown_and_do_nothing(repository: Repository) -> None:
    files = {file.path: file.text for file in site([repository])}
    for path in ("index.html", "components/good.html"):
        assert "<img" not in files[path]
        assert "\u202e" not in files[path]
        assert len(re.findall(r"<script\b", files[path])) == (2 if path == "index.html" else 1)
    text = Page(files["components/good.html"]).text
    assert HOSTILE.replace("\u202e", "\\u202e") in text
    assert HOSTILE_INPUT in text


def test_the_same_files_give_the_same_bytes(repository: Repository, original: Repository) -> None:
    assert site([repository]) == site([original])


def test_ours_are_beside_ones_own_which_come_first(repository: Repository) -> None:
    mine = (repository.root / "compiled/components/good").rename(
        repository.root / "compiled/components/train"
    )
    assert mine.is_dir()
    relist(repository)
    found = pages(repository, OURS)
    assert {"pipelines/training.html", "components/prepare.html"} < found.keys()
    assert "Does good." in found["components/train.html"].text
    assert "from kfp-lifecycle" not in found["components/train.html"].text
    assert "component from kfp-lifecycle" in found["components/prepare.html"].text
    prepare = Page(next(f.text for f in site([repository, OURS]) if f.path == "components/prepare.html")).text
    assert "from kfp_lifecycle.components.prepare import prepare" in prepare
    assert 'load_component_from_file("prepare-' in prepare


def test_components_are_in_the_order_that_pipelines_use_them() -> None:
    index = next(f.text for f in site([OURS]) if f.path == "index.html")
    order = re.findall(r'<li class="card" data-name="([^"]+)"', index)
    pipelines = sorted(folder.name for folder in (ROOT / "compiled/pipelines").iterdir())
    assert order[: len(pipelines)] == pipelines
    assert order.index("prepare") < order.index("featurize") < order.index("train") < order.index("register")


def test_a_graph_that_cannot_be_drawn_is_said(repository: Repository) -> None:
    def circle(spec: dict[str, dict[str, dict[str, dict[str, dict[str, object]]]]]) -> None:
        spec["root"]["dag"]["tasks"]["good"]["dependentTasks"] = ["good"]

    edit(repository, "components/good/1.0.0.yaml", circle)
    assert "circle" in pages(repository)["components/good.html"].text


def test_nothing_compiled_is_a_page_that_says_so(tmp_path: Path) -> None:
    (index,) = site([Repository(tmp_path)])
    assert "Nothing is compiled yet." in Page(index.text).text


def test_a_catalog_that_is_not_about_the_files_is_refused(repository: Repository) -> None:
    file = repository.compiled / "components/other/1.2.3.yaml"
    text = file.read_text()
    file.write_text(text + "# changed\n")
    with pytest.raises(CompileError, match="not the file that the catalog lists"):
        site([repository])
    file.unlink()
    with pytest.raises(CompileError, match=r"lists a missing components/other/1\.2\.3\.yaml"):
        site([repository])
    file.write_text(text)
    file.with_name("1.2.4.yaml").write_text(text)
    with pytest.raises(CompileError, match=r"lists no components/other/1\.2\.4\.yaml"):
        site([repository])


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"files": [1]}', '{"files": {"a": 1}}', '{"files": [{"path": "x"}]}', "[" * 100_000],
)
def test_a_broken_catalog_is_refused(text: str, repository: Repository) -> None:
    (repository.compiled / "catalog.json").write_text(text)
    with pytest.raises(CompileError, match=r"catalog\.json"):
        site([repository])


def test_a_catalog_leads_nowhere_outside(repository: Repository) -> None:
    listed = {"files": [{"path": "../../secret.yaml", "sha256": "0"}]}
    (repository.compiled / "catalog.json").write_text(json.dumps(listed))
    with pytest.raises(CompileError, match="no compiled file's place"):
        site([repository])


def test_what_an_earlier_site_left_is_outdated_and_nothing_else(
    repository: Repository, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    before = site([repository, OURS])
    write(out, [*before, GeneratedFile("components/mine.html", "<p>Mine.</p>"), GeneratedFile("x.txt", "x")])
    now = site([repository])
    left = {path.relative_to(out).as_posix() for path in outdated(out, now)}
    assert left == {f.path for f in before} - {f.path for f in now}


def test_the_command(repository: Repository, tmp_path: Path) -> None:
    done = run("catalog", "--out", str(tmp_path / "out"), cwd=repository.root)
    assert (done.returncode, done.stderr) == (0, "")
    assert "index.html" in done.stdout
    assert (tmp_path / "out/pipelines/flow.html").is_file()
    assert (tmp_path / "out/pipelines/training.html").is_file()
    again = run("catalog", "--out", str(tmp_path / "out"), cwd=repository.root)
    assert ", 0 written." in again.stdout
    (repository.compiled / "pipelines/flow/2.0.0.yaml").unlink()
    relist(repository)
    removed = run("catalog", "--out", str(tmp_path / "out"), cwd=repository.root)
    assert re.search(r"pipelines/flow\.html +removed", removed.stdout)
    assert not (tmp_path / "out/pipelines/flow.html").exists()
    (repository.compiled / "catalog.json").write_text("{")
    refused = run("catalog", cwd=repository.root)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith("CompileError: ")


def test_this_repositorys_own_catalog_is_a_site() -> None:
    assert find_repository(ROOT) == OURS
    assert len(site([find_repository(ROOT), OURS])) == len(site([OURS]))
