"""What the ranks of the tests do: ``python -m tests.components.train_gpu.ranks WHAT FOLDER``."""

import itertools
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import nn

from kfp_lifecycle.components.shared.errors import TargetError
from kfp_lifecycle.components.train_gpu.distributed import Group, all_agree, join

CPU = torch.device("cpu")


def tell(folder: Path, group: Group, value: Any) -> None:
    (folder / f"{group.rank}.json").write_text(json.dumps(value))


def talk(folder: Path, group: Group) -> None:
    """Every way to exchange something."""
    print(f"rank {group.rank} says hello", flush=True)

    def make() -> None:
        time.sleep(0.5)
        with (folder / "made").open("a") as file:
            file.write(f"{group.rank} ")

    group.once_per_node(make)
    made = (folder / "made").read_text()
    group.barrier()
    told = {
        "made": made,
        "sum": group.sum_(torch.tensor([group.rank + 1.0, 2.0], dtype=torch.float64)).tolist(),
        "any": [group.any(False), group.any(group.rank == 1), group.any(True)],
        "agree": [all_agree(True), all_agree(group.rank == 1)],
        "broadcast": group.broadcast({"position": [group.rank, "step"]}),
        "threads": os.environ["OMP_NUM_THREADS"],
        "tmp": os.environ["TMPDIR"],
    }
    tell(folder, group, told)


def train(folder: Path, group: Group) -> None:
    """A small network on the table in the folder: by how it is held, its losses and last weights."""
    torch.set_num_threads(1)
    tell(folder, group, {memory: curve(folder, group, memory) for memory in ("device", "stream")})


def curve(folder: Path, group: Group, memory: str) -> dict[str, Any]:
    # Here, because the ranks that only fail have no need of it.
    from kfp_lifecycle.components.train_gpu.batches import make_batches
    from tests.components.train_gpu.feature_tables import CLASSES, SPEC

    torch.manual_seed(0)
    batches = make_batches(
        folder / "table", SPEC, CLASSES, batch_size=96, device=CPU, shuffle=True, seed=1,
        rank=group.rank, world=group.world, memory=memory, class_weights=[1.0, 2.0, 0.5],
    )  # fmt: skip
    body = nn.Sequential(nn.Linear(4, 16), nn.LayerNorm(16), nn.ReLU(), nn.Linear(16, 3))
    network = group.wrap(body)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.3, momentum=0.9)
    losses = []
    for epoch in range(4):
        total = torch.zeros(1, dtype=torch.float64)
        for batch in batches.epoch(epoch):
            numbers = batch.numbers[:, [0, 2]] / 1000
            logits = network(torch.cat([numbers, batch.codes.float() / 10], 1))
            each = nn.functional.cross_entropy(logits, batch.target, reduction="none") * batch.weight
            total += each.detach().sum()
            optimizer.zero_grad()
            (each.sum() * group.scale(batch.rows)).backward()
            optimizer.step()
        losses.append(group.sum_(total).item() / batches.rows)
    return {"losses": losses, "weights": [p.tolist() for p in body.parameters()]}


def learn(folder: Path) -> None:
    """The real training, with the options in the folder; rank 0 is killed after the epoch that is named."""
    from tests.components.train_gpu.learnable import options, train

    torch.set_num_threads(1)
    given = json.loads((folder / "options.json").read_text())
    last = given.pop("killed_after", 0)

    def kill(record: Any, best: bool) -> None:
        if record.epoch == last:
            os.kill(os.getpid(), signal.SIGKILL)

    found = train(folder, "binary", options(**given), watchers=[kill]).fitted
    history = [[record.train_loss, record.validation_loss] for record in found.history]
    weights = [weight.tolist() for weight in found.network.state_dict().values()]
    told = {"history": history, "metrics": found.metrics, "weights": weights, "resumed": found.resumed}
    rank = os.environ.get("RANK", "0")
    (folder / f"{rank}.json").write_text(json.dumps(told))


def _forever(group: Group) -> None:
    for _ in itertools.count():
        group.barrier()
        time.sleep(0.01)


def table(folder: Path, group: Group) -> None:
    """Rank 1 waits for what rank 0 cannot make."""

    def make() -> None:
        raise TargetError("The target 'y' is wrong.", "Mend it.")

    group.once_per_node(make)


def bug(folder: Path, group: Group) -> None:
    if group.rank == 1:
        raise KeyError("nobody thought of this")
    _forever(group)


def killed(folder: Path, group: Group) -> None:
    if group.rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    _forever(group)


def silent(folder: Path, group: Group) -> None:
    if group.rank == 1:
        print("the last words of rank 1", file=sys.stderr, flush=True)
        os._exit(7)
    _forever(group)


def deaf(folder: Path, group: Group) -> None:
    """Rank 1 never comes to where rank 0 waits."""
    if group.rank == 1:
        time.sleep(600)
    group.barrier()


def stopped(folder: Path, group: Group) -> None:
    """Until SIGTERM, after which each rank has something to write."""
    seen: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: seen.append(number))
    (folder / f"{group.rank}.pid").write_text(str(os.getpid()))
    while not group.any(bool(seen)):
        time.sleep(0.01)
    time.sleep(0.5)
    tell(folder, group, "checkpoint")
    raise SystemExit(143)


def main(what: str, folder: str, timeout_s: str = "60") -> None:
    does: dict[str, Callable[[Path, Group], None]] = {
        does.__name__: does
        for does in (
            talk, train, table, bug, killed, silent, deaf, stopped,
        )
    }  # fmt: skip
    if what == "learn":  # which joins by itself
        learn(Path(folder))
        return
    with join(CPU, timedelta(seconds=float(timeout_s))) as group:
        does[what](Path(folder), group)


if __name__ == "__main__":
    main(*sys.argv[1:])
