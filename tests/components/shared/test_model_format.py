"""The Model artifact: raw rows in, loads anywhere, beside other versions, and says what it is."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
import pandas as pd
import polars as pl
import pytest
import yaml
from mlflow.models import validate_serving_input
from sklearn.base import clone
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)

from kfp_lifecycle.components.shared.errors import EstimatorError, SchemaError, ServingError
from kfp_lifecycle.components.shared.inference import model as inference_model
from kfp_lifecycle.components.shared.inference.schema import ROW_HASH
from kfp_lifecycle.components.shared.model_example import read_example
from kfp_lifecycle.components.shared.model_format import (
    MAX_HASHES,
    TrainingRows,
    describe,
    load_predictor,
    read_reference,
    save_model,
)
from kfp_lifecycle.components.train.training import target_values
from tests.components.train.doubles import Diverging, Unpicklable
from tests.components.train.tables import Prepared, prepared

#: The churn table as IBM publishes it: text where the source has text.
SOURCE_TYPES = {"total_charges": "string", "partner": "string", "dependents": "string"}


def saved(table: Prepared, folder: Path, estimator: Any = None) -> Path:
    """A model of the table in ``folder``."""
    if estimator is None:
        kind = (
            HistGradientBoostingRegressor
            if table.schema.task == "regression"
            else HistGradientBoostingClassifier
        )
        estimator = kind(max_iter=10)
    transform = clone(table.plan)
    features = transform.fit_transform(table.rows, table.rows[table.schema.target])
    estimator.fit(features, target_values(table.rows, table.schema))
    folder.mkdir(parents=True)
    save_model(
        folder,
        estimator=estimator,
        estimator_path=f"{type(estimator).__module__}.{type(estimator).__name__}",
        transform=transform,
        schema=table.schema,
        reference=table.rows.head(30),
        row_hashes=table.rows[ROW_HASH].to_numpy(),
        parameters={"train": {"folds": 5}},
        metrics={"cv_roc_auc_mean": 0.8},
    )
    return folder


@pytest.fixture(scope="module")
def churn(table: Callable[[str], pd.DataFrame]) -> Prepared:
    rows = pl.from_pandas(table("churn").head(800)).with_columns(
        pl.col("partner", "dependents").cast(pl.Boolean)
    )
    found = prepared(rows, "churn", "binary", source_types=SOURCE_TYPES)
    words = [
        replace(column, true_value="Yes", false_value="No")
        if column.name in ("partner", "dependents")
        else column
        for column in found.schema.columns
    ]
    return replace(found, schema=replace(found.schema, columns=words))


@pytest.fixture(scope="module")
def model(churn: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(churn, tmp_path_factory.mktemp("models") / "a model")


@pytest.fixture(scope="module")
def source_file(churn: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The rows as a CSV in the source's words, blanks where values are missing."""
    words = {True: "Yes", False: "No"}
    rows = churn.rows.drop(ROW_HASH).with_columns(
        pl.col("partner", "dependents").replace_strict(words, return_dtype=pl.String),
        pl.col("total_charges").cast(pl.String).fill_null(" "),
    )
    file = tmp_path_factory.mktemp("source") / "churn.csv"
    rows.write_csv(file)
    return file


# A row as it is in the source goes in


def test_rows_from_the_source_give_what_settled_rows_give(
    churn: Prepared, model: Path, source_file: Path
) -> None:
    settled = load_predictor(model).predict(churn.rows)
    loaded = mlflow.pyfunc.load_model(str(model))
    ways = {
        "settled, through MLflow": churn.rows.to_pandas(),
        "as pandas reads the file": pd.read_csv(source_file),
        "all as text": pd.read_csv(source_file, dtype=str, keep_default_na=False),
        "all as text, gaps as NaN": pd.read_csv(source_file, dtype=str),
        "categories": pd.read_csv(source_file, dtype=str).astype("category").astype({"contract": object}),
    }
    for way, rows in ways.items():
        if way != "categories":  # MLflow's own check of a text column takes no pandas category
            pd.testing.assert_frame_equal(loaded.predict(rows), settled, obj=way)
        pd.testing.assert_frame_equal(load_predictor(model).predict(rows), settled, obj=way)
    pd.testing.assert_frame_equal(load_predictor(model).predict(pl.read_csv(source_file)), settled)
    assert churn.rows["total_charges"].null_count()


