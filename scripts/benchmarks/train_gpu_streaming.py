"""Memory of train-gpu on tables of 1 and 10 million rows × 50 columns: making the tables, and an epoch.

Usage: train_gpu_streaming.py [ROWS …]    measures and publishes; other ROWS are for trying it out
       train_gpu_streaming.py table|stream|device ROWS FOLDER    one of the processes that are measured
"""

import sys
import tempfile
import time
from pathlib import Path

from measure import Measured, publish, run, table

COLUMNS = 50
SIZES = (1_000_000, 10_000_000)
BATCH = 4096
#: Rows of a row group, as prepare writes them.
CHUNK = 125_000


def main(sizes: list[int]) -> None:
    rows = []
    for size in sizes:
        with tempfile.TemporaryDirectory() as place:
            run([sys.executable, __file__, "rows", str(size), place])
            made = measured("table", size, place)
            streamed = measured("stream", size, place)
            held = measured("device", size, place)
        for what, found in (
            ("make the feature tables", made),
            ("an epoch, streamed", streamed),
            ("an epoch, held in memory", held),
        ):
            rows.append([f"{size:,}", what, f"{found.seconds:.1f} s", f"{found.peak_mb:,.0f} MB"])
    text = table(["rows", "what", "time", "peak memory"], rows)
    if tuple(sizes) == SIZES:
        publish("train_gpu_streaming", text)
    else:
        print(text)


def measured(what: str, size: int, place: str) -> Measured:
    return run([sys.executable, __file__, what, str(size), place], log=Path(place) / f"{what}.log")


def write_rows(size: int, folder: Path) -> None:
    """A prepared training split: 50 numbers, of which some decide a binary target."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    from kfp_lifecycle.components.featurize.options import Options
    from kfp_lifecycle.components.featurize.plan import build_plan
    from kfp_lifecycle.components.shared.dataset import scan
    from kfp_lifecycle.components.shared.inference.schema import ROW_HASH, Column, Split, TableSchema
    from kfp_lifecycle.components.shared.inference.transform import FeatureTransform

    names = [f"n{place}" for place in range(COLUMNS)]
    fields = [(name, pa.float64()) for name in names] + [("y", pa.int64()), (ROW_HASH, pa.uint64())]
    random = np.random.default_rng(0)
    (folder / "rows").mkdir()
    with pq.ParquetWriter(folder / "rows" / "part-0.parquet", pa.schema(fields)) as writer:
        for start in range(0, size, CHUNK):
            count = min(CHUNK, size - start)
            values = random.normal(size=(COLUMNS, count))
            target = (values[:10].sum(0) + random.normal(size=count) > 0).astype("i8")
            hashes = random.integers(0, 2**63, count, dtype="u8")
            writer.write_table(pa.table([*values, target, hashes], schema=pa.schema(fields)))
    columns = [Column(name, "number") for name in names]
    columns.append(Column("y", "integer", role="target"))
    schema = TableSchema(columns, "y", "binary", ["0", "1"], "1", split=Split("stratified"))
    schema.save(folder / "schema.json")
    plan = build_plan(schema, Options(), scan(folder / "rows"))
    FeatureTransform(plan.to_dict()).save(folder / "plan.json")


def make(folder: Path) -> None:
    from kfp_lifecycle.components.shared.inference.schema import TableSchema
    from kfp_lifecycle.components.shared.inference.transform import FeatureTransform
    from kfp_lifecycle.components.train_gpu.features import make_tables

    schema = TableSchema.load(folder / "schema.json")
    make_tables(
        folder / "rows", schema, FeatureTransform.load(folder / "plan.json"), 0.1, 0, folder / "tables"
    )


def epoch(memory: str, folder: Path) -> None:
    """One epoch of a small network, with the loop that shows what the batches take."""
    import torch
    from torch import nn

    from kfp_lifecycle.components.shared.inference.schema import TableSchema
    from kfp_lifecycle.components.train_gpu.batches import make_batches
    from kfp_lifecycle.components.train_gpu.features import Tables

    tables = Tables.load(folder / "tables")
    schema = TableSchema.load(folder / "schema.json")
    device = torch.device("cpu")
    batches = make_batches(
        tables.fit, tables.spec, schema, batch_size=BATCH, device=device, shuffle=True, seed=0, memory=memory
    )
    network = nn.Sequential(nn.Linear(COLUMNS, 128), nn.ReLU(), nn.Linear(128, 1))
    optimizer = torch.optim.AdamW(network.parameters(), fused=True)
    start = time.perf_counter()
    for batch in batches.epoch(0):
        logits = network(batch.numbers).squeeze(1)
        loss = nn.functional.binary_cross_entropy_with_logits(logits, batch.target.float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    seconds = time.perf_counter() - start
    print(f"{batches.rows / seconds:,.0f} rows a second, last loss {loss.item():.3f}")


if __name__ == "__main__":
    words = sys.argv[1:]
    if words and not words[0].isdigit():
        what, folder = words[0], Path(words[2])
        if what == "rows":
            write_rows(int(words[1]), folder)
        elif what == "table":
            make(folder)
        else:
            epoch(what, folder)
    else:
        main([int(word) for word in words] or list(SIZES))
