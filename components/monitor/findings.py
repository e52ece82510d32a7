"""What monitoring finds, and what follows from it, as plain values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from kfp_lifecycle.components.evaluate.bootstrap import Estimate
from kfp_lifecycle.components.monitor.windows import Window

#: What follows from a window. ``drift`` calls for retraining. ``broken`` is data that no model should be
#: trained on or judged by, ``unjudged`` too little of it: neither says that nothing has changed.
Verdict = Literal["steady", "drift", "broken", "unjudged"]


@dataclass(frozen=True)
class Watched:
    """The model that is monitored.

    Args:
        name: Registered name, or the name of its folder.
        version: Registered version, or the digest's first characters.
        uri: What the user wrote, without credentials.
        task: ``binary``, ``multiclass`` or ``regression``.
        target: Name of the target column.
        made: When it was made (UTC); None where it does not say.
    """

    name: str
    version: str
    uri: str
    task: str
    target: str
    made: datetime | None = None


@dataclass(frozen=True)
class Problem:
    """Something that is wrong with the data, or that limits what can be said of it.

    Args:
        kind: What, in a word or two: ``missing column``, ``retyped``, ``truncated file``, ``clock skew``, …
        text: A sentence for people, naming column, file or key.
        column: The column; empty where it is about none.
        broken: Whether no judgement can rest on this data until it is mended.
    """

    kind: str
    text: str
    column: str = ""
    broken: bool = False


@dataclass(frozen=True)
class Histogram:
    """How a column is spread on both sides, for pictures.

    Args:
        labels: Of each bin: the category, or the bin's two ends as numbers.
        reference: Share of the reference's rows in each bin, 0 to 1.
        current: Likewise of the current rows.
    """

    labels: list[str] | list[tuple[float, float]]
    reference: list[float]
    current: list[float]


@dataclass(frozen=True)
class ColumnDrift:
    """How far one column has moved.

    Args:
        name: The column.
        kind: ``number`` or ``category``; times are numbers.
        method: How it was compared, as Evidently calls it.
        score: What the method gives; None where the column could not be compared.
        threshold: From (or for a p-value below) which the column counts as drifted.
        drifted: Whether it does: the size of the difference and its significance both say so, or where
            Evidently's method was chosen, that method alone.
        error: By how much ``score`` may be off, because it comes from a summary of the rows; 0 is exact.
        p_value: Of both sides having one distribution; None where not computed.
        q_value: ``p_value`` adjusted for the number of columns (Benjamini and Hochberg).
        rows: Current rows with a value.
        reference_rows: Likewise of the reference.
        why_not: Why it was not compared; empty where it was.
        histogram: For pictures; None where there is nothing to show.
    """

    name: str
    kind: Literal["number", "category"]
    method: str = ""
    score: float | None = None
    threshold: float = 0.0
    drifted: bool = False
    error: float = 0.0
    p_value: float | None = None
    q_value: float | None = None
    rows: int = 0
    reference_rows: int = 0
    why_not: str = ""
    histogram: Histogram | None = None


@dataclass(frozen=True)
class ColumnQuality:
    """What is wrong with the values of one column; shares are of all current rows, 0 to 1.

    Args:
        name: The column.
        missing: Share without a value.
        missing_reference: The same in the reference.
        unfit: Share with a value that is none of the column's type.
        out_of_range: Share below the smallest or above the largest value of the training data.
        unseen: Share with a category that the training data does not have.
        examples: Some of the unfit values or unseen categories.
        distinct: How many distinct values there are.
    """

    name: str
    missing: float
    missing_reference: float
    unfit: float = 0.0
    out_of_range: float = 0.0
    unseen: float = 0.0
    examples: list[str] = field(default_factory=list)
    distinct: int = 0


@dataclass(frozen=True)
class Quality:
    """The state of the current data.

    Args:
        rows: Rows in the window.
        reference_rows: Rows that they are compared with.
        duplicates: Share of rows that repeat an earlier one in every input column.
        duplicates_reference: The same in the reference.
        newest: Time of the newest row (UTC); None where rows have no time.
        age_hours: From the newest row to the window's end.
        other_versions: Rows of the window by version that another version of the model answered.
        columns: The columns.
        problems: What is wrong.
    """

    rows: int
    reference_rows: int
    duplicates: float = 0.0
    duplicates_reference: float = 0.0
    newest: datetime | None = None
    age_hours: float | None = None
    other_versions: Mapping[str, int] = field(default_factory=dict)
    columns: list[ColumnQuality] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


@dataclass(frozen=True)
class MetricChange:
    """A metric now and at registration.

    Args:
        name: The metric.
        now: On rows whose labels have arrived, with its interval.
        before: At registration, with its interval.
        drop: By how much it has become worse, with the interval of the difference. Of metrics without an
            upper bound (rmse, mae, log_loss) a share of ``before``.
        worse: Whether the drop is at least what is allowed, and beyond doubt more than none.
    """

    name: str
    now: Estimate
    before: Estimate
    drop: Estimate
    worse: bool = False


@dataclass(frozen=True)
class Performance:
    """How good the predictions are that labels have arrived for.

    Args:
        rows: Predictions with a label.
        predictions: Predictions that labels are waited for, those among them.
        window: The window of these predictions; None where rows have no time.
        source: Where the metrics at registration come from.
        main: The metric that decides.
        metrics: All metrics that the rows define, by name.
    """

    rows: int
    predictions: int
    window: Window | None
    source: str
    main: str
    metrics: Mapping[str, MetricChange] = field(default_factory=dict)


@dataclass(frozen=True)
class Findings:
    """All that one look at a window has found.

    Args:
        model: The model.
        window: The window.
        looked: When it was looked at (UTC).
        current: URI of the current data, without credentials.
        reference: What it is compared with, in words.
        quality: The state of the data.
        columns: Drift of each input column.
        predictions: Drift of the predictions: of each probability, or of the predicted number.
        performance: None where no label has arrived, or none was asked for.
        timed: Whether the rows have a time that they were chosen by, and so are of the window.
    """

    model: Watched
    window: Window
    looked: datetime
    current: str
    reference: str
    quality: Quality
    columns: list[ColumnDrift] = field(default_factory=list)
    predictions: list[ColumnDrift] = field(default_factory=list)
    performance: Performance | None = None
    timed: bool = True

    @property
    def compared(self) -> list[ColumnDrift]:
        """The columns that could be compared."""
        return [column for column in self.columns if column.score is not None]

    @property
    def drifted(self) -> list[ColumnDrift]:
        """The drifted columns, the most drifted first."""
        found = [column for column in self.compared if column.drifted]
        return sorted(found, key=lambda column: -distance(column))

    @property
    def drift_share(self) -> float | None:
        """Share of the compared columns that have drifted; None where none could be compared."""
        return len(self.drifted) / len(self.compared) if self.compared else None

    @property
    def prediction_drift(self) -> float | None:
        """The largest score of the predictions; None where they could not be compared."""
        return max((one.score for one in self.predictions if one.score is not None), default=None)


def distance(column: ColumnDrift) -> float:
    """How far a column has moved, in multiples of its threshold, whatever its method: 1 and more is drift."""
    if column.score is None or not column.threshold:
        return 0.0
    if "p_value" in column.method:
        return column.threshold / max(column.score, 1e-300)
    return column.score / column.threshold


@dataclass(frozen=True)
class Decision:
    """What follows from a window.

    Args:
        verdict: See :data:`Verdict`.
        retrain: Whether the model should be retrained now. :func:`.decision.decide` judges the window alone;
            patience and cooldown (:func:`.patience.settle`) can still make this no.
        reasons: Why, as sentences; what weighs most comes first.
    """

    verdict: Verdict
    retrain: bool
    reasons: list[str]
