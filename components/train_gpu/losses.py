"""What is predicted, and how wrong a prediction is."""

from dataclasses import dataclass

from kfp_lifecycle.components.shared.inference.schema import TableSchema


@dataclass(frozen=True)
class Target:
    """What a network predicts.

    Args:
        task: ``binary``, ``multiclass`` or ``regression``.
        classes: Labels in sorted order; empty for regression.
        positive: For binary, the label that metrics are about; empty is the last.
        centre: For regression, what was taken off the target before the fit, in its unit.
        scale: What it was divided by then.
    """

    task: str
    classes: tuple[str, ...] = ()
    positive: str = ""
    centre: float = 0.0
    scale: float = 1.0

    @classmethod
    def of(cls, schema: TableSchema, centre: float = 0.0, scale: float = 1.0) -> "Target":
        """The target of a table."""
        return cls(schema.task, tuple(schema.classes), schema.positive_class, centre, scale)

    @property
    def outputs(self) -> int:
        """How many numbers a network gives for a row: 1 for regression and binary, the classes else."""
        return len(self.classes) if self.task == "multiclass" else 1
