"""A network as the model runs it: an exported graph from features to predictions.

The graph holds all that lies between the two: missing values, the choice of columns, the probabilities, the
target's own unit. It runs on the CPU unless it is moved. PyTorch is imported here alone, so that models
without a network load without it.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

#: Rows that go through the graph at once, so that memory does not grow with the table.
CHUNK = 65_536


class ExportedNetwork:
    """What scikit-learn calls a fitted classifier or regressor, over a graph that ``torch.export`` wrote.

    Args:
        program: What ``torch.export`` made: from features (float32, shape ``(n, features)``, NaN where
            missing) to probabilities ``(n, classes)``, or for regression to values ``(n,)``.
        classes: Number of classes; 0 for regression.
    """

    def __init__(self, program: Any, classes: int) -> None:
        self._program, self._graph = program, program.module()
        self.device = "cpu"
        self.classes_ = np.arange(classes)

    @classmethod
    def load(cls, path: Path, classes: int) -> "ExportedNetwork":
        """Reads what ``torch.export.save`` wrote; it runs on the CPU, wherever it was trained."""
        import torch

        return cls(torch.export.load(path), classes)

    def to(self, device: str) -> None:
        """Runs the graph on ``device`` from now on, by PyTorch's name of it, such as ``cuda``."""
        from torch.export.passes import move_to_device_pass

        # Weights, and the tensors that the graph makes itself.
        self._program = move_to_device_pass(self._program, device)
        self._graph, self.device = self._program.module(), device

    def predict(self, features: Floats) -> Floats:
        """The values of a regression, shape ``(n,)``."""
        return self._run(features)

    def predict_proba(self, features: Floats) -> Floats:
        """Probabilities, shape ``(n, classes)``; rows sum to 1."""
        probabilities = self._run(features)
        # In 32 bits they sum to 1 within 1e-7 only, which metrics in 64 bits take for a mistake.
        return np.asarray(probabilities / probabilities.sum(axis=1, keepdims=True))

    def _run(self, features: Floats) -> Floats:
        import torch

        rows = torch.from_numpy(np.asarray(features, dtype=np.float32))
        with torch.inference_mode():
            starts = range(0, len(rows), CHUNK)
            parts = [
                self._graph(rows[start : start + CHUNK].to(self.device)).cpu().numpy() for start in starts
            ]
        return np.concatenate(parts).astype(np.float64)
