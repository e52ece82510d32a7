"""A whole training: Model artifact, MLflow run and report, and what happens when something is wrong."""

import json
import logging
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import onnxruntime
import pandas as pd
import polars as pl
import pytest
import torch
from mlflow.tracking import MlflowClient

from kfp_lifecycle.components.evaluate.evaluation import Options, evaluate_model
from kfp_lifecycle.components.shared.errors import (
    DeviceError,
    EstimatorError,
    LifecycleError,
    ParameterError,
    SchemaError,
    SplitError,
    StorageError,
    TargetError,
    TrackingError,
)
from kfp_lifecycle.components.shared.inference.files import NETWORK, ONNX
from kfp_lifecycle.components.shared.inference.schema import ROW_HASH, Split
from kfp_lifecycle.components.shared.inference.transform import FeatureTransform
from kfp_lifecycle.components.shared.model_format import DATA, describe, load_predictor, read_reference
from kfp_lifecycle.components.train_gpu.fitting import _class_weights
from kfp_lifecycle.components.train_gpu.history import EpochRecord
from kfp_lifecycle.components.train_gpu.options import NetworkOptions
from kfp_lifecycle.components.train_gpu.result import Result
from kfp_lifecycle.components.train_gpu.training import Inputs, train_network
from tests.components.train.tables import Prepared, prepared
from tests.servers import free_port

QUICK = NetworkOptions(
    network="mlp", epochs=3, batch_size=128, learning_rate=0.01, reference_rows=40, experiment="tests"
)
Table = Callable[[str], pd.DataFrame]


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def churn(table: Table) -> Prepared:
    rows = pl.from_pandas(table("churn").head(1500))
    gaps = pl.when(pl.int_range(pl.len()) % 9 > 0).then("tenure").alias("tenure")
    return prepared(rows.with_columns(gaps), "churn", "binary", encode="ordinal", impute="none")


@pytest.fixture
def inputs(churn: Prepared, here: Path) -> Inputs:
    return _write(churn, here / "inputs")


def _write(table: Prepared, folder: Path) -> Inputs:
    written = table.write(folder)
    return Inputs(written.rows, written.schema, written.plan)


def _train(inputs: Inputs, folder: Path, options: NetworkOptions = QUICK) -> Result:
    result = train_network(inputs, folder / "model", folder / "report.html", options)
    assert result is not None
    return result


def _runs() -> list[str]:
    client = MlflowClient()
    return [
        run.info.status for run in client.search_runs([client.get_experiment_by_name("tests").experiment_id])
    ]


# What it leaves


def test_a_training_leaves_a_model_a_run_and_a_report(
    churn: Prepared, inputs: Inputs, tmp_path: Path
) -> None:
    result = _train(inputs, tmp_path / "out")
    assert result.estimator == "kfp_lifecycle.components.train_gpu.network.MLP"
    assert result.device.startswith("CPU")
    assert 0.7 < result.metrics["validation_roc_auc"] < 0.95
    assert 1 <= result.metrics["best_epoch"] <= result.metrics["epochs"] == 3

    run = MlflowClient().get_run(result.run_id)
    params, metrics, tags = run.data.params, run.data.metrics, run.data.tags
    assert run.info.status == "FINISHED"
    assert (params["train-gpu.epochs"], params["train-gpu.network"]) == ("3", "mlp")
    assert params["featurize.encode"] == "ordinal"
    assert params["prepare.drop_columns"] == "[]"
    assert metrics["best_validation_roc_auc"] == pytest.approx(result.metrics["validation_roc_auc"])
    history = MlflowClient().get_metric_history(result.run_id, "validation_loss")
    assert sorted(entry.step for entry in history) == [1, 2, 3]
    assert {"train_loss", "learning_rate", "rows_per_second", "device_memory_mb"} <= set(metrics)
    assert tags["kfp_lifecycle.source_digest"] == "sha256:" + "ab" * 32
    assert tags["kfp_lifecycle.device"] == result.device
    assert json.loads(run.inputs.dataset_inputs[0].dataset.profile) == {"num_rows": 1500}
    logged = MlflowClient().get_logged_model(result.model_id)
    assert (logged.name, str(logged.status)) == ("model", "READY")

    about = describe(tmp_path / "out" / "model")
    assert (about.task, about.classes, about.estimator) == ("binary", ["No", "Yes"], result.estimator)
    assert about.parameters["train-gpu"]["batch_size"] == 128
    assert about.metrics["validation_roc_auc"] == result.metrics["validation_roc_auc"]
    assert about.training_rows.seen(churn.rows[ROW_HASH].to_numpy()) == 1500
    assert "<svg" in (tmp_path / "out" / "report.html").read_text()
    assert not list((tmp_path / "out").glob(".*"))


