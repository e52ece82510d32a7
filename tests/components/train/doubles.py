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


class Unpicklable(Diverging):
    """A regressor that keeps a function of its own making, as estimators with callbacks do."""

    def fit(self, X: Any, y: Any) -> "Unpicklable":
        self.callback_ = lambda: X
        return self
