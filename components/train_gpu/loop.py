"""The training loop: the same on the CPU and on every device, alone and as one process of several."""

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from kfp_lifecycle.components.shared.errors import EstimatorError, redact
from kfp_lifecycle.components.train_gpu.batch import Batches
from kfp_lifecycle.components.train_gpu.checkpoint import Checkpoints
from kfp_lifecycle.components.train_gpu.device import Device, deterministic, peak_memory_mb, utilisation
from kfp_lifecycle.components.train_gpu.distributed import Group
from kfp_lifecycle.components.train_gpu.history import Best, EpochRecord, from_plain, to_plain
from kfp_lifecycle.components.train_gpu.losses import Target, loss_function
from kfp_lifecycle.components.train_gpu.network import TabularNetwork
from kfp_lifecycle.components.train_gpu.optimizers import Schedule
from kfp_lifecycle.components.train_gpu.options import NetworkOptions
from kfp_lifecycle.components.train_gpu.preemption import Preempted, StopSign, stop_sign
from kfp_lifecycle.components.train_gpu.progress import Progress, progress
from kfp_lifecycle.components.train_gpu.randomness import random_state, restore_random, seed_all
from kfp_lifecycle.components.train_gpu.steps import Steps
from kfp_lifecycle.components.train_gpu.validation import EPOCH_ROWS, FINAL_ROWS, validate

log = logging.getLogger(__name__)

#: Seconds after which the loop looks at its losses, at the latest; ranks do so after as many steps.
LOOK_S, LOOK_STEPS = 10.0, 50

#: Called on the main rank after each epoch with its record, and whether it is the best so far. A training
#: that is taken up again calls it for the epochs before, too.
Watcher = Callable[[EpochRecord, bool], None]


