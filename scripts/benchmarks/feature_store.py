"""The point-in-time join and the materialization beside Feast's own local engine.

Usage: feature_store.py [ROWS]
"""

import datetime as dt
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml
from measure import Measured, median, publish, run, table

ROUNDS = 3
JOINED, MATERIALIZED = 20, 4
NOW = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
ENGINE = "kfp_lifecycle.components.feature_store.engine"
SIDES: dict[str, dict[str, Any]] = {
    "Feast": {
        "offline_store": {"type": "file"},
        "online_store": {"type": "sqlite", "path": "data/online.db"},
    },
    "ours": {
        "offline_store": {"type": f"{ENGINE}.offline.PolarsOfflineStore"},
        "batch_engine": {"type": f"{ENGINE}.compute.PolarsComputeEngine"},
        "online_store": {"type": f"{ENGINE}.sqlite.ChunkedSqliteOnlineStore", "path": "data/online.db"},
    },
}
DEFINITIONS = """
from datetime import timedelta
from feast import Entity, FeatureView, Field, FileSource, ValueType
from feast.types import Float64, Int64
user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.INT64)
def view(name, path, count):
    source = FileSource(name=name + "_source", path=path, timestamp_field="event_timestamp")
    fields = [Field(name=f"f{number}", dtype=Float64) for number in range(count)]
    return FeatureView(name=name, entities=[user], ttl=timedelta(days=30), schema=fields, source=source)
history = view("history", "data/history.parquet", %d)
newest = view("newest", "data/newest.parquet", %d)
"""


def main(rows: int) -> None:
    done: dict[tuple[str, str], list[tuple[float, Measured]]] = {}
    with tempfile.TemporaryDirectory() as place:
        tables(Path(place), rows)
        for _ in range(ROUNDS):
            for what in ("join", "materialize"):
                for side in SIDES:
                    repository = make_repository(Path(place), side)
                    done.setdefault((what, side), []).append(measured(what, repository))
    lines = []
    for what, title in (
        ("join", f"join of {rows:,} rows, {JOINED} features"),
        ("materialize", f"materialization of {rows:,} entities, {MATERIALIZED} features"),
    ):
        times = {side: sorted(s for s, _ in done[what, side])[ROUNDS // 2] for side in SIDES}
        peaks = {side: median([m for _, m in done[what, side]]).peak_mb for side in SIDES}
        for side in SIDES:
            lines.append(
                [
                    f"{title}, {side}",
                    f"{times[side]:.1f} s",
                    f"{peaks[side]:,.0f} MB",
                    f"{times['Feast'] / times[side]:.1f}",
                    f"{peaks[side] / peaks['Feast']:.2f}",
                ]
            )
    text = table(["what", "time", "peak memory", "speed", "memory"], lines)
    publish(
        "feature_store",
        f"{text}\n\nMedian of {ROUNDS}, taking turns; times without start-up, memory with it.",
    )


def tables(folder: Path, rows: int) -> None:
    """A history of a tenth as many entities, ten rows each; entity rows; and one row of each entity."""
    random = np.random.default_rng(0)

    def times(count: int, days: int) -> pl.Series:
        seconds = int(NOW.timestamp()) - random.integers(0, days * 86_400, count)
        return pl.from_epoch(pl.Series(seconds), "s").cast(pl.Datetime("us")).dt.replace_time_zone("UTC")

    def features(count: int, number: int) -> dict[str, Any]:
        return {f"f{one}": random.normal(size=count) for one in range(number)}

    users = random.integers(0, rows // 10, rows)
    pl.DataFrame(
        {"user_id": users, "event_timestamp": times(rows, 60), **features(rows, JOINED)}
    ).write_parquet(folder / "history.parquet")
    pl.DataFrame({"user_id": random.permutation(users), "event_timestamp": times(rows, 50)}).write_parquet(
        folder / "entities.parquet"
    )
    pl.DataFrame(
        {"user_id": np.arange(rows), "event_timestamp": times(rows, 20), **features(rows, MATERIALIZED)}
    ).write_parquet(folder / "newest.parquet")


def make_repository(place: Path, side: str) -> Path:
    """A fresh repository on the same tables."""
    folder = Path(tempfile.mkdtemp(dir=place))
    (folder / "data").mkdir()
    configuration = {"project": "bench", "provider": "local", "registry": "data/registry.db", **SIDES[side]}
    (folder / "feature_store.yaml").write_text(yaml.safe_dump(configuration))
    (folder / "definitions.py").write_text(DEFINITIONS % (JOINED, MATERIALIZED))
    for name in ("history", "newest"):
        (folder / "data" / f"{name}.parquet").symlink_to(place / f"{name}.parquet")
    run([sys.executable, __file__, "apply", str(folder)])
    return folder


def measured(what: str, repository: Path) -> tuple[float, Measured]:
    """Seconds of the work alone, and the whole process."""
    whole = run([sys.executable, __file__, what, str(repository)])
    return json.loads((repository / "seconds.json").read_text()), whole


def child(what: str, folder: Path) -> None:
    from kfp_lifecycle.components.feature_store.apply import apply
    from kfp_lifecycle.components.feature_store.repository import open_repository

    if what == "apply":
        apply(str(folder))
        return
    store = open_repository(str(folder)).store
    if what == "join":
        entities = pl.read_parquet(folder.parent / "entities.parquet").to_pandas()
        start = time.perf_counter()
        names = [f"history:f{number}" for number in range(JOINED)]
        found = store.get_historical_features(entities, names).to_arrow()
        seconds = time.perf_counter() - start
        assert found.num_rows > 0
    else:
        start = time.perf_counter()
        store.materialize(NOW - dt.timedelta(days=30), NOW, ["newest"])
        seconds = time.perf_counter() - start
    (folder / "seconds.json").write_text(json.dumps(seconds))


if __name__ == "__main__":
    if len(sys.argv) == 3:
        child(sys.argv[1], Path(sys.argv[2]))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
