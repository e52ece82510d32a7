from typing import Any

import pytest
import yaml

from kfp_lifecycle.compiler.reader import CompiledFile, read_bytes
from kfp_lifecycle.components.shared.scores import METRICS
from kfp_lifecycle.runner.cluster.compare import HIGHER, LOWER, Column, compare, higher_is_better, to_json
from tests.runner.cluster.scheduling import SPEC


def _file(**root: Any) -> CompiledFile:
    spec = {**SPEC, "root": {**SPEC["root"], **root}}  # type: ignore[dict-item]
    return read_bytes(yaml.safe_dump(spec).encode(), "training.yaml")


def _column(number: int, **more: Any) -> Column:
    given = {"parameters": {"source": "a"}, "title": "training 1.0.0", "file": _file(), **more}
    return Column(f"run-{number}", f"run {number}", "SUCCEEDED", **given)


def test_parameters_with_their_defaults() -> None:
    found = compare([_column(1), _column(2, parameters={"source": "b", "folds": 5.0})])
    assert [(row.name, row.values, row.differs) for row in found.parameters] == [
        ("folds", (5, 5.0), False),
        ("source", ("a", "b"), True),
    ]


def test_numbers_inside_are_the_same_too() -> None:
    one = _column(1, parameters={"grid": {"depth": [3, 5]}})
    other = _column(2, parameters={"grid": {"depth": [3.0, 5.0]}})
    assert not next(row for row in compare([one, other]).parameters if row.name == "grid").differs


@pytest.mark.parametrize(
    ("name", "values", "best"),
    [
        ("test_roc_auc", (0.84, 0.86, 0.86), (1, 2)),
        ("log_loss_mean", (0.5, 0.4, 0.6), (1,)),
        ("val_rmse", (1.0, None, 2.0), (0,)),
        ("test_roc_auc_low", (0.8, 0.9, 0.7), ()),
        ("rows", (1.0, 2.0, 3.0), ()),
        ("accuracy", (0.5, 0.5, 0.5), ()),
        ("accuracy", (0.5, None, None), ()),
        ("accuracy", (0.5, float("nan"), 0.4), (0,)),
    ],
)
def test_the_best_metric(name: str, values: tuple[float | None, ...], best: tuple[int, ...]) -> None:
    columns = [
        _column(number, metrics={} if value is None else {name: value}) for number, value in enumerate(values)
    ]
    (row,) = compare(columns).metrics
    assert (row.name, row.best) == (name, best)


def test_every_metric_of_ours_has_its_direction() -> None:
    for metrics in METRICS.values():
        for name, higher in metrics.items():
            assert higher_is_better(f"test_{name}") is higher
            assert higher_is_better(f"{name}_mean") is higher
            assert higher_is_better(f"{name}_std") is None
    assert not HIGHER & LOWER


def test_what_changed_between_versions() -> None:
    changed = _file(inputDefinitions={"parameters": {"source": {"parameterType": "STRING"}}})
    columns = [
        _column(1),
        _column(2),
        _column(3, file=changed, title="training 2.0.0"),
        _column(4, file=None),
    ]
    (between,) = compare(columns).versions
    assert (between.old, between.new) == ("training 1.0.0", "training 2.0.0")
    assert [change.id for change in between.changes] == ["input-removed"]


def test_as_plain_data() -> None:
    columns = [_column(1, metrics={"r2": 0.1}), _column(2, metrics={"r2": 0.2}, parameters={"source": "b"})]
    data = to_json(compare(columns))
    assert data["metrics"]["r2"] == {
        "values": {"run-1": 0.1, "run-2": 0.2},
        "differs": True,
        "best": ["run-2"],
    }
    assert data["parameters"]["source"]["differs"]
    assert [run["run_id"] for run in data["runs"]] == ["run-1", "run-2"]
    assert data["versions"] == []
