"""What the page says of a model, as plain JSON values that its script turns into cards, tables and fields."""

import math
from typing import Any

from kfp_lifecycle.components.serve.server.models import ServedModel
from kfp_lifecycle.components.serve.server.table import as_list
from kfp_lifecycle.components.shared.model_format import ModelDescription

#: More categories than this are typed, not chosen from a list.
_MOST_CHOICES = 50
#: What people call the metrics that train wrote, best known first.
_METRICS = ("roc_auc", "roc_auc_ovr", "accuracy", "f1", "f1_macro", "log_loss", "rmse", "mae", "r2")


def model_card(served: ServedModel, role: str) -> dict[str, Any]:
    """One model's part of the page.

    Args:
        served: The model.
        role: ``stable`` or ``candidate``.

    Returns:
        JSON values: ``name``, ``version``, ``role``, ``uri``, ``digest``, ``facts`` (label and text),
        ``metrics`` (label and text), ``inputs`` and ``outputs`` (a dict a column) and ``example`` (the first
        row of the input example, by column).
    """
    description = served.description
    return {
        "name": served.name,
        "version": served.version,
        "role": role,
        "uri": served.uri,
        "digest": served.digest,
        "facts": _facts(description) if description else [["Kind", "MLflow model"]],
        "metrics": _metrics(description) if description else [],
        "inputs": [_input(served, column.name) for column in served.inputs],
        "outputs": [{"name": column.name, "datatype": column.datatype} for column in served.outputs],
        "example": _first_row(served),
    }


def _facts(description: ModelDescription) -> list[list[str]]:
    schema = description.schema
    found = {
        "Task": description.task,
        "Target": description.target,
        "Classes": ", ".join(description.classes),
        "Positive class": schema.positive_class,
        "Estimator": description.estimator,
        "Trained on": schema.source_uri,
        "Data": schema.source_digest,
        "kfp-lifecycle": description.library_version,
    }
    return [[label, text] for label, text in found.items() if text]


def _metrics(description: ModelDescription) -> list[list[str]]:
    """Cross-validated or held-out metrics with their spread."""
    found = []
    for name in _METRICS:
        for key, spread in ((f"cv_{name}_mean", f"cv_{name}_std"), (f"validation_{name}", "")):
            if (value := description.metrics.get(key)) is None:
                continue
            around = description.metrics.get(spread)
            more = f" ± {around:.2g}" if around is not None else ""
            found.append([name.replace("_", " "), f"{value:.4g}{more}"])
    return found


def _input(served: ServedModel, name: str) -> dict[str, Any]:
    column = next(each for each in served.inputs if each.name == name)
    found: dict[str, Any] = {"name": name, "type": column.type, "required": column.required}
    if served.description is None:
        return found
    known = served.description.schema.column(name)
    found |= {"minimum": known.minimum, "maximum": known.maximum, "format": known.time_format}
    if known.type == "boolean" and known.true_value is not None:
        found["choices"] = [known.true_value, known.false_value]
    elif known.categories is not None and len(known.categories) <= _MOST_CHOICES:
        found["choices"] = known.categories
    return found


def _first_row(served: ServedModel) -> dict[str, Any]:
    if served.example is None or not served.example.height:
        return {}
    row = {name: as_list(values)[0] for name, values in served.example.columns.items()}
    return {name: None if _is_nan(value) else value for name, value in row.items()}


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)
