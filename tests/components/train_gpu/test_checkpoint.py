"""Checkpoints: a training that is taken up again ends as one that was never stopped."""

import json
import logging
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import boto3
import pytest
import torch

from kfp_lifecycle.components.shared.errors import CheckpointError, EstimatorError, StorageError
from kfp_lifecycle.components.shared.storage import open_store
from kfp_lifecycle.components.train_gpu.checkpoint import Checkpoints
from kfp_lifecycle.components.train_gpu.history import EpochRecord
from kfp_lifecycle.components.train_gpu.launch import launch
from kfp_lifecycle.components.train_gpu.preemption import Preempted
from tests.components.train_gpu import learnable
from tests.components.train_gpu.learnable import Trained, options, train, write_tables
from tests.conftest import ROOT, SOAK
from tests.servers import gcs_server, s3_server

MODULES = "tests.components.train_gpu.modules"
KILLS = 50 if SOAK else 3


@pytest.fixture(autouse=True)
def _one_thread(caplog: pytest.LogCaptureFixture) -> None:
    torch.set_num_threads(1)
    caplog.set_level(logging.INFO)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tables(tmp_path_factory.mktemp("table"), "binary")


class StopError(Exception):
    """What a test stops a training with."""


def stop_after(epoch: int) -> Callable[[EpochRecord, bool], None]:
    def watcher(record: EpochRecord, best: bool) -> None:
        if record.epoch == epoch:
            raise StopError

    return watcher


def sigterm_after(epoch: int) -> Callable[[EpochRecord, bool], None]:

    def watcher(record: EpochRecord, best: bool) -> None:
        if record.epoch == epoch:
            os.kill(os.getpid(), signal.SIGTERM)

    return watcher


def losses(one: Trained) -> list[tuple[float, float | None]]:
    return [(record.train_loss, record.validation_loss) for record in one.fitted.history]


def check_same(one: Trained, other: Trained) -> None:
    assert one.weights().keys() == other.weights().keys()
    for name, weight in one.weights().items():
        assert torch.equal(weight, other.weights()[name]), name
    assert [r.train_loss for r in one.fitted.history] == [r.train_loss for r in other.fitted.history]
    assert [r.validation_loss for r in one.fitted.history] == [
        r.validation_loss for r in other.fitted.history
    ]
    assert one.fitted.best == other.fitted.best
    assert one.fitted.metrics == other.fitted.metrics


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"schedule": "plateau", "patience": 2},
        {"optimizer": "sgd"},
        {"memory": "stream"},
        {"network": f"{MODULES}.Random", "network_parameters": {}},
        {"network": f"{MODULES}.Hungry", "network_parameters": {"most": 20}},
    ],
)
def test_a_stopped_training_ends_as_one_that_was_not(
    table: Path, tmp_path: Path, given: dict[str, Any]
) -> None:
    uri = str(tmp_path / "checkpoints")
    whole = train(table, "binary", options(epochs=5, **given))
    saving = options(epochs=5, checkpoint_uri=uri, **given)
    with pytest.raises(Preempted) as raised:
        train(table, "binary", saving, watchers=[sigterm_after(2)])
    assert raised.value.code == 143
    assert "stopped by SIGTERM at epoch 3, batch 1 of 10" in raised.value.said
    told: list[int] = []
    again = train(table, "binary", saving, watchers=[lambda record, best: told.append(record.epoch)])
    assert again.fitted.resumed == "epoch 3, batch 1 of 10"
    assert told == [record.epoch for record in again.fitted.history]
    check_same(whole, again)


