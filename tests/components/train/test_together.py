"""prepare, featurize and train on a CSV: a row as it is in the file goes into the model."""

from collections.abc import Callable
from pathlib import Path

import mlflow.pyfunc
import numpy as np
import pandas as pd
import polars as pl
import pytest

from kfp_lifecycle.components.featurize.features import featurize_tables
from kfp_lifecycle.components.featurize.options import Options as FeaturizeOptions
from kfp_lifecycle.components.prepare.options import Options as PrepareOptions
from kfp_lifecycle.components.prepare.table import prepare_table
from kfp_lifecycle.components.shared.dataset import scan
from kfp_lifecycle.components.shared.inference.schema import ROW_HASH, TableSchema
from kfp_lifecycle.components.shared.model_format import describe, load_predictor
from kfp_lifecycle.components.train.training import TrainingInputs, TrainingOptions, train_model

Table = Callable[[str], pd.DataFrame]


def _trained(
    source: Path, here: Path, prepare: PrepareOptions, featurize: FeaturizeOptions, train: TrainingOptions
) -> Path:
    """The Model artifact that the three steps make of ``source``."""
    prepare_table(
        prepare,
        train=here / "rows",
        test=here / "test",
        schema=here / "schema",
        profile=here / "profile.html",
    )
    inputs = TrainingInputs(
        here / "rows", here / "features", here / "schema", here / "plan", here / "transform"
    )
    made = featurize_tables(
        scan(inputs.rows),
        scan(here / "test"),
        TableSchema.load(inputs.schema),
        featurize,
        train_features=inputs.features,
        test_features=here / "test_features",
    )
    made.plan.save(inputs.plan)
    made.transform.save(inputs.transform)
    train_model(inputs, here / "model", train)
    return here / "model"


@pytest.fixture
def churn_file(table: Table, here: Path) -> Path:
    """The churn table with its booleans in words, and blanks where numbers are missing."""
    rows = table("churn").head(1500)
    words = ["partner", "dependents", "phone_service", "paperless_billing"]
    rows[words] = rows[words].replace({0: "No", 1: "Yes"})
    rows["total_charges"] = rows["total_charges"].map("{:.2f}".format).replace("nan", " ")
    rows.to_csv(here / "churn.csv", index=False)
    return here / "churn.csv"


@pytest.mark.parametrize("encode", ["onehot", "target"])
def test_churn_from_the_file_to_predictions_and_back(churn_file: Path, here: Path, encode: str) -> None:
    model = _trained(
        churn_file,
        here,
        PrepareOptions(source=str(churn_file), target="churn", drop_duplicates=False),
        FeaturizeOptions(derive={"gap": "total_charges - tenure * monthly_charges"}, encode=encode),
        TrainingOptions(estimator_parameters={"max_iter": 20}, folds=2, class_weight="balanced"),
    )
    description = describe(model)
    assert description.metrics["cv_roc_auc_mean"] > 0.78
    assert description.parameters["featurize"]["encode"] == encode
    assert description.parameters["prepare"]["target"] == "churn"
    training = scan(here / "rows").collect()
    assert description.training_rows.seen(training[ROW_HASH].to_numpy()) == training.height
    assert description.training_rows.seen(scan(here / "test").collect()[ROW_HASH].to_numpy()) == 0

    loaded = mlflow.pyfunc.load_model(str(model))
    texts = pd.read_csv(churn_file, dtype=str, keep_default_na=False)
    expected = loaded.predict(texts)
    pd.testing.assert_frame_equal(loaded.predict(pd.read_csv(churn_file)), expected)
    pd.testing.assert_frame_equal(load_predictor(model).predict(pl.read_csv(churn_file)), expected)
    truth = pd.read_csv(churn_file)["churn"]
    assert (expected["prediction"] == truth).mean() > 0.7

    settled = load_predictor(model).predict(training)
    assert len(settled) == training.height
    counts = [predicted["probability_Yes"].round(9).value_counts() for predicted in (settled, expected)]
    assert set(counts[0].index) <= set(counts[1].index)


def test_flights_forward_in_time_with_a_computed_target(table: Table, here: Path) -> None:
    table("flights").sample(4000, random_state=1).to_csv(here / "flights.csv", index=False)
    model = _trained(
        here / "flights.csv",
        here,
        PrepareOptions(
            source=str(here / "flights.csv"),
            target="late",
            target_expression="arr_delay > 15",
            drop_columns=["year", "dep_time", "dep_delay", "arr_time", "arr_delay", "air_time", "tailnum"],
            split="time",
            split_column="time_hour",
        ),
        FeaturizeOptions(encode="target", scale="none"),
        TrainingOptions(estimator_parameters={"max_iter": 60, "early_stopping": True}, folds=3),
    )
    predicted = mlflow.pyfunc.load_model(str(model)).predict(pd.read_csv(here / "flights.csv").head(50))
    assert predicted["prediction"].dtype == np.bool_
    assert list(predicted.columns) == ["prediction", "probability_false", "probability_true"]
    assert "late" not in describe(model).input_columns


def test_diamonds_price(table: Table, here: Path) -> None:
    table("diamonds").sample(2000, random_state=1).to_parquet(here / "diamonds.parquet", index=False)
    model = _trained(
        here / "diamonds.parquet",
        here,
        PrepareOptions(source=str(here / "diamonds.parquet"), target="price"),
        FeaturizeOptions(encode="ordinal"),
        TrainingOptions("sklearn.ensemble.RandomForestRegressor", {"n_estimators": 20}, folds=2),
    )
    rows = pd.read_parquet(here / "diamonds.parquet")
    predicted = mlflow.pyfunc.load_model(str(model)).predict(rows)["prediction"]
    assert np.corrcoef(predicted, rows["price"])[0, 1] > 0.97
