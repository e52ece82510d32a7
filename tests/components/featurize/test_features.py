"""The feature tables, from artifacts to artifacts, on real tables."""

import dataclasses
import inspect
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from kfp_lifecycle.components.featurize.component import featurize
from kfp_lifecycle.components.featurize.options import Options
from kfp_lifecycle.components.featurize.step import featurize_step
from kfp_lifecycle.components.shared.errors import (
    ExpressionError,
    LifecycleError,
    ParameterError,
    SchemaError,
    StorageError,
)
from kfp_lifecycle.components.shared.inference.schema import ROW_HASH, TableSchema
from kfp_lifecycle.components.shared.inference.transform import FeatureTransform
from tests.components.featurize.tables import churn, flights, schema_of, splits, write

Table = Callable[[str], pd.DataFrame]

OUTPUTS = ("train_features", "test_features", "plan", "transform", "train_rows", "test_rows", "rows_schema")


class Run:
    """One run of the component's body on artifacts in a folder."""

    def __init__(self, folder: Path, train: pl.DataFrame, test: pl.DataFrame, schema: TableSchema) -> None:
        self.folder = folder
        write(train, folder / "train")
        write(test, folder / "test")
        schema.save(folder / "schema")

    def artifact(self, name: str) -> SimpleNamespace:
        return SimpleNamespace(path=str(self.folder / name), uri=str(self.folder / name), metadata={})

    def __call__(self, outputs: Path | None = None, **parameters: Any) -> dict[str, SimpleNamespace]:
        artifacts = {name: self.artifact(name) for name in ("train", "test", "schema", *OUTPUTS)}
        for name in OUTPUTS if outputs else ():
            artifacts[name].path = str(outputs / name)
        featurize.python_func(**artifacts, **parameters)
        return artifacts

    def features(self, name: str = "train_features") -> pl.DataFrame:
        return pl.read_parquet(self.folder / name / "*.parquet")


@pytest.fixture
def telco(table: Table, tmp_path: Path) -> Run:
    frame = churn(table("churn"))
    return Run(tmp_path, *splits(frame), schema_of(frame, "churn"))


def test_the_component_passes_every_parameter_on() -> None:
    named = set(inspect.signature(featurize_step).parameters) - {"parameters"}
    options = {field.name for field in dataclasses.fields(Options)}
    assert named | options == set(inspect.signature(featurize.python_func).parameters)


def test_the_step_imports_only_what_it_uses() -> None:
    code = "import sys, kfp_lifecycle.components.featurize.step; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert {"kfp", "mlflow", "pandas", "pyarrow", "sklearn"}.isdisjoint(loaded.split())


def test_the_tables_of_the_telco_customers(telco: Run) -> None:
    artifacts = telco(derive={"total_value": "tenure * monthly_charges"})
    train, test = telco.features(), telco.features("test_features")
    fitted = FeatureTransform.load(telco.folder / "transform")
    names = fitted.get_feature_names_out().tolist()
    assert train.columns == test.columns == [ROW_HASH, *names, "churn"]
    assert "total_value" in names
    assert (train.height, test.height) == (5634, 1409)
    for side, features in (("train", train), ("test", test)):
        rows = pl.read_parquet(telco.folder / side)
        # The same rows in the same order, by the transform that goes into the model.
        assert_frame_equal(features.select(ROW_HASH, "churn"), rows.select(ROW_HASH, "churn"))
        np.testing.assert_allclose(
            features.select(names).to_numpy().astype(float), fitted.transform(rows), rtol=1e-13
        )
    assert {train[name].dtype for name in names} == {pl.Float64(), pl.UInt8()}
    assert not train.null_count().sum_horizontal().item()
    plan = FeatureTransform.load(telco.folder / "plan")
    assert plan.to_dict() == {**fitted.to_dict(), "fitted": None}
    assert plan.plan["parameters"]["derive"] == {"total_value": "tenure * monthly_charges"}
    assert artifacts["train_features"].metadata == {
        "rows": 5634,
        "columns": len(names) + 2,
        "target": "churn",
        "task": "binary",
        "source_uri": "",
        "source_digest": "",
        "features": len(names),
    }
    assert artifacts["test_features"].metadata["rows"] == 1409


def test_training_rows_are_encoded_out_of_fold_and_test_rows_by_all(telco: Run) -> None:
    telco(encode="target")
    fitted = FeatureTransform.load(telco.folder / "transform")
    plan = FeatureTransform.load(telco.folder / "plan")
    rows, test = pl.read_parquet(telco.folder / "train"), pl.read_parquet(telco.folder / "test")
    names = fitted.get_feature_names_out().tolist()
    train_features = telco.features().select(names).to_numpy()
    np.testing.assert_allclose(train_features, plan.fit_transform(rows, rows["churn"]), rtol=1e-13)
    assert not np.allclose(train_features, fitted.transform(rows))
    test_features = telco.features("test_features").select(names).to_numpy()
    np.testing.assert_allclose(test_features, fitted.transform(test), rtol=1e-13)


def test_changing_the_test_rows_changes_nothing_but_their_features(table: Table, tmp_path: Path) -> None:
    frame = churn(table("churn"))
    train, test = splits(frame)
    other = test.with_columns(
        pl.lit("never seen").alias("contract"),
        pl.col("monthly_charges") * 1000,
        pl.lit(None, pl.Float64).alias("total_charges"),
        pl.lit("Yes").alias("churn"),
    )
    runs = []
    for name, rows in (("one", test), ("two", other)):
        runs.append(Run(tmp_path / name, train, rows, schema_of(frame, "churn")))
        runs[-1](encode="target", derive={"total_value": "tenure * monthly_charges"})
    for name in ("plan", "transform"):
        assert (runs[0].folder / name).read_bytes() == (runs[1].folder / name).read_bytes()
    assert_frame_equal(runs[0].features(), runs[1].features())
    assert not runs[0].features("test_features").equals(runs[1].features("test_features"))


