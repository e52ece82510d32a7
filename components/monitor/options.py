"""What monitoring is asked for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kfp_lifecycle.components.monitor.methods import AUTO, EVIDENTLY, METHODS
from kfp_lifecycle.components.shared.errors import ParameterError, did_you_mean
from kfp_lifecycle.components.shared.parameters import one_of
from kfp_lifecycle.components.shared.scores import METRICS


@dataclass(frozen=True)
class Options:
    """How current data is compared and judged; the component's face says what each means.

    Raises:
        ParameterError: One is out of its range. Names it.
    """

    columns: Sequence[str] = ()
    method: str = AUTO
    column_methods: Mapping[str, str] = field(default_factory=dict)
    threshold: float = 0.0
    column_thresholds: Mapping[str, float] = field(default_factory=dict)
    false_discovery_rate: float = 0.01
    drift_share: float = 0.2
    prediction_threshold: float = 0.1
    metric: str = "auto"
    max_drop: float = 0.05
    confidence: float = 0.95
    min_rows: int = 100
    seed: int = 42

    def __post_init__(self) -> None:
        one_of(self.method, (AUTO, EVIDENTLY, *METHODS), "method")
        for column, method in self.column_methods.items():
            one_of(method, (AUTO, EVIDENTLY, *METHODS), f"column_methods[{column}]")
        for name, value, holds in (
            ("false_discovery_rate", self.false_discovery_rate, 0 < self.false_discovery_rate < 1),
            ("drift_share", self.drift_share, 0 < self.drift_share <= 1),
            ("confidence", self.confidence, 0 < self.confidence < 1),
        ):
            if not holds:
                raise ParameterError(f"Parameter {name!r} is {value:g}.", "Give a share between 0 and 1.")
        for name, value in (
            ("threshold", self.threshold),
            ("prediction_threshold", self.prediction_threshold),
            ("max_drop", self.max_drop),
            ("seed", self.seed),
            *((f"column_thresholds[{column}]", value) for column, value in self.column_thresholds.items()),
        ):
            if not 0 <= value < float("inf"):
                raise ParameterError(f"Parameter {name!r} is {value:g}.", "Give a number of 0 or more.")
        if self.min_rows < 1:
            raise ParameterError(f"Parameter 'min_rows' is {self.min_rows}.", "Give 1 or more.")
        known = ["auto", *(name for of_task in METRICS.values() for name in of_task)]
        if self.metric not in known:
            raise ParameterError(
                f"Parameter 'metric' is {self.metric!r}, which is no metric.",
                did_you_mean(self.metric, known),
            )
