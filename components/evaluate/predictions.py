"""What a model said of the test rows, beside what is true, as arrays."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from kfp_lifecycle.components.shared.scores import scores

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Scored:
    """Predictions of one model on the test rows, in the order of the rows.

    Args:
        task: ``binary``, ``multiclass`` or ``regression``.
        truth: What is true, shape (rows,): positions in ``classes`` (int64), or the value (float64).
        predicted: What the model said, likewise.
        probabilities: Probability of each class, shape (rows, classes); (rows, 0) for regression.
        classes: Class labels as text; empty for regression.
        positive: The class that binary metrics are about; empty otherwise.
    """

    task: str
    truth: npt.NDArray[np.int64] | Floats
    predicted: npt.NDArray[np.int64] | Floats
    probabilities: Floats
    classes: tuple[str, ...] = ()
    positive: str = ""

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.truth)

    @cached_property
    def positive_code(self) -> int:
        """Position of the positive class in ``classes``."""
        return self.classes.index(self.positive)

    @property
    def positive_probability(self) -> Floats:
        """Probability of the positive class, shape (rows,)."""
        return self.probabilities[:, self.positive_code]

    def take(self, rows: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> "Scored":
        """The predictions of some of the rows, by position or mask."""
        return replace(
            self,
            truth=self.truth[rows],
            predicted=self.predicted[rows],
            probabilities=self.probabilities[rows],
        )

    def metrics(self) -> dict[str, float]:
        """The metrics of the task, those that these rows define."""
        return scores(self.task, self.truth, self.predicted, self.probabilities, self.classes, self.positive)
