"""A whole training: the Model artifact, the MLflow run, and what happens when something is wrong."""

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import polars as pl
import pytest
from mlflow.tracking import MlflowClient

from kfp_lifecycle.components.shared.errors import (
    EstimatorError,
    ParameterError,
    SchemaError,
    StorageError,
    TrackingError,
)
from kfp_lifecycle.components.shared.inference.schema import ROW_HASH
from kfp_lifecycle.components.shared.model_format import describe, load_predictor, read_reference
from kfp_lifecycle.components.train.training import (
    TrainingInputs,
    TrainingOptions,
    TrainingResult,
    make_recipe,
    read_features,
    target_values,
    train_model,
)
from tests.components.train.tables import Prepared, prepared
from tests.servers import free_port

QUICK = TrainingOptions(estimator_parameters={"max_iter": 20}, folds=3, reference_rows=50, experiment="tests")


@pytest.fixture(scope="module")
def churn(table: Callable[[str], pd.DataFrame]) -> Prepared:
    return prepared(pl.from_pandas(table("churn").head(1500)), "churn", "binary")


@pytest.fixture
def inputs(churn: Prepared, here: Path) -> TrainingInputs:
    return churn.write(here / "inputs")


def _check_run(result: TrainingResult, folds: int) -> None:
    client = MlflowClient()
    run = client.get_run(result.run_id)
    params, metrics, tags = run.data.params, run.data.metrics, run.data.tags
    assert params["estimator.max_iter"] == "20"
    assert params["estimator.learning_rate"] == "0.1"
    assert params["train.folds"] == str(folds)
    assert json.loads(params["train.estimator_parameters"]) == {"max_iter": 20}
    assert params["prepare.drop_columns"] == "[]"
    assert params["featurize.encode"] == "onehot"
    assert {name: metrics[name] for name in result.metrics} == pytest.approx(result.metrics)
    history = client.get_metric_history(result.run_id, "cv_roc_auc")
    assert sorted(entry.step for entry in history) == list(range(folds))
    assert np.mean([entry.value for entry in history]) == pytest.approx(result.metrics["cv_roc_auc_mean"])
    dataset = run.inputs.dataset_inputs[0]
    assert dataset.dataset.name == "table.csv"
    assert dataset.dataset.digest == ("ab" * 32)[:36]
    assert json.loads(dataset.dataset.source) == {"url": "https://example.org/tables/table.csv"}
    assert tags["kfp_lifecycle.source_digest"] == "sha256:" + "ab" * 32
    assert tags["kfp_lifecycle.estimator"] == "sklearn.ensemble.HistGradientBoostingClassifier"
    logged = client.get_logged_model(result.model_id)
    assert (logged.name, str(logged.status)) == ("model", "READY")
    assert {metric.key for metric in logged.metrics} >= set(result.metrics)


def test_a_training_leaves_a_model_and_a_run(churn: Prepared, inputs: TrainingInputs, tmp_path: Path) -> None:
    result = train_model(inputs, tmp_path / "out" / "model", QUICK)
    assert result.estimator == "sklearn.ensemble.HistGradientBoostingClassifier"
    assert 0.75 < result.metrics["cv_roc_auc_mean"] < 0.9
    _check_run(result, folds=3)
    assert MlflowClient().get_run(result.run_id).info.status == "FINISHED"

    description = describe(tmp_path / "out" / "model")
    assert (description.task, description.target, description.classes) == ("binary", "churn", ["No", "Yes"])
    assert description.input_columns == churn.plan.input_columns
    assert description.parameters["train"]["estimator_parameters"] == {"max_iter": 20}
    assert description.metrics == result.metrics
    assert description.training_rows.seen(churn.rows[ROW_HASH].to_numpy()) == 1500

    # The artifact, the logged model and the run's name for it are one and the same.
    rows = churn.rows.head(20)
    expected = load_predictor(tmp_path / "out" / "model").predict(rows)
    for uri in (f"runs:/{result.run_id}/model", f"models:/{result.model_id}"):
        loaded = mlflow.pyfunc.load_model(uri)
        assert (loaded.metadata.run_id, loaded.metadata.model_id) == (result.run_id, result.model_id)
        pd.testing.assert_frame_equal(loaded.predict(rows.to_pandas()), expected)
    assert not list((tmp_path / "out").glob(".*"))


