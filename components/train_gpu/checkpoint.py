"""Checkpoints: the state of a training in a store, so that one that is stopped goes on where it was.

Each is one object, ``step-<steps done>-<digest>.pt``, which appears whole or not at all. The digest is of its
bytes, so that one that was damaged later is known; the one before it is kept for then. They are read
as data only (``torch.load(weights_only=True)``): whoever can write to the store cannot run code here.
"""

import hashlib
import logging
import math
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch

from kfp_lifecycle.components.shared.errors import CheckpointError, StorageError, redact
from kfp_lifecycle.components.shared.inference.schema import TableSchema
from kfp_lifecycle.components.shared.storage import Store, check_writable, open_store
from kfp_lifecycle.components.train_gpu.network import Spec
from kfp_lifecycle.components.train_gpu.options import NetworkOptions

log = logging.getLogger(__name__)

#: Checkpoints that are kept.
KEPT = 2
_NAME = re.compile(r"step-(\d{12})-([0-9a-f]{16})\.pt")
#: The form of what is in a file; another one is not read.
_FORMAT = 1

#: Options that do not change what is learned, and may differ when a training goes on.
_FREE = {
    "checkpoint_uri",
    "checkpoint_minutes",
    "checkpoint_epochs",
    "compile",
    "devices",
    "experiment",
    "memory",
    "nodes",
    "reference_rows",
    "require_gpu",
    "run_name",
}


def fingerprint(
    options: NetworkOptions, schema: TableSchema, spec: Spec, rows: int, network: torch.nn.Module
) -> dict[str, Any]:
    """What must be the same for a checkpoint to be of this training, as plain values by readable names.

    Args:
        options: All that change what is learned count.
        schema: Target, task, classes and the source's digest count.
        spec: The features.
        rows: Rows to fit on.
        network: The names and shapes of its weights count.
    """
    features = {name: f"number {place}" for place, name in enumerate(spec.numbers)}
    categories = enumerate(zip(spec.codes, spec.cardinalities, strict=True))
    features |= {name: f"category {place} of {codes} codes" for place, (name, codes) in categories}
    return {
        "parameter": {name: value for name, value in vars(options).items() if name not in _FREE},
        "target": schema.target,
        "task": schema.task,
        "classes": schema.classes,
        "source digest": schema.source_digest,
        "rows to fit on": rows,
        "feature": features,
        "weight": {name: list(weight.shape) for name, weight in network.state_dict().items()},
    }


