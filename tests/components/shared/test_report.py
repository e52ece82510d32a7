"""The page that every report extends, and how numbers are written on it."""

import math

import pytest
from jinja2 import UndefinedError

from kfp_lifecycle.components.shared.report import count, number, percent, render


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.84312, "0.8431"),
        (-0.00731, "-0.007310"),
        (12.3456, "12.35"),
        (1234567.8, "1,234,568"),
        (9.87e-12, "9.870e-12"),
        (math.nan, "—"),
        (math.inf, "—"),
        (None, "—"),
    ],
)
def test_numbers_have_four_significant_digits(value: float | None, text: str) -> None:
    assert number(value) == text


def test_counts_and_shares() -> None:
    assert count(1234567) == "1,234,567"
    assert percent(0.265) == "26.5%"
    assert percent(0.265, 0) == "26%"
    assert percent(None) == percent(math.nan) == "—"


def test_the_base_page_is_whole_and_fetches_nothing() -> None:
    page = render("shared/report/base.html")
    assert page.startswith("<!doctype html>")
    assert page.rstrip().endswith("</html>")
    assert not any(sign in page for sign in ("http", "src=", "@import", "url(", "<script", "<link"))
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page


def test_a_value_that_is_not_given_is_an_error() -> None:
    with pytest.raises(UndefinedError):
        render("evaluate/report.html")
