"""The example repositories: no look into the future, and a better model on the flights."""

import datetime as dt
import shutil
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

from kfp_lifecycle.components.feature_store.apply import apply
from kfp_lifecycle.components.feature_store.materialize import materialize
from kfp_lifecycle.components.feature_store.repository import open_repository
from kfp_lifecycle.components.featurize.component import featurize
from kfp_lifecycle.components.prepare.component import prepare
from tests.components.trained import Artifact

EXAMPLES = Path(__file__).parents[3] / "examples" / "feature_store"


def script(name: str) -> ModuleType:
    spec = spec_from_file_location(f"make_{name}", EXAMPLES / name / "make_features.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def copy(name: str, folder: Path, features: pl.DataFrame, file: str) -> str:
    """The example without what a user may have made in it, applied."""
    repository = Path(shutil.copytree(EXAMPLES / name, folder / name, ignore=shutil.ignore_patterns("data")))
    (repository / "data").mkdir()
    features.write_parquet(repository / "data" / file)
    apply(str(repository))
    return str(repository)


@pytest.fixture(scope="module")
def flights(table: Callable[[str], pd.DataFrame]) -> pl.DataFrame:
    """Three months of flights, times as text as in the demo table."""
    frame = table("flights")
    return pl.from_pandas(frame[frame["month"].isin([5, 6, 7])]).with_columns(
        pl.col("time_hour").cast(pl.String)
    )


@pytest.fixture(scope="module")
def statistics(flights: pl.DataFrame) -> pl.DataFrame:
    made: pl.DataFrame = script("flights").make_features(flights.lazy())
    return made


def test_a_flight_counts_from_an_hour_after_it_has_landed(
    flights: pl.DataFrame, statistics: pl.DataFrame
) -> None:
    scheduled = pl.col("time_hour").str.head(19).str.replace("T", " ").str.to_datetime("%Y-%m-%d %H:%M:%S")
    minutes = pl.col("minute") + pl.col("dep_delay") + pl.col("air_time") + 60
    known = flights.filter(pl.col("arr_delay").is_not_null()).with_columns(
        known=(scheduled + pl.duration(minutes=minutes)).dt.replace_time_zone("UTC")
    )
    for row in statistics.sample(40, seed=1).iter_rows(named=True):
        now = row["event_timestamp"]
        its = known.filter(pl.col("carrier") == row["carrier"], pl.col("origin") == row["origin"])
        # A row of an hour holds the flights known up to it: hours (now - 7 d, now].
        week = its.filter(pl.col("known") <= now, pl.col("known") > now - dt.timedelta(days=7))
        assert row["flights_7d"] == week.height
        assert row["mean_delay_7d"] == pytest.approx(week["arr_delay"].mean())
        assert row["late_share_7d"] == pytest.approx((week["arr_delay"] > 15).mean())
        last = week.filter(pl.col("known") > now - dt.timedelta(hours=6))
        assert row["late_share_6h"] == pytest.approx((last["arr_delay"] > 15).mean())


PREPARE: dict[str, Any] = {
    "target": "late",
    "target_expression": "arr_delay > 15",
    "drop_columns": ["year", "dep_time", "dep_delay", "arr_time", "arr_delay", "air_time", "tailnum"],
    "drop_duplicates": False,
    "split": "time",
    "split_column": "time_hour",
}


def predictions(folder: Path, **store: Any) -> tuple[np.ndarray, np.ndarray]:
    """What a model of the share predicts for its test rows, and what is true."""
    names = ("train_features", "test_features", "plan", "transform", "train_rows", "test_rows", "rows_schema")
    given = {name: Artifact(str(folder.parent / name)) for name in ("train", "test", "schema")}
    made = {name: Artifact(str(folder / name)) for name in names}
    folder.mkdir()
    featurize.python_func(**given, **made, scale="none", **store)
    train, test = (
        pl.read_parquet(Path(made[f"{side}_features"].path) / "*.parquet") for side in ("train", "test")
    )
    columns = [name for name in train.columns if name not in ("_row_hash", "late")]
    model = HistGradientBoostingClassifier(max_iter=40, random_state=0)
    model.fit(train.select(columns).to_numpy(), train["late"].to_numpy())
    return model.predict_proba(test.select(columns).to_numpy())[:, 1], test["late"].to_numpy()


def test_the_flights_model_is_better_with_the_stores_features(
    flights: pl.DataFrame, statistics: pl.DataFrame, tmp_path: Path
) -> None:
    from sklearn.metrics import roc_auc_score

    flights.sample(20_000, seed=0).write_csv(tmp_path / "flights.csv")
    artifacts = {name: Artifact(str(tmp_path / name)) for name in ("train", "test", "schema", "profile")}
    prepare.python_func(source=str(tmp_path / "flights.csv"), **artifacts, **PREPARE)
    store = copy("flights", tmp_path, statistics, "airline_airport.parquet")
    plain, truth = predictions(tmp_path / "plain")
    service = {"feature_store": store, "feature_service": "flight_delay", "event_time": "time_hour"}
    better, again = predictions(tmp_path / "better", **service)
    assert (truth == again).all()
    draws = np.random.default_rng(0).integers(0, len(truth), (200, len(truth)))
    gains = [roc_auc_score(truth[i], better[i]) - roc_auc_score(truth[i], plain[i]) for i in draws]
    low, high = np.percentile(gains, [2.5, 97.5])
    # On all flights of the year 0.079 [0.075, 0.083]: docs/feature-store.md.
    assert low > 0, (low, high)


def test_the_flights_repository_answers_online(statistics: pl.DataFrame, tmp_path: Path) -> None:
    uri = copy("flights", tmp_path, statistics, "airline_airport.parquet")
    repository = open_repository(uri)
    end = statistics["event_timestamp"].max()
    materialize(repository, (), "", end.isoformat())
    newest = (
        statistics.filter(pl.col("carrier") == "UA", pl.col("origin") == "EWR")
        .sort("event_timestamp")
        .row(-1, named=True)
    )
    found = repository.store.get_online_features(
        repository.store.get_feature_service("flight_delay_by_distance"),
        [{"carrier": "UA", "origin": "EWR", "distance": 500}],
    ).to_dict()
    assert found["flights_7d"] == [newest["flights_7d"]]
    assert found["delay_per_1000_miles"] == [pytest.approx(2 * newest["mean_delay_7d"])]


def test_the_users_of_the_guide(tmp_path: Path) -> None:
    day, start = dt.timedelta(days=1), dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
    events = pl.DataFrame(
        [
            (1, start, "purchase", 20.0, None),
            (1, start + day, "session", None, 10.0),
            (1, start + 2 * day, "session", None, 20.0),
            (1, start + 9 * day, "purchase", 5.0, None),
            (2, start, "session", None, 4.0),
        ],
        schema=["user_id", "time", "kind", "amount", "minutes"],
        orient="row",
    )
    uri = copy("users", tmp_path, script("users").make_features(events.lazy()), "user_statistics.parquet")
    repository = open_repository(uri)
    asked = pd.DataFrame(
        {
            "user_id": [1, 1, 1, 2, 1],
            "event_timestamp": [start + 2.6 * day, start + 9.6 * day, start + 60 * day, start + day, start],
        }
    )
    service = repository.store.get_feature_service("user_churn")
    found = repository.store.get_historical_features(asked, service).to_df()
    assert found["purchases_7d"].tolist()[:2] == [1, 1]
    assert found["amount_7d"].tolist()[:2] == [20.0, 5.0]
    assert found["mean_session_minutes"].tolist()[0] == 15.0
    assert found["days_since_purchase"].tolist()[:2] == [2, 0]
    # Beyond 30 days nothing holds; before its day's end nothing is known.
    assert found.iloc[[2, 4], 2:].isna().all().all()
    assert found["amount_7d"][3] == 0.0
