"""What the user asks of ``train-gpu``, checked before anything is read."""

import dataclasses
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kfp_lifecycle.components.shared.errors import ParameterError, did_you_mean
from kfp_lifecycle.components.shared.parameters import check_type, one_of
from kfp_lifecycle.components.shared.scores import METRICS

#: The losses of a task; the first is the default.
LOSSES = {
    "binary": ("cross_entropy",),
    "multiclass": ("cross_entropy",),
    "regression": ("mse", "huber"),
}
CHOICES = {
    "loss": ("auto", *dict.fromkeys(name for names in LOSSES.values() for name in names)),
    "optimizer": ("adamw", "sgd"),
    "schedule": ("cosine", "step", "plateau", "constant"),
    "precision": ("auto", "bf16", "fp32"),
    "memory": ("auto", "device", "stream"),
}

#: The smallest value of each number; those of :data:`_ABOVE` must be above it.
_SMALLEST: dict[str, float] = {
    "learning_rate": 0,
    "weight_decay": 0,
    "warmup_share": 0,
    "epochs": 1,
    "batch_size": 1,
    "dropout": 0,
    "clip_norm": 0,
    "patience": 0,
    "validation_share": 0,
    "devices": 0,
    "nodes": 1,
    "checkpoint_minutes": 0,
    "checkpoint_epochs": 0,
    "reference_rows": 1,
    "seed": 0,
}
_ABOVE = ("learning_rate",)
#: Shares, which must be below 1.
_SHARES = ("warmup_share", "dropout", "validation_share")


@dataclass(frozen=True)
class NetworkOptions:
    """How to train; each is a parameter of the component.

    Args:
        network: ``residual``, ``mlp``, or the dotted path of a ``torch.nn.Module``; see :mod:`.network`.
        network_parameters: Its own parameters.
        loss: ``auto`` is cross entropy for classes and ``mse`` for numbers; ``huber`` bears outliers.
        optimizer: ``adamw`` or ``sgd`` (with Nesterov momentum 0.9).
        learning_rate: The highest that the schedule gives.
        weight_decay: Decoupled for ``adamw``; of the weights of linear layers only.
        schedule: ``cosine`` to zero, ``step`` (a tenth after half and again after three quarters of the
            epochs), ``plateau`` (a fifth whenever half of ``patience`` has passed in vain), ``constant``.
        warmup_share: Share of all steps in which the learning rate rises from near zero.
        epochs: How often each row is seen at most.
        batch_size: Rows of a step, over all devices.
        dropout: Share of activations that are dropped in training.
        class_weight: ``none``, ``balanced``, or a JSON object of class to weight.
        clip_norm: The largest norm of a step's gradient; 0 does not clip.
        monitor: What tells the best epoch on the held-out rows: ``loss`` or a metric of the task.
        patience: Epochs without a better one after which training stops; 0 never stops early.
        validation_share: Share of rows that are held out, as prepare split them; 0 holds out none, and the
            last epoch counts as the best.
        precision: ``bf16`` mixed precision, ``fp32``, or ``auto``: bf16 where the device is made for it.
        compile: Whether ``torch.compile`` makes kernels of the network first.
        deterministic: Only operations that give the same bits in each run.
        memory: ``device`` holds the table there, ``stream`` reads it from disk in each epoch, ``auto`` holds
            it where there is room.
        require_gpu: Whether to fail where there is none.
        devices: Devices of one machine; 0 takes all that it has.
        nodes: Machines; more than one is a TrainJob on the cluster.
        checkpoint_uri: Folder, mounted volume, ``gs://`` or ``s3://`` for checkpoints; empty writes none.
        checkpoint_minutes: Time between two; 0 writes by epochs only.
        checkpoint_epochs: Epochs after which one is written too; 0 writes by time only.
        experiment: MLflow experiment.
        run_name: Name of the MLflow run; empty lets MLflow choose.
        reference_rows: Rows of the model's reference sample, at least 1.
        seed: Seed of the weights, the order of rows, dropout, the held-out rows and the sample.

    Raises:
        ParameterError: A parameter is of the wrong type or out of range. Names it.
    """

    network: str = "residual"
    network_parameters: Mapping[str, Any] = field(default_factory=dict)
    loss: str = "auto"
    optimizer: str = "adamw"
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    schedule: str = "cosine"
    warmup_share: float = 0.05
    epochs: int = 30
    batch_size: int = 1024
    dropout: float = 0.15
    class_weight: str = "none"
    clip_norm: float = 1.0
    monitor: str = "loss"
    patience: int = 8
    validation_share: float = 0.1
    precision: str = "auto"
    compile: bool = False
    deterministic: bool = False
    memory: str = "auto"
    require_gpu: bool = False
    devices: int = 1
    nodes: int = 1
    checkpoint_uri: str = ""
    checkpoint_minutes: float = 10.0
    checkpoint_epochs: int = 0
    experiment: str = "kfp-lifecycle"
    run_name: str = ""
    reference_rows: int = 2000
    seed: int = 42

    def __post_init__(self) -> None:
        for parameter in dataclasses.fields(self):
            if parameter.name != "network_parameters":
                check_type(parameter.name, getattr(self, parameter.name), parameter.type)
        if not isinstance(self.network_parameters, Mapping):
            raise ParameterError(
                f"Parameter 'network_parameters' is {self.network_parameters!r}.", "Give parameters by name."
            )
        for name, allowed in CHOICES.items():
            one_of(getattr(self, name), allowed, name)
        for name, smallest in _SMALLEST.items():
            _check_range(name, getattr(self, name), smallest)
        if self.monitor != "loss" and not any(self.monitor in metrics for metrics in METRICS.values()):
            one_of(self.monitor, _monitors(*METRICS), "monitor")

    def check_task(self, task: str) -> None:
        """Raises ``ParameterError`` where the loss or the metric to monitor is of another task."""
        if self.loss != "auto":
            one_of(self.loss, LOSSES[task], "loss")
        one_of(self.monitor, _monitors(task), "monitor")
        if self.monitor != "loss" and not self.validation_share:
            raise ParameterError(
                f"Parameter 'monitor' is {self.monitor!r}, but validation_share is 0: no rows are held out.",
                "Hold some out, such as 0.1.",
            )

    def loss_of(self, task: str) -> str:
        """The loss's name, of :data:`LOSSES`."""
        return LOSSES[task][0] if self.loss == "auto" else self.loss


def check_names(names: Iterable[str]) -> None:
    """Raises ``ParameterError`` where a name is none of an option; has the nearest."""
    known = [own.name for own in dataclasses.fields(NetworkOptions)]
    for name in names:
        if name not in known:
            raise ParameterError(f"There is no option {name!r}.", did_you_mean(name, known))


def _check_range(name: str, value: float, smallest: float) -> None:
    if not math.isfinite(value) or value < smallest or (name in _ABOVE and value == smallest):
        what = f"a number above {smallest:g}" if name in _ABOVE else f"{smallest:g} or more"
        raise ParameterError(f"Parameter {name!r} is {value}.", f"Give {what}.")
    if name in _SHARES and value >= 1:
        raise ParameterError(f"Parameter {name!r} is {value}.", "Give a share from 0 to below 1.")


def _monitors(*tasks: str) -> tuple[str, ...]:
    return ("loss", *dict.fromkeys(name for task in tasks for name in METRICS[task]))