@pytest.mark.parametrize("position", [0, 488])
def test_one_row_at_a_time_gives_the_same(
    churn: Prepared, model: Path, source_file: Path, position: int
) -> None:
    expected = load_predictor(model).predict(churn.rows[[position]])
    row = pl.read_csv(source_file, infer_schema=False)[position].to_dicts()[0]
    loaded = mlflow.pyfunc.load_model(str(model))
    for record in (row, {name: None if value == " " else value for name, value in row.items()}):
        pd.testing.assert_frame_equal(loaded.predict(pd.DataFrame([record])), expected)


def test_the_output(churn: Prepared, model: Path) -> None:
    rows = churn.rows.head(3).to_pandas().set_index(pd.Index([7, 8, 9]))
    predicted = load_predictor(model).predict(rows)
    assert list(predicted.columns) == ["prediction", "probability_No", "probability_Yes"]
    assert list(predicted.index) == [7, 8, 9]
    assert set(predicted["prediction"]) <= {"Yes", "No"}
    np.testing.assert_allclose(predicted["probability_No"] + predicted["probability_Yes"], 1)
    np.testing.assert_array_equal(predicted["prediction"] == "Yes", predicted["probability_Yes"] > 0.5)


def test_no_rows_in_none_out(churn: Prepared, model: Path) -> None:
    predicted = load_predictor(model).predict(churn.rows.head(0))
    assert list(predicted.columns) == ["prediction", "probability_No", "probability_Yes"]
    assert predicted.empty


