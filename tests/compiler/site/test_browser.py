"""The site in a real browser, from the disk: search, keyboard, links, phones, and no request leaves."""

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from kfp_lifecycle.compiler.files import write
from kfp_lifecycle.compiler.repository import Repository
from kfp_lifecycle.compiler.site import site
from kfp_lifecycle.compiler.site.collect import collect
from tests.repositories import ROOT

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]

OURS = Repository(ROOT, "kfp_lifecycle")
COUNT = re.compile(r"^[1-9]\d* of \d+ match\.$")

pytestmark = pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="no chromium on this machine")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def folder(original: Repository, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out")
    write(out, site([original, OURS]))
    return out


@pytest.fixture(scope="module")
def total(original: Repository) -> int:
    return len(collect([original, OURS]))


@dataclass
class Visit:
    """A page in a fresh browser window, and what it did that it should not."""

    page: Page
    folder: Path
    requests: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def open(self, path: str) -> Page:
        self.page.goto(f"file://{self.folder}/{path}")
        return self.page


@pytest.fixture(params=[(1280, "light"), (400, "dark")], ids=["desk", "phone"])
def visit(browser: Browser, folder: Path, request: pytest.FixtureRequest) -> Iterator[Visit]:
    """A visit that asked for nothing outside the folder, wrote no error and ran nothing hostile."""
    width, scheme = request.param
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    found = Visit(context.new_page(), folder)
    found.page.on("request", lambda r: found.requests.append(r.url))
    found.page.on("console", lambda m: found.problems.append(m.text))
    found.page.on("pageerror", lambda e: found.problems.append(str(e)))
    yield found
    assert found.page.evaluate("window.broken") is None
    assert found.requests
    assert [url for url in found.requests if not url.startswith(f"file://{folder}/")] == []
    assert found.problems == []
    context.close()


def fits(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


def test_search_finds_an_input_and_its_link_leads_there(visit: Visit) -> None:
    page = visit.open("index.html")
    assert fits(page)
    page.get_by_role("searchbox", name="Search names").fill("positive class")
    expect(page.get_by_role("status")).to_have_text(COUNT)
    expect(page.get_by_role("heading", name="prepare")).to_be_visible()
    expect(page.get_by_role("heading", name="evaluate")).to_be_hidden()
    page.locator(".card", has=page.get_by_role("heading", name="prepare")).get_by_role(
        "link", name="positive_class"
    ).click()
    assert re.search(r"/components/prepare\.html#v[\d.]+-input-positive_class$", page.url)
    expect(page.get_by_role("row", name="positive_class")).to_be_in_viewport()
    assert fits(page)
    page.go_back()
    expect(page.get_by_role("searchbox")).to_have_value("positive class")
    expect(page.get_by_role("status")).to_have_text(COUNT)


def test_words_are_found_in_names_descriptions_inputs_and_outputs(visit: Visit) -> None:
    page = visit.open("index.html")
    for words, first in (
        ("TRAIN", "train"),
        ("paired bootstrap", "evaluate"),
        ("test_size", "prepare"),
        ("test-features", "featurize"),
        ("mlflow registry aliases", "register"),
    ):
        page.get_by_role("searchbox").fill(words)
        headings = page.locator("section[aria-labelledby=components] .card:visible h3")
        expect(headings.first).to_have_text(first)
    page.get_by_role("searchbox").fill("no such (thing")
    expect(page.get_by_role("status")).to_have_text("Nothing matches.")
    assert page.locator(".card:visible").count() == 0


def test_the_keyboard_is_enough(visit: Visit, total: int) -> None:
    page = visit.open("index.html")
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.type("featurize")
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.tagName") == "A"
    page.keyboard.press("ArrowUp")
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("searchbox")).to_have_value("")
    expect(page.locator(".card:visible")).to_have_count(total)
    page.keyboard.type("cross-validates")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("train")


def test_a_page_has_versions_that_fold_and_links_that_unfold(visit: Visit) -> None:
    page = visit.open("components/good.html")
    old = page.locator("details#v1\\.0\\.0")
    expect(old).not_to_have_attribute("open", "")
    page.get_by_role("table").last.get_by_role("link", name="1.0.0", exact=True).click()
    expect(old).to_have_attribute("open", "")
    expect(old.get_by_role("heading", name="Inputs")).to_be_visible()
    # Roles hold where a phone lays tables out as blocks.
    assert page.get_by_role("columnheader", name="default").count() == 2
    expect(page.get_by_role("row", name="size").first).to_contain_text("How large")
    assert fits(page)


def test_a_file_can_be_downloaded(visit: Visit, original: Repository) -> None:
    page = visit.open("components/good.html")
    with page.expect_download() as download:
        page.get_by_role("link", name="good-1.0.0.yaml").first.click()
    assert download.value.suggested_filename == "good-1.0.0.yaml"
    compiled = original.compiled / "components/good/1.0.0.yaml"
    assert download.value.path().read_bytes() == compiled.read_bytes()


def test_the_picture_fits_the_screen_and_its_rules_stay_inside(visit: Visit) -> None:
    page = visit.open("pipelines/training.html")
    assert page.locator(".graph:visible svg").count() == 1
    assert fits(page)
    assert page.evaluate("getComputedStyle(document.querySelector('p.note, .note')).fontSize") != "12px"
    text = page.locator(".graph:visible svg text").first
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert text.evaluate("e => getComputedStyle(e).fill") != ground


def test_it_prints_with_everything_open_and_dark_on_light(visit: Visit) -> None:
    page = visit.open("components/good.html")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details:not([open])").count() == 0
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    heading = page.locator(".graph:visible .heading").first
    assert heading.evaluate("e => getComputedStyle(e).fill") == "rgb(24, 33, 47)"
    assert page.locator(".copy:visible").count() == 0
    assert page.pdf()[:5] == b"%PDF-"


def test_an_address_that_is_no_address_does_no_harm(visit: Visit) -> None:
    page = visit.open("index.html#q=%")
    expect(page.get_by_role("searchbox")).to_have_value("%")
    visit.open("components/good.html#%E0%A4%A")


def test_without_javascript_everything_is_there(browser: Browser, folder: Path, total: int) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"file://{folder}/index.html")
    expect(page.locator(".card")).to_have_count(total)
    expect(page.get_by_role("searchbox")).to_have_count(0)
    page.get_by_role("link", name="good").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("good")
    context.close()
