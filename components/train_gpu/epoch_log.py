"""The epochs in MLflow: every curve that its page of a run draws, with the epoch as the step."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from mlflow.entities import Metric
from mlflow.tracking import MlflowClient

from kfp_lifecycle.components.shared.errors import redact
from kfp_lifecycle.components.train_gpu.history import EpochRecord

log = logging.getLogger(__name__)

#: Seconds between two requests: short epochs are logged together, so that they do not wait for a server.
EVERY_S = 5.0
#: MLflow's limit of metrics in one request.
_MOST = 1000


def epoch_metrics(record: EpochRecord) -> dict[str, float]:
    """An epoch's numbers by their name in MLflow."""
    found = {
        "train_loss": record.train_loss,
        "learning_rate": record.learning_rate,
        "rows_per_second": record.rows_per_second,
        "epoch_seconds": record.seconds,
        "device_memory_mb": record.memory_mb,
    }
    if record.validation_loss is not None:
        found["validation_loss"] = record.validation_loss
    if record.utilisation is not None:
        found["device_utilisation"] = record.utilisation
    return found | {f"validation_{name}": value for name, value in record.metrics.items()}


class EpochLog:
    """A watcher that logs epochs to an MLflow run.

    The epochs that a restarted training had before are logged again, with the moments they ended at: in a
    run that has them they are the same entries, in a new one the curves are whole.

    Args:
        client: Of the tracking store.
        run_id: The run.
    """

    def __init__(self, client: MlflowClient, run_id: str) -> None:
        self._client, self._run_id = client, run_id
        self._waiting: list[Metric] = []
        self._last = time.monotonic()

    def __call__(self, record: EpochRecord, best: bool) -> None:
        """Takes an epoch; a store that fails is tried again later, as training need not wait for it."""
        moment = int(record.ended * 1000)
        self._waiting += [
            Metric(name, value, moment, record.epoch) for name, value in epoch_metrics(record).items()
        ]
        if time.monotonic() - self._last < EVERY_S:
            return
        try:
            self.flush()
        except Exception as error:
            log.warning("MLflow does not take the epochs just now, training goes on: %s", redact(str(error)))
        self._last = time.monotonic()

    def flush(self) -> None:
        """Logs what is waiting. Raises what MLflow raises."""
        while self._waiting:
            self._client.log_batch(self._run_id, metrics=self._waiting[:_MOST])
            del self._waiting[:_MOST]


@contextmanager
def epoch_log(client: MlflowClient, run_id: str) -> Iterator[EpochLog]:
    """An :class:`EpochLog` whose epochs are all logged when the block ends, also by an error."""
    watcher = EpochLog(client, run_id)
    try:
        yield watcher
    except BaseException:
        try:
            watcher.flush()
        except Exception as error:  # the block's own error is the one to be read
            log.warning("the last epochs could not be logged to MLflow: %s", redact(str(error)))
        raise
    watcher.flush()
