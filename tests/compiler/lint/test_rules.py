"""Every rule finds what it is for, with a line, and nothing in a file that is only near to it."""

import re
from pathlib import Path

import pytest

from kfp_lifecycle.compiler.lint import RULES, SUBJECTS, Severity, lint
from kfp_lifecycle.compiler.lint.page import rules_page
from tests.compiler.lint.cases import CASES, Case
from tests.compiler.specs import changed

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("rule", CASES)
def test_rule_finds_the_bad_file(rule: str, tmp_path: Path) -> None:
    case = CASES[rule]
    found = [f for f in _lint(case, case.bad, tmp_path) if f.rule == rule]
    assert found
    assert any(case.said in f"{f.message} {f.fix}" for f in found), found
    assert all(f.line > 0 or rule == "KL201" for f in found)
    assert all(f.fix and f.severity in Severity and f.file.endswith("pipeline.yaml") for f in found)


@pytest.mark.parametrize("rule", CASES)
def test_rule_lets_the_good_file_be(rule: str, tmp_path: Path) -> None:
    case = CASES[rule]
    assert [f for f in _lint(case, case.good, tmp_path) if f.rule == rule] == []


def test_nothing_is_found_in_the_small_pipeline(tmp_path: Path) -> None:
    file = tmp_path / "pipeline.yaml"
    file.write_bytes(changed())
    assert lint(file) == []


def test_every_rule_has_its_two_files() -> None:
    assert list(CASES) == list(RULES)


def test_ids_names_and_texts() -> None:
    for key, rule in RULES.items():
        assert re.fullmatch(r"KL[0-8]\d\d", key)
        assert key == rule.id
        assert key[2] in SUBJECTS
    assert len({rule.name for rule in RULES.values()}) == len(RULES)
    for rule in RULES.values():
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", rule.name)
        assert all("\n" not in text and text.endswith(".") for text in (rule.reason, rule.fix))


def test_the_page_of_rules_is_current() -> None:
    assert (ROOT / "docs" / "lint-rules.md").read_text(encoding="utf-8") == rules_page()


def _lint(case: Case, content: bytes, folder: Path):
    file = folder / "pipeline.yaml"
    file.write_bytes(content)
    return lint(file, case.options)
