"""The parts of monitoring.py, each run as a process of its own: tables, a model, monitor, Evidently alone."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import polars as pl

NUMBERS = [f"number_{i:02d}" for i in range(12)] + [f"whole_{i}" for i in range(3)]
CATEGORIES = [f"category_{i}" for i in range(5)]
VALUES = (3, 10, 50, 200, 1000)


def make_table(rows: str, shift: str, seed: str, file: str) -> None:
    """Twenty columns; a quarter of them move with ``shift``. Written part by part."""
    import numpy as np
    import pyarrow.parquet as pq

    random, writer = np.random.default_rng(int(seed)), None
    moved = float(shift)
    for start in range(0, int(rows), 1_000_000):
        size = min(1_000_000, int(rows) - start)
        columns: dict[str, Any] = {}
        for i, name in enumerate(NUMBERS):
            by = moved if i % 4 == 0 else 0.0
            if i < 8:
                columns[name] = random.normal(by, 1 + i / 8, size)
            elif i < 12:
                columns[name] = random.lognormal(by, 1.0, size)
            else:
                columns[name] = random.integers(0, 10**i % 9973 + 10, size)
        for i, name in enumerate(CATEGORIES):
            odds = 1 / np.arange(1, VALUES[i] + 1)
            odds[0] *= 1 + 4 * moved * (i == 2)
            columns[name] = random.choice(VALUES[i], size, p=odds / odds.sum()).astype(str)
        if not moved:  # with labels in the current table, monitor would judge the predictions too
            columns["target"] = np.where(random.random(size) < 0.3, "yes", "no")
        part = pl.DataFrame(columns).to_arrow()
        writer = writer or pq.ParquetWriter(file, part.schema)
        writer.write_table(part)
    assert writer is not None
    writer.close()


def make_model(table: str, folder: str) -> None:
    """A Model artifact of the table's first rows."""
    from sklearn.linear_model import LogisticRegression

    from kfp_lifecycle.components.shared.inference.plan import CategoryPlan, NumberPlan, Plan
    from kfp_lifecycle.components.shared.inference.schema import ROW_HASH, Column, TableSchema
    from kfp_lifecycle.components.shared.inference.transform import FeatureTransform
    from kfp_lifecycle.components.shared.model_format import save_model

    rows = pl.read_parquet(table, n_rows=2000)
    kinds = {name: "integer" if name.startswith("whole") else "number" for name in NUMBERS}
    kinds |= dict.fromkeys(CATEGORIES, "string")
    columns = [Column(name, kind, source_type=kind) for name, kind in kinds.items()]
    target = Column("target", "string", role="target", source_type="string")
    schema = TableSchema([*columns, target], "target", "binary", classes=["no", "yes"], positive_class="yes")
    plans = [NumberPlan(name, name) for name in NUMBERS] + [CategoryPlan(name) for name in CATEGORIES[:2]]
    transform = FeatureTransform(Plan(kinds, {}, plans, "target", "binary", {}).to_dict())
    features = transform.fit_transform(rows, rows["target"])
    estimator = LogisticRegression(max_iter=50).fit(
        features, (rows["target"] == "yes").to_numpy().astype(int)
    )
    hashes = rows.hash_rows()
    Path(folder).mkdir(parents=True)
    save_model(
        Path(folder),
        estimator=estimator,
        estimator_path="sklearn.linear_model.LogisticRegression",
        transform=transform,
        schema=schema,
        reference=rows.with_columns(hashes.alias(ROW_HASH)),
        row_hashes=hashes.to_numpy(),
        parameters={},
        metrics={},
    )


def monitor(model: str, reference: str, current: str, out: str) -> None:
    """The whole step: decision, JSON, report with Evidently's pictures."""
    from steps import Artifact

    from kfp_lifecycle.components.monitor.step import monitor_step

    report, findings, metrics = (Artifact(f"{out}/{name}") for name in ("report.html", "findings.json", "m"))
    monitor_step(
        report=report,
        findings=findings,
        metrics=metrics,
        model=model,
        current=current,
        reference=reference,
        method="evidently",
    )
    found = json.loads(Path(findings.path).read_text())["columns"]
    verdicts = {one["name"]: [one["score"], one["drifted"], one["error"]] for one in found}
    Path(out, "verdicts.json").write_text(json.dumps(verdicts))


def evidently(reference: str, current: str, out: str) -> None:
    """Evidently's drift preset on the whole tables, in one call, with its report."""
    import pandas as pd
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    names = NUMBERS + CATEGORIES
    definition = DataDefinition(numerical_columns=NUMBERS, categorical_columns=CATEGORIES)
    sides = [
        Dataset.from_pandas(pd.read_parquet(file, columns=names), data_definition=definition)
        for file in (current, reference)
    ]
    found = Report([DataDriftPreset()], include_tests=True).run(*sides)
    found.save_html(f"{out}/evidently.html")
    scores = {
        m["config"]["column"]: float(m["value"]) for m in found.dict()["metrics"] if "column" in m["config"]
    }
    status = {
        test["metric_config"]["params"]["column"]: test["status"].value == "FAIL"
        for test in found.dict()["tests"]
        if "column" in test["metric_config"]["params"]
    }
    Path(out, "evidently.json").write_text(
        json.dumps({name: [scores[name], status[name]] for name in scores})
    )


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    parts = {"table": make_table, "model": make_model, "monitor": monitor, "evidently": evidently}
    parts[sys.argv[1]](*sys.argv[2:])