def test_a_real_server_gets_the_same(
    inputs: TrainingInputs, tmp_path: Path, mlflow_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_uri)
    result = train_model(inputs, tmp_path / "model", replace(QUICK, run_name="named"))
    _check_run(result, folds=3)
    assert MlflowClient().get_run(result.run_id).info.run_name == "named"
    assert mlflow.pyfunc.load_model(f"runs:/{result.run_id}/model").metadata.run_id == result.run_id
    assert not (tmp_path / "mlartifacts").exists()


def test_a_step_that_is_run_again_in_the_plugins_run_adds_nothing_wrong(
    inputs: TrainingInputs,
    tmp_path: Path,
    mlflow_uri: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    client = MlflowClient(mlflow_uri)
    run_id = client.create_run("0").info.run_id
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_uri)
    monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
    first = train_model(inputs, tmp_path / "model", QUICK)
    again = train_model(inputs, tmp_path / "model", replace(QUICK, estimator_parameters={"max_iter": 21}))
    assert first.run_id == again.run_id == run_id
    assert "other values already for: train.estimator_parameters, estimator.max_iter" in caplog.text
    run = client.get_run(run_id)
    assert (run.info.status, run.data.params["estimator.max_iter"]) == ("RUNNING", "20")
    made = {output.model_id for output in client.get_run(run_id).outputs.model_outputs}
    assert made == {first.model_id, again.model_id}
    # By its own name: MLflow finds a run's model by asking for all of them, and takes no answer for none.
    assert mlflow.pyfunc.load_model(f"models:/{again.model_id}").metadata.model_id == again.model_id


def test_the_same_inputs_give_the_same_model(inputs: TrainingInputs, tmp_path: Path) -> None:
    one, two = (train_model(inputs, tmp_path / name, QUICK) for name in ("one", "two"))
    assert one.metrics == two.metrics
    assert one.run_id != two.run_id
    rows = pl.read_parquet(inputs.rows)
    pd.testing.assert_frame_equal(
        load_predictor(tmp_path / "one").predict(rows), load_predictor(tmp_path / "two").predict(rows)
    )
    assert read_reference(tmp_path / "one").equals(read_reference(tmp_path / "two"))


def test_the_reference_has_out_of_fold_predictions(
    churn: Prepared, inputs: TrainingInputs, tmp_path: Path
) -> None:
    train_model(inputs, tmp_path / "model", QUICK)
    reference = read_reference(tmp_path / "model")
    assert reference.height == 50
    assert set(churn.rows.columns) < set(reference.columns)
    assert reference["_prediction"].is_in(["No", "Yes"]).all()
    total = reference.select(pl.sum_horizontal("_probability_No", "_probability_Yes")).to_series()
    assert total.to_list() == pytest.approx([1.0] * 50)
    # They are not what the final model says of rows that it has learned.
    final = load_predictor(tmp_path / "model").predict(reference)["probability_Yes"]
    assert not np.allclose(final, reference["_probability_Yes"])


def test_without_folds_there_are_no_metrics_and_no_out_of_fold_predictions(
    inputs: TrainingInputs, tmp_path: Path
) -> None:
    result = train_model(inputs, tmp_path / "model", replace(QUICK, folds=0))
    assert result.metrics == {}
    assert read_reference(tmp_path / "model")["_prediction"].null_count() == 50


def test_keys_stay_out_of_the_model(table: Callable[[str], pd.DataFrame], here: Path) -> None:
    rows = pl.from_pandas(table("diamonds").head(300)).with_columns(owner=pl.lit("Alice"))
    stones = prepared(rows, "price", "regression", roles={"owner": "key"})
    train_model(stones.write(here / "in"), here / "model", QUICK)
    reference = read_reference(here / "model")
    assert "owner" not in reference.columns
    assert reference["_prediction"].dtype == pl.Float64


def test_class_weights_given_within_the_parameters_are_by_label(churn: Prepared) -> None:
    own = TrainingOptions(estimator_parameters={"class_weight": {"Yes": 4}})
    recipe = make_recipe(own, churn.schema, churn.plan)
    assert recipe.estimator.class_weight == recipe.weight == {0: 1.0, 1: 4.0}
    with pytest.raises(ParameterError, match="given twice"):
        make_recipe(replace(own, class_weight="balanced"), churn.schema, churn.plan)
    with pytest.raises(ParameterError, match="'yes'"):
        make_recipe(
            TrainingOptions(estimator_parameters={"class_weight": {"yes": 4}}), churn.schema, churn.plan
        )