def test_the_artifact_and_the_logged_model_are_one(churn: Prepared, inputs: Inputs, tmp_path: Path) -> None:
    result = _train(inputs, tmp_path)
    rows = churn.rows.head(20)
    expected = load_predictor(tmp_path / "model").predict(rows)
    for uri in (f"runs:/{result.run_id}/model", f"models:/{result.model_id}"):
        loaded = mlflow.pyfunc.load_model(uri)
        assert (loaded.metadata.run_id, loaded.metadata.model_id) == (result.run_id, result.model_id)
        pd.testing.assert_frame_equal(loaded.predict(rows.to_pandas()), expected)


def test_the_reference_is_of_rows_that_were_held_out(churn: Prepared, inputs: Inputs, tmp_path: Path) -> None:
    result = _train(inputs, tmp_path, replace(QUICK, reference_rows=10_000))
    held_out = read_reference(tmp_path / "model")
    assert held_out.height == 150
    assert set(held_out[ROW_HASH]) <= set(churn.rows[ROW_HASH])
    # All held-out rows, as the network judged them while it was trained.
    right = (held_out["_prediction"] == held_out["churn"]).mean()
    assert right == pytest.approx(result.metrics["validation_accuracy"])
    predicted = load_predictor(tmp_path / "model").predict(held_out)
    np.testing.assert_allclose(predicted["probability_Yes"], held_out["_probability_Yes"], atol=1e-6)


def test_without_held_out_rows_nothing_is_judged(inputs: Inputs, tmp_path: Path) -> None:
    result = _train(inputs, tmp_path, replace(QUICK, validation_share=0.0))
    assert not [name for name in result.metrics if name.startswith("validation_")]
    assert result.metrics["best_epoch"] == 3
    reference = read_reference(tmp_path / "model")
    assert reference["_prediction"].null_count() == reference["_probability_Yes"].null_count() == 40


def test_the_same_seed_gives_the_same_model(churn: Prepared, inputs: Inputs, tmp_path: Path) -> None:
    options = replace(QUICK, deterministic=True)
    one, two = (_train(inputs, tmp_path / name, options) for name in ("one", "two"))
    other = _train(inputs, tmp_path / "other", replace(options, seed=1))
    assert (
        one.metrics["validation_loss"] == two.metrics["validation_loss"] != other.metrics["validation_loss"]
    )
    predicted = [load_predictor(tmp_path / name / "model").predict(churn.rows) for name in ("one", "two")]
    pd.testing.assert_frame_equal(*predicted)


