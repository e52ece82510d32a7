"""What the user asks of ``featurize``, checked before anything is read."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from kfp_lifecycle.components.shared.errors import ParameterError, did_you_mean
from kfp_lifecycle.components.shared.inference.plan import DATE_PARTS
from kfp_lifecycle.components.shared.parameters import check_type, one_of

CHOICES = {
    "impute_numeric": ("median", "mean", "zero", "none"),
    "impute_category": ("missing", "most_frequent"),
    "encode": ("auto", "onehot", "ordinal", "target"),
    "scale": ("standard", "minmax", "none"),
}

#: The parameters that can be given by column.
BY_COLUMN = (*CHOICES, "max_onehot", "rare_share", "date_parts")


@dataclass(frozen=True)
class Options:
    """The parameters of the ``featurize`` component; see there for what each means.

    Raises:
        ParameterError: A parameter is of the wrong type or out of range. Names it.
    """

    derive: dict[str, str] = field(default_factory=dict)
    exclude_columns: list[str] = field(default_factory=list)
    impute_numeric: str = "median"
    impute_category: str = "missing"
    encode: str = "auto"
    max_onehot: int = 32
    rare_share: float = 0.01
    scale: str = "standard"
    date_parts: list[str] = field(default_factory=lambda: ["year", "month", "day", "weekday", "hour"])
    overrides: dict[str, dict[str, Any]] = field(default_factory=dict)
    feature_store: str = ""
    feature_service: str = ""
    features: list[str] = field(default_factory=list)
    event_time: str = ""
    seed: int = 42

    def __post_init__(self) -> None:
        for parameter in dataclasses.fields(self):
            if parameter.name != "overrides":
                check_type(parameter.name, getattr(self, parameter.name), parameter.type)
        for name, allowed in CHOICES.items():
            one_of(getattr(self, name), allowed, name)
        for part in self.date_parts:
            one_of(part, DATE_PARTS, "date_parts")
        if self.max_onehot < 1:
            raise ParameterError(f"Parameter 'max_onehot' is {self.max_onehot}.", "Give 1 or more.")
        if not 0 <= self.rare_share <= 1:
            raise ParameterError(f"Parameter 'rare_share' is {self.rare_share}.", "Give a share from 0 to 1.")
        if self.seed < 0:
            raise ParameterError(f"Parameter 'seed' is {self.seed}.", "Give a whole number of 0 or more.")
        if not self.feature_store and (self.feature_service or self.features or self.event_time):
            raise ParameterError(
                "Parameters of a feature store are given, but 'feature_store' is empty.",
                "Give the folder or URI of the Feast repository.",
            )
        for column in self.overrides:
            self.of(column)

    def of(self, column: str) -> "Options":
        """The options that hold for one column. Raises ``ParameterError`` where its overrides are wrong."""
        given = self.overrides.get(column, {})
        if not isinstance(given, dict):
            raise ParameterError(
                f"Parameter 'overrides' has {given!r} for column {column!r}.",
                'Write it as {"column": {"scale": "none"}}.',
            )
        for name in given:
            if name not in BY_COLUMN:
                raise ParameterError(
                    f"Parameter 'overrides' has {name!r} for column {column!r}.",
                    did_you_mean(name, BY_COLUMN),
                )
        try:
            return dataclasses.replace(self, **given, overrides={})
        except ParameterError as error:
            raise ParameterError(
                f"Parameter 'overrides', column {column!r}: {error.problem}", error.fix
            ) from error

    def to_dict(self) -> dict[str, Any]:
        """The parameters as plain JSON types, for lineage."""
        return dataclasses.asdict(self)
