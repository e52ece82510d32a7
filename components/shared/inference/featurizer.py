"""The transform as Polars runs it: a plan, fitted on training rows, applied to rows of any number."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from .encoders import CategoryEncoder, Encoder, NumberEncoder, load_encoder
from .errors import SchemaError
from .expressions import derived_column, running
from .fitting import FOLD, Fitted, fit, with_fold
from .plan import Plan, sql_types, typed
from .schema import ROW_HASH
from .settle import Frame

#: Prefix of the columns that hold a category's slot; no column of a table has a zero byte in its name.
_SLOT = "\0slot:"


@dataclass(frozen=True)
class Featurizer:
    """A plan and, once fitted, its encoders.

    Args:
        plan: The plan.
        seed: Seed of the folds that target encoding uses on the training rows.
        encoders: One for each column of the plan; None before fitting.
    """

    plan: Plan
    seed: int = 42
    encoders: list[Encoder] | None = None

    def fit(self, rows: pl.LazyFrame) -> "Featurizer":
        """The same plan, fitted on ``rows``, which hold the target where the plan encodes it.

        Raises:
            SchemaError: A column is absent or of another type, has too many categories, or there is no row.
            ExpressionError: A derived column cannot be computed.
        """
        return self._fit(rows)[0]

    def fit_transform(
        self, rows: pl.LazyFrame, keep: tuple[str, ...] = ()
    ) -> tuple["Featurizer", pl.LazyFrame]:
        """Fits on ``rows`` and gives their features, each row's target encoding from other rows alone.

        Args:
            rows: Training rows, in an order that stays: the folds go by the row's number.
            keep: Columns to pass on beside the features.

        Returns:
            The fitted featurizer, and the features as :meth:`transform` gives them.
        """
        fitted, state = self._fit(rows)
        if not state.held_out:
            return fitted, fitted.transform(rows, keep)
        folds = with_fold(rows, self.seed)
        return fitted, fitted._features(fitted._slots(folds, (*keep, FOLD)), keep, state.held_out)

    def transform(self, rows: Frame, keep: tuple[str, ...] = ()) -> Frame:
        """The features of settled rows, in the order of :attr:`names`, then the columns of ``keep``.

        Numbers and target encodings are Float64 (null where a missing value stays missing), one-hot UInt8,
        ordinal Int32. A lazy frame stays lazy; run it within :func:`.expressions.running`.

        Raises:
            SchemaError: A column is absent or of another type.
        """
        return self._features(self._slots(rows, keep), keep, {})

    def derived(self, rows: Frame) -> Frame:
        """The inputs of settled rows, and the derived columns; run it within :func:`.expressions.running`.

        Raises:
            SchemaError: A column is absent or of another type.
        """
        return self._derived(rows, ())

    @cached_property
    def names(self) -> list[str]:
        """Names of the features. A name that another column has already gets a number."""
        taken = {self.plan.target, ROW_HASH}
        names = []
        for wanted in (name for encoder in self._fitted for name in encoder.features):
            name, number = wanted, 2
            while name in taken:
                name, number = f"{wanted}_{number}", number + 1
            taken.add(name)
            names.append(name)
        return names

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types: the plan, the seed, and ``fitted``."""
        data = {"format": 1, **self.plan.to_dict(), "seed": self.seed, "fitted": None}
        if self.encoders is not None:
            data["fitted"] = [{"kind": encoder.kind, **vars(encoder)} for encoder in self.encoders]
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Featurizer":
        """The inverse of :meth:`to_dict`. Raises ``SchemaError`` for data of another kind."""
        plan = Plan.from_dict(data)
        fitted = data.get("fitted")
        encoders = None if fitted is None else [load_encoder(encoder) for encoder in fitted]
        return cls(plan, data.get("seed", 42), encoders)

    def save(self, path: str | Path) -> None:
        """Writes the transform as JSON, the same bytes for the same transform."""
        text = json.dumps(self.to_dict(), indent=1, ensure_ascii=False, allow_nan=False)
        Path(path).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> "Featurizer":
        """Reads what :meth:`save` wrote. Raises ``SchemaError`` for a file of another kind."""
        try:
            return cls.from_dict(json.loads(Path(path).read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise SchemaError(
                f"{path} is not a transform: {error}.", "Pass the plan or transform output of featurize."
            ) from error

    @property
    def _fitted(self) -> list[Encoder]:
        if self.encoders is None:
            raise SchemaError("This transform is a plan, not fitted yet.", "Fit it on training rows first.")
        return self.encoders

    def _fit(self, rows: pl.LazyFrame) -> tuple["Featurizer", Fitted]:
        keep: tuple[str, ...] = ()
        if self.plan.encodes_target:
            rows, keep = with_fold(rows, self.seed), (self.plan.target, FOLD)
        with running(self.plan.derive):
            state = fit(self._derived(rows, keep), self.plan)
        return Featurizer(self.plan, self.seed, state.encoders), state

    @cached_property
    def _derive(self) -> list[pl.Expr]:
        types = sql_types(self.plan.inputs)
        expressions = []
        for name, sql in self.plan.derive.items():
            expression, kind = derived_column(name, sql, types)
            types |= sql_types({name: kind})
            expressions.append(expression)
        return expressions

    @cached_property
    def _slot_columns(self) -> list[pl.Expr]:
        return [
            encoder.slot().alias(_SLOT + encoder.column)
            for encoder in self._fitted
            if isinstance(encoder, CategoryEncoder)
        ]

    @cached_property
    def _expressions(self) -> list[pl.Expr]:
        return self._named({})

    def _derived(self, rows: Frame, keep: tuple[str, ...]) -> Frame:
        frame = typed(rows, self.plan.inputs, keep)
        for expression in self._derive:
            frame = frame.with_columns(expression)
        return frame

    def _slots(self, rows: Frame, keep: tuple[str, ...]) -> Frame:
        return self._derived(rows, keep).with_columns(self._slot_columns)

    def _features(self, slots: Frame, keep: tuple[str, ...], held_out: dict[str, list[list[float]]]) -> Frame:
        return slots.select(*(self._named(held_out) if held_out else self._expressions), *keep)

    def _named(self, held_out: Mapping[str, list[list[float]]]) -> list[pl.Expr]:
        """The features' expressions; ``held_out`` are encodings by fold, for training rows."""
        expressions: list[pl.Expr] = []
        for encoder in self._fitted:
            if isinstance(encoder, NumberEncoder):
                expressions += encoder.expressions()
                continue
            slot = pl.col(_SLOT + encoder.column)
            values = held_out.get(encoder.column)
            if values is not None:
                slot = slot + pl.col(FOLD) * (len(encoder.slots) + 1)
            expressions += encoder.expressions(slot, values)
        return [expression.alias(name) for expression, name in zip(expressions, self.names, strict=True)]
