"""From the alarms of windows to one retraining: k of n windows must alarm, and no retraining be near.

What a single window says is decided elsewhere. Here are only the windows before it, and what was begun.
Windows that could not be judged count neither for an alarm nor against it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from kfp_lifecycle.components.monitor.history import History, Retraining, Row, retraining_name
from kfp_lifecycle.components.shared.errors import ParameterError


@dataclass(frozen=True)
class Patience:
    """When alarms become a retraining.

    Args:
        alarms: How many windows must alarm, this one among them.
        windows: Of how many, this one and those before it.
        cooldown: After a retraining, by the windows' time, none is asked for so long.
    """

    alarms: int = 2
    windows: int = 3
    cooldown: timedelta = timedelta(days=1)

    def check(self) -> None:
        """Raises ``ParameterError`` where it can never be met."""
        if not 1 <= self.alarms <= self.windows:
            raise ParameterError(
                f"{self.alarms} alarms of {self.windows} windows are asked for.",
                "Let at least one window alarm, and no more than are looked at.",
            )


@dataclass(frozen=True)
class Settled:
    """Whether to retrain now, and why or why not."""

    retrain: bool
    reasons: list[str]


def conclude(row: Row, history: History, patience: Patience) -> Row:
    """Decides by what was before, and keeps the row; a window that is looked at again decides as before.

    Args:
        row: The window as :func:`~.history.row_of` gives it.
        history: Where it is kept.
        patience: The rule.

    Returns:
        The row with the decision, and its reasons after those of the window itself.

    Raises:
        MonitorError: The history is damaged.
        ParameterError: The rule can never be met.
        StorageError: The history cannot be read or written.
    """
    patience.check()
    before = history.recent(row.model, row.version, row.end, patience.windows - 1)
    begun = [one for one in history.retrainings(row.model) if one.begun(row.looked)]
    settled = settle(row, before, begun, patience)
    row = replace(row, retrain=settled.retrain, reasons=[*row.reasons, *settled.reasons])
    history.append(row)
    return row


def settle(row: Row, before: Sequence[Row], begun: Sequence[Retraining], patience: Patience) -> Settled:
    """Whether the alarm of a window leads to a retraining.

    Args:
        row: The window; of its decision only the verdict is read.
        before: Judged windows of the same model and version that ended earlier, the latest last; those that
            count are the last ``windows - 1``.
        begun: The model's retrainings, in any order.
        patience: The rule.

    Returns:
        The decision; its reasons are those of patience and cooldown alone.
    """
    if not row.judged:
        return Settled(False, [])
    name = retraining_name(row.model, row.version, row.end)
    if any(one.name == name for one in begun):
        return Settled(row.alarm, ["This window has been decided before: its retraining has begun."])
    seen = [*before, row][-patience.windows :]
    alarms = sum(one.alarm for one in seen)
    said = (
        f"{alarms} of the last {len(seen)} windows alarm; needed are {patience.alarms} of {patience.windows}."
    )
    if patience.windows == 1:
        said = "Each alarm counts." if row.alarm else "This window gives no alarm."
    if not row.alarm or alarms < patience.alarms:
        return Settled(False, [said])
    last = max(begun, key=lambda one: one.window_end, default=None)
    if last is not None and row.end - last.window_end < patience.cooldown:
        return Settled(False, [said, _cooling(row, last, patience.cooldown)])
    return Settled(True, [said])


def _cooling(row: Row, last: Retraining, cooldown: timedelta) -> str:
    since = f"{last.window_end:%Y-%m-%d %H:%M} UTC"
    if last.window_end > row.end:
        return f"A later window, to {since}, has led to a retraining already ({last.run_id or last.name})."
    return (
        f"The window to {since} has led to a retraining ({last.run_id or last.name}); for {_span(cooldown)} "
        "after it no other is asked for."
    )


def _span(time: timedelta) -> str:
    hours = time.total_seconds() / 3600
    return f"{hours / 24:g} days" if hours >= 48 else f"{hours:g} hours"