@pytest.mark.parametrize("weight", ["balanced", '{"Yes": 3}'])
@pytest.mark.parametrize(
    "estimator", ["sklearn.ensemble.RandomForestClassifier", "sklearn.ensemble.GradientBoostingClassifier"]
)
def test_weighing_the_rare_class_finds_more_of_it(
    estimator: str, weight: str, inputs: TrainingInputs, tmp_path: Path
) -> None:
    options = replace(
        QUICK, estimator=estimator, estimator_parameters={"n_estimators": 20, "max_depth": 4}, folds=2
    )
    plain = train_model(inputs, tmp_path / "plain", options)
    weighted = train_model(inputs, tmp_path / "weighted", replace(options, class_weight=weight))
    assert weighted.metrics["cv_recall_mean"] > plain.metrics["cv_recall_mean"] + 0.1


def test_features_are_matched_by_row_hash(churn: Prepared, inputs: TrainingInputs) -> None:
    transform = type(churn.plan).load(inputs.transform)
    file = inputs.features / "part-0.parquet"
    in_order = read_features(inputs.features, churn.rows, transform)
    pl.read_parquet(file).sample(fraction=1, shuffle=True, seed=1).write_parquet(file)
    np.testing.assert_array_equal(read_features(inputs.features, churn.rows, transform), in_order)
    pl.read_parquet(file).head(1400).write_parquet(file)
    with pytest.raises(SchemaError, match="train_features does not hold the rows of train"):
        read_features(inputs.features, churn.rows, transform)


def test_a_target_of_another_table_is_refused(churn: Prepared) -> None:
    with pytest.raises(SchemaError, match="'Perhaps'"):
        target_values(churn.rows.with_columns(churn=pl.lit("Perhaps")), churn.schema)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (replace(QUICK, estimator="sklearn.ensemble.RandomForest"), EstimatorError),
        (replace(QUICK, estimator_parameters={"max_iter": "many"}), EstimatorError),
        (replace(QUICK, class_weight="heavy"), ParameterError),
        (replace(QUICK, folds=1), ParameterError),
        (replace(QUICK, reference_rows=0), ParameterError),
    ],
)
def test_a_mistake_leaves_no_model(
    options: TrainingOptions, error: type[Exception], inputs: TrainingInputs, tmp_path: Path
) -> None:
    with pytest.raises(error):
        train_model(inputs, tmp_path / "out" / "model", options)
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_a_failed_fit_leaves_a_failed_run(inputs: TrainingInputs, tmp_path: Path) -> None:
    with pytest.raises(EstimatorError):
        train_model(inputs, tmp_path / "model", replace(QUICK, estimator_parameters={"max_iter": "many"}))
    client = MlflowClient()
    experiment = client.get_experiment_by_name("tests").experiment_id
    assert [run.info.status for run in client.search_runs([experiment])] == ["FAILED"]


def test_mlflow_that_is_down_is_known_before_anything_is_fitted(
    inputs: TrainingInputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:hunter2@127.0.0.1:{free_port()}")
    with pytest.raises(TrackingError) as caught:
        train_model(inputs, tmp_path / "model", QUICK)
    assert "hunter2" not in str(caught.value)
    assert "fold" not in caplog.text
    assert not (tmp_path / "model").exists()


def test_a_full_disk_is_a_declared_error(inputs: TrainingInputs, small_disk: Path) -> None:
    with pytest.raises(StorageError, match="model cannot be written: no space left on device"):
        train_model(inputs, small_disk / "model", QUICK)
    assert not list(small_disk.iterdir())


def test_a_full_artifact_store_is_named_and_leaves_no_model(
    inputs: TrainingInputs, tmp_path: Path, small_disk: Path
) -> None:
    (tmp_path / "mlartifacts").symlink_to(small_disk)
    with pytest.raises(StorageError, match=r"mlartifacts.* cannot be written: no space left on device"):
        train_model(inputs, tmp_path / "model", QUICK)
    assert not (tmp_path / "model").exists()
    client = MlflowClient()
    experiment = client.get_experiment_by_name("tests").experiment_id
    assert [run.info.status for run in client.search_runs([experiment])] == ["FAILED"]
    assert [str(model.status) for model in client.search_logged_models([experiment])] == ["FAILED"]


def test_progress_is_in_the_log(
    inputs: TrainingInputs, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    train_model(inputs, tmp_path / "model", QUICK)
    assert "fold 1 of 3: 1000 rows fitted, 500 judged, roc_auc 0." in caplog.text
    assert "cv_roc_auc_mean 0." in caplog.text
