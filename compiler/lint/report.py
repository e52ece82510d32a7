"""Findings for other programs: JSON, and SARIF 2.1.0, which code-review tools read."""

from collections import Counter
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any
from urllib.parse import quote

from kfp_lifecycle.compiler.lint.rule import RULES, Rule
from kfp_lifecycle.compiler.lint.run import Finding

SARIF_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def to_json(findings: Sequence[Finding]) -> dict[str, Any]:
    """The findings as plain data.

    Returns:
        ``format`` (1), ``findings`` in order, and how many there are of each severity; those that are
        switched off are counted under ``suppressed`` alone.
    """
    counts = Counter("suppressed" if f.suppressed is not None else f"{f.severity}s" for f in findings)
    return {
        "format": 1,
        "findings": [_plain(finding) for finding in findings],
        **{key: counts.get(key, 0) for key in ("errors", "warnings", "notes", "suppressed")},
    }


def _plain(finding: Finding) -> dict[str, Any]:
    keys = ("rule", "name", "severity", "file", "line", "place", "message", "fix", "suppressed")
    return {key: getattr(finding, key) for key in keys}


def to_sarif(findings: Sequence[Finding], version: str) -> dict[str, Any]:
    """The findings as a SARIF 2.1.0 log.

    Args:
        findings: What was found.
        version: This library's version.
    """
    order = {id: at for at, id in enumerate(RULES)}  # noqa: A001
    driver = {
        "name": "kfp-lifecycle",
        "version": version,
        "rules": [_sarif_rule(rule) for rule in RULES.values()],
    }
    results = [_sarif_result(finding, order[finding.rule]) for finding in findings]
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    return {"$schema": SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}


def _sarif_rule(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.id,
        "name": "".join(part.capitalize() for part in rule.name.split("-")),
        "shortDescription": {"text": rule.reason},
        "help": {"text": rule.fix},
        "defaultConfiguration": {"level": str(rule.severity)},
    }


def _sarif_result(finding: Finding, index: int) -> dict[str, Any]:
    place: dict[str, Any] = {
        "physicalLocation": {
            "artifactLocation": {"uri": quote(PurePath(finding.file).as_posix())},
            # A region is wanted by what shows findings beside the code: the whole file's is its first line.
            "region": {"startLine": max(finding.line, 1)},
        }
    }
    if finding.place:
        place["logicalLocations"] = [{"fullyQualifiedName": finding.place, "kind": "member"}]
    result: dict[str, Any] = {
        "ruleId": finding.rule,
        "ruleIndex": index,
        "level": str(finding.severity),
        "message": {"text": f"{finding.message} {finding.fix}".strip()},
        "locations": [place],
    }
    if finding.suppressed is not None:
        result["suppressions"] = [{"kind": "external", "justification": finding.suppressed}]
    return result