class Checkpoints:
    """The checkpoints of one training.

    Args:
        uri: Folder, mounted volume, ``gs://`` or ``s3://``; best a place of this training's own.
        about: Its :func:`fingerprint`.
        minutes: Time after which one is due; 0 for never.
        epochs: Epochs after which one is due; 0 for never.

    Raises:
        StorageError: ``uri`` is in no storage that is known.
    """

    def __init__(self, uri: str, about: Mapping[str, Any], *, minutes: float, epochs: int) -> None:
        self.uri = uri
        self._store: Store = open_store(uri)
        self._about = _plain(about)
        self._every_s = 60 * minutes if minutes else math.inf
        self._epochs = epochs
        self._last = time.monotonic()
        self._names: list[str] = []
        self._damaged: set[str] = set()
        self._writer = ThreadPoolExecutor(1, "checkpoint")
        self._writing: Future[None] | None = None
        self._slow = False

    @property
    def next_at(self) -> float:
        """When one is due, by ``time.monotonic()``."""
        return self._last + self._every_s

    def due_after(self, epoch: int) -> bool:
        """Whether one is due after this epoch, from 1."""
        return bool(self._epochs) and epoch % self._epochs == 0

    def check(self) -> None:
        """Raises ``StorageError`` where no checkpoint could be written."""
        check_writable(self.uri)

    def load(self) -> dict[str, Any] | None:
        """The newest state that can be read; None where there is no checkpoint.

        Raises:
            CheckpointError: It is of another training (names the differences), or none can be read.
            StorageError: The store cannot be read.
        """
        self._names = sorted(name for name in self._store.names() if _NAME.fullmatch(name))
        for name in reversed(self._names):
            try:
                saved = self._read(name)
            except _DamagedError as error:
                log.warning(
                    "the checkpoint %s in %s is damaged (%s); taking the one before",
                    *(name, redact(self.uri), error),
                )
                self._damaged.add(name)
                continue
            self._check_fingerprint(saved["fingerprint"], name)
            return cast("dict[str, Any]", saved["state"])
        if self._names:
            raise CheckpointError(
                f"None of the {len(self._names)} checkpoints in {redact(self.uri)} can be read.",
                "Delete them to begin anew, or name another checkpoint_uri.",
            )
        return None

    def save(self, state: Mapping[str, Any], steps: int, *, wait: bool = False) -> None:
        """Writes a state in the background; the loop goes on as soon as it is copied.

        A failure is said in the log, and the last checkpoint that was written stays: training is worth more
        than one checkpoint of it. While one is still being written, the next is left out.

        Args:
            state: Tensors, numbers and texts, nested; copied here.
            steps: Steps done, over all epochs.
            wait: Whether to wait until it is written, and for one that is being written.
        """
        self._last = time.monotonic()
        if self._writing is not None and not self._writing.done() and not wait:
            if not self._slow:
                log.warning("writing a checkpoint takes longer than the time between two: some are left out")
            self._slow = True
            return
        saved = {"format": _FORMAT, "fingerprint": self._about, "state": _copied(state)}
        self._writing = self._writer.submit(self._write, saved, steps)
        if wait:
            self.wait()

    def wait(self) -> None:
        """Waits until what is being written is there."""
        if self._writing is not None:
            self._writing.result()

    def _write(self, saved: dict[str, Any], steps: int) -> None:
        try:
            with _scratch() as file:
                torch.save(saved, file)
                name = f"step-{steps:012d}-{_digest(file)}.pt"
                self._store.write(file, name)
            self._forget_old(name)
        except (StorageError, OSError) as error:
            log.warning("no checkpoint was written, training goes on: %s", redact(str(error)))

    def _forget_old(self, newest: str) -> None:
        good = sorted({name for name in self._names if name not in self._damaged} | {newest})
        keep = set(good[-KEPT:]) | {newest}
        for name in {*self._names, *good} - keep:
            self._store.delete(name)
        self._names, self._damaged = sorted(keep), set()

    def _read(self, name: str) -> dict[str, Any]:
        """What a file holds. Raises ``_DamagedError``, or ``StorageError`` where the store fails."""
        found = _NAME.fullmatch(name)
        assert found is not None
        with _scratch() as file:
            self._store.read(name, file)
            if _digest(file) != found[2]:
                raise _DamagedError(f"its {file.stat().st_size:,} bytes are not those that were written")
            try:
                saved: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
            except Exception as error:  # what unpickling strange bytes raises is not limited
                raise _DamagedError(str(error).splitlines()[0][:200]) from error
        if saved.get("format") != _FORMAT:
            raise CheckpointError(
                f"The checkpoint {name} in {redact(self.uri)} is of another version of kfp-lifecycle.",
                "Name another checkpoint_uri, or go on with that version.",
            )
        return saved

    def _check_fingerprint(self, theirs: Mapping[str, Any], name: str) -> None:
        ours, others = _flat(self._about), _flat(theirs)
        different = [key for key in sorted(ours.keys() | others.keys()) if ours.get(key) != others.get(key)]
        if not different:
            return
        said = "; ".join(
            f"{key} is {_short(ours.get(key))} here and {_short(others.get(key))} there"
            for key in different[:4]
        )
        more = f", and {len(different) - 4} more differences" if len(different) > 4 else ""
        raise CheckpointError(
            f"The checkpoint {name} in {redact(self.uri)} is of another training: {said}{more}.",
            "Name another checkpoint_uri, delete what is there, or undo the change to go on.",
        )


class _DamagedError(Exception):
    """A file that is there and cannot be a checkpoint."""


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:16]


@contextmanager
def _scratch() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="checkpoint-"))
    try:
        yield folder / "state.pt"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _copied(state: Any) -> Any:
    """A copy on the CPU that the loop will not write to."""
    if isinstance(state, torch.Tensor):
        return state.detach().to("cpu", copy=True)
    if isinstance(state, Mapping):
        return {key: _copied(value) for key, value in state.items()}
    if isinstance(state, (list, tuple)):
        return type(state)(_copied(value) for value in state)
    return state


def _plain(values: Any) -> Any:
    """JSON's types alone, so that what was saved compares with what is now."""
    if isinstance(values, Mapping):
        return {str(key): _plain(value) for key, value in values.items()}
    if isinstance(values, (list, tuple)):
        return [_plain(value) for value in values]
    return values


def _flat(values: Any, above: str = "") -> dict[str, Any]:
    if not isinstance(values, Mapping):
        return {above: values}
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= _flat(value, f"{above} {key}".strip())
    return found


def _short(value: Any) -> str:
    text = "absent" if value is None else repr(value)
    return text if len(text) <= 60 else text[:57] + "…"
