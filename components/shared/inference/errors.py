"""The root of the errors that a user can mend, and the nearest name to a wrong one."""

import difflib
from collections.abc import Iterable


class LifecycleError(Exception):
    """Something the user can mend: what is wrong, where, and what to do.

    The message is the last line of a failed step's log, with no traceback; a traceback is for bugs.

    Args:
        problem: What is wrong, naming the column, parameter or URI.
        fix: What to do about it, as an instruction.
    """

    #: Marks the family even for the copy of this class that travels inside a model.
    is_declared = True

    def __init__(self, problem: str, fix: str = "") -> None:
        self.problem = " ".join(problem.split())
        self.fix = " ".join(fix.split())
        super().__init__(self.problem, self.fix)

    def __str__(self) -> str:
        return f"{self.problem} {self.fix}".strip()


class SchemaError(LifecycleError):
    """A table does not have the columns, types or values that the schema declares."""


class ExpressionError(LifecycleError):
    """A derived column's SQL expression does not parse, or reaches outside the row it is computed from."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The nearest known name as a question, or the known names where none is near.

    Args:
        name: What the user wrote.
        known: What would have been right; may be empty.

    Returns:
        A sentence, or an empty string when nothing is known.
    """
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if near:
        return f"Did you mean {near[0]!r}?"
    if not names:
        return ""
    shown = ", ".join(names[:12])
    return f"Known: {shown}{', …' if len(names) > 12 else ''}."
