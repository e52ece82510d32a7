"""What is kept of each epoch."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class EpochRecord:
    """One epoch.

    Args:
        epoch: From 1.
        train_loss: Mean loss of its rows, with the weights as they were at each step, dropout on.
        validation_loss: Mean loss of the held-out rows after it; None without held-out rows.
        metrics: The task's metrics (:data:`.scores.METRICS`) on held-out rows.
        learning_rate: At its last step.
        rows_per_second: Rows learned from in a second, over all devices; validation not counted.
        seconds: Time of the epoch with validation.
        memory_mb: Most memory used so far: the device's, or of the process on the CPU.
        utilisation: Share of time the device was busy at its end, 0 to 1; None where that is not known.
    """

    epoch: int
    train_loss: float
    validation_loss: float | None
    learning_rate: float
    rows_per_second: float
    seconds: float
    memory_mb: float
    utilisation: float | None = None
    metrics: dict[str, float] = field(default_factory=dict)
