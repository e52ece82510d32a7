"""The search as one self-contained HTML page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from kfp_lifecycle.components.evaluate.bootstrap import UNDEFINED, Estimate
from kfp_lifecycle.components.katib_tune import charts
from kfp_lifecycle.components.katib_tune.backend import Trial
from kfp_lifecycle.components.katib_tune.importance import importances
from kfp_lifecycle.components.katib_tune.space import Parameter
from kfp_lifecycle.components.katib_tune.tuning import Tuning
from kfp_lifecycle.components.shared.model_format import library_version
from kfp_lifecycle.components.shared.report import number, render
from kfp_lifecycle.components.shared.scores import LABELS, METRICS

#: Trials that the page's table shows; the Parquet table has all.
MAX_ROWS = 50


@dataclass(frozen=True)
class MetricRow:
    """One metric of both models on the test rows."""

    name: str
    label: str
    lower_is_better: bool
    default: Estimate
    best: Estimate
    difference: Estimate
    verdict: str


@dataclass(frozen=True)
class ParameterRow:
    """One searched parameter: where it was searched, its default, the best value."""

    name: str
    searched: str
    default: str
    best: str
    importance: float | None


def render_report(tuning: Tuning) -> str:
    """The page."""
    problem, search = tuning.problem, tuning.search
    shares = importances(search.trials, problem.space, problem.objective)
    by_importance = sorted(problem.space, key=lambda own: -shares.get(own.name, -1.0))
    counts = dict.fromkeys(("complete", "pruned", "failed", "stopped"), 0)
    for trial in search.trials:
        counts[trial.state] += 1
    return render(
        "katib_tune/report.html",
        t=tuning,
        level=f"{100 * tuning.confidence:g}",
        counts=counts,
        metrics=_metric_rows(tuning),
        parameters=[_parameter_row(tuning, own, shares) for own in by_importance],
        charts=_charts(tuning, by_importance),
        trials=_ranked(tuning)[:MAX_ROWS],
        names=problem.space.names,
        shown=charts.plain,
        first_failed=next((trial for trial in search.trials if trial.state == "failed"), None),
        lineage=_lineage(tuning),
    )


def _metric_rows(tuning: Tuning) -> list[MetricRow]:
    found, higher = tuning.comparison, METRICS[tuning.schema.task]
    names = sorted((name for name in LABELS if name in found.best), key=lambda name: name != tuning.metric)
    return [
        MetricRow(
            name,
            LABELS[name],
            not higher[name],
            found.default[name],
            found.best[name],
            change := found.differences.get(name, UNDEFINED),
            _verdict(change, higher[name]),
        )
        for name in names
    ]


def _verdict(change: Estimate, higher_is_better: bool) -> str:
    if change.low > 0:
        return "better" if higher_is_better else "worse"
    if change.high < 0:
        return "worse" if higher_is_better else "better"
    return ""


def _parameter_row(tuning: Tuning, parameter: Parameter, shares: Mapping[str, float]) -> ParameterRow:
    name = parameter.name
    best = tuning.best.parameters.get(name, tuning.defaults.get(name))
    return ParameterRow(
        name,
        _searched(parameter),
        _text(tuning.defaults.get(name)),
        _text(best),
        shares.get(name),
    )


def _searched(parameter: Parameter) -> str:
    if parameter.type == "categorical":
        return ", ".join(map(charts.plain, parameter.values))
    text = f"{_text(parameter.min)} to {_text(parameter.max)}"
    if parameter.step is not None:
        text += f", step {_text(parameter.step)}"
    text += ", logarithmic" if parameter.log else ""
    conditions = [f"{name} is {' or '.join(map(charts.plain, v))}" for name, v in parameter.when.items()]
    return f"{text}, where {' and '.join(conditions)}" if conditions else text


def _text(value: Any) -> str:
    return number(value) if isinstance(value, float) else charts.plain(value)


def _charts(tuning: Tuning, by_importance: Sequence[Parameter]) -> dict[str, Any]:
    problem, best = tuning.problem, tuning.best
    points = _points(tuning)
    found: dict[str, Any] = {
        "history": charts.history_chart(tuning.search.trials, problem.objective),
        "parallel": None,
        "slices": [],
        "pair": None,
    }
    if len(points) < 2:
        return found
    found["parallel"] = charts.parallel_chart(points, problem.space, problem.objective, best)
    found["slices"] = [
        charts.slice_chart(points, parameter, problem.objective, best) for parameter in by_importance
    ]
    if len(by_importance) > 1:
        found["pair"] = _pair(points, by_importance, tuning)
    return found


def _pair(points: Sequence[charts.Point], by_importance: Sequence[Parameter], tuning: Tuning) -> Markup:
    pair = (by_importance[0], by_importance[1])
    return charts.pair_chart(points, pair, tuning.problem.objective, tuning.best)


def _points(tuning: Tuning) -> list[charts.Point]:
    """Complete trials with all parameters' values; trial 0 has the defaults."""
    names = tuning.problem.space.names
    start = {name: tuning.defaults[name] for name in names if name in tuning.defaults}
    return [
        (trial, trial.parameters if trial.number else start)
        for trial in tuning.search.trials
        if trial.state == "complete" and trial.value is not None
    ]


def _ranked(tuning: Tuning) -> list[Trial]:
    """The trials, the best first; those without a value last."""
    sign = -1 if tuning.problem.objective.maximize else 1
    return sorted(
        tuning.search.trials,
        key=lambda trial: (
            trial.state != "complete",
            trial.value is None,
            sign * (trial.value or 0.0),
            trial.number,
        ),
    )


def _lineage(tuning: Tuning) -> dict[str, str]:
    schema, settings, problem = tuning.schema, tuning.problem.settings, tuning.problem
    found = {
        "Data": schema.source_uri,
        "Digest": schema.source_digest,
        "Target": schema.target,
        "Estimator": tuning.estimator,
        "Algorithm": f"{settings.algorithm}, seed {problem.seed}",
        "Searched by": "Katib" if tuning.search.experiment_yaml else "Optuna, on one machine",
        "MLflow run": tuning.run_id,
        "kfp-lifecycle": library_version(),
    }
    return {name: text for name, text in found.items() if text}
