"""What the component's body calls."""

from kfp_lifecycle.components.batch_predict.scoring import score_shards
from kfp_lifecycle.components.shared.step import step


@step(outputs=())
def batch_predict_step(*, shards: str, output: str) -> str:
    """Scores one worker's shards and gives the name of its record; see :func:`.scoring.score_shards`."""
    return score_shards(output, shards)
