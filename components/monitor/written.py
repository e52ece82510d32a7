"""What was found and decided as JSON, and as the metrics that the Kubeflow UI lists."""

import dataclasses
import json
import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from kfp_lifecycle.components.monitor.findings import Decision, Findings, distance
from kfp_lifecycle.components.monitor.options import Options


def to_json(findings: Findings, decision: Decision, options: Options) -> str:
    """Everything as readable JSON; what is not defined is null, times are ISO 8601."""
    everything = {
        "format": 1,
        **_plain(decision),
        "drift_share": findings.drift_share,
        "prediction_drift": findings.prediction_drift,
        "drifted": [column.name for column in findings.drifted],
        **_plain(findings),
        "options": _plain(options),
    }
    return json.dumps(everything, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def to_metrics(findings: Findings, decision: Decision) -> dict[str, float]:
    """Metric to value: counts, shares, and how far each column has moved in multiples of its threshold."""
    values: dict[str, float | None] = {
        "retrain": float(decision.retrain),
        "rows": float(findings.quality.rows),
        "columns": float(len(findings.compared)),
        "drifted_columns": float(len(findings.drifted)),
        "drift_share": findings.drift_share,
        "prediction_drift": findings.prediction_drift,
        "problems": float(len(findings.quality.problems)),
    }
    if findings.performance is not None:
        for name, change in findings.performance.metrics.items():
            values |= {name: change.now.value, f"{name}_low": change.now.low, f"{name}_high": change.now.high}
            values[f"{name}_at_registration"] = change.before.value
    values |= {f"drift_{column.name}": distance(column) for column in findings.compared}
    return {name: value for name, value in values.items() if value is not None and math.isfinite(value)}


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {each.name: _plain(getattr(value, each.name)) for each in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if isinstance(value, datetime):
        return value.isoformat()
    return None if isinstance(value, float) and not math.isfinite(value) else value
