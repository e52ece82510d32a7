"""The training loop: the same on the CPU and on every device, alone and as one process of several."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kfp_lifecycle.components.shared.errors import EstimatorError
from kfp_lifecycle.components.train_gpu.batch import Batches
from kfp_lifecycle.components.train_gpu.checkpoint import Checkpoints
from kfp_lifecycle.components.train_gpu.device import Device
from kfp_lifecycle.components.train_gpu.distributed import Group
from kfp_lifecycle.components.train_gpu.history import EpochRecord
from kfp_lifecycle.components.train_gpu.losses import Target
from kfp_lifecycle.components.train_gpu.network import TabularNetwork
from kfp_lifecycle.components.train_gpu.options import NetworkOptions

#: Called on the main rank after each epoch with its record, and whether it is the best so far.
Watcher = Callable[[EpochRecord, bool], None]


@dataclass(frozen=True)
class Fitted:
    """A trained network and how it came about.

    Args:
        network: With the weights of the best epoch, on the device, in evaluation mode.
        history: The epochs, in order.
        best: The epoch whose weights these are; None where no epoch was run.
        metrics: On all held-out rows with these weights: ``loss`` and the task's metrics
            (:data:`.scores.METRICS`); empty without held-out rows.
        stopped_early: Whether patience ran out.
        resumed: Where it was taken up again, such as ``epoch 3, step 120``; empty where it began anew.
        seconds: Time of the epochs, those before a restart included.
    """

    network: TabularNetwork
    history: list[EpochRecord]
    best: int
    metrics: dict[str, float]
    stopped_early: bool
    resumed: str
    seconds: float


def fit(
    network: TabularNetwork,
    batches: Batches,
    judge: Batches | None,
    target: Target,
    options: NetworkOptions,
    device: Device,
    *,
    group: Group,
    checkpoints: Checkpoints | None = None,
    watchers: Sequence[Watcher] = (),
) -> Fitted:
    """Trains a network and gives it back with the weights of its best epoch.

    Args:
        network: From :func:`.network.build_network`; changed in place.
        batches: Of the rows to fit on, shuffled.
        judge: Of the held-out rows, in the table's order; None without.
        target: What is predicted.
        options: How.
        device: Where, and in which precision (:func:`.device.choose_device`).
        group: This process among those that train together.
        checkpoints: Where to keep the state, and to take it up from; None keeps none.
        watchers: Called on the main rank after each epoch.

    Raises:
        EstimatorError: The loss is not a number (names epoch and batch), or the user's module fails.
        CheckpointError: What is there is of another training, or all of it is damaged.
        StorageError: Checkpoints cannot be written at all.
        DeviceError: Not even one row fits into the device's memory.
        Preempted: SIGTERM came; a checkpoint has been written.
    """
    raise EstimatorError("not there yet")
