"""From features to predictions: the same few lines in cross-validation and in the model that serves."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def predict_values(estimator: Any, features: Floats) -> Floats:
    """A regressor's predictions, shape ``(n,)``."""
    if not len(features):
        return np.zeros(0)
    return np.asarray(estimator.predict(features), dtype=np.float64).reshape(len(features))


def predict_probabilities(estimator: Any, features: Floats, classes: Sequence[str]) -> Floats:
    """A classifier's probabilities, shape ``(n, len(classes))``; rows sum to 1.

    Args:
        estimator: Fitted on positions in ``classes``; one that it has not seen gets probability 0.
        features: Shape ``(n, features)``.
        classes: The labels in the schema's order.
    """
    probabilities = np.zeros((len(features), len(classes)))
    if len(features):
        seen = np.asarray(estimator.classes_, dtype=np.intp)
        probabilities[:, seen] = estimator.predict_proba(features)
    return probabilities


def most_probable(probabilities: Floats) -> npt.NDArray[np.intp]:
    """The position of each row's most probable class, shape ``(n,)``."""
    return np.asarray(probabilities.argmax(axis=1), dtype=np.intp)
