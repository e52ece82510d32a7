"""The trained network as one graph from features to predictions, for PyTorch and for servers that take ONNX.

What lies between the features of the transform and a prediction is inside the graph: which columns are
numbers and which are slots of categories, missing values, the probabilities, the target's own unit. So a
server needs the transform and the graph, and nothing of how the network was trained.
"""

import copy
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import BytesIO, StringIO
from pathlib import Path

import torch
from torch import Tensor, nn

from kfp_lifecycle.components.shared.errors import EstimatorError
from kfp_lifecycle.components.shared.inference.files import NETWORK, ONNX
from kfp_lifecycle.components.shared.inference.network import ExportedNetwork
from kfp_lifecycle.components.shared.model_format import EstimatorFiles

log = logging.getLogger(__name__)

#: Names of the graph's input and output, and of their first dimension.
FEATURES, PROBABILITIES, PREDICTION, ROWS = "features", "probabilities", "prediction", "rows"


@dataclass(frozen=True)
class Layout:
    """What the columns of the feature matrix are to the network, and its outputs to the task.

    Args:
        numbers: Positions of the numbers among the features, in the network's order.
        codes: Positions of the categories' slots, likewise.
        task: ``binary``, ``multiclass`` or ``regression``.
        mean: What is added to a regression's output, in the target's unit, after scaling.
        scale: What it is multiplied by before.
    """

    numbers: Sequence[int]
    codes: Sequence[int]
    task: str
    mean: float = 0.0
    scale: float = 1.0

    @property
    def features(self) -> int:
        """How many features the matrix has."""
        return len(self.numbers) + len(self.codes)


class ServedNetwork(nn.Module):
    """The network behind its features: float32 ``(n, features)`` in, NaN where missing.

    Out come probabilities ``(n, classes)`` in the order of the schema's classes, or for regression values
    ``(n,)`` in the target's unit, in 64 bits.

    Args:
        network: Called with numbers ``(n, p)`` and codes ``(n, c)``; gives ``(n, outputs)``.
        layout: Which features are which.
    """

    def __init__(self, network: nn.Module, layout: Layout) -> None:
        super().__init__()
        self.network = network
        self.task, self.mean, self.scale = layout.task, layout.mean, layout.scale
        self.register_buffer("numbers", torch.tensor(layout.numbers, dtype=torch.int64))
        self.register_buffer("codes", torch.tensor(layout.codes, dtype=torch.int64))

    def forward(self, features: Tensor) -> Tensor:
        """Predictions of the rows."""
        numbers = features.index_select(1, self.get_buffer("numbers"))
        # A category without a slot is -1 in the features and 0 to the network.
        codes = (features.index_select(1, self.get_buffer("codes")) + 1).to(torch.int64)
        outputs: Tensor = self.network(numbers, codes).float()
        if self.task == "regression":
            return outputs[:, 0].double() * self.scale + self.mean
        if self.task == "binary":
            return torch.cat([torch.sigmoid(-outputs), torch.sigmoid(outputs)], dim=1)
        return torch.softmax(outputs, dim=1)


class NetworkFiles(EstimatorFiles):
    """The files of a network in a model: ``network.pt2`` and, where it can be written, ``network.onnx``.

    Args:
        network: The trained network, on any device.
        layout: Which features are which.
        path: What the network is called in messages.
    """

    requirements = ("torch",)

    def __init__(self, network: nn.Module, layout: Layout, path: str) -> None:
        self._program = export_network(network, layout, path)
        self._path = path
        self._output = PREDICTION if layout.task == "regression" else PROBABILITIES

    def estimator(self, classes: int) -> ExportedNetwork:
        """What the model will load, without writing it; ``classes`` is 0 for regression."""
        return ExportedNetwork(self._program, classes)

    def write(self, folder: Path) -> None:
        """Writes both files. ONNX has no operator for all that PyTorch has: then it is left out, and said."""
        # By way of memory: PyTorch's own writer aborts the process when the disk is full.
        whole = BytesIO()
        torch.export.save(self._program, whole)
        (folder / NETWORK).write_bytes(whole.getbuffer())
        try:
            onnx = self._onnx()
        except Exception as error:  # a user's network may hold anything
            log.warning(
                "the model has no %s: %s cannot be written as ONNX (%s); MLflow loads it all the same",
                *(ONNX, self._path, _said(error)),
            )
        else:
            (folder / ONNX).write_bytes(onnx)

    def _onnx(self) -> bytes:
        with _quiet():
            program = torch.onnx.export(
                self._program,
                input_names=[FEATURES],
                output_names=[self._output],
                dynamo=True,
                verbose=False,
            )
        assert program is not None
        # The exporter numbers the dynamic dimension.
        for value in (*program.model.graph.inputs, *program.model.graph.outputs):
            assert value.shape is not None
            value.shape[0] = ROWS
        written: bytes = program.model_proto.SerializeToString()
        return written


def export_network(network: nn.Module, layout: Layout, path: str) -> torch.export.ExportedProgram:
    """The graph of a network for any number of rows from 1 on, on the CPU and in evaluation mode.

    Raises:
        EstimatorError: PyTorch cannot make a graph of the module. Names ``path``.
    """
    served = ServedNetwork(copy.deepcopy(network).cpu().float(), layout).eval()
    # Two rows: of one, and of none, the exporter would make constants.
    rows = torch.zeros(2, layout.features)
    shapes = {FEATURES: {0: torch.export.Dim(ROWS, min=1)}}
    try:
        with _quiet(), torch.no_grad():
            return torch.export.export(served, (rows,), dynamic_shapes=shapes)
    except Exception as error:
        raise EstimatorError(
            f"{path} cannot be exported by torch.export: {type(error).__name__}: {_said(error)}",
            "Keep its forward free of Python branches on values and of code that depends on the number of "
            "rows.",
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporters say of their own work, down to a line a rewritten node."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _said(error: BaseException) -> str:
    """The innermost cause in a line: the outer ones say at which step of the export it was."""
    while error.__cause__ is not None:
        error = error.__cause__
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
