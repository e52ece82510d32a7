"""`batch-inference` against `model.predict` on a table in memory; its memory on 1 and 10 million rows."""

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from measure import ROOT, Measured, median, publish, run, table

ROUNDS = 3
ROWS, MANY = 1_000_000, 10_000_000


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        env = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}"}
        cli = str(Path(sys.executable).with_name("kfp-lifecycle"))
        run([cli, "demo-data", "churn", "--out", "data"], cwd=folder)
        parameters = str(ROOT / "pipelines" / "params" / "churn.yaml")
        run([cli, "run", "training", "--params", parameters], env, folder, folder / "training.log")
        for rows in (ROWS, MANY):
            run([sys.executable, __file__, "table", str(rows)], cwd=folder)
        alone, whole = [], []
        for _ in range(ROUNDS):
            alone.append(seconds(folder, env, "memory"))
            whole.append(batch(folder, env, f"{ROWS}.parquet"))
        csv = batch(folder, env, f"{ROWS}.csv")
        many = batch(folder, env, f"{MANY}.parquet")
    report(statistics.median(alone), median(whole), csv, many)


def report(alone: float, whole: Measured, csv: Measured, many: Measured) -> None:
    """The table: rows a second of each way, and what is held in memory."""

    def row(name: str, rows: int, took: float, peak: str) -> list[str]:
        relative = f"{(took / rows) / (alone / ROWS):.2f}"
        return [name, f"{rows:,}", f"{took:.1f} s", f"{rows / took:,.0f}", relative, peak]

    rows = [
        row("model.predict on a pandas frame in memory", ROWS, alone, ""),
        row("plan-shards + batch-predict, Parquet", ROWS, whole.seconds, f"{whole.peak_mb:,.0f} MB"),
        row("plan-shards + batch-predict, CSV", ROWS, csv.seconds, f"{csv.peak_mb:,.0f} MB"),
        row("plan-shards + batch-predict, Parquet", MANY, many.seconds, f"{many.peak_mb:,.0f} MB"),
    ]
    headers = ["way", "rows", "time", "rows a second", "times the time of model.predict", "peak memory"]
    said = f"Median of {ROUNDS}, taking turns, for the first two rows; once for the others."
    publish("batch_inference", f"{table(headers, rows)}\n\n{said}")


def batch(folder: Path, env: Mapping[str, str], source: str) -> Measured:
    """Both steps, each a process of its own with all its start-up; the scores are new each time."""
    output = tempfile.mkdtemp(dir=folder)
    steps = [run([sys.executable, __file__, "plan", source, output], env, folder)]
    steps.append(run([sys.executable, __file__, "score", output], env, folder))
    return Measured(sum(s.seconds for s in steps), max(s.peak_mb for s in steps))


def seconds(folder: Path, env: Mapping[str, str], way: str) -> float:
    """What a child process says that its own work took."""
    log = folder / "said.txt"
    run([sys.executable, __file__, way], env, folder, log)
    return float(log.read_text().split()[-1])


def make_table(rows: int) -> None:
    """The Telco table again and again, each row with a number of its own."""
    import polars as pl

    churn = pl.read_csv("data/churn.csv").lazy()
    many = pl.concat([churn] * (rows // 7_043 + 1)).head(rows).with_row_index("id")
    many.sink_parquet(f"{rows}.parquet")
    if rows == ROWS:
        many.sink_csv(f"{rows}.csv")


def in_memory() -> None:
    """The seconds of `predict` alone: the model is loaded and the frame is in memory."""
    import mlflow
    import pandas as pd

    model = mlflow.pyfunc.load_model("models:/churn@champion")
    frame = pd.read_parquet(f"{ROWS}.parquet").drop(columns=["id", "churn"])
    model.predict(frame.head(1000))
    start = time.perf_counter()
    model.predict(frame)
    print(time.perf_counter() - start)


def plan(source: str, output: str) -> None:
    from kfp_lifecycle.components.batch_predict.planning import Request, make_plan

    shares = make_plan(Request(source, "churn", output, key_columns=["id"]))
    Path(output, "shares.json").write_text(json.dumps(shares))


def score(output: str) -> None:
    from kfp_lifecycle.components.batch_predict.scoring import score_shards

    for share in json.loads(Path(output, "shares.json").read_text()):
        score_shards(output, share)


if __name__ == "__main__":
    match sys.argv[1:]:
        case []:
            main()
        case ["table", rows]:
            make_table(int(rows))
        case ["memory"]:
            in_memory()
        case ["plan", source, output]:
            plan(source, output)
        case ["score", output]:
            score(output)
