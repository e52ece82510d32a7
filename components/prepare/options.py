"""What the user asks of ``prepare``, checked before anything is read."""

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from kfp_lifecycle.components.shared.errors import ParameterError, did_you_mean
from kfp_lifecycle.components.shared.inference.schema import TASKS, TYPES
from kfp_lifecycle.components.shared.parameters import check_type, json_object, one_of

FORMATS = ("auto", "csv", "parquet")
SPLITS = ("auto", "random", "stratified", "time", "group")

#: Texts that mean missing unless the user says otherwise. Blank always does.
MISSING_VALUES = ("NA", "N/A", "NaN", "nan", "null", "NULL", "None")


@dataclass(frozen=True)
class Rules:
    """What the data must obey, by column.

    Args:
        max_missing_share: The largest share of missing values, 0 to 1.
        ranges: Smallest and largest value, both allowed; None leaves a side open. Numbers for numeric
            columns, ISO 8601 text for dates and timestamps.
        categories: The values that are allowed, as text.
    """

    max_missing_share: dict[str, float] = field(default_factory=dict)
    ranges: dict[str, tuple[float | str | None, float | str | None]] = field(default_factory=dict)
    categories: dict[str, list[str]] = field(default_factory=dict)

    @property
    def columns(self) -> list[str]:
        """Every column that a rule names."""
        return list(dict.fromkeys([*self.max_missing_share, *self.ranges, *self.categories]))

    @classmethod
    def parse(cls, text: str) -> "Rules":
        """The rules in a JSON object, as the component's ``rules`` parameter has them.

        Raises:
            ParameterError: The text is not JSON, or is no rule. Names the rule and the column.
        """
        given = json_object(text, "rules")
        readers: dict[str, Callable[[str, Any], Any]] = {
            "max_missing_share": lambda where, value: _share(where, value),
            "ranges": _range,
            "categories": _categories,
        }
        parsed = {}
        for rule, by_column in given.items():
            if rule not in readers:
                raise ParameterError(f"Parameter 'rules' has no rule {rule!r}.", did_you_mean(rule, readers))
            if not isinstance(by_column, dict):
                raise ParameterError(
                    f"Rule {rule!r} in 'rules' is {by_column!r}.",
                    f"Write it by column: {{{rule!r}: {{column: …}}}}.",
                )
            parsed[rule] = {
                column: readers[rule](f"rules: {rule}: {column}", value)
                for column, value in by_column.items()
            }
        return cls(**parsed)


