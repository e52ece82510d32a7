"""The page at ``/`` in a real browser: the card, the signature, the form and what it does with errors."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.components.serve.serving import Models, Server, Start

HOSTILE = "</script><script>window.broken = 1</script><img src=x onerror='window.broken = 2'>"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page whose console must stay empty and which asks its own server for everything."""
    opened, said, asked = browser.new_page(), [], []
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.on("console", lambda line: said.append(line.text) if line.type == "error" else None)
    opened.on("request", lambda request: asked.append(request.url))
    yield opened
    home = re.match(r"http://127\.0\.0\.1:\d+/", opened.url)
    assert home is not None
    assert all(url.startswith((home[0], "data:")) for url in asked)
    assert [line for line in said if "status of 400" not in line] == []
    opened.close()


def _value(page: Page, column: str) -> str:
    return page.input_value(f"[name='{column}']")


def test_the_form_holds_the_example_and_predict_shows_what_the_model_makes_of_it(
    page: Page, churn_server: Server, models: Models
) -> None:
    recorded = json.loads((models.binary / "data" / "lifecycle" / "example.json").read_text())
    first, made = recorded["inputs"][0], recorded["outputs"][0]
    page.goto(f"{churn_server.url}/")
    assert page.inner_text("h1") == "churn"
    assert "binary" in page.inner_text("#facts")
    assert page.locator("#inputs tr").count() == len(first)
    assert page.locator("#outputs tr").count() == 3
    assert _value(page, "contract") == first["contract"]

    page.click("#predict")
    page.wait_for_selector(".prediction")
    assert page.inner_text(".prediction") == made["prediction"]
    shown = f"{100 * made['probability_Yes']:.1f}%"
    assert shown in page.inner_text(".bars")

    page.fill("[name='tenure']", "72")
    page.fill("[name='contract']", "Two year")
    page.click("#predict")
    page.wait_for_function("shown => !document.querySelector('.bars').innerText.includes(shown)", arg=shown)


def test_a_refused_value_is_named_with_its_column_and_the_field_is_marked(
    page: Page, churn_server: Server
) -> None:
    page.goto(f"{churn_server.url}/")
    page.fill("[name='tenure']", "long")
    page.click("#predict")
    page.wait_for_selector(".error")
    assert "tenure" in page.inner_text(".error")
    assert page.get_attribute("[name='tenure']", "aria-invalid") == "true"
    page.click("#again")
    assert page.get_attribute("[name='tenure']", "aria-invalid") is None
    page.click("#predict")
    page.wait_for_selector(".prediction")


def test_an_empty_field_is_a_missing_value(page: Page, churn_server: Server) -> None:
    page.goto(f"{churn_server.url}/")
    page.fill("[name='total_charges']", "")
    page.click("#predict")
    page.wait_for_selector(".prediction")
    page.click("#clear")
    assert _value(page, "contract") == ""
    page.click("#predict")
    page.wait_for_selector(".error")


def test_the_curl_line_of_the_page_works_and_follows_the_form(page: Page, churn_server: Server) -> None:
    page.goto(f"{churn_server.url}/")
    page.fill("[name='contract']", "It's new")
    line = page.inner_text("#curl")
    done = subprocess.run(line, shell=True, capture_output=True, text=True, check=True)
    assert len(json.loads(done.stdout)["predictions"]) == 1
    assert "It'\\''s new" in line


def test_during_a_rollout_each_version_can_be_tried(
    page: Page, server: Start, models: Models, tmp_path: Path
) -> None:
    token = {"KFP_LIFECYCLE_SERVE_TOKEN": "t"}
    own = server(models.binary, "--name", "churn", "--control", env=token)
    other = shutil.copytree(models.binary, tmp_path / "other")
    (other / "note.txt").write_text("another digest, and so another version")
    body = {"parameters": {"uri": str(other)}}
    loaded = own.post("/v2/repository/models/churn/load", body, Authorization="Bearer t")
    assert loaded.status_code == 200, loaded.text
    stable, candidate = (one["version"] for one in loaded.json()["models"])

    page.goto(f"{own.url}/")
    assert "stable" in page.inner_text("#tags")
    page.select_option("#version", index=1)
    assert f"version {candidate}" in page.inner_text("#tags")
    page.click("#predict")
    page.wait_for_selector(".prediction")
    assert f"version {candidate}" in page.inner_text("#answer")
    assert stable != candidate


@pytest.mark.parametrize("kind", ["multiclass", "plain"])
def test_every_kind_of_model_has_a_page(page: Page, server: Start, models: Models, kind: str) -> None:
    own = server(getattr(models, kind), "--name", "<b>hostile</b>" if kind == "plain" else kind)
    page.goto(f"{own.url}/")
    page.click("#predict")
    page.wait_for_selector(".prediction")
    assert page.inner_text("h1") in (kind, "<b>hostile</b>")


def test_the_page_is_for_browsers_and_loads_nothing_from_elsewhere(churn_server: Server) -> None:
    answer = churn_server.get("/", Accept="text/html")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", answer.text)
    assert churn_server.get("/", Accept="*/*").json() == {"status": "alive"}, "KServe's clients ask there"


def test_texts_of_a_model_are_never_read_as_markup(
    page: Page, server: Start, models: Models, tmp_path: Path
) -> None:
    folder = shutil.copytree(models.binary, tmp_path / "hostile")
    about = folder / "data" / "lifecycle" / "schema.json"
    schema = json.loads(about.read_text())
    schema["source_uri"] = HOSTILE
    about.write_text(json.dumps(schema))
    own = server(folder, "--name", "churn")
    page.goto(f"{own.url}/")
    assert HOSTILE in page.inner_text("#facts")
    assert page.evaluate("window.broken") is None
