"""What the component's body calls."""

import logging
from typing import Any

from kfp_lifecycle.components.batch_predict.planning import Request, make_plan
from kfp_lifecycle.components.shared.step import step

log = logging.getLogger(__name__)


@step(outputs=())
def plan_shards_step(**parameters: Any) -> list[str]:
    """Plans a batch inference.

    Args:
        **parameters: The fields of :class:`.batch_predict.planning.Request`.
    """
    shares = make_plan(Request(**parameters))
    log.info("%s: %d workers", shares[0].partition("/")[0], len(shares))
    return shares
