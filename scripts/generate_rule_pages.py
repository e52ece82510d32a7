"""Writes docs/lint-rules.md and docs/diff-changes.md from the rules and the kinds of changes.

Run by hand: ``python -m kfp_lifecycle.scripts.generate_rule_pages``. Tests hold the pages to the code.
"""

from pathlib import Path

DOCS = Path(__file__).resolve().parents[1] / "docs"


def main() -> None:
    """Writes both pages."""
    from kfp_lifecycle.compiler.diff.page import changes_page
    from kfp_lifecycle.compiler.lint.page import rules_page

    (DOCS / "lint-rules.md").write_text(rules_page(), encoding="utf-8")
    (DOCS / "diff-changes.md").write_text(changes_page(), encoding="utf-8")


if __name__ == "__main__":
    main()