def test_a_second_run_leaves_the_same_state(telco: Run) -> None:
    telco(encode="target")
    first = {name: (telco.folder / name).read_bytes() for name in ("plan", "transform")}
    before = telco.features()
    telco(encode="target")
    assert first == {name: (telco.folder / name).read_bytes() for name in ("plan", "transform")}
    assert_frame_equal(telco.features(), before)
    assert sorted(path.name for path in (telco.folder / "train_features").iterdir()) == ["part-0.parquet"]


def test_the_diamonds_of_every_cut(table: Table, tmp_path: Path) -> None:
    frame = pl.from_pandas(table("diamonds"))
    run = Run(tmp_path, *splits(frame), schema_of(frame, "cut", "multiclass"))
    run(
        derive={"volume": "x * y * z", "per_carat": "price / carat"},
        overrides='{"color": {"encode": "target"}}',
    )
    features = run.features("test_features")
    classes = sorted(frame["cut"].unique())
    assert {f"color=>{label}" for label in classes} <= set(features.columns)
    assert features["cut"].dtype == pl.String
    assert features.height == 10788


def test_the_flights_dates(table: Table, tmp_path: Path) -> None:
    frame = flights(table("flights"))
    run = Run(tmp_path, *splits(frame), schema_of(frame, "late", time_hour="time"))
    run(derive={"wait": "time_hour - timestamp '2013-01-01 00:00:00'"}, scale="none")
    features, rows = run.features(), pl.read_parquet(tmp_path / "train")
    assert features["flown_weekday"].to_list() == rows["flown"].dt.weekday().cast(pl.Float64).to_list()
    assert features["wait"].min() >= 0
    assert features["wait"].max() < 366 * 86400
    assert features["late"].dtype == pl.Boolean


def test_what_is_not_imputed_stays_missing_in_the_table(table: Table, tmp_path: Path) -> None:
    frame = pl.from_pandas(table("credit"))
    run = Run(tmp_path, *splits(frame), schema_of(frame, "Status"))
    run(impute_numeric="none")
    gaps = pl.read_parquet(tmp_path / "train")["Income"].null_count()
    assert run.features()["Income"].null_count() == gaps > 0
    assert run.features()["Income"].is_nan().sum() == 0


@pytest.mark.parametrize(
    ("parameters", "error", "said"),
    [
        ({"overrides": "{"}, ParameterError, "'overrides' is not JSON"),
        ({"overrides": "[]"}, ParameterError, "'overrides' is JSON, but not an object"),
        ({"encode": "hash"}, ParameterError, "'encode' is 'hash'"),
        ({"derive": {"a": "tenure *"}}, ExpressionError, "does not parse"),
        ({"derive": {"a": "cast(contract as integer)"}}, ExpressionError, "Derived column a ="),
        (
            {"overrides": '{"tenure": {"encode": "onehot", "rare_share": 2}}'},
            ParameterError,
            "'rare_share' is 2",
        ),
    ],
)
def test_after_an_error_no_output_is_left(
    telco: Run, parameters: dict[str, Any], error: type[LifecycleError], said: str
) -> None:
    telco()  # What an earlier run left must not be taken for this one's.
    with pytest.raises(error, match=said):
        telco(**parameters)
    assert not any((telco.folder / name).exists() for name in OUTPUTS)
    assert sorted(path.name for path in telco.folder.iterdir()) == ["schema", "test", "train"]


@pytest.mark.parametrize("derive", [{}, {"total_value": "tenure * monthly_charges"}])
def test_a_full_disk_leaves_nothing_behind(telco: Run, small_disk: Path, derive: dict[str, str]) -> None:
    with pytest.raises(StorageError, match=r"train_features cannot be written.*no space left on device"):
        telco(small_disk, derive=derive)
    assert not list(small_disk.iterdir())


def test_in_a_step_an_error_is_one_line(
    telco: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_KFP_RUNTIME", "true")
    with pytest.raises(SystemExit) as ended:
        telco(exclude_columns=["tenur"])
    assert ended.value.code == 1
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("ERROR ParameterError: Parameter 'exclude_columns' names 'tenur'")


def test_inputs_that_are_not_what_prepare_wrote(telco: Run) -> None:
    file = telco.folder / "test" / "part-0.parquet"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(StorageError, match="damaged Parquet"):
        telco()
    pl.read_parquet(telco.folder / "train").drop("tenure").write_parquet(file)
    with pytest.raises(SchemaError, match="no column 'tenure'"):
        telco()
    file.unlink()
    with pytest.raises(SchemaError, match="holds no Parquet"):
        telco()
    (telco.folder / "schema").write_text("{}")
    with pytest.raises(SchemaError, match="not a Schema artifact"):
        telco()


def test_an_empty_test_split_gives_an_empty_table(telco: Run) -> None:
    test = telco.folder / "test" / "part-0.parquet"
    pl.read_parquet(test).clear().write_parquet(test)
    assert telco()["test_features"].metadata["rows"] == 0
    assert telco.features("test_features").columns == telco.features().columns


def test_an_empty_training_split_is_an_error(telco: Run) -> None:
    train = telco.folder / "train" / "part-0.parquet"
    pl.read_parquet(train).clear().write_parquet(train)
    with pytest.raises(SchemaError, match="no row"):
        telco()
