"""The loop on small tables: it learns, stops, keeps the best, gives way where memory is short."""

import logging
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from kfp_lifecycle.components.shared.errors import DeviceError, EstimatorError
from kfp_lifecycle.components.train_gpu.history import EpochRecord
from kfp_lifecycle.components.train_gpu.options import NetworkOptions
from tests.components.train_gpu.learnable import SCALE, options, train, write_tables

MODULES = "tests.components.train_gpu.modules"


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("tables")
    return {task: write_tables(place / task, task) for task in ("binary", "multiclass", "regression")}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    ("task", "given", "metric", "least"),
    [
        ("binary", {}, "roc_auc", 0.9),
        ("binary", {"network": "residual", "network_parameters": {"width": 16}}, "roc_auc", 0.9),
        ("binary", {"network": "mlp", "precision": "bf16"}, "roc_auc", 0.9),
        ("binary", {"optimizer": "sgd", "learning_rate": 0.1, "schedule": "step"}, "roc_auc", 0.9),
        ("binary", {"clip_norm": 0.0, "schedule": "constant"}, "roc_auc", 0.9),
        ("binary", {"memory": "stream", "schedule": "plateau"}, "roc_auc", 0.9),
        ("multiclass", {}, "roc_auc_ovr", 0.9),
        ("regression", {}, "r2", 0.7),
        ("regression", {"loss": "huber"}, "r2", 0.7),
    ],
)
def test_it_learns(
    tables: dict[str, Path], task: str, given: dict[str, Any], metric: str, least: float
) -> None:
    found = train(tables[task], task, options(epochs=8, **given)).fitted
    assert found.metrics[metric] > least
    assert found.history[-1].train_loss < found.history[0].train_loss
    assert found.metrics["loss"] == min(record.validation_loss or 9 for record in found.history)
    assert [record.epoch for record in found.history] == list(range(1, 9))
    assert not found.network.training


def test_regression_is_judged_in_the_unit_of_the_target(tables: dict[str, Path]) -> None:
    found = train(tables["regression"], "regression", options(epochs=4)).fitted
    assert found.metrics["rmse"] == pytest.approx(SCALE * math.sqrt(found.metrics["loss"]), rel=1e-5)


def test_two_trainings_give_the_same_bits(tables: dict[str, Path]) -> None:
    first, second, other = (
        train(tables["binary"], "binary", options(seed=seed)).weights() for seed in (1, 1, 2)
    )
    assert same(first, second)
    assert not same(first, other)