@dataclass(frozen=True)
class Fitted:
    """A trained network and how it came about.

    Args:
        network: With the weights of the best epoch, on the device, in evaluation mode.
        history: The epochs, in order.
        best: The epoch whose weights these are, from 1.
        metrics: On all held-out rows with these weights: ``loss`` and the task's metrics
            (:data:`.scores.METRICS`); empty without held-out rows.
        stopped_early: Whether patience ran out.
        resumed: Where it was taken up again, such as ``epoch 3, batch 120 of 300``; else empty.
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
    with stop_sign() as sign, deterministic(options.deterministic):
        training = _Training(network, batches, judge, target, options, device, group, checkpoints, sign)
        told = watchers if group.is_main else ()
        try:
            training.begin(told)
            with progress(options.epochs, shown=group.is_main) as bar:
                training.run(told, bar)
            return training.end()
        finally:
            if checkpoints is not None:
                checkpoints.wait()


class _Training:
    """The state of a training, and the epochs that change it."""

    def __init__(
        self,
        network: TabularNetwork,
        batches: Batches,
        judge: Batches | None,
        target: Target,
        options: NetworkOptions,
        device: Device,
        group: Group,
        checkpoints: Checkpoints | None,
        sign: StopSign,
    ) -> None:
        self.network = network.to(device.torch)
        self.batches, self.judge, self.target, self.options = batches, judge, target, options
        self.device, self.group, self.checkpoints, self.sign = device, group, checkpoints, sign
        loss = loss_function(options.loss_of(target.task), target.outputs)
        self.steps = Steps(network, loss, options, device, group, batches.batch_size)
        self.schedule = Schedule(options, batches.steps)
        self.best = Best(options, target.task)
        self.history: list[EpochRecord] = []
        self.epoch, self.step, self.seconds, self.resumed = 0, 0, 0.0, ""
        #: The sum of losses of each step of the epoch; on the device until somebody looks.
        self.losses = torch.zeros(batches.steps, device=device.torch)

    @property
    def done(self) -> bool:
        """Whether no epoch is left."""
        return self.epoch >= self.options.epochs or self.best.exhausted

    def begin(self, watchers: Sequence[Watcher]) -> None:
        """Takes up the newest checkpoint, or begins anew."""
        seed_all(self.options.seed, self.group.rank)
        state = None
        if self.checkpoints is not None and self.group.is_main:
            self.checkpoints.check()
            state = self.checkpoints.load()
        state = self.group.broadcast(state)
        if state is not None:
            self._take_up(state)
            for record in self.history:
                for watcher in watchers:
                    watcher(record, record.epoch == self.best.epoch)
        if not self.done:
            before = random_state(self.group)
            self.steps.join(lambda: next(self.batches.epoch(self.epoch)))
            restore_random(before, self.group)

    def run(self, watchers: Sequence[Watcher], bar: Progress) -> None:
        """The epochs that are left."""
        while not self.done:
            record, best = self._epoch(bar)
            for watcher in watchers:
                watcher(record, best)
            if self.group.is_main:
                log.info("%s", record.line(self.options.epochs, best=best))
            if not self.done and self.checkpoints is not None and self.checkpoints.due_after(self.epoch):
                self._save()

    def end(self) -> Fitted:
        """The network with the best weights, and how well it predicts."""
        early = self.epoch < self.options.epochs
        if early and self.group.is_main:
            log.info("no better epoch in %d: stopping, the best was %d", self.best.waited, self.best.epoch)
        self._save(wait=True)
        if self.group.any(self.sign.seen):
            raise self._preempted()
        self.best.restore(self.network)
        metrics: dict[str, float] = {}
        if self.judge is not None:
            loss, metrics = self._validate(FINAL_ROWS)
            metrics = {"loss": loss, **metrics}
        self.network.eval()
        return Fitted(self.network, self.history, self.best.epoch, metrics, early, self.resumed, self.seconds)

    def _epoch(self, bar: Progress) -> tuple[EpochRecord, bool]:
        """One epoch, or what is left of it, with its validation; its record, and whether it is the best."""
        started, first = time.monotonic(), self.step
        rate = self._learn(bar)
        learned = self.batches.rows * (self.batches.steps - first) / self.batches.steps
        speed = learned / max(time.monotonic() - started, 1e-9)
        validation, metrics = (None, {}) if self.judge is None else self._validate(EPOCH_ROWS)
        if validation is not None and not math.isfinite(validation):
            raise self._no_number(f"The validation loss is not a number after epoch {self.epoch + 1}.")
        record = EpochRecord(
            epoch=self.epoch + 1,
            train_loss=self._losses().double().sum().item() / self.batches.rows,
            validation_loss=validation,
            learning_rate=rate,
            rows_per_second=speed,
            seconds=time.monotonic() - started,
            memory_mb=peak_memory_mb(self.device.torch),
            ended=time.time(),
            utilisation=utilisation(self.device.torch),
            metrics=metrics,
        )
        self.history.append(record)
        best = self.best.offer(record, self.network)
        self.schedule.after_epoch(record.train_loss if validation is None else validation)
        self.epoch, self.step, self.seconds = self.epoch + 1, 0, self.seconds + record.seconds
        return record, best

    def _learn(self, bar: Progress) -> float:
        """The epoch's steps that are left; the learning rate of the last."""
        self.network.train()
        bar.epoch(self.epoch + 1, self.batches.steps)
        done = self.epoch * self.batches.steps
        look_at = self._next_look(bar)
        for batch in self.batches.epoch(self.epoch, self.step):
            self.losses[self.step] = self.steps.learn(batch, self.schedule.rate(done + self.step))
            self.step += 1
            if self._is_time(look_at):
                self._look(bar)
                look_at = self._next_look(bar)
        self._look(bar)
        return self.schedule.rate(done + self.step - 1)

    def _next_look(self, bar: Progress) -> float:
        due = self.checkpoints.next_at if self.checkpoints else math.inf
        return min(due, time.monotonic() + min(bar.every_s, LOOK_S))

    def _is_time(self, look_at: float) -> bool:
        """Whether to look now: ranks look together, so they go by steps and not by their clocks."""
        if self.group.world > 1:
            return self.step % LOOK_STEPS == 0
        return self.sign.seen or time.monotonic() >= look_at

    def _look(self, bar: Progress) -> None:
        """Waits for the device and looks: is the loss a number, is a checkpoint due, shall we stop?"""
        losses = self._losses()
        if len(wrong := (~losses.isfinite()).nonzero()):
            raise self._no_number(
                f"The loss is not a number in epoch {self.epoch + 1}, batch {int(wrong[0]) + 1} of "
                f"{self.batches.steps}."
            )
        rows = self.batches.rows * self.step / self.batches.steps
        bar.step(self.step, losses.sum().item() / rows)
        due = self.checkpoints is not None and time.monotonic() >= self.checkpoints.next_at
        if not self.group.any(self.sign.seen or due):
            return
        stop = self.group.any(self.sign.seen)
        self._save(wait=stop)
        if stop:
            raise self._preempted()

    def _losses(self) -> Tensor:
        """The sums of losses of the epoch's steps so far, over all ranks."""
        return self.group.sum_(self.losses[: self.step].clone())

    def _validate(self, most: int) -> tuple[float, dict[str, float]]:
        assert self.judge is not None
        self.network.eval()
        return validate(self.steps.predict, self.judge, self.steps.loss, self.target, self.group, most)

    def _save(self, *, wait: bool = False) -> None:
        """Hands the state to the checkpoints; all ranks call it together."""
        # A loss that is still a number may have had a gradient that is none.
        if not torch.stack([weight.isfinite().all() for weight in self.network.parameters()]).all():
            raise self._no_number(f"A weight of the network is not a number at {self._position()}.")
        if self.checkpoints is None:
            return
        state = {
            "epoch": self.epoch,
            "step": self.step,
            "seconds": self.seconds,
            "rows_at_once": self.steps.rows_at_once,
            "network": self.network.state_dict(),
            "optimizer": self.steps.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "best": self.best.state_dict(),
            "history": to_plain(self.history),
            "losses": self._losses(),
            "random": random_state(self.group),
        }
        if self.group.is_main:
            self.checkpoints.save(state, self.epoch * self.batches.steps + self.step, wait=wait)

    def _take_up(self, state: dict[str, Any]) -> None:
        self.epoch, self.step, self.seconds = state["epoch"], state["step"], state["seconds"]
        self.steps.rows_at_once = min(state["rows_at_once"], self.batches.batch_size)
        self.network.load_state_dict(state["network"])
        self.steps.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.best.load_state_dict(state["best"])
        self.history = from_plain(state["history"])
        if self.group.is_main:  # they are summed over ranks
            self.losses[: self.step] = state["losses"].to(self.losses.device)
        restore_random(state["random"], self.group)
        self.resumed = self._position()
        if self.group.is_main and self.checkpoints is not None:
            where = redact(self.checkpoints.uri)
            if self.done:
                log.info("the checkpoint in %s is of this training's end: nothing is left to learn", where)
            else:
                log.info("going on from a checkpoint at %s", self.resumed)

    def _position(self) -> str:
        if self.done:
            return "its end"
        return f"epoch {self.epoch + 1}, batch {self.step} of {self.batches.steps}"

    def _kept(self) -> str:
        if self.checkpoints is None:
            return "No checkpoint is kept, as checkpoint_uri is empty."
        return f"The last good checkpoint is kept in {redact(self.checkpoints.uri)}."

    def _no_number(self, problem: str) -> EstimatorError:
        return EstimatorError(
            f"{problem} {self._kept()}",
            "Set learning_rate or clip_norm lower, or precision to fp32; look for values out of proportion.",
        )

    def _preempted(self) -> Preempted:
        said = f"stopped by SIGTERM at {self._position()}. {self._kept()}"
        if self.group.is_main:
            log.warning("%s", said)
        return Preempted(said)
