"""What monitor tells the steps after it: one JSON text, which retrain and notify read."""

import json
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any

from kfp_lifecycle.components.monitor.history import Row
from kfp_lifecycle.components.monitor.windows import Window
from kfp_lifecycle.components.shared.errors import ParameterError

_TIMES = ("start", "end")


@dataclass(frozen=True)
class Summary:
    """A window in short.

    Args:
        model: Name of the registered model.
        version: Its version.
        start: The window's begin (UTC).
        end: The window's end.
        rows: Rows in it.
        verdict: ``steady``, ``drift``, ``broken`` or ``unjudged``.
        retrain: Whether the model should be retrained now.
        reasons: Why, one text each.
        drift_share: Share of columns (0 to 1) that have drifted; None where none could be compared.
        drifted: The drifted columns, the most drifted first.
        accuracy: On rows whose labels have arrived (R² for regression); None where none have.
        accuracy_reference: The same at registration.
        report: URI of the report.
    """

    model: str
    version: str
    start: datetime
    end: datetime
    rows: int
    verdict: str
    retrain: bool
    reasons: list[str]
    drift_share: float | None
    drifted: list[str]
    accuracy: float | None
    accuracy_reference: float | None
    report: str = ""

    @property
    def window(self) -> Window:
        """The window."""
        return Window(self.start, self.end)


#: The most columns that a summary names.
MOST_COLUMNS = 20


def summary_text(row: Row, report: str = "") -> str:
    """The summary of a window, as monitor gives it."""
    values = asdict(row) | {"report": report, "drifted": row.drifted[:MOST_COLUMNS]}
    chosen = {own.name: values[own.name] for own in fields(Summary)}
    return json.dumps(chosen, default=datetime.isoformat)


def read_summary(text: str) -> Summary:
    """What :func:`summary_text` wrote.

    Raises:
        ParameterError: The text is none.
    """
    try:
        values: dict[str, Any] = json.loads(text)
        for name in _TIMES:
            values[name] = datetime.fromisoformat(values[name])
        return Summary(**{own.name: values[own.name] for own in fields(Summary)})
    except (ValueError, KeyError, TypeError) as error:
        raise ParameterError(
            f"Parameter 'summary' is {text[:60]!r}, which monitor has not written: {error}.",
            "Pass the summary output of monitor.",
        ) from error