def test_the_best_epoch_is_kept_and_patience_ends_it(
    tables: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    overfit = options(
        network_parameters={"hidden": [256]}, epochs=60, patience=3, learning_rate=0.05, dropout=0.0,
        schedule="constant", weight_decay=0.0,
    )  # fmt: skip
    found = train(tables["binary"], "binary", overfit).fitted
    losses = [record.validation_loss or 9 for record in found.history]
    assert found.stopped_early
    assert len(losses) == found.best + 3
    assert losses[found.best - 1] == min(losses) == found.metrics["loss"]
    assert f"stopping, the best was {found.best}" in caplog.text
    lines = [line for line in caplog.messages if line.startswith("epoch ")]
    assert len(lines) == len(losses)
    assert "(best)" in lines[found.best - 1]
    assert "(best)" not in lines[-1]


def test_a_metric_can_tell_the_best_epoch(tables: dict[str, Path]) -> None:
    found = train(tables["binary"], "binary", options(epochs=6, monitor="roc_auc")).fitted
    areas = [record.metrics["roc_auc"] for record in found.history]
    assert found.best == areas.index(max(areas)) + 1


def test_without_held_out_rows_the_last_epoch_is_the_best(tables: dict[str, Path]) -> None:
    found = train(tables["binary"], "binary", options(epochs=3, patience=1), judged=False).fitted
    assert (found.best, len(found.history), found.metrics) == (3, 3, {})
    assert found.history[0].validation_loss is None


def test_class_weights_move_the_predictions(tables: dict[str, Path]) -> None:
    plain = train(tables["binary"], "binary", options(epochs=5)).fitted
    heavy = train(tables["binary"], "binary", options(epochs=5), class_weights=[0.1, 10.0]).fitted
    assert heavy.metrics["recall"] > plain.metrics["recall"]


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_a_table_of_few_rows_and_a_larger_batch(tmp_path: Path, rows: int) -> None:
    table = write_tables(tmp_path, "regression", rows=rows)
    found = train(table, "regression", options(batch_size=1000, network="residual", network_parameters={}))
    assert (found.batches.batch_size, found.batches.steps) == (rows, 1)
    assert all(math.isfinite(record.train_loss) for record in found.fitted.history)


def test_held_out_rows_of_one_class_have_no_curve_to_go_by(tmp_path: Path) -> None:
    table = write_tables(tmp_path, "binary", rows=3)
    assert math.isfinite(train(table, "binary", options()).fitted.metrics["loss"])
    with pytest.raises(EstimatorError, match="do not define roc_auc"):
        train(table, "binary", options(monitor="roc_auc"))


def test_too_little_memory_halves_what_goes_through_at_once_and_learns_the_same(
    tables: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    hungry = {"network": f"{MODULES}.Hungry", "epochs": 3}
    whole = train(tables["binary"], "binary", options(network_parameters={"most": 1000}, **hungry))
    assert "out of memory" not in caplog.text
    parts = train(tables["binary"], "binary", options(network_parameters={"most": 20}, **hungry))
    assert "out of memory with 64 rows at once: going on with 32" in caplog.text
    assert "out of memory with 32 rows at once: going on with 16" in caplog.text
    assert parts.batches.batch_size == 64
    for one, other in zip(whole.fitted.history, parts.fitted.history, strict=True):
        assert one.train_loss == pytest.approx(other.train_loss, rel=1e-5)
        assert one.validation_loss == pytest.approx(other.validation_loss, rel=1e-5)
    for name, weight in whole.weights().items():
        assert torch.allclose(weight, parts.weights()[name], rtol=1e-4, atol=1e-6)


def test_too_little_memory_for_one_row_is_an_error(tables: dict[str, Path]) -> None:
    hungry = options(network=f"{MODULES}.Hungry", network_parameters={"most": 2}, batch_size=64)
    assert train(tables["binary"], "binary", hungry)
    none = options(network=f"{MODULES}.Hungry", network_parameters={"most": 0}, batch_size=64)
    with pytest.raises(EstimatorError, match="cannot be run on two rows"):
        train(tables["binary"], "binary", none)


def test_too_little_memory_after_all_halving_names_the_device(
    tables: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.components.train_gpu.modules import Hungry

    forward = Hungry.forward

    def greedier(self: Hungry, numbers: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        self.most = 0 if self.training else 1000
        return forward(self, numbers, codes)

    monkeypatch.setattr(Hungry, "forward", greedier)
    with pytest.raises(DeviceError, match="out of memory with 1 rows at once"):
        train(tables["binary"], "binary", options(network=f"{MODULES}.Hungry", network_parameters={}))


def test_a_loss_that_is_no_number_stops_with_epoch_and_batch(tables: dict[str, Path]) -> None:
    with pytest.raises(EstimatorError) as raised:
        train(tables["binary"], "binary", options(network=f"{MODULES}.Explodes", network_parameters={}))
    assert "not a number in epoch 2, batch 3 of 10" in str(raised.value)
    assert "checkpoint_uri is empty" in str(raised.value)


def test_a_network_that_fails_in_training_is_named(tables: dict[str, Path]) -> None:
    with pytest.raises(EstimatorError) as raised:
        train(tables["binary"], "binary", options(network=f"{MODULES}.Late", network_parameters={}))
    assert f"{MODULES}.Late cannot be trained: ValueError: the third batch is too much" in str(raised.value)


def test_watchers_are_told_of_each_epoch(tables: dict[str, Path]) -> None:
    told: list[tuple[EpochRecord, bool]] = []
    found = train(
        tables["binary"], "binary", options(epochs=4), watchers=[lambda *what: told.append(what)]
    ).fitted
    assert [record for record, _ in told] == found.history
    assert [record.epoch for record, best in told if best][-1] == found.best
    for record in found.history:
        assert record.rows_per_second > 0
        assert record.memory_mb > 10
        assert record.seconds > 0
        assert record.utilisation is None


def test_a_compiled_network_learns_the_same(tables: dict[str, Path]) -> None:
    own: dict[str, Any] = {"network": f"{MODULES}.Plain", "network_parameters": {}}
    plain, compiled = (
        train(tables["binary"], "binary", options(epochs=1, batch_size=60, compile=chosen, **own)).fitted
        for chosen in (False, True)
    )
    assert compiled.metrics["loss"] == pytest.approx(plain.metrics["loss"], rel=1e-4)


def test_a_machine_without_a_compiler_is_told_so(
    tables: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch._inductor.config as inductor

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(inductor.cpp, "cxx", (str(tmp_path / "g++"),))
    torch._dynamo.reset()
    with pytest.raises(EstimatorError, match="cannot compile the network mlp") as raised:
        train(tables["binary"], "binary", options(epochs=1, compile=True))
    assert "compile to false" in str(raised.value)


def test_nothing_of_determinism_is_left_behind(tables: dict[str, Path]) -> None:
    train(tables["binary"], "binary", options(epochs=1))
    assert not torch.are_deterministic_algorithms_enabled()
    assert NetworkOptions().deterministic is False
