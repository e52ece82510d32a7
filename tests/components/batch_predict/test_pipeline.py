"""The compiled batch-inference pipeline through the command line, its loop over several workers included."""

import json
from pathlib import Path

import polars as pl
import pytest

from tests.repositories import ROOT, run

pytestmark = pytest.mark.e2e


def test_two_workers_score_the_table_and_one_step_collects_it(place: Path, rows: pl.DataFrame) -> None:
    (place / "data").mkdir()
    rows.write_csv(place / "data" / "churn.csv")
    parameters = str(ROOT / "pipelines/params/batch-inference-churn.yaml")
    given = ["-p", "workers=2", "-p", "shard_rows=400", "-p", 'key_columns=["customer"]']
    done = run("run", "batch-inference", "--params", parameters, *given, cwd=place)
    assert done.returncode == 0, done.stdout + done.stderr
    record = json.loads((place / "runs/latest/run.json").read_text())
    names = [step["name"] for step in record["steps"]]
    assert names == ["plan-shards", "batch-predict #1", "batch-predict #2", "collect-shards"]
    (artifact,) = record["steps"][-1]["artifacts"]
    assert artifact["metadata"]["rows"] == rows.height
    assert artifact["uri"] == record["steps"][-1]["outputs"]["Output"]
    table = pl.read_parquet(sorted((place / artifact["uri"]).glob("part-*")))
    assert table["customer"].equals(rows["customer"])
