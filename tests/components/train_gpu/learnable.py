"""A feature table with something to learn in it, and a training on it; as a program, one to be killed."""

import json
import logging
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from kfp_lifecycle.components.shared.inference.schema import ROW_HASH, Column, TableSchema
from kfp_lifecycle.components.train_gpu.batches import Batches, make_batches
from kfp_lifecycle.components.train_gpu.checkpoint import Checkpoints, fingerprint
from kfp_lifecycle.components.train_gpu.device import choose_device
from kfp_lifecycle.components.train_gpu.distributed import join
from kfp_lifecycle.components.train_gpu.features import POSITION, TARGET, FeatureSpec
from kfp_lifecycle.components.train_gpu.history import EpochRecord
from kfp_lifecycle.components.train_gpu.loop import Fitted, fit
from kfp_lifecycle.components.train_gpu.losses import Target
from kfp_lifecycle.components.train_gpu.network import build_network
from kfp_lifecycle.components.train_gpu.options import NetworkOptions
from kfp_lifecycle.components.train_gpu.statistics import measure

SPEC = FeatureSpec(("a", "b"), ("k",), (6,))
SCHEMAS = {
    "binary": TableSchema([Column("y", "string", "target")], "y", "binary", ["no", "yes"], "yes"),
    "multiclass": TableSchema([Column("y", "string", "target")], "y", "multiclass", ["p", "q", "r"]),
    "regression": TableSchema([Column("y", "number", "target")], "y", "regression"),
}
CENTRE, SCALE = 5000.0, 40.0


def write_tables(folder: Path, task: str, rows: int = 600, seed: int = 0) -> Path:
    """A table to fit on and one of a third of the rows to judge by, in ``folder``."""
    for name, count, salt in (("fit", rows, 0), ("judge", max(1, rows // 3), 1)):
        source = np.random.default_rng([seed, salt])
        a, b, k = source.normal(size=count), source.normal(size=count), source.integers(0, 6, count)
        score = a + 0.7 * np.where(k % 2 == 0, 1, -1) + 0.3 * source.normal(size=count)
        target = {
            "binary": pl.Series(score > 0.3, dtype=pl.Boolean).cast(pl.Int32),
            "multiclass": pl.Series(np.digitize(score, [-0.5, 0.5]), dtype=pl.Int32),
            "regression": pl.Series(CENTRE + SCALE * score),
        }[task]
        gone = np.where(source.random(count) < 0.1, np.nan, 1000 + 3 * b)
        place = np.arange(count)
        frame = pl.DataFrame(
            {
                "n0": pl.Series(a, dtype=pl.Float32),
                "n1": pl.Series(gone, dtype=pl.Float32),
                "c0": pl.Series(k, dtype=pl.Int32),
                TARGET: target,
                POSITION: pl.Series(place, dtype=pl.Int64),
                ROW_HASH: pl.Series(place, dtype=pl.UInt64),
            }
        )
        (folder / name).mkdir(parents=True, exist_ok=True)
        frame.write_parquet(folder / name / "part-0.parquet", row_group_size=100)
    return folder


@dataclass
class Trained:
    """What a training gave, and what it was given."""

    fitted: Fitted
    batches: Batches

    def weights(self) -> dict[str, torch.Tensor]:
        return self.fitted.network.state_dict()


def options(**given: Any) -> NetworkOptions:
    """Small and fast, in the same bits each time."""
    small = {"network": "mlp", "network_parameters": {"hidden": [16]}, "epochs": 3, "batch_size": 64}
    return NetworkOptions(**{**small, "deterministic": True, "learning_rate": 0.01, **given})


def train(folder: Path, task: str, chosen: NetworkOptions, *, judged: bool = True, **more: Any) -> Trained:
    """A training on the tables in ``folder``; ``more`` goes to ``fit``."""
    schema, device = SCHEMAS[task], choose_device(chosen)
    target = Target.of(schema, *((CENTRE, SCALE) if task == "regression" else ()))
    with join(device.torch) as group:

        def batches(name: str) -> Batches:
            return make_batches(
                folder / name,
                SPEC,
                schema,
                batch_size=chosen.batch_size,
                device=device.torch,
                shuffle=name == "fit",
                seed=chosen.seed,
                rank=group.rank,
                world=group.world,
                memory=chosen.memory,
                class_weights=more.pop("class_weights", None),
                centre=target.centre,
                scale=target.scale,
            )

        learned, judge = batches("fit"), batches("judge") if judged else None
        network = build_network(SPEC, measure(learned, group), target.outputs, chosen)
        if chosen.checkpoint_uri:
            about = fingerprint(chosen, schema, SPEC, learned.rows, network)
            kept = more["checkpoints"] = Checkpoints(
                chosen.checkpoint_uri,
                about,
                minutes=chosen.checkpoint_minutes,
                epochs=chosen.checkpoint_epochs,
            )
            # So that none is left out because the one before is still being written.
            more["watchers"] = [lambda record, best: kept.wait(), *more.get("watchers", [])]
        fitted = fit(network, learned, judge, target, chosen, device, group=group, **more)
    return Trained(fitted, learned)


def main(folder: str, task: str, given: str, out: str, log: str = "") -> None:
    """Trains, and saves the weights and losses to ``out``; log lines go to the file ``log``, or to stderr."""
    where: dict[str, Any] = {"filename": log} if log else {"stream": sys.stderr}
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", **where)
    torch.set_num_threads(1)
    chosen = json.loads(given)
    last = chosen.pop("sigterm_after", 0)

    def stop(record: EpochRecord, best: bool) -> None:
        if record.epoch == last:
            os.kill(os.getpid(), signal.SIGTERM)

    found = train(Path(folder), task, options(**chosen), watchers=[stop])
    if os.environ.get("RANK", "0") != "0":
        return
    losses = [(record.train_loss, record.validation_loss) for record in found.fitted.history]
    torch.save({"weights": found.weights(), "losses": losses, "best": found.fitted.best}, out)


if __name__ == "__main__":
    main(*sys.argv[1:])
