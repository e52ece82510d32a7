"""Features of the moment: what the online store holds for entity keys, as a model was trained to expect it.

Feast gives the newest value whatever its age; here a value older than its view's time to live is told apart,
because the point-in-time join that the model was trained on gives none for such a row.
"""

import datetime as dt
import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kfp_lifecycle.components.feature_store.references import Feature, Selection, select
from kfp_lifecycle.components.feature_store.repository import Repository, feast_errors, open_repository
from kfp_lifecycle.components.shared.errors import FeatureStoreError
from kfp_lifecycle.components.shared.inference.schema import TableSchema

log = logging.getLogger(__name__)

#: What Feast calls the entity of a view without entities.
_NO_ENTITY = "__dummy_id"


@dataclass(frozen=True)
class Looked:
    """What was found.

    Args:
        values: Column of the model to its value in each row, None where the store has none.
        stale: Of these columns those with values that are older than their view's time to live: which rows.
    """

    values: dict[str, list[Any]]
    stale: dict[str, list[bool]]


class OnlineFeatures:
    """The features of one model in an online store. One thread at a time may use it.

    Args:
        repository: The feature repository.
        selection: What is looked up together.
        columns: Column of the model to its feature.
    """

    def __init__(self, repository: Repository, selection: Selection, columns: Mapping[str, Feature]) -> None:
        self._store, self._wanted = repository.store, selection.wanted
        self._columns = {feature.full_name: name for name, feature in columns.items()}
        with feast_errors(repository.uri):
            views = {view.name: view for view in self._store.list_all_feature_views()}
        self._views = _Views(selection, columns.values(), views)
        # The definitions stay those of the moment of loading: to read them anew in the middle of a request
        # would make it wait for the registry, or fail with it. Zero is for ever.
        if hasattr(self._store.registry, "cached_registry_proto_ttl"):
            self._store.registry.cached_registry_proto_ttl = dt.timedelta(0)

    @classmethod
    def open(cls, schema: TableSchema, columns: Sequence[str], uri: str = "") -> "OnlineFeatures":
        """The features that a model reads, from the repository that it was trained with or another.

        Args:
            schema: The model's schema, with a :attr:`.TableSchema.feature_source`.
            columns: The model's input columns; those with a reference are looked up.
            uri: Where the repository is; empty is where the schema says.

        Raises:
            FeatureStoreError: Feast is not installed, the repository cannot be opened, or has no such feature
                any more, or one of another type.
            StorageError: The repository's bucket cannot be read.
        """
        source = schema.feature_source
        assert source is not None
        found = [schema.column(name) for name in columns]
        wanted = {column.name: column.reference for column in found if column.reference}
        repository = open_repository(uri or source.repository)
        references = [] if source.service else list(dict.fromkeys(wanted.values()))
        selection = select(repository, source.service, references)
        features = {feature.reference: feature for feature in selection.features}
        for name, reference in wanted.items():
            _check_feature(name, schema.column(name).type, reference, features, repository.uri)
        if source.version not in ("", selection.version):
            log.warning(
                "the features of %s are of version %s, and the model was trained with %s",
                source.service or repository.uri,
                selection.version,
                source.version,
            )
        return cls(repository, selection, {name: features[reference] for name, reference in wanted.items()})

    def look_up(self, keys: Mapping[str, Sequence[Any]]) -> Looked:
        """The newest values for some entities.

        Args:
            keys: Entity columns, and the columns that on-demand views compute with: a value a row in the
                schema's type. A row where one is None has no values.

        Raises:
            Exception: What Feast, the online store or an on-demand view's code raises.
        """
        height = len(next(iter(keys.values()), []))
        whole = [row for row, values in enumerate(zip(*keys.values(), strict=True)) if None not in values]
        if len(whole) < height:
            return self._look_up_some(keys, whole, height)
        if not height:
            return Looked({name: [] for name in self._columns.values()}, {})
        rows = {name: list(values) for name, values in keys.items()}
        found = self._store.get_online_features(self._wanted, rows, full_feature_names=True).proto
        oldest = self._views.oldest(time.time())
        looked = Looked({}, {})
        for name, vector in zip(found.metadata.feature_names.val, found.results, strict=True):
            if (column := self._columns.get(name)) is None:
                continue
            looked.values[column] = [_value(value) for value in vector.values]
            if (limit := oldest.get(name)) is not None:
                _mark(looked, column, [_is_before(moment, limit) for moment in vector.event_timestamps])
        if self._views.computed:
            self._mark_computed(looked, rows)
        return looked

    def ping(self) -> None:
        """Reads the stored views for an entity that need not be there. Raises what the store raises."""
        self._store.get_online_features(self._views.stored, self._views.nobody)

    def _look_up_some(self, keys: Mapping[str, Sequence[Any]], rows: list[int], height: int) -> Looked:
        """As :meth:`look_up`, of ``rows`` alone; the others have no values."""
        looked = self.look_up({name: [values[row] for row in rows] for name, values in keys.items()})
        spread = Looked({}, {})
        for name, values in looked.values.items():
            spread.values[name] = [None] * height
            for row, value in zip(rows, values, strict=True):
                spread.values[name][row] = value
        for name, flags in looked.stale.items():
            there = {row for row, flag in zip(rows, flags, strict=True) if flag}
            spread.stale[name] = [row in there for row in range(height)]
        return spread

    def _mark_computed(self, looked: Looked, rows: Mapping[str, Sequence[Any]]) -> None:
        """Marks what on-demand views computed from stale values."""
        keys = {name: list(rows[name]) for name in self._views.nobody}
        found = self._store.get_online_features(self._views.stored, keys, full_feature_names=True).proto
        limits = self._views.limits(time.time())
        late: dict[str, list[bool]] = {}
        for name, vector in zip(found.metadata.feature_names.val, found.results, strict=True):
            view = name.partition("__")[0]
            if view in limits:
                late[view] = [_is_before(moment, limits[view]) for moment in vector.event_timestamps]
        for name, sources in self._views.computed.items():
            flags = [late[source] for source in sources if source in late]
            if flags and name in self._columns:
                _mark(looked, self._columns[name], [any(row) for row in zip(*flags, strict=True)])