def test_a_finished_training_is_not_trained_again(
    table: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    saving = options(checkpoint_uri=str(tmp_path / "checkpoints"))
    first, second = (train(table, "binary", saving) for _ in range(2))
    assert second.fitted.resumed == "its end"
    assert "nothing is left to learn" in caplog.text
    check_same(first, second)
    assert second.fitted.history == first.fitted.history


def test_the_newest_two_are_kept(table: Path, tmp_path: Path) -> None:
    place = tmp_path / "checkpoints"
    train(table, "binary", options(epochs=5, checkpoint_uri=str(place), checkpoint_epochs=1))
    assert [file.name[5:17] for file in sorted(place.iterdir())] == [f"{steps:012d}" for steps in (40, 50)]


def test_they_are_written_by_time_too(table: Path, tmp_path: Path) -> None:
    place = tmp_path / "checkpoints"
    often = options(epochs=5, checkpoint_uri=str(place), checkpoint_minutes=1e-6, network_parameters={})
    with pytest.raises(StopError):
        train(table, "binary", often, watchers=[stop_after(4)])
    steps = [int(file.name[5:17]) for file in sorted(place.iterdir())]
    assert len(steps) == 2
    assert 0 < steps[0] < steps[1] <= 40


@pytest.mark.parametrize("damage", ["cut", "flip", "empty"])
def test_a_damaged_one_falls_back_to_the_one_before(
    table: Path, tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    place = tmp_path / "checkpoints"
    saving = options(epochs=5, checkpoint_uri=str(place), checkpoint_epochs=1)
    with pytest.raises(StopError):
        train(table, "binary", saving, watchers=[stop_after(4)])
    before, newest = sorted(place.iterdir())
    content = newest.read_bytes()
    middle = len(content) // 2
    newest.write_bytes(
        {
            "cut": content[:middle],
            "flip": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
            "empty": b"",
        }[damage]
    )
    again = train(table, "binary", saving)
    assert f"{newest.name} in {place} is damaged" in caplog.text
    assert again.fitted.resumed == "epoch 3, batch 0 of 10"
    check_same(train(table, "binary", options(epochs=5)), again)
    assert not newest.exists() or newest.read_bytes() == content
    assert before.exists() is False


def test_nothing_but_damaged_ones_is_an_error(table: Path, tmp_path: Path) -> None:
    place = tmp_path / "checkpoints"
    saving = options(checkpoint_uri=str(place), checkpoint_epochs=1)
    train(table, "binary", saving)
    for file in place.iterdir():
        file.write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match=f"None of the 2 checkpoints in {place} can be read"):
        train(table, "binary", saving)


def test_other_files_in_the_folder_are_left_alone(table: Path, tmp_path: Path) -> None:
    place = tmp_path / "checkpoints"
    place.mkdir()
    (place / "notes.txt").write_text("mine")
    (place / "step-1.pt").write_text("mine")
    train(table, "binary", options(epochs=4, checkpoint_uri=str(place), checkpoint_epochs=1))
    assert (place / "notes.txt").read_text() == (place / "step-1.pt").read_text() == "mine"
    assert len(list(place.iterdir())) == 4


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"learning_rate": 0.02}, "parameter learning_rate is 0.02 here and 0.01 there"),
        ({"seed": 1}, "parameter seed is 1 here and 42 there"),
        (
            {"network_parameters": {"hidden": [32]}},
            "parameter network_parameters hidden is [32] here and [16] there; "
            "weight body.layers.0.bias is [32] here and [16] there",
        ),
        (
            {"network": "residual", "network_parameters": {"width": 8}},
            "parameter network is 'residual' here and 'mlp' there; "
            "parameter network_parameters hidden is absent here and [16] there",
        ),
    ],
)
def test_one_of_another_training_is_refused(
    table: Path, tmp_path: Path, given: dict[str, Any], said: str
) -> None:
    place = str(tmp_path / "checkpoints")
    train(table, "binary", options(checkpoint_uri=place))
    with pytest.raises(CheckpointError, match="is of another training") as raised:
        train(table, "binary", options(checkpoint_uri=place, **given))
    assert said in str(raised.value)


