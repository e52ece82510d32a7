"""The training as one self-contained HTML page: learning curves, settings, device, data, time."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup
from torch import nn

from kfp_lifecycle.components.shared.errors import redact
from kfp_lifecycle.components.shared.inference.schema import TableSchema
from kfp_lifecycle.components.shared.report import count, render
from kfp_lifecycle.components.shared.scores import LABELS, MAIN_METRIC
from kfp_lifecycle.components.train_gpu import charts
from kfp_lifecycle.components.train_gpu.device import Device
from kfp_lifecycle.components.train_gpu.loop import Fitted
from kfp_lifecycle.components.train_gpu.network import Spec
from kfp_lifecycle.components.train_gpu.options import NetworkOptions

#: Epochs that the table shows at most: the last ones and the best.
MOST_EPOCHS = 40
#: What people call the networks.
NAMES = {"residual": "Residual network", "mlp": "Multilayer perceptron"}
#: Settings that say where a training ran and not how; they are shown elsewhere or not at all.
_ELSEWHERE = {"experiment", "run_name", "require_gpu", "reference_rows", "devices", "nodes"}


@dataclass(frozen=True)
class Told:
    """What a report tells of a training beside what was found.

    Args:
        schema: The schema.
        spec: The features.
        options: How it was trained.
        device: Where.
        world: On how many devices.
        fit_rows: Rows that were fitted on.
        judge_rows: Rows that were held out.
        lineage: Names to texts for the footer: where the data came from, the run.
    """

    schema: TableSchema
    spec: Spec
    options: NetworkOptions
    device: Device
    world: int
    fit_rows: int
    judge_rows: int
    lineage: Mapping[str, str]


def render_report(fitted: Fitted, told: Told) -> str:
    """The page."""
    metric = told.options.monitor if told.options.monitor != "loss" else MAIN_METRIC[told.schema.task]
    return render(
        "train_gpu/report.html",
        f=fitted,
        name=NAMES.get(told.options.network, told.options.network.rpartition(".")[2]),
        t=told,
        o=told.options,
        loss=told.options.loss_of(told.schema.task).replace("_", " "),
        metric=metric,
        label=LABELS[metric],
        monitored="loss" if told.options.monitor == "loss" else told.options.monitor,
        labels={"loss": "Loss", **LABELS},
        charts=_charts(fitted, metric),
        best=fitted.history[fitted.best - 1],
        speed=_median([record.rows_per_second for record in fitted.history]),
        epochs=_shown(fitted),
        settings=_settings(told.options),
        layers=_layers(fitted.network.body),
        weights=sum(weight.numel() for weight in fitted.network.parameters()),
        minutes=_duration(fitted.seconds),
        lineage={name: text for name, text in told.lineage.items() if text},
    )


def _charts(fitted: Fitted, metric: str) -> list[tuple[Markup, str]]:
    """Charts with their captions."""
    history, best = fitted.history, fitted.best
    judged = history[0].validation_loss is not None
    dotted = f" Dotted: the best epoch, {best}." if judged else ""
    why = "Training loss is of the weights as they were at each step, with dropout on."
    found = [(charts.loss_chart(history, best if judged else 0), f"{why}{dotted}")]
    if any(metric in record.metrics for record in history):
        chart = charts.metric_chart(history, best, metric, LABELS[metric])
        found.append((chart, f"On the held-out rows.{dotted}"))
    found.append((charts.rate_chart(history), "At the end of each epoch."))
    found.append((charts.speed_chart(history), "Over all devices, without the time of validation."))
    return found


def _shown(fitted: Fitted) -> list[Any]:
    """The epochs of the table."""
    last = fitted.history[-MOST_EPOCHS:]
    best = fitted.history[fitted.best - 1]
    return last if best in last else [best, *last[1:]]


def _settings(options: NetworkOptions) -> dict[str, str]:
    """Parameters by name; those of the network beside the others."""
    own = {f"network: {name}": value for name, value in options.network_parameters.items()}
    values = {name: value for name, value in vars(options).items() if name not in _ELSEWHERE}
    del values["network_parameters"]
    return {name: _text(value) for name, value in (values | own).items()}


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else redact(str(value)) or "—"


def _layers(body: nn.Module) -> list[tuple[str, str, str]]:
    """Layers with weights of their own: name, what it is, how many weights."""
    return [
        (name, str(module).partition("\n")[0], count(sum(weight.numel() for weight in own)))
        for name, module in body.named_modules()
        if (own := list(module.parameters(recurse=False)))
    ]


def _median(values: list[float]) -> float:
    ordered = sorted(values)
    return ordered[len(ordered) // 2] if ordered else math.nan


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
