"""Which features of a repository are meant: a feature service, or a list of ``view:feature``."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kfp_lifecycle.components.feature_store.repository import Repository, definition_digest, feast_errors
from kfp_lifecycle.components.shared.errors import FeatureStoreError, ParameterError, did_you_mean

#: The schema's type by Feast's, of the types that are one value a row.
SCHEMA_TYPES = {
    "INT32": "integer",
    "INT64": "integer",
    "FLOAT": "number",
    "DOUBLE": "number",
    "FLOAT32": "number",
    "FLOAT64": "number",
    "STRING": "string",
    "UUID": "string",
    "BOOL": "boolean",
    "UNIX_TIMESTAMP": "timestamp",
    "DECIMAL": "number",
}


@dataclass(frozen=True)
class Feature:
    """One feature of a store.

    Args:
        view: Name of its feature view, as the service calls it, with its version where one is pinned.
        name: Its name in the view.
        type: Its type in the words of the schema.
    """

    view: str
    name: str
    type: str

    @property
    def reference(self) -> str:
        """``view:feature``."""
        return f"{self.view}:{self.name}"

    @property
    def full_name(self) -> str:
        """What Feast calls the column with ``full_feature_names``."""
        return f"{self.view}__{self.name}"


@dataclass(frozen=True)
class Selection:
    """Features of a repository that are retrieved together.

    Args:
        wanted: What Feast takes: its ``FeatureService``, or the references.
        features: The features, in order.
        entities: Column of a row to the type (of the schema) of the entity key it holds.
        request: Column of a row that on-demand views compute with, to its type.
        service: The service's name; empty for a list.
        version: The service's version: its tag ``version``, else the digest of its definition; of a list the
            digest of its views.
    """

    wanted: Any
    features: list[Feature]
    entities: dict[str, str]
    request: dict[str, str]
    service: str
    version: str

    def columns(self, taken: Iterable[str]) -> dict[str, Feature]:
        """The features by the column's name that each gets: its own, or ``view__feature`` if not free.

        Args:
            taken: The columns that the rows have already.

        Raises:
            FeatureStoreError: Even the long name is a column of the rows.
        """
        names = [feature.name for feature in self.features]
        occupied = set(taken)
        columns = {}
        for feature in self.features:
            is_free = feature.name not in occupied and names.count(feature.name) == 1
            name = feature.name if is_free else feature.full_name
            if name in occupied:
                raise FeatureStoreError(
                    f"The rows have columns {feature.name!r} and {name!r} already, so feature "
                    f"{feature.reference!r} has no name.",
                    "Drop the column in prepare (drop_columns), or leave the feature out.",
                )
            columns[name] = feature
        return columns


def select(repository: Repository, service: str, references: Sequence[str]) -> Selection:
    """The features that a user names, checked against the registry.

    Args:
        repository: The repository.
        service: Name of a feature service, or empty.
        references: ``view:feature`` each; empty where a service is named.

    Raises:
        ParameterError: Both or neither are given, or a reference is not of that form.
        FeatureStoreError: A service, view or feature is not in the registry. Names the nearest.
    """
    if bool(service) == bool(references):
        raise ParameterError(
            "Parameters 'feature_service' and 'features' are "
            + ("both given." if service else "both empty."),
            "Name a feature service, or list features as view:feature.",
        )
    with feast_errors(repository.uri):
        views = {view.name: view for view in repository.store.list_all_feature_views()}
        if not views:
            raise FeatureStoreError(
                f"The registry of {repository.uri} holds no feature view of project {repository.project!r}.",
                "Run feature-store-apply on the repository first.",
            )
        if service:
            wanted = _service(repository, service)
            pairs: list[tuple[Any, str | None]] = [(one, None) for one in wanted.feature_view_projections]
            definition = [wanted.to_proto().spec, *(views[one.name].to_proto().spec for one, _ in pairs)]
            version = wanted.tags.get("version") or definition_digest(*definition)
        else:
            wanted = list(references)
            pairs = [_projection(reference, views) for reference in references]
            version = definition_digest(*(views[one.name].to_proto().spec for one, _ in pairs))
        return _selection(wanted, pairs, views, service, version)


def _service(repository: Repository, name: str) -> Any:
    services = {service.name: service for service in repository.store.list_feature_services()}
    if name not in services:
        raise FeatureStoreError(
            f"{repository.uri} has no feature service {name!r}.", did_you_mean(name, services)
        )
    return services[name]


def _projection(reference: str, views: Mapping[str, Any]) -> tuple[Any, str | None]:
    view, separator, feature = reference.partition(":")
    if not separator or not view or not feature:
        raise ParameterError(
            f"Parameter 'features' has {reference!r}.", "Write each as view:feature, such as users:age."
        )
    bare = view.partition("@")[0]
    if bare not in views:
        raise FeatureStoreError(
            f"There is no feature view {bare!r} (in {reference!r}).", did_you_mean(bare, views)
        )
    known = [field.name for field in views[bare].features]
    if feature not in known:
        raise FeatureStoreError(
            f"Feature view {bare!r} has no feature {feature!r}.", did_you_mean(feature, known)
        )
    return views[bare].projection, feature


def _selection(
    wanted: Any,
    pairs: Sequence[tuple[Any, str | None]],
    views: Mapping[str, Any],
    service: str,
    version: str,
) -> Selection:
    features: list[Feature] = []
    entities: dict[str, str] = {}
    request: dict[str, str] = {}
    for projection, only in pairs:
        view = views[projection.name]
        for field in projection.features:
            if only in (None, field.name):
                features.append(_feature(projection.name_to_use(), field))
        request |= _types(view.get_request_data_schema() if _is_on_demand(view) else {})
        for source, keyed in _keyed(projection, view, views):
            entities |= {
                keyed.get(entity.name, entity.name): _type(entity.dtype, f"entity key {entity.name!r}")
                for entity in views[source].entity_columns
                if entity.name != "__dummy_id"  # of views without entities
            }
    if not features:
        raise FeatureStoreError(
            f"Feature service {service!r} has no features.", "Give it some, and apply it."
        )
    return Selection(wanted, features, entities, request, service, version)


def _keyed(projection: Any, view: Any, views: Mapping[str, Any]) -> list[tuple[str, Mapping[str, str]]]:
    """The views that hold the entity keys, with the names that the rows have for these."""
    if not _is_on_demand(view):
        return [(projection.name, projection.join_key_map or {})]
    return [
        (source.name, source.join_key_map or {})
        for source in view.source_feature_view_projections.values()
        if source.name in views and not _is_on_demand(views[source.name])
    ]


def _is_on_demand(view: Any) -> bool:
    return hasattr(view, "source_request_sources")


def _feature(view: str, field: Any) -> Feature:
    return Feature(view, field.name, _type(field.dtype, f"feature {view}:{field.name}"))


def _types(schema: Mapping[str, Any]) -> dict[str, str]:
    return {name: _named(kind.name, f"request column {name!r}") for name, kind in schema.items()}


def _type(dtype: Any, what: str) -> str:
    return _named(dtype.to_value_type().name, what)


def _named(feast_type: str, what: str) -> str:
    if feast_type not in SCHEMA_TYPES:
        raise FeatureStoreError(
            f"The {what} is {feast_type}, which is not one value a row.",
            f"Use features of the types {', '.join(SCHEMA_TYPES)}.",
        )
    return SCHEMA_TYPES[feast_type]
