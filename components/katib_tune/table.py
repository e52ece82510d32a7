"""All trials as one table, and as nested MLflow runs."""

import json
from collections.abc import Iterator
from typing import Any

import polars as pl

from kfp_lifecycle.components.katib_tune.backend import Search
from kfp_lifecycle.components.katib_tune.space import Parameter, SearchSpace


def trials_table(search: Search, space: SearchSpace) -> pl.DataFrame:
    """One row a trial, its parameters and metrics named as in MLflow's own tables of runs.

    Columns: number, name, state, value, seconds, intermediate, error, run_id; then ``params.<name>`` and
    ``metrics.<name>``.

    What a trial does not have is null: the default parameters of trial 0, metrics of a failed trial.
    Categorical values that are no texts are JSON texts.
    """
    metrics = sorted({name for trial in search.trials for name in trial.metrics})
    columns: list[pl.Series] = [
        pl.Series("number", [trial.number for trial in search.trials], pl.Int64),
        pl.Series("name", [trial.name for trial in search.trials], pl.String),
        pl.Series("state", [trial.state for trial in search.trials], pl.String),
        pl.Series("value", [trial.value for trial in search.trials], pl.Float64),
        pl.Series("seconds", [trial.seconds for trial in search.trials], pl.Float64),
        pl.Series("intermediate", [list(t.intermediate) for t in search.trials], pl.List(pl.Float64)),
        pl.Series("error", [trial.error for trial in search.trials], pl.String),
        pl.Series("run_id", [trial.run_id for trial in search.trials], pl.String),
        *_parameters(search, space),
        *(
            pl.Series(f"metrics.{name}", [trial.metrics.get(name) for trial in search.trials], pl.Float64)
            for name in metrics
        ),
    ]
    return pl.DataFrame(columns)


def _parameters(search: Search, space: SearchSpace) -> Iterator[pl.Series]:
    types: dict[str, Any] = {"int": pl.Int64, "float": pl.Float64, "categorical": pl.String}
    for parameter in space:
        values = [_value(parameter, trial.parameters) for trial in search.trials]
        yield pl.Series(f"params.{parameter.name}", values, types[parameter.type])


def _value(parameter: Parameter, given: Any) -> Any:
    if parameter.name not in given:
        return None
    value = given[parameter.name]
    if parameter.type != "categorical" or isinstance(value, str):
        return value
    return json.dumps(value)
