"""What a lint rule is, and the one list of all of them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from kfp_lifecycle.compiler.backends import Version
from kfp_lifecycle.compiler.ir import Pipeline


class Severity(StrEnum):
    """How bad a hit is: the server refuses it or a run is wrong; it will hurt; one should know it."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True)
class Options:
    """What is asked of a file beyond the rules that hold for every one.

    Args:
        backend: The oldest API server that the file must run on; None for the newest.
        require_digests: Whether an image must be named by its digest.
    """

    backend: Version | None = None
    require_digests: bool = False


@dataclass(frozen=True)
class Hit:
    """One place where a file breaks a rule.

    Args:
        line: The line, counted from 1; 0 for the whole file.
        message: What is wrong there.
        place: The task or component, from the root: ``condition-1/train``.
        fix: What to do, where the rule's own fix is not enough.
        severity: Where it differs from the rule's.
    """

    line: int
    message: str
    place: str = ""
    fix: str = ""
    severity: Severity | None = None


@dataclass(frozen=True)
class Rule:
    """A lint rule.

    Args:
        id: Stable: ``KL301``. Its first digit is its subject.
        name: Stable: ``image-without-tag``.
        severity: How bad a hit is.
        reason: Why, in one line.
        fix: What to do, in one line.
        check: Finds the places. Gets clean data: it need not look for wrong types, and must not follow
            references deeper than it has seen.
    """

    id: str
    name: str
    severity: Severity
    reason: str
    fix: str
    check: Callable[[Pipeline, Options], Iterator[Hit]] = field(compare=False)


#: First digit of an id to its subject.
SUBJECTS = {
    "0": "The file",
    "1": "What the API server refuses",
    "2": "Size and text",
    "3": "Images",
    "4": "Secrets",
    "5": "Tasks",
    "6": "Local runs",
    "7": "Unused parts",
    "8": "Older API servers",
}

#: Every rule by its id. Filled by the modules of this package, when they are imported.
RULES: dict[str, Rule] = {}

Check = Callable[[Pipeline, Options], Iterator[Hit]]


def rule(id: str, name: str, severity: Severity, reason: str, fix: str) -> Callable[[Check], Check]:  # noqa: A002
    """Makes a rule of the function that checks it."""

    def register(check: Check) -> Check:
        assert id not in RULES, id
        RULES[id] = Rule(id, name, severity, reason, fix, check)
        return check

    return register
