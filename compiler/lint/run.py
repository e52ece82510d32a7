"""Holds files against the rules."""

from dataclasses import dataclass
from pathlib import Path

from kfp_lifecycle.compiler.errors import CompiledFileError
from kfp_lifecycle.compiler.ir import Pipeline
from kfp_lifecycle.compiler.lint import document, images, local, older, secrets, server, size, tasks, unused
from kfp_lifecycle.compiler.lint.rule import RULES, Hit, Options, Rule, Severity
from kfp_lifecycle.compiler.lint.settings import Settings
from kfp_lifecycle.compiler.reader import CompiledFile, read
from kfp_lifecycle.compiler.text import shown

#: The modules whose import fills ``RULES``.
MODULES = (document, server, size, images, secrets, tasks, local, unused, older)

for _id in sorted(RULES):
    RULES[_id] = RULES.pop(_id)

#: More places of one rule in one file than this are only counted.
MOST_HITS = 50

_LONGEST = 600


@dataclass(frozen=True)
class Finding:
    """One place where a file breaks a rule.

    Args:
        rule: The rule's id.
        name: Its name.
        severity: How bad it is here.
        message: What is wrong.
        fix: What to do.
        file: The file as it was named.
        line: Counted from 1; 0 for the whole file.
        place: The task or component, from the root; may be empty.
        suppressed: Why the rule is switched off here; None where it is not.
    """

    rule: str
    name: str
    severity: Severity
    message: str
    fix: str
    file: str
    line: int
    place: str = ""
    suppressed: str | None = None


def lint(path: str | Path, options: Options | None = None, settings: Settings | None = None) -> list[Finding]:
    """Everything that the rules find in a file, by line.

    Never raises for what the file holds: one that cannot be read is a finding too.

    Args:
        path: A compiled file, or what is taken for one.
        options: What is asked of it.
        settings: Which rules are switched off where.
    """
    name = str(path)
    try:
        found = _hits(read(path), options or Options())
    except CompiledFileError as error:
        found = [(RULES[document.UNREADABLE], Hit(error.line, error.detail, fix=error.fix))]
    return [_finding(rule, hit, name, settings) for rule, hit in found]


def lint_compiled(compiled: CompiledFile, options: Options | None = None) -> list[Finding]:
    """The same for a file that is read already, with every rule on."""
    return [_finding(rule, hit, compiled.path, None) for rule, hit in _hits(compiled, options or Options())]


def failing(findings: list[Finding], least: Severity = Severity.ERROR) -> list[Finding]:
    """Those that are at least so bad, and not switched off."""
    order = list(Severity)
    return [f for f in findings if f.suppressed is None and order.index(f.severity) <= order.index(least)]


def _hits(compiled: CompiledFile, options: Options) -> list[tuple[Rule, Hit]]:
    pipeline = Pipeline(compiled)
    found: list[tuple[Rule, Hit]] = []
    for rule in RULES.values():
        several = list(dict.fromkeys(rule.check(pipeline, options)))
        found += [(rule, hit) for hit in several[:MOST_HITS]]
        if len(several) > MOST_HITS:
            hit = several[MOST_HITS]
            rest = f"The same in {len(several) - MOST_HITS} more places, of which this is the first."
            found.append((rule, Hit(hit.line, rest, hit.place, hit.fix, hit.severity)))
    return sorted(found, key=lambda item: (item[1].line, item[0].id))


def _finding(rule: Rule, hit: Hit, file: str, settings: Settings | None) -> Finding:
    # Names from the file are in them.
    message, fix, place = (
        shown(t, _LONGEST, quote=False) for t in (hit.message, hit.fix or rule.fix, hit.place)
    )
    return Finding(
        rule.id,
        rule.name,
        hit.severity or rule.severity,
        message,
        fix,
        file,
        hit.line,
        place,
        settings.reason(file, rule.id, hit.place) if settings else None,
    )
