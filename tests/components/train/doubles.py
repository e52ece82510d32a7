"""Test doubles: estimators that misbehave as real ones sometimes do."""

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin


class Diverging(RegressorMixin, BaseEstimator):
    """A regressor whose weights have overflowed."""

    def fit(self, X: Any, y: Any) -> "Diverging":
        self.fitted_ = True
        return self

    def predict(self, X: Any) -> Any:
        return np.full(len(X), np.nan)
