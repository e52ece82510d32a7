"""Rules for compiled files. docs/lint-rules.md, which is generated from them, says what each is for."""

from kfp_lifecycle.compiler.lint.rule import RULES, SUBJECTS, Options, Rule, Severity
from kfp_lifecycle.compiler.lint.run import Finding, failing, lint, lint_compiled
from kfp_lifecycle.compiler.lint.settings import Settings, find_settings

__all__ = [
    "RULES",
    "SUBJECTS",
    "Finding",
    "Options",
    "Rule",
    "Settings",
    "Severity",
    "failing",
    "find_settings",
    "lint",
    "lint_compiled",
]
