"""The optimizer, and the learning rate of each step."""

import math
from typing import Any

import torch
from torch import nn

from kfp_lifecycle.components.train_gpu.options import NetworkOptions

#: ``step``: to a tenth after these shares of all steps, as He et al. 2016 did.
_FALLS = (0.5, 0.75)
#: ``plateau``: to this part of itself.
_PLATEAU = 0.2


def make_optimizer(network: nn.Module, options: NetworkOptions) -> torch.optim.Optimizer:
    """The optimizer, in PyTorch's fused form: one kernel for all weights of a group.

    Only weights of linear layers (and what else has two dimensions and is no embedding) decay, as is usual:
    a decaying bias, norm or rare category would be pulled to zero for no gain.
    """
    embedded = {
        id(weight)
        for module in network.modules()
        if isinstance(module, (nn.Embedding, nn.EmbeddingBag))
        for weight in module.parameters()
    }
    decays: list[nn.Parameter] = []
    stays: list[nn.Parameter] = []
    for weight in network.parameters():
        if weight.requires_grad:
            (stays if weight.ndim < 2 or id(weight) in embedded else decays).append(weight)
    groups: list[dict[str, Any]] = [
        {"params": weights, "weight_decay": decay}
        for weights, decay in ((decays, options.weight_decay), (stays, 0.0))
        if weights
    ]
    if options.optimizer == "sgd":
        return torch.optim.SGD(groups, options.learning_rate, momentum=0.9, nesterov=True, fused=True)
    return torch.optim.AdamW(groups, options.learning_rate, fused=True)


class Schedule:
    """The learning rate by step, over all steps of a training.

    After a linear warm-up (Goyal et al. 2017): ``cosine`` half a cosine to zero (Loshchilov and Hutter 2017),
    ``step`` and ``plateau`` falls, ``constant``.

    Args:
        options: ``schedule``, ``learning_rate``, ``warmup_share``, ``epochs`` and ``patience`` count here.
        steps: Steps of an epoch.
    """

    def __init__(self, options: NetworkOptions, steps: int) -> None:
        self._kind, self._highest = options.schedule, options.learning_rate
        self._all = steps * options.epochs
        self._warmup = round(options.warmup_share * self._all)
        self._patience = max(1, options.patience // 2)
        self._best, self._waited, self._part = math.inf, 0, 1.0

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0 over all epochs."""
        if step < self._warmup:
            return self._highest * self._part * (step + 1) / (self._warmup + 1)
        if self._kind == "cosine":
            done = (step - self._warmup) / max(1, self._all - self._warmup)
            return self._highest * 0.5 * (1 + math.cos(math.pi * done))
        if self._kind == "step":
            return self._highest * 0.1 ** sum(step >= share * self._all for share in _FALLS)
        return self._highest * self._part

    def after_epoch(self, loss: float) -> None:
        """Tells how the epoch went: only ``plateau`` looks at it."""
        if self._kind != "plateau":
            return
        if loss < self._best:
            self._best, self._waited = loss, 0
            return
        self._waited += 1
        if self._waited >= self._patience:
            self._part, self._waited = self._part * _PLATEAU, 0

    def state_dict(self) -> dict[str, float]:
        """What :meth:`load_state_dict` takes up again."""
        return {"best": self._best, "waited": self._waited, "part": self._part}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Goes on where another schedule was."""
        self._best, self._waited, self._part = state["best"], int(state["waited"]), state["part"]
