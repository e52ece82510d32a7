"""The KFP face of ``feature-store-materialize``."""

from kfp import dsl

from kfp_lifecycle.components.shared.image import FEAST_IMAGE

VERSION = "1.0.0"


@dsl.component(base_image=FEAST_IMAGE, install_kfp_package=False)
def feature_store_materialize(
    feature_store: str,
    metrics: dsl.Output[dsl.Metrics],
    report: dsl.Output[dsl.HTML],
    views: list[str] = [],
    start: str = "",
    end: str = "",
) -> int:
    """Brings a Feast online store up to date with the newest values of its offline store.

    Incremental: each feature view goes on where its last materialization ended. Run again after a failure, it
    does what is left; the same window again writes the same values.

    Args:
        feature_store: The Feast repository: a folder or gs://, s3:// URI that holds feature_store.yaml.
        metrics: By feature view the rows written and the age of the newest value, in hours.
        report: Rows and freshness by feature view, as one self-contained HTML page.
        views: Feature views to materialize; empty takes all that are served online.
        start: Where the window begins, in ISO 8601; empty goes on where each view's last one ended, and for a
            view that was never materialized begins its TTL before the end.
        end: Where the window ends; empty is now.

    Returns:
        Rows (entities) written, all views together; those that another engine wrote outside this step are not
        counted.

    Raises:
        ParameterError: The window is empty, ends in the future, or is no time.
        FeatureStoreError: The repository or a store cannot be opened, a view is not there or fails, or
            another materialization is under way.
        StorageError: The bucket cannot be read.
    """
    from kfp_lifecycle.components.feature_store_materialize.step import feature_store_materialize_step

    return feature_store_materialize_step(
        feature_store=feature_store, metrics=metrics, report=report, views=views, start=start, end=end
    )
