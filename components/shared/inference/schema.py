"""The Schema artifact: what the columns are, written by prepare and checked by all that follow."""

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from .errors import SchemaError

#: Types of a settled column. ``integer`` is Int64, ``number`` Float64, ``timestamp`` Datetime("us") in UTC.
TYPES = ("integer", "number", "boolean", "string", "date", "timestamp")

#: What a column is for. Only features are learned from; all other roles ride along.
ROLES = ("feature", "target", "key", "time", "group")

#: The column that prepare adds to both splits: a 64-bit hash (UInt64) of the row's key, or of the whole row.
ROW_HASH = "_row_hash"

TASKS = ("binary", "multiclass", "regression")


@dataclass(frozen=True)
class Column:
    """One column as it is after settling, in the training data.

    Args:
        name: The column's name, as in the source.
        type: One of :data:`TYPES`, after settling.
        role: One of :data:`ROLES`.
        source_type: Its type before settling, one of :data:`TYPES`: ``string`` for numbers stored as text.
        nullable: Whether the source had missing values in it.
        missing_share: Share of missing values, 0 to 1.
        minimum: Smallest value of a numeric column; ISO text for dates and timestamps; None otherwise.
        maximum: Largest value, likewise.
        categories: Distinct values of a text column in sorted order, None where there are too many to list.
        true_value: For a boolean that was text, the text that means true (as ``Yes``).
        false_value: Likewise for false.
        time_format: strptime format of a timestamp or date that was text, None for ISO 8601.
        reference: For a column that a feature store adds by the row's entity keys, its reference there
            (``view:feature``); empty for one that comes with the row.
    """

    name: str
    type: str
    role: str = "feature"
    source_type: str = ""
    nullable: bool = False
    missing_share: float = 0.0
    minimum: float | str | None = None
    maximum: float | str | None = None
    categories: list[str] | None = None
    true_value: str | None = None
    false_value: str | None = None
    time_format: str | None = None
    reference: str = ""


@dataclass(frozen=True)
class Split:
    """How prepare split the table, and so how folds must follow.

    Args:
        method: ``random``, ``stratified``, ``time`` or ``group``.
        test_size: Share of rows in the test split, 0 to 1.
        seed: Salt of the row hash.
        column: The time or group column; empty otherwise.
        boundary: For a time split the first moment of the test split (ISO text); None otherwise.
    """

    method: str = "random"
    test_size: float = 0.2
    seed: int = 42
    column: str = ""
    boundary: str | None = None


@dataclass(frozen=True)
class FeatureSource:
    """The feature store that the columns with a :attr:`Column.reference` come from.

    Args:
        repository: URI of the Feast repository, without credentials.
        project: The Feast project.
        service: The feature service; empty where the features were listed.
        version: The service's version: its tag ``version``, else the digest of its definition.
        registry_digest: Digest of the registry's definitions at the time of the join (``sha256:…``).
        entities: The columns of a row that are entity keys, in order.
        event_time: The column of a training row that is its event time; requests have none.
        request: Columns that on-demand feature views compute with, which come with the row.
    """

    repository: str
    project: str
    service: str = ""
    version: str = ""
    registry_digest: str = ""
    entities: list[str] = field(default_factory=list)
    event_time: str = ""
    request: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class TableSchema:
    """The columns of a table, its target and task, where it came from and how it was split.

    Args:
        columns: Every column of the prepared table in order, without :data:`ROW_HASH`.
        target: Name of the target column.
        task: One of :data:`TASKS`.
        classes: Class labels as text in sorted order; empty for regression.
        positive_class: The label that binary metrics are about; empty otherwise.
        missing_values: Texts that mean missing, besides blank.
        split: How the table was split.
        source_uri: Where the table was read from, without credentials.
        source_digest: The source's digest (``sha256:…``) or version (``generation:…``, ``etag:…``).
        dropped: Column name to the reason it was dropped.
        parameters: The parameters that prepare ran with, for lineage.
        feature_source: The feature store that some of the columns come from; None where none does.
    """

    columns: list[Column]
    target: str
    task: str
    classes: list[str] = field(default_factory=list)
    positive_class: str = ""
    missing_values: list[str] = field(default_factory=list)
    split: Split = field(default_factory=Split)
    source_uri: str = ""
    source_digest: str = ""
    dropped: dict[str, str] = field(default_factory=dict)
    parameters: dict[str, Any] = field(default_factory=dict)
    feature_source: FeatureSource | None = None

    def column(self, name: str) -> Column:
        """The column of that name. Raises ``SchemaError`` where there is none."""
        for column in self.columns:
            if column.name == name:
                return column
        known = ", ".join(c.name for c in self.columns[:20])
        raise SchemaError(f"There is no column {name!r}.", f"The schema has: {known}.")

    def by_role(self, *roles: str) -> list[Column]:
        """The columns of these roles, in table order."""
        return [column for column in self.columns if column.role in roles]

    @property
    def features(self) -> list[Column]:
        """The columns that may be learned from."""
        return self.by_role("feature")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, with the format's number."""
        return {"format": 1, **asdict(self)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "TableSchema":
        """The inverse of :meth:`to_dict`; keys of later formats are ignored."""
        known = {f.name for f in fields(cls)}
        values = {key: value for key, value in data.items() if key in known}
        values["columns"] = [_load(Column, column) for column in data["columns"]]
        values["split"] = _load(Split, data.get("split", {}))
        if (source := data.get("feature_source")) is not None:
            values["feature_source"] = _load(FeatureSource, source)
        return cls(**values)

    def save(self, path: str | Path) -> None:
        """Writes the schema as JSON, readable and in a stable order."""
        text = json.dumps(self.to_dict(), indent=2, ensure_ascii=False, allow_nan=False)
        Path(path).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> "TableSchema":
        """Reads what :meth:`save` wrote. Raises ``SchemaError`` for a file that is not a schema."""
        try:
            return cls.from_dict(json.loads(Path(path).read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SchemaError(
                f"{path} is not a Schema artifact: {error}.", "Pass the schema output of prepare."
            ) from error


def _load(kind: type[Any], data: dict[str, Any]) -> Any:
    known = {f.name for f in fields(kind)}
    return kind(**{key: value for key, value in data.items() if key in known})
