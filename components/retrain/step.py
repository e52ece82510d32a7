"""What the ``retrain`` component's body calls."""

import os
from pathlib import Path
from typing import Any, NamedTuple

from kfp_lifecycle.components.monitor.history import History
from kfp_lifecycle.components.monitor.message import read_summary
from kfp_lifecycle.components.monitor.windows import duration
from kfp_lifecycle.components.retrain.cluster import Cluster
from kfp_lifecycle.components.retrain.local import Local
from kfp_lifecycle.components.retrain.retraining import Training, retrain
from kfp_lifecycle.components.retrain.starters import Starter
from kfp_lifecycle.components.shared.parameters import json_object, one_of
from kfp_lifecycle.components.shared.step import step

WHERE = ("auto", "cluster", "local")


class Outputs(NamedTuple):
    """The component's output parameters."""

    retraining: str
    retraining_link: str
    started: bool


@step(outputs=())
def retrain_step(
    *,
    summary: str,
    pipeline: str,
    parameters: str,
    training_window: str,
    history: str,
    wait: bool,
    **place: Any,
) -> Outputs:
    """Starts the training as the component says; see :func:`.retraining.retrain` for the errors."""
    training = Training(
        pipeline, json_object(parameters, "parameters"), duration(training_window, "training_window")
    )
    kept = History(history) if history.strip() else None
    done = retrain(read_summary(summary), training, _starter(**place), kept, wait=wait)
    return Outputs(done.run.run_id, done.run.link, done.started)


def _starter(
    where: str,
    experiment: str,
    pipeline_version: str,
    host: str,
    namespace: str,
    service_account: str,
    output_dir: str,
) -> Starter:
    chosen = one_of(where, WHERE, "where")
    if chosen == "auto":
        chosen = "cluster" if os.environ.get("KUBERNETES_SERVICE_HOST") else "local"
    if chosen == "local":
        return Local(Path(output_dir))
    return Cluster(experiment, pipeline_version, host, namespace, service_account)
