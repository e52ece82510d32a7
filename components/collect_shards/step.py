"""What the component's body calls."""

import logging

from kfp_lifecycle.components.batch_predict.manifest import collect
from kfp_lifecycle.components.shared.errors import redact
from kfp_lifecycle.components.shared.outputs import OutputArtifact
from kfp_lifecycle.components.shared.step import step

log = logging.getLogger(__name__)


@step(outputs=("predictions",))
def collect_shards_step(*, records: list[str], output: str, predictions: OutputArtifact) -> str:
    """Checks that all is scored, writes the manifest, and points the artifact at the results.

    Args:
        records: What each worker gave back.
        output: Where the results are.
        predictions: Becomes the folder of the results, which stays where it is.
    """
    done = collect(output, records)
    predictions.uri = done.uri
    predictions.metadata.update(
        rows=done.rows,
        parts=done.parts,
        model_name=done.plan.model_name,
        model_version=done.plan.model_version,
        model_digest=done.plan.model_digest,
        source_uri=redact(done.plan.source),
    )
    log.info("%d rows in %d parts (%d made now) in %s", done.rows, done.parts, done.scored, redact(done.uri))
    return done.uri
