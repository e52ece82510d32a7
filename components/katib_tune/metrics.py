"""What trials print their metrics as, and what the same are called on the test rows."""

from kfp_lifecycle.components.shared.scores import MAIN_METRIC, METRICS

#: Before the name of a metric of held-out rows, as ``train-gpu`` prints it after each epoch.
HELD_OUT = "validation_"
LOSS = f"{HELD_OUT}loss"
#: The metric on the test rows that a network's loss is, by task; a regression's in the target's own unit.
_LOSS_IS = {"binary": "log_loss", "multiclass": "log_loss", "regression": "rmse"}


def trial_metrics(task: str, trainer: str) -> dict[str, bool]:
    """The metrics that a trial prints; True where higher is better."""
    if trainer == "train":
        return METRICS[task]
    return {LOSS: False, **{f"{HELD_OUT}{name}": higher for name, higher in METRICS[task].items()}}


def main_metric(task: str, trainer: str) -> str:
    """The objective where none is named."""
    return MAIN_METRIC[task] if trainer == "train" else f"{HELD_OUT}{MAIN_METRIC[task]}"


def test_metric(metric: str, task: str) -> str:
    """What a trial's metric is called on the test rows."""
    return _LOSS_IS[task] if metric == LOSS else metric.removeprefix(HELD_OUT)