@pytest.mark.parametrize(
    ("name", "target", "task", "metric", "least"),
    [("diamonds", "cut", "multiclass", "roc_auc_ovr", 0.8), ("diamonds", "price", "regression", "r2", 0.85)],
)
def test_other_tasks(
    table: Table, here: Path, name: str, target: str, task: str, metric: str, least: float
) -> None:
    rows = pl.from_pandas(table(name).sample(3000, random_state=1).reset_index(drop=True))
    stones = prepared(rows, target, task, encode="ordinal")
    result = _train(_write(stones, here / "in"), here, replace(QUICK, epochs=8, batch_size=64))
    assert result.metrics[f"validation_{metric}"] > least
    predicted = mlflow.pyfunc.load_model(str(here / "model")).predict(stones.rows.head(50).to_pandas())
    if task == "regression":
        assert predicted["prediction"].between(-2000, 25_000).all()
        assert read_reference(here / "model")["_prediction"].dtype == pl.Float64
    else:
        assert set(predicted["prediction"]) <= set(stones.schema.classes)
    features = FeatureTransform.load(here / "model" / DATA / "transform.json").transform(stones.rows.head(50))
    session = onnxruntime.InferenceSession(here / "model" / DATA / ONNX)
    said = session.run(None, {"features": np.asarray(features, dtype=np.float32)})[0]
    columns = [name for name in predicted if name.startswith("probability_")] or "prediction"
    np.testing.assert_allclose(predicted[columns].to_numpy(), said, rtol=1e-5, atol=1e-5)


def test_evaluate_takes_the_model_as_it_is(churn: Prepared, inputs: Inputs, here: Path) -> None:
    _train(inputs, here)
    (here / "test").mkdir()
    # Other hashes, as those of rows that were not trained on.
    churn.rows.head(200).with_columns(pl.col(ROW_HASH) + 1).write_parquet(here / "test" / "part-0.parquet")
    asked = Options(thresholds=["roc_auc >= 0.7"], slices=["contract"], bootstrap_samples=50)
    found = evaluate_model(here / "model", here / "test", churn.schema, asked)
    assert found.decision.approved
    assert found.estimator == "kfp_lifecycle.components.train_gpu.network.MLP"


def test_a_users_module_travels_in_the_model_without_its_code(inputs: Inputs, tmp_path: Path) -> None:
    options = replace(
        QUICK, network="tests.components.train_gpu.networks.Small", network_parameters={"width": 8}
    )
    result = _train(inputs, tmp_path, options)
    assert result.estimator == "tests.components.train_gpu.networks.Small"
    assert {NETWORK, ONNX} <= {file.name for file in (tmp_path / "model" / DATA).iterdir()}
    requirements = (tmp_path / "model" / "requirements.txt").read_text()
    assert "torch==" in requirements
    assert "tests" not in requirements


def test_keys_stay_out_of_the_model(table: Table, here: Path) -> None:
    rows = pl.from_pandas(table("diamonds").head(400)).with_columns(owner=pl.lit("Alice"))
    stones = prepared(rows, "price", "regression", roles={"owner": "key"}, encode="ordinal")
    _train(_write(stones, here / "in"), here, replace(QUICK, epochs=1))
    assert "owner" not in read_reference(here / "model").columns


def test_rows_are_held_out_as_the_table_was_split(table: Table, here: Path) -> None:
    flights = table("flights").sample(2000, random_state=1).dropna(subset=["arr_delay"])
    rows = pl.from_pandas(
        flights.assign(late=flights["arr_delay"] > 15)[["time_hour", "dep_time", "carrier", "late"]]
    )
    split = Split("time", column="time_hour")
    late = prepared(rows, "late", "binary", split=split, roles={"time_hour": "time"}, encode="ordinal")
    _train(_write(late, here / "in"), here, replace(QUICK, epochs=1, reference_rows=10_000))
    reference = read_reference(here / "model")
    others = late.rows.filter(~pl.col(ROW_HASH).is_in(reference[ROW_HASH].implode()))
    assert reference["time_hour"].min() > others["time_hour"].max()


@pytest.mark.parametrize("encode", ["onehot", "target"])
def test_categories_need_not_be_embedded(table: Table, here: Path, encode: str) -> None:
    rows = pl.from_pandas(table("churn").head(800))
    result = _train(_write(prepared(rows, "churn", "binary", encode=encode), here / "in"), here)
    assert result.metrics["validation_roc_auc"] > 0.65


def test_weighing_the_rare_class_finds_more_of_it(inputs: Inputs, tmp_path: Path) -> None:
    options = replace(QUICK, epochs=6)
    plain = _train(inputs, tmp_path / "plain", options)
    for weight in ("balanced", '{"Yes": 3}'):
        weighted = _train(inputs, tmp_path / weight, replace(options, class_weight=weight))
        assert weighted.metrics["validation_recall"] > plain.metrics["validation_recall"] + 0.1


