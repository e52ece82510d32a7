"""What is kept of each epoch, and which of them was the best."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from kfp_lifecycle.components.shared.errors import EstimatorError
from kfp_lifecycle.components.shared.scores import METRICS
from kfp_lifecycle.components.train_gpu.options import NetworkOptions

#: The metrics that a log's line of an epoch has room for.
IN_LINE = ("roc_auc", "roc_auc_ovr", "accuracy", "rmse", "r2")


@dataclass(frozen=True)
class EpochRecord:
    """One epoch.

    Args:
        epoch: From 1.
        train_loss: Mean loss of its rows, with the weights as they were at each step, dropout on.
        validation_loss: Mean loss of the held-out rows after it; None without held-out rows.
        learning_rate: At its last step.
        rows_per_second: Rows learned from in a second, over all devices; validation not counted.
        seconds: Time of the epoch with validation.
        memory_mb: Most memory used so far: the device's, or of the process on the CPU.
        ended: When it ended, in seconds since 1970.
        utilisation: Share of time the device was busy at its end, 0 to 1; None where that is not known.
        metrics: The task's metrics (:data:`.scores.METRICS`) on held-out rows.
    """

    epoch: int
    train_loss: float
    validation_loss: float | None
    learning_rate: float
    rows_per_second: float
    seconds: float
    memory_mb: float
    ended: float
    utilisation: float | None = None
    metrics: dict[str, float] = field(default_factory=dict)

    @property
    def held_out(self) -> dict[str, float]:
        """What the held-out rows say, as it is printed: ``validation_loss`` and ``validation_<metric>``."""
        if self.validation_loss is None:
            return {}
        found = {"loss": self.validation_loss, **self.metrics}
        return {f"validation_{name}": value for name, value in found.items()}

    def line(self, epochs: int, *, best: bool) -> str:
        """The epoch in one line of a log."""
        parts = [f"epoch {self.epoch}/{epochs}: train loss {self.train_loss:.5f}"]
        if self.validation_loss is not None:
            parts.append(f"validation loss {self.validation_loss:.5f}")
        parts += [f"{name} {self.metrics[name]:.4f}" for name in IN_LINE if name in self.metrics]
        parts.append(f"learning rate {self.learning_rate:.2g}")
        parts.append(f"{self.rows_per_second:,.0f} rows/s")
        return ", ".join(parts) + (" (best)" if best and self.validation_loss is not None else "")


class Best:
    """The best epoch so far, its weights, and how long it has been waited for a better one.

    Args:
        options: ``monitor`` and ``patience`` count here.
        task: The task, for which way its metrics go.
    """

    def __init__(self, options: NetworkOptions, task: str) -> None:
        self._monitor, self._patience = options.monitor, options.patience
        self._higher = options.monitor != "loss" and METRICS[task][options.monitor]
        self.epoch, self.waited = 0, 0
        self._value = math.inf
        self._weights: dict[str, Tensor] = {}

    @property
    def exhausted(self) -> bool:
        """Whether patience has run out."""
        return bool(self._patience) and self.waited >= self._patience

    def offer(self, record: EpochRecord, network: torch.nn.Module) -> bool:
        """Keeps the weights of an epoch that is better than all before; without held-out rows, of each.

        Raises:
            EstimatorError: The held-out rows do not define the metric to go by.
        """
        value = self._of(record)
        better = record.validation_loss is None or value < self._value
        if better:
            self.epoch, self._value, self.waited = record.epoch, value, 0
            self._weights = {name: weight.clone() for name, weight in network.state_dict().items()}
        else:
            self.waited += 1
        return better

    def restore(self, network: torch.nn.Module) -> None:
        """Gives the network the best epoch's weights."""
        network.load_state_dict(self._weights)

    def state_dict(self) -> dict[str, Any]:
        """What :meth:`load_state_dict` takes up again."""
        about = {"epoch": self.epoch, "waited": self.waited, "value": self._value}
        return {**about, "weights": self._weights}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on where another was."""
        self.epoch, self.waited, self._value = state["epoch"], state["waited"], state["value"]
        self._weights = dict(state["weights"])

    def _of(self, record: EpochRecord) -> float:
        """Lower is better."""
        if self._monitor == "loss" or record.validation_loss is None:
            return record.validation_loss or 0.0
        if self._monitor not in record.metrics:
            raise EstimatorError(
                f"The held-out rows do not define {self._monitor}: they have one class, or are too few.",
                "Set monitor to loss, or hold out more rows (validation_share).",
            )
        value = record.metrics[self._monitor]
        return -value if self._higher else value


def to_plain(history: list[EpochRecord]) -> list[dict[str, Any]]:
    """The records as plain types, for a checkpoint."""
    return [asdict(record) for record in history]


def from_plain(saved: list[dict[str, Any]]) -> list[EpochRecord]:
    """The inverse of :func:`to_plain`."""
    return [EpochRecord(**record) for record in saved]