def test_one_of_another_table_is_refused(table: Path, tmp_path: Path) -> None:
    place = str(tmp_path / "checkpoints")
    train(table, "binary", options(checkpoint_uri=place))
    other = write_tables(tmp_path / "other", "multiclass", rows=500)
    with pytest.raises(CheckpointError) as raised:
        train(other, "multiclass", options(checkpoint_uri=place))
    assert "classes is ['p', 'q', 'r'] here and ['no', 'yes'] there" in str(raised.value)
    assert "rows to fit on is 500 here and 600 there" in str(raised.value)


def test_where_and_how_often_may_change(table: Path, tmp_path: Path) -> None:
    place = str(tmp_path / "checkpoints")
    train(table, "binary", options(checkpoint_uri=place))
    free = {"checkpoint_minutes": 3.0, "checkpoint_epochs": 2, "experiment": "other", "reference_rows": 5}
    assert train(table, "binary", options(checkpoint_uri=place, **free)).fitted.resumed == "its end"


def test_code_in_a_checkpoint_is_not_run(table: Path, tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "run"),)

    place = tmp_path / "checkpoints"
    checkpoints = Checkpoints(str(place), {}, minutes=1, epochs=0)
    checkpoints.save({"epoch": Evil()}, 1, wait=True)
    assert len(list(place.iterdir())) == 1
    with pytest.raises(CheckpointError, match="None of the 1 checkpoints"):
        checkpoints.load()
    assert not (tmp_path / "run").exists()