def test_class_weights_are_scikit_learns() -> None:
    assert _class_weights(None, (3, 1)) is None
    assert _class_weights({0: 1.0, 1: 4.0}, (3, 1)) == [1.0, 4.0]
    assert _class_weights("balanced", (6, 2)) == [8 / 12, 8 / 4]
    assert _class_weights("balanced", (6, 0, 2)) == [8 / 12, 0.0, 8 / 4]


def test_a_real_server_gets_the_same(
    inputs: Inputs, tmp_path: Path, mlflow_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_uri)
    result = _train(inputs, tmp_path, replace(QUICK, run_name="named"))
    run = MlflowClient().get_run(result.run_id)
    assert (run.info.run_name, run.info.status) == ("named", "FINISHED")
    assert len(MlflowClient().get_metric_history(result.run_id, "train_loss")) == 3
    assert mlflow.pyfunc.load_model(f"runs:/{result.run_id}/model").metadata.run_id == result.run_id
    assert not (tmp_path / "mlartifacts").exists()


def test_a_step_that_is_run_again_in_the_plugins_run_adds_nothing_wrong(
    inputs: Inputs,
    tmp_path: Path,
    mlflow_uri: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = MlflowClient(mlflow_uri)
    run_id = client.create_run("0").info.run_id
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_uri)
    monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
    first, again = (_train(inputs, tmp_path / name) for name in ("one", "two"))
    assert first.run_id == again.run_id == run_id
    assert client.get_run(run_id).info.status == "RUNNING"


# Resumed


