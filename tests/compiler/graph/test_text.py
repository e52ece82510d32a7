"""Texts: measured without fonts, cut and wrapped to fit, cleaned of what no picture can show."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kfp_lifecycle.compiler.graph.text import ELLIPSIS, clean, fit, width, wrap


def test_widths_are_those_of_the_widest_usual_font() -> None:
    # Arial's advance widths: W 944, i 222 (Roboto's is wider: 243), m 833 (877).
    assert width("W", 1000) == 944
    assert width("i", 1000) == 243
    assert width("m", 1000) == 877
    assert width("W", 1000, bold=True) == 944
    assert width("漢", 1000) == 1000
    assert width("", 14) == 0


@given(st.text(max_size=200), st.integers(20, 300))
def test_what_is_fitted_fits(text: str, limit: int) -> None:
    shown = fit(clean(text), 12, limit)
    assert width(shown, 12) <= limit
    assert shown == clean(text) or shown.endswith(ELLIPSIS)


@given(st.text(max_size=200), st.integers(30, 300), st.integers(1, 3))
def test_what_is_wrapped_fits_and_loses_only_its_end(text: str, limit: int, lines: int) -> None:
    text = clean(text)
    broken = wrap(text, 12, limit, lines)
    assert 1 <= len(broken) <= lines
    assert all(width(line, 12) <= limit for line in broken)
    joined = "".join("".join(broken).split())
    whole = "".join(text.split())
    assert joined == whole or whole.startswith(joined.removesuffix(ELLIPSIS))


def test_breaks_are_where_a_person_would_break() -> None:
    assert wrap("a learning rate of 0.1", 12, 80, 2) == ["a learning", "rate of 0.1"]
    assert wrap("gs://bucket/some/folder/part-0001", 12, 120, 2) == ["gs://bucket/some/", "folder/part-0001"]
    assert wrap("train_and_evaluate_model", 12, 100, 2) == ["train_and_", "evaluate_model"]


@given(st.text())
def test_clean_text_is_one_line_that_xml_can_hold(text: str) -> None:
    shown = clean(text)
    assert clean(shown) == shown
    assert not any(ord(char) < 32 or 0xD800 <= ord(char) < 0xE000 for char in shown)
    shown.encode()


@pytest.mark.parametrize(("dirty", "shown"), [("a\n\tb", "a b"), ("a\x00b", "a�b"), ("\u202eabc", "�abc")])
def test_what_cannot_be_shown_is_replaced(dirty: str, shown: str) -> None:
    assert clean(dirty) == shown


def test_a_novel_is_cut() -> None:
    assert len(clean("word " * 1_000_000)) <= 2000
