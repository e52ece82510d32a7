"""The transform as scikit-learn sees it."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import polars.selectors as cs
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.exceptions import NotFittedError

from .errors import SchemaError
from .expressions import running
from .featurizer import Featurizer
from .plan import Plan


class FeatureTransform(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Settled columns to features, by a plan that is fitted on training rows.

    A scikit-learn transformer: it can be cloned, stands in a Pipeline, and refits in each fold. Rows are a
    Polars or pandas frame of settled columns.

    Args:
        plan: The plan as plain JSON types, see :class:`.plan.Plan`.
        seed: Seed of the folds that target encoding uses on the training rows.
    """

    def __init__(self, plan: dict[str, Any], seed: int = 42) -> None:
        self.plan = plan
        self.seed = seed

    def fit(self, X: Any, y: Any = None) -> "FeatureTransform":
        """Fits the plan.

        Args:
            X: Training rows.
            y: Their target, shape ``(rows,)``, as it is in the table; needed where the plan encodes it.

        Raises:
            SchemaError: A column is absent or of another type, has too many categories, or there is no row.
            ExpressionError: A derived column cannot be computed.
        """
        self.featurizer_ = self._unfitted().fit(self._training_rows(X, y))
        return self

    def fit_transform(self, X: Any, y: Any = None, **_: Any) -> npt.NDArray[np.float64]:
        """Fits the plan and gives the training rows' features; see :meth:`fit` and :meth:`transform`.

        A row's target encoding comes from other rows alone, so it differs from what :meth:`transform` gives.
        """
        self.featurizer_, features = self._unfitted().fit_transform(self._training_rows(X, y))
        with running(self.featurizer_.plan.derive):
            return _array(features.collect(engine="streaming"))

    def transform(self, X: Any) -> npt.NDArray[np.float64]:
        """The features of the rows, shape ``(rows, features)``; NaN where a missing value stays missing.

        Raises:
            SchemaError: A column is absent or of another type.
            ExpressionError: A derived column cannot be computed.
        """
        fitted = self._fitted()
        with running(fitted.plan.derive):
            return _array(fitted.transform(self._rows(X)))

    def fit_lazy(self, rows: pl.LazyFrame, target: str) -> "FeatureTransform":
        """As :meth:`fit`, for rows that need not fit in memory, with ``target`` a column of theirs."""
        named = rows.with_columns(pl.col(target).alias(self.plan["target"]))
        self.featurizer_ = self._unfitted().fit(named)
        return self

    def transform_lazy(self, rows: pl.LazyFrame, keep: tuple[str, ...] = ()) -> pl.LazyFrame:
        """The features as a lazy frame, then the columns of ``keep``; see :meth:`.Featurizer.transform`."""
        return self._fitted().transform(rows, keep)

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:
        """Names of the features, in order. ``input_features`` is scikit-learn's and not used."""
        return np.array(self._fitted().names, dtype=object)

    @property
    def input_columns(self) -> list[str]:
        """The settled columns that are read."""
        return list(self.plan["inputs"])

    @property
    def encodes_target(self) -> bool:
        """Whether any feature is computed from the target of the training rows."""
        return Plan.from_dict(self.plan).encodes_target

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types: the plan, the seed, and ``fitted``, which is None before fitting."""
        return getattr(self, "featurizer_", self._unfitted()).to_dict()

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "FeatureTransform":
        """The inverse of :meth:`to_dict`. Raises ``SchemaError`` for data of another kind."""
        return cls._of(Featurizer.from_dict(data))

    def save(self, path: str | Path) -> None:
        """Writes the transform as JSON."""
        getattr(self, "featurizer_", self._unfitted()).save(path)

    @classmethod
    def load(cls, path: str | Path) -> "FeatureTransform":
        """Reads what :meth:`save` wrote. Raises ``SchemaError`` for a file of another kind."""
        return cls._of(Featurizer.load(path))

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "featurizer_")

    @classmethod
    def _of(cls, featurizer: Featurizer) -> "FeatureTransform":
        transform = cls(featurizer.plan.to_dict(), featurizer.seed)
        if featurizer.encoders is not None:
            transform.featurizer_ = featurizer
        return transform

    def _unfitted(self) -> Featurizer:
        return Featurizer(Plan.from_dict(self.plan), self.seed)

    def _fitted(self) -> Featurizer:
        if not self.__sklearn_is_fitted__():
            raise NotFittedError("This FeatureTransform is not fitted; call fit first.")
        fitted: Featurizer = self.featurizer_
        return fitted

    def _rows(self, X: Any) -> pl.DataFrame:
        if isinstance(X, pl.DataFrame):
            return X
        from .frames import to_polars  # It imports pandas, which a Polars frame does not need.

        return to_polars(X, self.input_columns).with_columns(cs.float().fill_nan(None))

    def _training_rows(self, X: Any, y: Any) -> pl.LazyFrame:
        rows = self._rows(X)
        if not self.encodes_target:
            return rows.lazy()
        have = 0 if y is None else len(y)
        if have != rows.height:
            raise SchemaError(
                f"The plan encodes the target, but {have} values of it came for {rows.height} rows.",
                "Pass y with one value a row.",
            )
        return rows.with_columns(_series(y).alias(self.plan["target"])).lazy()


def _series(y: Any) -> pl.Series:
    if isinstance(y, pl.Series):
        return y
    values = np.asarray(y).ravel()
    return pl.Series(values.tolist() if values.dtype == object else values)


def _array(features: pl.DataFrame) -> npt.NDArray[np.float64]:
    return np.asarray(features.to_numpy(), dtype=np.float64)
