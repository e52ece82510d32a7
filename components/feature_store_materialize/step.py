"""What the ``feature-store-materialize`` component's body calls."""

import logging

from kfp_lifecycle.components.feature_store.materialize import failures, materialize
from kfp_lifecycle.components.feature_store.repository import open_repository
from kfp_lifecycle.components.feature_store_materialize.report import render_report
from kfp_lifecycle.components.shared.outputs import OutputArtifact, whole_file
from kfp_lifecycle.components.shared.parameters import check_type
from kfp_lifecycle.components.shared.step import step

log = logging.getLogger(__name__)


@step(outputs=("metrics", "report"))
def feature_store_materialize_step(
    *,
    feature_store: str,
    metrics: OutputArtifact,
    report: OutputArtifact,
    views: list[str],
    start: str,
    end: str,
) -> int:
    """Materializes, and says by view how many rows there were and how fresh they are.

    See the component for parameters and errors. Views that are done stay done where another fails.
    """
    check_type("views", views, list[str])
    repository = open_repository(feature_store)
    done = materialize(repository, views, start, end)
    for one in done:
        if one.rows is not None:
            metrics.metadata[f"{one.view}_rows"] = one.rows
        if one.age is not None:
            metrics.metadata[f"{one.view}_age_hours"] = round(one.age.total_seconds() / 3600, 3)
        if one.is_stale:
            log.warning("%s: even its newest value is older than its TTL", one.view)
    with whole_file(report.path) as file:
        file.write_text(render_report(repository, done), encoding="utf-8")
    if (error := failures(done)) is not None:
        raise error
    return sum(one.rows or 0 for one in done)