def test_a_training_that_is_done_is_not_done_again(
    inputs: Inputs, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    options = replace(QUICK, checkpoint_uri=str(tmp_path / "checkpoints"), checkpoint_epochs=1)
    first = _train(inputs, tmp_path / "first", options)
    assert caplog.text.count("epoch 1/3") == 1
    again = _train(inputs, tmp_path / "again", options)
    assert caplog.text.count("epoch 1/3") == 1
    assert again.metrics["validation_loss"] == first.metrics["validation_loss"]
    history = MlflowClient().get_metric_history(again.run_id, "train_loss")
    assert sorted(entry.step for entry in history) == [1, 2, 3]


def test_a_preempted_training_ends_as_one_never_stopped(inputs: Inputs, tmp_path: Path) -> None:
    options = replace(QUICK, deterministic=True, checkpoint_uri=str(tmp_path / "checkpoints"))

    def preempt(record: EpochRecord, best: bool) -> None:
        if record.epoch == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(SystemExit) as stopped:
        train_network(inputs, tmp_path / "model", tmp_path / "report.html", options, [preempt])
    assert stopped.value.code == 143
    assert not (tmp_path / "model").exists()
    assert _runs() == ["FAILED"]
    resumed = _train(inputs, tmp_path, options)
    never = _train(inputs, tmp_path / "never", replace(options, checkpoint_uri=""))
    assert {**resumed.metrics, "rows_per_second": 0} == {**never.metrics, "rows_per_second": 0}


# What is wrong is said, and nothing is left


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"network": "residul"}, ParameterError, "residual"),
        ({"network": "tests.components.train_gpu.networks.Smal"}, EstimatorError, "'Small'"),
        ({"network_parameters": {"widht": 3}}, ParameterError, "widht"),
        ({"network": "tests.components.train_gpu.networks.Branching"}, EstimatorError, "torch.export"),
        ({"network": "tests.components.train_gpu.networks.Flat"}, EstimatorError, r"needs \(2, 1\)"),
        ({"class_weight": "heavy"}, ParameterError, "class_weight"),
        ({"class_weight": '{"yes": 2}'}, ParameterError, "'Yes'"),
        ({"loss": "huber"}, ParameterError, "loss"),
        ({"monitor": "rmse"}, ParameterError, "monitor"),
        ({"require_gpu": True}, DeviceError, "no GPU"),
        ({"checkpoint_uri": "/proc/nowhere"}, StorageError, "/proc/nowhere"),
        ({"checkpoint_uri": "ftp://x/y"}, StorageError, "ftp"),
        ({"learning_rate": 1e30, "clip_norm": 0.0, "optimizer": "sgd"}, EstimatorError, "epoch 1"),
    ],
)
def test_a_mistake_leaves_no_model(
    options: dict[str, object], error: type[LifecycleError], words: str, inputs: Inputs, tmp_path: Path
) -> None:
    with pytest.raises(error, match=words):
        _train(inputs, tmp_path / "out", replace(QUICK, **options))  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_a_mistake_is_found_before_the_first_epoch(
    inputs: Inputs, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for network in ("Branching", "Flat"):
        path = f"tests.components.train_gpu.networks.{network}"
        with pytest.raises(EstimatorError):
            _train(inputs, tmp_path / "out", replace(QUICK, network=path))
    assert "epoch 1/" not in caplog.text
    assert _runs() == ["FAILED", "FAILED"]


def test_a_batch_larger_than_the_table_is_the_table(inputs: Inputs, tmp_path: Path) -> None:
    assert _train(inputs, tmp_path, replace(QUICK, batch_size=100_000)).metrics["epochs"] == 3


def test_one_row_is_too_few_and_two_train(table: Table, here: Path) -> None:
    rows = pl.from_pandas(table("churn"))
    two = pl.concat([rows.filter(pl.col("churn") == label).head(1) for label in ("No", "Yes")])
    options = replace(QUICK, validation_share=0.0)
    both = prepared(two, "churn", "binary", encode="ordinal")
    assert _train(_write(both, here / "two"), here, options).metrics["epochs"] == 3
    with pytest.raises((SplitError, TargetError), match="validation_share"):
        _train(_write(both, here / "held out"), here / "no", QUICK)
    alone = replace(both, rows=both.rows.head(1))
    with pytest.raises(TargetError, match="one class"):
        _train(_write(alone, here / "one"), here / "no", options)


def test_one_row_trains_a_regression(table: Table, here: Path) -> None:
    rows = pl.from_pandas(table("diamonds").head(1))
    one = prepared(rows, "price", "regression", encode="ordinal")
    _train(_write(one, here / "in"), here, replace(QUICK, validation_share=0.0))
    predicted = load_predictor(here / "model").predict(one.rows)
    assert predicted["prediction"].to_list() == pytest.approx([float(rows["price"][0])], abs=2)


def test_rows_of_another_table_are_refused(churn: Prepared, inputs: Inputs, tmp_path: Path) -> None:
    churn.rows.drop("tenure").write_parquet(inputs.rows / "part-0.parquet")
    with pytest.raises(SchemaError, match="'tenure'"):
        _train(inputs, tmp_path)


def test_mlflow_that_is_down_is_known_before_anything_is_fitted(
    inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:hunter2@127.0.0.1:{free_port()}")
    with pytest.raises(TrackingError) as caught:
        _train(inputs, tmp_path)
    assert "hunter2" not in str(caught.value)
    assert "held on" not in caplog.text
    assert not (tmp_path / "model").exists()


def test_a_full_disk_is_a_declared_error(inputs: Inputs, small_disk: Path) -> None:
    with pytest.raises(StorageError, match="model cannot be written: no space left on device"):
        _train(inputs, small_disk, replace(QUICK, network_parameters={"hidden": [512, 512]}))
    assert not list(small_disk.iterdir())
    assert _runs() == ["FAILED"]


def test_nothing_is_left_in_the_temporary_folder(
    inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    _train(inputs, tmp_path)
    with pytest.raises(EstimatorError):
        _train(inputs, tmp_path / "no", replace(QUICK, network="tests.components.train_gpu.networks.Flat"))
    assert list(scratch.iterdir()) == []