@dataclass(frozen=True)
class Options:
    """The parameters of the ``prepare`` component; see there for what each means.

    Raises:
        ParameterError: A parameter is of the wrong type, out of range, or contradicts another. Names it.
    """

    source: str
    target: str
    task: str = "auto"
    target_expression: str = ""
    positive_class: str = ""
    query: str = ""
    revision: str = ""
    file_format: str = "auto"
    encoding: str = "utf-8"
    delimiter: str = ","
    column_types: dict[str, str] = field(default_factory=dict)
    missing_values: list[str] = field(default_factory=lambda: list(MISSING_VALUES))
    key_columns: list[str] = field(default_factory=list)
    drop_columns: list[str] = field(default_factory=list)
    drop_duplicates: bool = True
    max_missing_share: float = 0.5
    max_categories: int = 10_000
    min_rows: int = 10
    rules: Rules = field(default_factory=Rules)
    split: str = "auto"
    split_column: str = ""
    test_size: float = 0.2
    seed: int = 42

    def __post_init__(self) -> None:
        for parameter in dataclasses.fields(self):
            if parameter.name != "rules":
                check_type(parameter.name, getattr(self, parameter.name), parameter.type)
        self._check_values()
        self._check_columns()

    def _check_values(self) -> None:
        _given("source", self.source)
        _given("target", self.target)
        one_of(self.task, ("auto", *TASKS), "task")
        one_of(self.file_format, FORMATS, "file_format")
        one_of(self.split, SPLITS, "split")
        _share("max_missing_share", self.max_missing_share)
        if not 0 < self.test_size < 1:
            raise ParameterError(
                f"Parameter 'test_size' is {self.test_size}.", "Give a share between 0 and 1."
            )
        for name in ("max_categories", "min_rows"):
            if getattr(self, name) < 1:
                raise ParameterError(f"Parameter {name!r} is {getattr(self, name)}.", "Give 1 or more.")
        if not 0 <= self.seed < 2**63:
            raise ParameterError(f"Parameter 'seed' is {self.seed}.", "Give a whole number of 0 or more.")
        _check_encoding(self.encoding)
        if len(self.separator.encode()) != 1 or self.separator in '"\r\n':
            raise ParameterError(
                f"Parameter 'delimiter' is {self.delimiter!r}.", r"Give one character, such as ; or \t."
            )
        for column, kind in self.column_types.items():
            _check_column_type(column, kind)

    def _check_columns(self) -> None:
        for name in ("key_columns", "drop_columns"):
            columns = getattr(self, name)
            if repeated := sorted({column for column in columns if columns.count(column) > 1}):
                raise ParameterError(f"Parameter {name!r} names {repeated[0]!r} twice.", "Name it once.")
        needed = {
            "target": [self.target],
            "key_columns": self.key_columns,
            "split_column": [self.split_column],
        }
        for name, columns in needed.items():
            if both := sorted({*columns} & {*self.drop_columns}):
                raise ParameterError(
                    f"Column {both[0]!r} is in both {name!r} and 'drop_columns'.", "Leave it out of one."
                )
        if self.target in (*self.key_columns, self.split_column):
            raise ParameterError(
                f"The target {self.target!r} cannot be a key or split column.", "Name another column."
            )
        if self.split in ("time", "group") and not self.split_column:
            raise ParameterError(
                f"A {self.split} split needs parameter 'split_column'.", f"Name the {self.split} column."
            )
        if self.split not in ("time", "group") and self.split_column:
            raise ParameterError(
                f"Parameter 'split_column' is {self.split_column!r}, but the split is {self.split}.",
                "Set split to time or group, or leave split_column empty.",
            )

    @property
    def separator(self) -> str:
        r"""The delimiter as a character: the two letters ``\t`` are a tab."""
        return "\t" if self.delimiter == r"\t" else self.delimiter

    def to_dict(self) -> dict[str, Any]:
        """The parameters as plain JSON types, for lineage."""
        return dataclasses.asdict(self)


def whole_texts(values: Any) -> Any:
    """Numbers in a list as text: KFP makes a -999 there into -999.0, and "-999" is what was meant."""

    def text(value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return value
        return str(int(value)) if float(value).is_integer() else str(value)

    return [text(value) for value in values] if isinstance(values, list) else values


def _given(name: str, value: str) -> None:
    if not value.strip():
        raise ParameterError(f"Parameter {name!r} is empty.", "It must be given.")


def _check_encoding(encoding: str) -> None:
    try:
        " ".encode(encoding)
        return
    except (LookupError, ValueError):
        pass
    near = did_you_mean(encoding, ("utf-8", "latin-1", "cp1252", "utf-16", "shift_jis", "gb18030"))
    raise ParameterError(f"Parameter 'encoding' is {encoding!r}, which is no text encoding.", near)


def _check_column_type(column: str, kind: str) -> None:
    name, _, time_format = kind.partition(":")
    if name not in TYPES or (time_format and name not in ("date", "timestamp")):
        raise ParameterError(
            f"Parameter 'column_types' has {kind!r} for column {column!r}.",
            f"Give one of: {', '.join(TYPES)}; a date or timestamp may have a format, as date:%d/%m/%Y.",
        )


def _share(where: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise ParameterError(f"Parameter {where!r} is {value!r}.", "Give a share between 0 and 1.")
    return float(value)


def _range(where: str, value: Any) -> tuple[Any, Any]:
    sound = (
        isinstance(value, (list, tuple))
        and len(value) == 2
        and all(bound is None or isinstance(bound, str) or _is_finite(bound) for bound in value)
    )
    if not sound:
        raise ParameterError(
            f"Parameter {where!r} is {value!r}.", "Give [smallest, largest]; null leaves a side open."
        )
    return value[0], value[1]


def _is_finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _categories(where: str, value: Any) -> list[str]:
    if not isinstance(value, list) or not value:
        raise ParameterError(f"Parameter {where!r} is {value!r}.", "Give a list of the allowed values.")
    return [item if isinstance(item, str) else str(whole_texts([item])[0]) for item in value]
