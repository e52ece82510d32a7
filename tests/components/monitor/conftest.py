"""A model of January's flights, made once, and ways to look at windows with it."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from kfp_lifecycle.components.monitor.decision import decide
from kfp_lifecycle.components.monitor.findings import Decision, Findings
from kfp_lifecycle.components.monitor.monitoring import Request, Samples, look
from kfp_lifecycle.components.monitor.options import Options
from kfp_lifecycle.components.monitor.scored import predict
from kfp_lifecycle.components.monitor.tables import Place
from kfp_lifecycle.components.monitor.watched import OpenModel, open_model
from kfp_lifecycle.components.monitor.windows import Window
from tests.components.monitor.flights import answered, flights, train_on

#: When the last row of the tests' logs was answered: an hour after the model was made, and later.
NOW = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) + timedelta(hours=6)


@dataclass
class January:
    """The flights of some months, and a model of some of January."""

    rows: pl.DataFrame
    model: OpenModel

    def month(self, number: int) -> pl.DataFrame:
        return self.rows.filter(pl.col("month") == number).drop("month")

    def served(self, rows: pl.DataFrame, *, version: str = "", at: datetime = NOW) -> pl.DataFrame:
        """The rows as serve logs them, with this model's predictions."""
        version = version or self.model.watched.version
        return answered(rows, predict(self.model, rows), version=version, at=at)


@pytest.fixture(scope="session")
def january(
    tmp_path_factory: pytest.TempPathFactory, empty_store: Path, table: Callable[[str], Any]
) -> January:
    folder = tmp_path_factory.mktemp("january")
    shutil.copy(empty_store, folder / "mlflow.db")
    rows = flights(table, [1, 7])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
        train_on(rows.filter(pl.col("month") == 1).sample(6000, seed=1), folder / "late")
    return January(rows, open_model(str(folder / "late"), folder))


@dataclass
class Look:
    """Looks at a table or log with January's model."""

    january: January
    folder: Path
    found: Findings | None = field(default=None)
    samples: Samples | None = field(default=None)

    def __call__(
        self,
        current: pl.DataFrame | Path,
        options: Options | None = None,
        *,
        model: OpenModel | None = None,
        time_column: str = "",
        **request: Any,
    ) -> tuple[Findings, Decision]:
        if isinstance(current, pl.DataFrame):
            uri = self.folder / "current.parquet"
            current.write_parquet(uri)
        else:
            uri = current
        opened, options = model or self.january.model, options or Options()
        place = Place(str(uri), time_column, opened.schema, self.folder / "work")
        asked = Request(place, Window(NOW - timedelta(days=1), NOW + timedelta(seconds=1)), NOW)
        found, self.samples = look(opened, replace(asked, **request), options)
        return found, decide(found, options)


@pytest.fixture
def watch(january: January, tmp_path: Path) -> Look:
    return Look(january, tmp_path)
