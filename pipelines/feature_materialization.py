"""The ``feature-materialization`` pipeline: feature-store-apply → feature-store-materialize."""

from kfp import dsl

from kfp_lifecycle.components.feature_store_apply import feature_store_apply
from kfp_lifecycle.components.feature_store_materialize import feature_store_materialize

VERSION = "1.0.0"


@dsl.pipeline(name="feature-materialization")
def feature_materialization(
    feature_store: str,
    views: list[str] = [],
    start: str = "",
    end: str = "",
) -> None:
    """Keeps a Feast online store up to date; made for a schedule of one run an hour.

    Runs must not overlap: give the schedule a concurrency of 1. A run that finds another at work fails.
    """
    applied = feature_store_apply(feature_store=feature_store)
    feature_store_materialize(feature_store=feature_store, views=views, start=start, end=end).after(applied)
