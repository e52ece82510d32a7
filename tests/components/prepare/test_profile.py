"""The data profile is one HTML page that asks for nothing, shows what is there and runs none of it."""

import re
from html.parser import HTMLParser

import polars as pl
import pytest

from kfp_lifecycle.components.prepare.profile import histogram_path
from kfp_lifecycle.components.prepare.summaries import SAMPLE_ROWS, binned

EVIL = "<script>alert('x')</script>"


class Page(HTMLParser):
    """Tags and text of a page."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.links, self.words = [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href", "action", "data")]

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


@pytest.fixture
def made(prepare):
    table = pl.DataFrame(
        {
            "y": ["good", "bad", "good", None] * 30,
            "amount": [None if n % 10 == 0 else n * 1.5 for n in range(120)],
            "day": ["2024-01-02", "2024-03-04"] * 60,
            "flag": ["Yes", "No", "No"] * 40,
            EVIL: [EVIL, "b", "c"] * 40,
            "same": ["s"] * 120,
            "empty": [None] * 120,
        }
    )
    return prepare(table, target="y", drop_duplicates=False, rules={"categories": {"flag": ["Yes", "No"]}})


def test_it_shows_rows_columns_target_and_what_was_dropped(made):
    page = Page(made.profile)
    assert page.text.count("table.csv") >= 2
    for said in (
        "90 rows to predict y (binary) from 5 columns",
        "Dropped: the target is missing 30 25.0%",
        "has no values",
        "amount",
        "Yes / No",
        "2024-03-04",
        "is constant",
        "positive",
        made.schema.source_digest,
    ):
        assert said in page.text
    assert page.tags.count("svg") == 2
    assert f"{made.prepared.train_rows}" in page.text


def test_it_is_self_contained_and_escapes_the_data(made):
    page = Page(made.profile)
    assert page.links == []
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    assert "@import" not in made.profile
    assert "url(" not in made.profile
    assert EVIL in page.text


def test_it_warns_of_what_is_odd(prepare):
    labels = ["rare"] * 2 + ["usual", "other"] * 199
    made = prepare(
        {"y": labels, "who": [f"person {n}" for n in range(400)], "n": list(range(400))}, target="y"
    )
    text = Page(made.profile).text
    assert "Class 'rare' of the target is rare: 2 rows (0.50%)." in text
    assert "Column 'who' looks like an identifier: nearly all values differ." in text
    many = prepare({"y": [f"class {n % 40}" for n in range(400)], "n": list(range(400))}, target="y")
    assert "And 10 more classes." in Page(many.profile).text
    days = {"y": ["a", "b"] * 50, "day": [1, 1, *[2] * 98], "n": list(range(100))}
    late = prepare(days, target="y", split="time", split_column="day")
    assert "The test split has 98.0% of the rows, where 20.0% was asked for." in Page(late.profile).text


def test_of_a_regression_it_shows_the_target_in_both_splits(prepare):
    made = prepare({"y": [n / 3 for n in range(200)], "n": list(range(200))}, target="y")
    page = Page(made.profile)
    assert re.search(r"Train: \d+ rows, mean", page.text)
    assert re.search(r"Test: \d+ rows, mean", page.text)
    assert page.tags.count("svg") == 4


def test_it_says_where_a_sample_stands_for_the_rows(prepare, tmp_path):
    count = 2 * SAMPLE_ROWS
    table = pl.DataFrame({"y": ["a", "b"] * (count // 2), "n": range(count), "w": ["u", "v"] * (count // 2)})
    table.with_columns(x=pl.col("n") / 7).write_parquet(tmp_path / "t.parquet")
    made = prepare(tmp_path / "t.parquet", target="y")
    summaries = {summary.column.name: summary for summary in made.prepared.summaries}
    assert summaries["w"].is_distinct_exact
    assert not summaries["x"].is_distinct_exact
    assert summaries["x"].distinct == pytest.approx(SAMPLE_ROWS, rel=0.05)
    assert sum(summaries["x"].histogram) == summaries["x"].distinct
    # Ranges and means are those of all rows all the same.
    assert (summaries["n"].column.minimum, summaries["n"].column.maximum) == (0, count - 1)
    assert summaries["n"].mean == pytest.approx((count - 1) / 2)
    assert "sample of about 50,000 rows" in made.profile


@pytest.mark.parametrize(
    ("values", "bins"),
    [
        ([1, 2, 2, 3], [1, 2, 1]),
        ([0.0, 1.0], [1, *[0] * 22, 1]),
        ([5, 5], []),
        ([None, None], []),
        ([2**60, 2**60 + 1], []),
        ([-(2**63), 2**63 - 1], [1, *[0] * 22, 1]),
    ],
)
def test_bins(values, bins):
    series = pl.Series(values, dtype=pl.Float64 if isinstance(values[0], float) else pl.Int64)
    assert binned(series, series.min(), series.max()) == bins


def test_a_histogram_is_an_outline_as_high_as_its_box():
    assert histogram_path([1, 0, 2], width=30, height=10) == "M0 10V5.0h10.00V10.0h10.00V0.0h10.00V10Z"
