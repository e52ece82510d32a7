"""What is predicted, and how wrong a prediction is."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from kfp_lifecycle.components.shared.inference.schema import TableSchema
from kfp_lifecycle.components.shared.scores import scores


@dataclass(frozen=True)
class Target:
    """What a network predicts.

    Args:
        task: ``binary``, ``multiclass`` or ``regression``.
        classes: Labels in sorted order; empty for regression.
        positive: For binary, the label that metrics are about; empty is the last.
        centre: For regression, what was taken off the target before the fit, in its unit.
        scale: What it was divided by then.
    """

    task: str
    classes: tuple[str, ...] = ()
    positive: str = ""
    centre: float = 0.0
    scale: float = 1.0

    @classmethod
    def of(cls, schema: TableSchema, centre: float = 0.0, scale: float = 1.0) -> "Target":
        """The target of a table."""
        return cls(schema.task, tuple(schema.classes), schema.positive_class, centre, scale)

    @property
    def outputs(self) -> int:
        """How many numbers a network gives for a row: 1 for regression and binary, the classes else."""
        return len(self.classes) if self.task == "multiclass" else 1

    def scores(self, logits: Tensor, targets: Tensor) -> dict[str, float]:
        """The task's metrics (:data:`.scores.METRICS`), in the target's own unit.

        Args:
            logits: Shape ``(n, outputs)``, on the CPU.
            targets: Shape ``(n,)``, as a batch has them.
        """
        if self.task == "regression":
            truth, predicted = (
                x.double().numpy() * self.scale + self.centre for x in (targets, logits[:, 0])
            )
            return scores(self.task, truth, predicted)
        if self.task == "binary":
            logits = torch.cat([torch.zeros_like(logits), logits], dim=1)
        probabilities: npt.NDArray[np.float64] = torch.softmax(logits.double(), dim=1).numpy()
        predicted = probabilities.argmax(axis=1)
        return scores(self.task, targets.numpy(), predicted, probabilities, self.classes, self.positive)


#: From logits ``(n, outputs)``, targets ``(n,)`` and weights ``(n,)`` or None to the sum of the rows' losses.
Loss = Callable[[Tensor, Tensor, Tensor | None], Tensor]


def loss_function(name: str, outputs: int) -> Loss:
    """The loss of that name (:data:`.options.LOSSES`), summed over rows in float32.

    Cross entropy is in nats, with a single output that of the logistic function. Losses of numbers are of
    the scaled target; ``huber`` is linear from one standard deviation on (Huber 1964).
    """
    if name == "cross_entropy":
        return _binary_cross_entropy if outputs == 1 else _cross_entropy
    return {"mse": _squared, "huber": _huber}[name]


def _binary_cross_entropy(logits: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
    x = logits.float().squeeze(1)
    return functional.binary_cross_entropy_with_logits(x, target.float(), weight, reduction="sum")


def _cross_entropy(logits: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
    if weight is None:
        return functional.cross_entropy(logits.float(), target, reduction="sum")
    return (functional.cross_entropy(logits.float(), target, reduction="none") * weight).sum()


def _squared(logits: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
    errors = functional.mse_loss(logits.float().squeeze(1), target, reduction="none")
    return errors.sum() if weight is None else (errors * weight).sum()


def _huber(logits: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
    errors = functional.huber_loss(logits.float().squeeze(1), target, reduction="none")
    return errors.sum() if weight is None else (errors * weight).sum()
