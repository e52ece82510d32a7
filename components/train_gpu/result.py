"""What a training gave, also where it ran in another process: a small JSON file."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from kfp_lifecycle.components.shared.errors import StorageError


@dataclass(frozen=True)
class Result:
    """What a training gave beside the model and the report.

    Args:
        run_id: Its MLflow run.
        model_id: The logged model there.
        estimator: Dotted path of the network's class.
        device: What it was trained on, in words.
        metrics: On the held-out rows ``validation_loss`` and ``validation_<metric>``, and ``best_epoch``,
            ``epochs`` and ``rows_per_second``.
    """

    run_id: str
    model_id: str
    estimator: str
    device: str
    metrics: dict[str, float]

    def save(self, path: Path) -> None:
        """Writes it as JSON."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> "Result":
        """Reads what :meth:`save` wrote. Raises ``StorageError`` where it is not there or damaged."""
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise StorageError(
                f"The training has left no result: {error}.", "See the lines of its processes above."
            ) from error
