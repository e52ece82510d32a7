"""Epochs in a real MLflow store."""

import pytest
from mlflow.tracking import MlflowClient

from kfp_lifecycle.components.shared.errors import TrackingError
from kfp_lifecycle.components.shared.tracking import tracked_run
from kfp_lifecycle.components.train_gpu import epoch_log as module
from kfp_lifecycle.components.train_gpu.epoch_log import epoch_log
from kfp_lifecycle.components.train_gpu.history import EpochRecord


def record(epoch: int, **more: float) -> EpochRecord:
    given = {"metrics": {"roc_auc": 0.5 + epoch / 100}, "utilisation": 0.9, **more}
    return EpochRecord(epoch, 1 / epoch, 2 / epoch, 0.01, 1000.0, 2.0, 300.0, 1.7e9 + epoch, **given)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db"


@pytest.fixture(autouse=True)
def _tracking(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)


def curve(run_id: str, name: str) -> list[tuple[int, float]]:
    return [(metric.step, metric.value) for metric in MlflowClient().get_metric_history(run_id, name)]


def test_every_curve_has_the_epoch_as_its_step() -> None:
    with tracked_run("epochs") as run_id, epoch_log(MlflowClient(), run_id) as watcher:
        for epoch in range(1, 121):
            watcher(record(epoch), False)
    assert curve(run_id, "train_loss") == [(epoch, 1 / epoch) for epoch in range(1, 121)]
    assert curve(run_id, "validation_loss")[:2] == [(1, 2.0), (2, 1.0)]
    assert curve(run_id, "validation_roc_auc")[-1] == (120, 1.7)
    for name, value in {
        "learning_rate": 0.01, "rows_per_second": 1000.0, "device_memory_mb": 300.0,
        "device_utilisation": 0.9, "epoch_seconds": 2.0,
    }.items():  # fmt: skip
        assert curve(run_id, name)[0] == (1, value)


def test_what_is_not_known_is_not_logged() -> None:
    with tracked_run("epochs") as run_id, epoch_log(MlflowClient(), run_id) as watcher:
        watcher(EpochRecord(1, 0.5, None, 0.01, 1.0, 1.0, 1.0, 1.7e9), True)
    names = MlflowClient().get_run(run_id).data.metrics.keys()
    assert "train_loss" in names
    assert not {"validation_loss", "device_utilisation"} & names


def test_epochs_that_are_logged_again_are_the_same_entries() -> None:
    with tracked_run("epochs") as run_id:
        for last in (2, 3):
            with epoch_log(MlflowClient(), run_id) as watcher:
                for epoch in range(1, last + 1):
                    watcher(record(epoch), False)
    assert curve(run_id, "train_loss") == [(1, 1.0), (2, 0.5), (3, 1 / 3)]


def test_the_epochs_before_an_error_are_logged() -> None:
    def fail() -> None:
        with epoch_log(MlflowClient(), run_id) as watcher:
            watcher(record(1), False)
            raise ZeroDivisionError

    with tracked_run("epochs") as run_id, pytest.raises(ZeroDivisionError):
        fail()
    assert curve(run_id, "train_loss") == [(1, 1.0)]


def test_training_goes_on_while_the_store_is_away(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The run is deleted, which a store refuses to log to, and comes back."""
    monkeypatch.setattr(module, "EVERY_S", 0.0)
    client = MlflowClient()
    with tracked_run("epochs") as run_id, epoch_log(client, run_id) as watcher:
        client.delete_run(run_id)
        watcher(record(1), False)
        assert "training goes on" in caplog.text
        client.restore_run(run_id)
        watcher(record(2), False)
    assert [step for step, _ in curve(run_id, "train_loss")] == [1, 2]


def test_epochs_that_no_store_takes_are_an_error_in_the_end(caplog: pytest.LogCaptureFixture) -> None:
    client = MlflowClient()

    def to_a_deleted_run() -> None:
        with tracked_run("epochs") as run_id, epoch_log(client, run_id) as watcher:
            watcher(record(1), False)
            client.delete_run(run_id)

    def fail() -> None:
        with tracked_run("epochs") as run_id, epoch_log(client, run_id) as watcher:
            watcher(record(1), False)
            client.delete_run(run_id)
            raise ZeroDivisionError

    with pytest.raises(TrackingError, match="must be in the 'active' state"):
        to_a_deleted_run()
    with pytest.raises(ZeroDivisionError):
        fail()
    assert "the last epochs could not be logged to MLflow" in caplog.text