@pytest.mark.parametrize(
    ("labels", "kind"),
    [([0, 1], np.int64), ([False, True], np.bool_), ([1.5, 2.5], np.float64), (["a", "b"], np.object_)],
)
def test_labels_have_the_targets_own_type(labels: list[Any], kind: type, tmp_path: Path) -> None:
    rows = pl.DataFrame({"x": np.arange(100.0), "y": [labels[i // 50] for i in range(100)]})
    folder = saved(prepared(rows, "y", "binary"), tmp_path / "model")
    predicted = mlflow.pyfunc.load_model(str(folder)).predict(pd.DataFrame({"x": [1.0, 99.0]}))
    assert predicted["prediction"].dtype == kind
    assert predicted["prediction"].tolist() == labels


def test_regression_predicts_numbers(table: Callable[[str], pd.DataFrame], tmp_path: Path) -> None:
    stones = prepared(pl.from_pandas(table("diamonds").head(200)), "price", "regression")
    predicted = load_predictor(saved(stones, tmp_path / "model")).predict(stones.rows.head(2))
    assert list(predicted.columns) == ["prediction"]
    assert predicted["prediction"].dtype == np.float64


# What is wrong with a row is said


def test_a_missing_column_is_named(churn: Prepared, model: Path) -> None:
    rows = churn.rows.drop("tenure", "total_charges")
    with pytest.raises(Exception, match="'tenure'") as caught:
        load_predictor(model).predict(rows)
    assert "'total_charges'" in str(caught.value)
    assert type(caught.value).__name__ == "SchemaError"
    # MLflow lets a nullable column be absent; the model does not take its absence for missing values.
    with pytest.raises(Exception, match="'total_charges'"):
        mlflow.pyfunc.load_model(str(model)).predict(churn.rows.drop("total_charges").to_pandas())


@pytest.mark.parametrize(
    ("column", "value"), [("tenure", "many"), ("monthly_charges", float("inf")), ("partner", "Perhaps")]
)
def test_a_value_that_does_not_fit_is_named(column: str, value: Any, source_file: Path, model: Path) -> None:
    rows = pd.read_csv(source_file).head(2).astype({column: object})
    rows.loc[1, column] = value
    with pytest.raises(Exception, match=f"{column!r}.*{value}") as caught:
        load_predictor(model).predict(rows)
    assert getattr(caught.value, "is_declared", False)


def test_rows_that_are_no_table_are_refused(model: Path) -> None:
    with pytest.raises(Exception, match="come as list"):
        load_predictor(model).predict([{"tenure": 1}])  # type: ignore[arg-type]


# Signature, example, requirements


def test_signature_and_example(churn: Prepared, model: Path) -> None:
    loaded = mlflow.pyfunc.load_model(str(model))
    signature = loaded.metadata.signature
    assert signature.inputs.input_names() == churn.plan.input_columns
    assert str(signature.inputs.input_dict()["contract"].type) == "DataType.string"
    assert signature.inputs.optional_input_names() == ["total_charges"]
    assert [(spec.name, str(spec.type)) for spec in signature.outputs] == [
        ("prediction", "DataType.string"),
        ("probability_No", "DataType.double"),
        ("probability_Yes", "DataType.double"),
    ]
    example = loaded.input_example
    assert example["partner"].isin(["Yes", "No"]).all()
    assert isinstance(example["total_charges"][0], str)
    pd.testing.assert_frame_equal(loaded.predict(example), load_predictor(model).predict(churn.rows.head(5)))
    # As MLflow's scoring server parses it from JSON.
    served = validate_serving_input(str(model), (model / "serving_input_example.json").read_text())
    assert len(served) == 5


def test_times_and_dates_travel_as_text(tmp_path: Path) -> None:
    hours = pl.datetime_range(
        pl.datetime(2013, 1, 1), pl.datetime(2013, 1, 5), "1h", eager=True, time_unit="us"
    )
    rows = pl.DataFrame(
        {"when": hours.dt.replace_time_zone("UTC"), "y": [float(i % 24) for i in range(len(hours))]}
    )
    table = prepared(rows, "y", "regression")
    plan = dict(table.plan.plan)
    plan["columns"] = [{**column, "name": "when__hour", "part": "hour"} for column in plan["columns"]]
    table = replace(table, plan=type(table.plan)(plan))
    folder = saved(table, tmp_path / "model")
    loaded = mlflow.pyfunc.load_model(str(folder))
    expected = load_predictor(folder).predict(rows)
    naive = rows["when"].dt.replace_time_zone(None).to_pandas()
    for times in (
        rows["when"].to_pandas(),
        naive,
        naive.dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo"),
        naive.astype(str),
        naive.map(pd.Timestamp.to_pydatetime),
    ):
        pd.testing.assert_frame_equal(loaded.predict(pd.DataFrame({"when": times})), expected)
    pd.testing.assert_frame_equal(loaded.predict(loaded.input_example), expected.head(5))


def test_requirements_are_pinned_and_only_what_inference_needs(model: Path) -> None:
    requirements = dict(line.split("==") for line in (model / "requirements.txt").read_text().split())
    assert set(requirements) == {"mlflow-skinny", "numpy", "pandas", "polars", "scikit-learn"}
    assert requirements["polars"] == pl.__version__


def test_an_own_estimator_is_loaded_where_it_can_be_imported(tmp_path: Path) -> None:
    rows = pl.DataFrame({"x": np.arange(20.0), "y": np.arange(20.0)})
    folder = saved(prepared(rows, "y", "regression"), tmp_path / "model", Diverging())
    assert load_predictor(folder).predict(rows)["prediction"].isna().all()


def test_an_estimator_that_cannot_be_saved_is_named(tmp_path: Path) -> None:
    rows = pl.DataFrame({"x": np.arange(20.0), "y": np.arange(20.0)})
    with pytest.raises(EstimatorError, match=r"Unpicklable cannot be saved"):
        saved(prepared(rows, "y", "regression"), tmp_path / "model", Unpicklable())


def test_another_packages_estimator_brings_its_requirement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Any package that is surely here, but does not come with scikit-learn.
    foreign = type("Foreign", (Diverging,), {"__module__": "pytest"})
    monkeypatch.setattr(pytest, "Foreign", foreign, raising=False)
    rows = pl.DataFrame({"x": np.arange(20.0), "y": np.arange(20.0)})
    folder = saved(prepared(rows, "y", "regression"), tmp_path / "model", foreign())
    assert f"pytest=={pytest.__version__}" in (folder / "requirements.txt").read_text()


# Where and beside what it loads

ALONE = """
import sys
sys.path[:0] = {paths}
try:
    import kfp_lifecycle
    print("kfp_lifecycle", getattr(kfp_lifecycle, "FAKE", "real"))
except ImportError:
    print("kfp_lifecycle absent")
import mlflow.pyfunc
import pandas as pd
models = [mlflow.pyfunc.load_model(path) for path in {models}]
print([float(model.predict(pd.read_csv({source!r}))["probability_Yes"].sum()) for model in models])
print(sorted(name for name in sys.modules if name.startswith("kfp_lifecycle")))
"""


def _alone(source: Path, models: list[Path], *paths: Path) -> list[str]:
    """Runs :data:`ALONE` in a process that sees site-packages, but not this library."""
    site = [*map(str, paths), sysconfig.get_paths()["purelib"]]
    code = ALONE.format(paths=site, models=[str(model) for model in models], source=str(source))
    # -S: the link by which an editable install is found is a .pth file, which is not read.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env=env,
        cwd="/",
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_it_loads_where_the_library_is_not_installed(model: Path, source_file: Path) -> None:
    said, sums, modules = _alone(source_file, [model])
    expected = load_predictor(model).predict(pd.read_csv(source_file))["probability_Yes"].sum()
    assert said == "kfp_lifecycle absent"
    assert json.loads(sums) == [pytest.approx(expected)]
    assert all("kfp_lifecycle_model_" in name for name in modules[2:-2].split("', '"))


def test_another_installed_version_does_not_shadow_it(model: Path, source_file: Path, tmp_path: Path) -> None:
    fake = tmp_path / "kfp_lifecycle" / "components" / "shared" / "inference"
    fake.mkdir(parents=True)
    (tmp_path / "kfp_lifecycle" / "__init__.py").write_text("FAKE = 'another version'\n")
    for name in ("__init__", "model", "transform", "schema", "settle"):
        (fake / f"{name}.py").write_text("raise RuntimeError('the installed version is used')\n")
    said, sums, _ = _alone(source_file, [model], tmp_path)
    assert said == "kfp_lifecycle another version"
    assert len(json.loads(sums)) == 1


def test_two_versions_live_in_one_process(
    churn: Prepared, model: Path, source_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A later version of the library, whose settling reads every number as ten times as much.
    package = Path(inference_model.__file__).parent
    later = shutil.copytree(package, tmp_path / "later", ignore=shutil.ignore_patterns("__pycache__"))
    predict = later / "predict.py"
    predict.write_text(predict.read_text().replace("estimator.predict_proba(features)", "[0.25, 0.75]"))
    assert "[0.25, 0.75]" in predict.read_text()
    monkeypatch.setattr("kfp_lifecycle.components.shared.inference.__file__", str(later / "__init__.py"))
    other = saved(churn, tmp_path / "other")
    names = [next((folder / "code").iterdir()).name for folder in (model, other)]
    assert names[0] != names[1]
    assert all(len(name) == len("kfp_lifecycle_model_") + 12 for name in names)
    said, sums, modules = _alone(source_file, [model, other, model])
    first, second, third = json.loads(sums)
    assert said == "kfp_lifecycle absent"
    assert first == third != second == pytest.approx(0.75 * 800)
    assert all(name in modules for name in names)


def test_the_code_that_travels_imports_nothing_of_the_library() -> None:
    package = Path(inference_model.__file__).parent
    for file in package.glob("*.py"):
        assert "import kfp" not in file.read_text()
        assert "from kfp" not in file.read_text()


# What it says of itself


def test_describe(churn: Prepared, model: Path) -> None:
    found = describe(model)
    assert found.schema == churn.schema
    assert (found.task, found.target, found.classes) == ("binary", "churn", ["No", "Yes"])
    assert found.input_columns == churn.plan.input_columns
    assert (found.parameters, found.metrics) == ({"train": {"folds": 5}}, {"cv_roc_auc_mean": 0.8})
    assert found.estimator.endswith("HistGradientBoostingClassifier")
    assert read_reference(model).equals(churn.rows.head(30))
    about = yaml.safe_load((model / "MLmodel").read_text())
    assert about["flavors"]["python_function"]["loader_module"].startswith("kfp_lifecycle_model_")


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match="not a Model artifact"):
        describe(tmp_path)


def test_the_sample_of_training_rows_is_bounded_and_deterministic() -> None:
    hashes = np.random.default_rng(0).integers(0, 2**64, 2 * MAX_HASHES + 10, dtype=np.uint64)
    rows = TrainingRows.of(hashes)
    assert rows.modulus in (2, 4)
    assert MAX_HASHES / 4 < len(rows.hashes) <= MAX_HASHES
    assert (np.diff(rows.hashes) > 0).all()
    np.testing.assert_array_equal(rows.hashes, TrainingRows.of(hashes[::-1]).hashes)
    assert rows.seen(hashes[:1000]) == (hashes[:1000] % np.uint64(rows.modulus) == 0).sum()
    assert rows.seen(np.random.default_rng(1).integers(0, 2**64, 1000, dtype=np.uint64)) == 0
    small = TrainingRows.of(hashes[:100])
    assert (small.modulus, small.seen(hashes[:100])) == (1, 100)


def test_the_model_carries_what_it_makes_of_its_input_example(model: Path, tmp_path: Path) -> None:
    example = read_example(model)
    assert example is not None
    assert len(example.inputs) == 5
    made = mlflow.pyfunc.load_model(str(model)).predict(pd.DataFrame(example.inputs))
    assert list(made["prediction"]) == [row["prediction"] for row in example.outputs]
    for column in made.columns[1:]:
        np.testing.assert_allclose(made[column], [row[column] for row in example.outputs], rtol=1e-9)
    assert read_example(tmp_path) is None, "a plain MLflow model has none"


def test_a_damaged_example_is_named(model: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(model, tmp_path / "broken")
    path = broken / "data" / "lifecycle" / "example.json"
    path.write_text('{"inputs": [')
    with pytest.raises(ServingError, match=r"example\.json is damaged"):
        read_example(broken)