def test_a_place_that_cannot_be_written_fails_before_the_first_epoch(table: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    told: list[int] = []
    with pytest.raises(StorageError, match="cannot be written"):
        train(
            table,
            "binary",
            options(checkpoint_uri=str(tmp_path / "file" / "checkpoints")),
            watchers=[lambda record, best: told.append(record.epoch)],
        )
    assert told == []
    with pytest.raises(StorageError, match="in no storage that is known"):
        train(table, "binary", options(checkpoint_uri="ftp://server/place"))


def test_a_disk_that_fills_up_is_said_and_training_goes_on(
    table: Path, small_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place = small_disk / "checkpoints"
    saving = options(epochs=6, checkpoint_uri=str(place), checkpoint_epochs=1)
    filler = small_disk / "filler"

    def fill(record: EpochRecord, best: bool) -> None:
        if record.epoch == 3:
            with filler.open("wb") as file:
                try:
                    file.write(b"x" * 500_000)
                    file.flush()
                except OSError:
                    pass

    whole = train(table, "binary", saving, watchers=[fill])
    assert len(whole.fitted.history) == 6
    assert "no checkpoint was written, training goes on" in caplog.text
    assert "no space left on device" in caplog.text
    filler.unlink()
    kept = sorted(file.name[5:17] for file in place.iterdir())
    assert kept == [f"{steps:012d}" for steps in (10, 20)]
    caplog.clear()
    again = train(table, "binary", options(epochs=6, checkpoint_uri=str(place), checkpoint_epochs=1))
    assert again.fitted.resumed == "epoch 3, batch 0 of 10"
    check_same(whole, again)


def test_a_loss_that_is_no_number_keeps_the_last_good_one(table: Path, tmp_path: Path) -> None:
    place = tmp_path / "checkpoints"
    exploding = options(
        network=f"{MODULES}.Explodes", network_parameters={}, checkpoint_uri=str(place), checkpoint_epochs=1
    )
    with pytest.raises(EstimatorError, match="The last good checkpoint is kept in") as raised:
        train(table, "binary", exploding)
    assert "epoch 2, batch 3 of 10" in str(raised.value)
    kept = [torch.load(file, weights_only=True)["state"] for file in place.iterdir()]
    assert [state["epoch"] for state in kept] == [1]
    assert all(weight.isfinite().all() for weight in kept[0]["network"].values())


@pytest.mark.parametrize("minutes", [0.0, 1e-6])
def test_weights_that_are_no_numbers_are_not_kept(table: Path, tmp_path: Path, minutes: float) -> None:
    """The loss of the batch that spoils them is still a number, and no rows are held out to tell."""
    place = tmp_path / "checkpoints"
    poisoned = options(
        network=f"{MODULES}.Poisoned", network_parameters={}, clip_norm=0.0, batch_size=40,
        checkpoint_uri=str(place), checkpoint_epochs=1, checkpoint_minutes=minutes,
    )  # fmt: skip
    with pytest.raises(EstimatorError, match=r"not a number (at|in) epoch (1, batch 15|2, batch 0) of 15"):
        train(table, "binary", poisoned, judged=False)
    for file in place.iterdir():
        state = torch.load(file, weights_only=True)["state"]
        assert all(weight.isfinite().all() for weight in state["network"].values())


def test_sigterm_without_a_place_for_checkpoints_ends_cleanly(table: Path) -> None:
    with pytest.raises(Preempted, match="143") as raised:
        train(table, "binary", options(), watchers=[sigterm_after(1)])
    assert "No checkpoint is kept" in raised.value.said


def test_sigterm_after_the_last_epoch_is_heeded(table: Path, tmp_path: Path) -> None:
    saving = options(epochs=2, checkpoint_uri=str(tmp_path / "checkpoints"))
    with pytest.raises(Preempted) as raised:
        train(table, "binary", saving, watchers=[sigterm_after(2)])
    assert "stopped by SIGTERM at its end" in raised.value.said
    check_same(train(table, "binary", options(epochs=2)), train(table, "binary", saving))


def test_other_threads_train_without_the_signal(table: Path) -> None:
    found: list[Trained] = []
    thread = threading.Thread(target=lambda: found.append(train(table, "binary", options(epochs=1))))
    thread.start()
    thread.join()
    assert len(found[0].fitted.history) == 1


#: Enough to be killed in; a checkpoint is due after each step, and written as soon as the one before is.
LONG = {"epochs": 40, "patience": 0, "checkpoint_minutes": 1e-6, "batch_size": 32}
STEPS = 40 * 19
#: Children are forked from a process that has imported all they need.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["torch._dynamo", learnable.__name__])


@pytest.fixture(scope="module")
def never_stopped(table: Path) -> Trained:
    torch.set_num_threads(1)
    return train(table, "binary", options(**{**LONG, "checkpoint_minutes": 10.0}))


def start(table: Path, place: Path, given: dict[str, Any]) -> ForkServerProcess:
    given = {**LONG, "checkpoint_uri": str(place / "checkpoints"), **given}
    files = str(place / "out.pt"), str(place / "log")
    process = FORKS.Process(target=learnable.main, args=(str(table), "binary", json.dumps(given), *files))
    process.start()
    return process


def wait_for_another(process: ForkServerProcess, place: Path) -> None:
    before = newest(place)
    while process.is_alive() and newest(place) == before:
        time.sleep(0.005)


def newest(place: Path) -> int:
    """Steps done at the newest checkpoint."""
    names = open_store(str(place / "checkpoints")).names()
    return max((int(name[5:17]) for name in names if name.startswith("step-")), default=0)


def check_saved(place: Path, whole: Trained) -> None:
    saved = torch.load(place / "out.pt", weights_only=True)
    assert saved["losses"] == losses(whole)
    assert saved["best"] == whole.fitted.best
    for name, weight in whole.weights().items():
        assert torch.equal(weight, saved["weights"][name]), name


def test_kill_9_at_random_points_loses_nothing(table: Path, tmp_path: Path, never_stopped: Trained) -> None:
    """Each process gets so far as to write one more checkpoint, and is killed a little later."""
    source = random.Random(1)
    kills = 0
    while kills < KILLS:
        process = start(table, tmp_path, {})
        wait_for_another(process, tmp_path)
        time.sleep(source.uniform(0, 0.03))
        process.kill()
        process.join()
        kills += process.exitcode == -signal.SIGKILL
        if process.exitcode == 0:
            check_saved(tmp_path, never_stopped)
        if newest(tmp_path) == STEPS:  # it came to its end: begin another
            shutil.rmtree(tmp_path / "checkpoints")
    process = start(table, tmp_path, {})
    process.join()
    assert process.exitcode == 0
    said = (tmp_path / "log").read_text()
    assert said.count("going on from a checkpoint at epoch") >= 2
    assert "damaged" not in said
    check_saved(tmp_path, never_stopped)


def test_sigterm_writes_a_checkpoint_and_ends_with_143(
    table: Path, tmp_path: Path, never_stopped: Trained
) -> None:
    """A program of its own, as in a pod; another one goes on."""
    given = {
        "checkpoint_uri": str(tmp_path / "checkpoints"),
        "checkpoint_minutes": 0.0,
        "checkpoint_epochs": 1,
    }
    command = [
        sys.executable,
        "-m",
        learnable.__name__,
        str(table),
        "binary",
        json.dumps(LONG | given),
        "out",
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    while process.poll() is None and newest(tmp_path) == 0:
        time.sleep(0.005)
    process.terminate()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 143, said
    assert "Traceback" not in said
    assert "WARNING stopped by SIGTERM at epoch" in said
    again = start(table, tmp_path, given)
    again.join()
    assert again.exitcode == 0
    assert "going on from a checkpoint at epoch" in (tmp_path / "log").read_text()
    check_saved(tmp_path, never_stopped)


def test_sigterm_to_one_of_two_ranks_stops_both_and_one_goes_on_alone(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    given = {"epochs": 6, "checkpoint_uri": str(tmp_path / "checkpoints"), "dropout": 0.0}
    words = [str(table), "binary", json.dumps({**given, "sigterm_after": 2})]
    with pytest.raises(SystemExit) as raised:
        launch([*words, str(tmp_path / "out.pt"), str(tmp_path / "log")], 2, module=learnable.__name__)
    assert raised.value.code == 143
    assert "stopped by SIGTERM at epoch 3, batch 10 of 10" in (tmp_path / "log").read_text()
    found = train(table, "binary", options(**given))
    assert found.fitted.resumed == "epoch 3, batch 10 of 10"
    alone = train(table, "binary", options(epochs=6, dropout=0.0))
    for ours, theirs in zip(losses(found), losses(alone), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("stores")
    with pytest.MonkeyPatch.context() as patch, gcs_server(folder) as gcs, s3_server(folder) as s3:
        for name, value in {**gcs, **s3}.items():
            patch.setenv(name, value)
        boto3.client("s3").create_bucket(Bucket="data")
        yield


@pytest.mark.server
@pytest.mark.parametrize("scheme", ["gs", "s3"])
def test_in_an_object_store(
    table: Path, scheme: str, stores: None, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    uri = f"{scheme}://data/runs/churn"
    saving = options(epochs=5, checkpoint_uri=uri, checkpoint_epochs=1)
    with pytest.raises(Preempted):
        train(table, "binary", saving, watchers=[sigterm_after(3)])
    names = open_store(uri).names()
    assert [name[5:17] for name in names] == [f"{steps:012d}" for steps in (30, 31)]
    (tmp_path / "damaged").write_bytes(b"nothing")
    open_store(uri).write(tmp_path / "damaged", names[-1])
    again = train(table, "binary", saving)
    assert f"{names[-1]} in {uri} is damaged" in caplog.text
    assert again.fitted.resumed == "epoch 4, batch 0 of 10"
    check_same(train(table, "binary", options(epochs=5)), again)
    assert len(open_store(uri).names()) == 2


@pytest.mark.server
@pytest.mark.parametrize("scheme", ["gs", "s3"])
def test_a_bucket_that_is_not_there_fails_before_the_first_epoch(
    table: Path, scheme: str, stores: None
) -> None:
    told: list[int] = []
    with pytest.raises(StorageError, match=f"{scheme}://nowhere/runs"):
        train(
            table,
            "binary",
            options(checkpoint_uri=f"{scheme}://nowhere/runs"),
            watchers=[lambda record, best: told.append(record.epoch)],
        )
    assert told == []
