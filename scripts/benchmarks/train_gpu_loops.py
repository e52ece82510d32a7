"""Three ways to train the same network on the same table, for train_gpu.py.

The network, its first weights, the optimizer's settings, batch size and epochs are the same; each ends with
the mean loss of the held-out rows. Imports, reading the table and building the network are not in the time.
"""

import sys
import time
from pathlib import Path

import polars as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from kfp_lifecycle.components.shared.inference.schema import TableSchema
from kfp_lifecycle.components.train_gpu.batches import make_batches
from kfp_lifecycle.components.train_gpu.checkpoint import Checkpoints, fingerprint
from kfp_lifecycle.components.train_gpu.device import choose_device
from kfp_lifecycle.components.train_gpu.distributed import Group
from kfp_lifecycle.components.train_gpu.epoch_log import epoch_log
from kfp_lifecycle.components.train_gpu.features import TARGET, Tables
from kfp_lifecycle.components.train_gpu.loop import fit
from kfp_lifecycle.components.train_gpu.losses import Target
from kfp_lifecycle.components.train_gpu.network import build_network
from kfp_lifecycle.components.train_gpu.options import NetworkOptions
from kfp_lifecycle.components.train_gpu.statistics import measure

#: The small MLP of the tutorials.
HIDDEN, DROPOUT, RATE, DECAY = [64, 32], 0.3, 1e-3, 1e-4
Found = dict[str, float]


class Given:
    """The tables, and the network that every way begins with."""

    def __init__(self, folder: Path, device: str, batch: int, epochs: int) -> None:
        self.tables = Tables.load(folder / "tables")
        self.schema = TableSchema.load(folder / "schema.json")
        self.options = NetworkOptions(
            network="mlp",
            network_parameters={"hidden": HIDDEN},
            dropout=DROPOUT,
            learning_rate=RATE,
            weight_decay=DECAY,
            schedule="constant",
            warmup_share=0.0,
            clip_norm=0.0,
            patience=0,
            epochs=epochs,
            batch_size=batch,
            checkpoint_uri=str(folder / f"checkpoints-{time.time_ns()}"),
            checkpoint_epochs=1,
            seed=0,
        )
        self.device = choose_device(self.options)
        if device == "cpu":
            assert self.device.torch.type == "cpu", "hide the GPU: CUDA_VISIBLE_DEVICES="
        statistics = measure(self.batches(self.tables.fit, shuffle=False), Group())
        self.network = build_network(self.tables.spec, statistics, 1, self.options)
        self.target = Target.of(self.schema)
        # The first optimizer of a process imports a second's worth of PyTorch's compiler.
        torch.optim.AdamW(self.network.parameters())

    def batches(self, path: Path, *, shuffle: bool):
        return make_batches(
            path,
            self.tables.spec,
            self.schema,
            batch_size=self.options.batch_size,
            device=self.device.torch,
            shuffle=shuffle,
            seed=0,
        )

    def tensors(self, path: Path) -> tuple[Tensor, Tensor]:
        """Numbers ``(n, p)`` and targets ``(n, 1)``, both float32, in host memory."""
        frame = pl.read_parquet(path / "*.parquet")
        numbers = torch.from_numpy(frame.select(self.tables.spec.number_columns).to_numpy().copy())
        return numbers, torch.from_numpy(frame[TARGET].to_numpy().copy()).float().unsqueeze(1)

    def wait(self) -> None:
        if self.device.torch.type == "cuda":
            torch.cuda.synchronize()

    def judge(self) -> float:
        """Mean loss of the held-out rows with the weights as they are, in fp32."""
        x, y = self.tensors(self.tables.judge)
        network = self.network.cpu().eval()
        with torch.inference_mode():
            codes = torch.zeros(len(x), 0, dtype=torch.int64)
            return nn.functional.binary_cross_entropy_with_logits(network(x, codes), y).item()


def tutorial(folder: Path, device: str, batch: int, epochs: int) -> Found:
    """TensorDataset, DataLoader(shuffle=True), float32, loss.item() each batch, validation each epoch."""
    given = Given(folder, device, batch, epochs)
    where = given.device.torch
    train = DataLoader(TensorDataset(*given.tensors(given.tables.fit)), batch_size=batch, shuffle=True)
    valid = DataLoader(TensorDataset(*given.tensors(given.tables.judge)), batch_size=batch)
    network = given.network.to(where)
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=DECAY)
    criterion = nn.BCEWithLogitsLoss()
    given.wait()
    start = time.perf_counter()
    for epoch in range(epochs):
        network.train()
        running = 0.0
        for x, y in train:
            x, y = x.to(where), y.to(where)
            codes = torch.zeros(len(x), 0, dtype=torch.int64, device=where)
            optimizer.zero_grad()
            loss = criterion(network(x, codes), y)
            loss.backward()
            optimizer.step()
            running += loss.item()
        network.eval()
        total = 0.0
        with torch.no_grad():
            for x, y in valid:
                x, y = x.to(where), y.to(where)
                codes = torch.zeros(len(x), 0, dtype=torch.int64, device=where)
                total += criterion(network(x, codes), y).item()
        print(epoch, running / len(train), total / len(valid), file=sys.stderr)
    given.wait()
    return _found(given, time.perf_counter() - start)


def bare(folder: Path, device: str, batch: int, epochs: int) -> Found:
    """Slices of tensors on the device, shuffled once an epoch; no validation, no log, no checkpoint."""
    given = Given(folder, device, batch, epochs)
    where = given.device.torch
    network = given.network.to(where).train()
    x, y = (tensor.to(where) for tensor in given.tensors(given.tables.fit))
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=DECAY, fused=True)
    criterion = nn.BCEWithLogitsLoss()
    precision = torch.autocast(where.type, torch.bfloat16, enabled=given.device.bf16)
    codes = torch.zeros(batch, 0, dtype=torch.int64, device=where)
    given.wait()
    start = time.perf_counter()
    for _ in range(epochs):
        order = torch.randperm(len(x), device=where)
        for begin in range(0, len(x), batch):
            some = order[begin : begin + batch]
            optimizer.zero_grad()
            with precision:
                loss = criterion(network(x[some], codes[: len(some)]), y[some])
            loss.backward()
            optimizer.step()
    given.wait()
    return _found(given, time.perf_counter() - start)


def ours(folder: Path, device: str, batch: int, epochs: int) -> Found:
    """train-gpu's loop with all that it does: validation, epochs to MLflow, a checkpoint an epoch."""
    from mlflow.tracking import MlflowClient

    given = Given(folder, device, batch, epochs)
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    run_id = client.create_run("0").info.run_id
    train, valid = (
        given.batches(given.tables.fit, shuffle=True),
        given.batches(given.tables.judge, shuffle=False),
    )
    about = fingerprint(given.options, given.schema, given.tables.spec, given.tables.fit_rows, given.network)
    checkpoints = Checkpoints(given.options.checkpoint_uri, about, minutes=10, epochs=1)
    given.wait()
    start = time.perf_counter()
    with epoch_log(client, run_id) as log:
        fitted = fit(
            given.network,
            train,
            valid,
            given.target,
            given.options,
            given.device,
            group=Group(device=given.device.torch),
            checkpoints=checkpoints,
            watchers=[log],
        )
    given.wait()
    seconds = time.perf_counter() - start
    given.network = fitted.network
    return _found(given, seconds)


def _found(given: Given, seconds: float) -> Found:
    learned = given.tables.fit_rows * given.options.epochs
    return {"rows_per_second": learned / seconds, "validation_loss": given.judge()}
