"""Metrics on standard output, as Katib's collector of metrics reads them."""

import os
from collections.abc import Mapping
from datetime import UTC, datetime

#: Katib's webhook, and ours of the Experiment, name the trial in the pod.
TRIAL = "KATIB_TRIAL_NAME"


def print_metric_lines(metrics: Mapping[str, float]) -> None:
    """Prints one ``name=value`` a line.

    In a trial of Katib's the moment stands before it (RFC 3339): Katib keeps values by their time, and
    without one it can tell neither the last of them nor, for early stopping, the first.
    """
    moment = f"{datetime.now(UTC).isoformat()} " if os.environ.get(TRIAL) else ""
    for name, value in metrics.items():
        print(f"{moment}{name}={value!r}", flush=True)
