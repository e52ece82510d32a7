"""One step of training, and what it does where memory is too small for a batch."""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from kfp_lifecycle.components.shared.errors import DeviceError, EstimatorError, LifecycleError
from kfp_lifecycle.components.train_gpu.batch import Batch
from kfp_lifecycle.components.train_gpu.device import Device, is_out_of_memory
from kfp_lifecycle.components.train_gpu.distributed import Group
from kfp_lifecycle.components.train_gpu.losses import Loss
from kfp_lifecycle.components.train_gpu.network import OWN, TabularNetwork, network_error
from kfp_lifecycle.components.train_gpu.optimizers import make_optimizer
from kfp_lifecycle.components.train_gpu.options import NetworkOptions

log = logging.getLogger(__name__)


class Steps:
    """The network, its optimizer, and the steps that they take.

    Nothing here waits for the device: what a step computes stays there until somebody asks.

    Args:
        network: On the device.
        loss: Sum of the losses of rows.
        options: How to train.
        device: Where.
        group: The processes that share each batch.
        rows: Rows of a batch.
    """

    def __init__(
        self,
        network: TabularNetwork,
        loss: Loss,
        options: NetworkOptions,
        device: Device,
        group: Group,
        rows: int,
    ) -> None:
        self.network, self.options, self.device, self.group = network, options, device, group
        self.loss = loss
        self.optimizer = make_optimizer(network, options)
        #: Rows that go through the network at once: fewer than a batch where memory is too small for it.
        self.rows_at_once = rows
        self._weights = [weight for weight in network.parameters() if weight.requires_grad]
        self._parallel: nn.Module = network
        self._model: Callable[..., Any] = network

    def join(self, first: Callable[[], Batch]) -> None:
        """Makes the network one of several ranks', and compiles it, as the options say.

        Args:
            first: Gives a batch, to try how many rows fit: later, a rank that runs out of memory would leave
                the others waiting for its gradients.
        """
        if self.group.world > 1:
            batch = first()
            while self._backward(self.network, batch, exchange=False) is None:
                pass
            self.optimizer.zero_grad(set_to_none=True)
        self._parallel = self.group.wrap(self.network)
        self._model = torch.compile(self._parallel) if self.options.compile else self._parallel

    def learn(self, batch: Batch, rate: float) -> Tensor:
        """One step with this learning rate; the sum of the losses of this rank's rows, on the device.

        Raises:
            DeviceError: Not even one row fits into memory.
            EstimatorError: The user's network fails.
        """
        while (total := self._backward(self._model, batch)) is None:
            pass
        if self.options.clip_norm:
            torch.nn.utils.clip_grad_norm_(self._weights, self.options.clip_norm, foreach=True)
        for part in self.optimizer.param_groups:
            part["lr"] = rate
        self.optimizer.step()
        return total

    def predict(self, batch: Batch) -> Tensor:
        """The logits of a batch, shape ``(n, outputs)``. Raises as :meth:`learn` does."""
        while True:
            try:
                return torch.cat([self._forward(self.network, part) for part in self._parts(batch)])
            except Exception as error:
                self._give_way(error, len(batch.target), alone=True)

    def _backward(self, model: Any, batch: Batch, *, exchange: bool = True) -> Tensor | None:
        """Puts the batch's gradients on the weights, part by part; None where a part was too large."""
        self.optimizer.zero_grad(set_to_none=True)
        total: Tensor | None = None
        parts = self._parts(batch)
        try:
            for number, part in enumerate(parts, 1):
                with nullcontext() if number == len(parts) else self._no_exchange():
                    loss = self.loss(self._forward(model, part), part.target, part.weight)
                    (loss * self.group.scale(batch.rows)).backward()  # type: ignore[no-untyped-call]
                total = loss.detach() if total is None else total + loss.detach()
        except Exception as error:
            self._give_way(error, len(batch.target), alone=self.group.world == 1 or not exchange)
            return None
        return total

    def _forward(self, model: Callable[..., Any], batch: Batch) -> Tensor:
        if not self.device.bf16:
            logits: Tensor = model(batch.numbers, batch.codes)
            return logits
        with torch.autocast(self.device.torch.type, torch.bfloat16):
            mixed: Tensor = model(batch.numbers, batch.codes)
        return mixed

    def _parts(self, batch: Batch) -> list[Batch]:
        rows, most = len(batch.target), self.rows_at_once
        if rows <= most:
            return [batch]
        return [_rows(batch, start, start + most) for start in range(0, rows, most)]

    def _no_exchange(self) -> AbstractContextManager[None]:
        """Gradients are exchanged with the batch's last part only."""
        if isinstance(self._parallel, DistributedDataParallel):
            return self._parallel.no_sync()
        return nullcontext()

    def _give_way(self, error: Exception, rows: int, *, alone: bool) -> None:
        """Takes half the rows at once if memory was short, and raises what is wrong otherwise.

        Args:
            error: What was raised.
            rows: Rows of the batch.
            alone: Whether no other rank waits for this one.
        """
        if not is_out_of_memory(error):
            raise self._declared(error) from error
        tried = min(rows, self.rows_at_once)
        if tried <= 1 or not alone:
            raise DeviceError(
                f"{self.device.name} is out of memory with {tried:,} rows at once.",
                "Set batch_size lower, make the network smaller, or take a device with more memory.",
            ) from error
        self.rows_at_once = -(-tried // 2)
        log.warning(
            "%s is out of memory with %s rows at once: going on with %s, and a step is still of all rows of "
            "its batch",
            *(self.device.name, f"{tried:,}", f"{self.rows_at_once:,}"),
        )
        if self.device.torch.type == "cuda":
            torch.cuda.empty_cache()

    def _declared(self, error: Exception) -> Exception:
        """What the user can mend, as an error that says so; else the error."""
        if self.options.compile and type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            said = " ".join(str(error).split())[:300].rstrip(".")
            return EstimatorError(
                f"torch.compile cannot compile the network {self.options.network}: {said}.",
                "Set compile to false, or train in an image that has a C++ compiler.",
            )
        if self.options.network in OWN or isinstance(error, LifecycleError):
            return error
        return network_error(self.options.network, "trained", error)


def _rows(batch: Batch, start: int, end: int) -> Batch:
    """Some rows of a batch, which is still as large."""
    weight = None if batch.weight is None else batch.weight[start:end]
    return Batch(
        batch.numbers[start:end], batch.codes[start:end], batch.target[start:end], weight, batch.rows
    )