class _Views:
    """The views behind a model's features: how long their values live, and what they are computed from.

    Args:
        selection: What is looked up together.
        features: The model's features.
        views: The repository's views by name.
    """

    def __init__(self, selection: Selection, features: Any, views: Mapping[str, Any]) -> None:
        projections = getattr(selection.wanted, "feature_view_projections", [])
        named = {one.name_to_use(): one.name for one in projections}
        self._lives: dict[str, float] = {}
        #: Full name of a stored feature to its view.
        self._plain: dict[str, str] = {}
        #: Full name of an on-demand feature to the stored views that it is computed from.
        self.computed: dict[str, list[str]] = {}
        for feature in features:
            bare = feature.view.partition("@")[0]
            view = views[named.get(bare, bare)]
            if hasattr(view, "source_request_sources"):
                sources = [one.name for one in view.source_feature_view_projections.values()]
                self.computed[feature.full_name] = [name for name in sources if name in views]
            else:
                self._plain[feature.full_name] = view.name
        kept = {*self._plain.values(), *(name for names in self.computed.values() for name in names)}
        stored = [views[name] for name in sorted(kept) if not hasattr(views[name], "source_request_sources")]
        for view in stored:
            if view.ttl:
                self._lives[view.name] = view.ttl.total_seconds()
        #: A feature of each stored view: by it one sees whether the store answers, and how old values are.
        self.stored = [f"{view.name}:{view.features[0].name}" for view in stored]
        #: A key of each entity, whoever that is.
        self.nobody = {
            column.name: [_anything(column.dtype)]
            for view in stored
            for column in view.entity_columns
            if column.name != _NO_ENTITY
        }
        # Where a service renames keys, the sources cannot be asked by the row's own columns.
        if not self._lives or not set(self.nobody) <= set(selection.entities):
            self.computed = {}

    def oldest(self, now: float) -> dict[str, float]:
        """Full name of a stored feature to the moment (seconds since 1970) before which a value is stale."""
        limits = self.limits(now)
        return {name: limits[view] for name, view in self._plain.items() if view in limits}

    def limits(self, now: float) -> dict[str, float]:
        """The same by view."""
        return {view: now - life for view, life in self._lives.items()}


def _check_feature(
    column: str, kind: str, reference: str, features: Mapping[str, Feature], repository: str
) -> None:
    if reference not in features:
        raise FeatureStoreError(
            f"The model's column {column!r} is the feature {reference!r}, which {repository} does not give "
            "any more.",
            "Apply the definitions that the model was trained with, or train it again.",
        )
    if features[reference].type != kind:
        raise FeatureStoreError(
            f"The model's column {column!r} is {kind}, and the feature {reference!r} of {repository} is "
            f"{features[reference].type} now.",
            "Apply the definitions that the model was trained with, or train it again.",
        )


def _value(message: Any) -> Any:
    """A value of Feast's as Python has it; None for none, and for a number that is none."""
    kind = message.WhichOneof("val")
    if kind is None or kind == "null_val":
        return None
    value = getattr(message, kind)
    if kind == "unix_timestamp_val":
        return dt.datetime.fromtimestamp(value, dt.UTC)
    return None if isinstance(value, float) and math.isnan(value) else value


def _is_before(moment: Any, limit: float) -> bool:
    """Whether a value is older than ``limit``; one without a time, which the store does not have, is not."""
    seconds: float = moment.seconds + moment.nanos * 1e-9
    return 0 < seconds < limit


def _mark(looked: Looked, column: str, flags: list[bool]) -> None:
    if any(flags):
        looked.stale[column] = flags


def _anything(dtype: Any) -> Any:
    """Some value of a type of Feast's that may be an entity key."""
    name = dtype.to_value_type().name
    return 0 if name in ("INT32", "INT64") else ""
