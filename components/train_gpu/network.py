"""Networks for tables: embeddings of the categories beside the numbers, then a residual or a plain MLP.

The residual network is the ResNet of Gorishniy et al., "Revisiting Deep Learning Models for Tabular Data"
(NeurIPS 2021, arXiv:2106.11959), with layer in place of batch normalization: a row's prediction in training
then does not depend on the rows beside it, so that a batch may be cut in parts (other devices, too little
memory) and may be one row.
"""

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor, nn

from kfp_lifecycle.components.train_gpu.options import NetworkOptions
from kfp_lifecycle.components.train_gpu.statistics import Statistics

#: Numbers are kept within this many standard deviations: beyond float32 a prediction would be NaN.
LIMIT = 1e6


class Spec(Protocol):
    """What a network needs to know of its features (:class:`.features.FeatureSpec`)."""

    @property
    def numbers(self) -> Sequence[str]:
        """Names of the numeric features."""

    @property
    def cardinalities(self) -> Sequence[int]:
        """For each category how many codes it has, 0 (unseen) included."""


def build_network(
    spec: Spec, statistics: Statistics, outputs: int, options: NetworkOptions
) -> "TabularNetwork":
    """An untrained network, its weights drawn from ``options.seed``, on the CPU.

    Args:
        spec: The features.
        statistics: Of the numbers in the rows it will be fitted on (:func:`.statistics.measure`).
        outputs: 1 for regression and binary, the number of classes else.
        options: ``network``, ``network_parameters``, ``dropout`` and ``seed`` count here.

    Raises:
        ParameterError: ``network`` or ``network_parameters`` is wrong. Names the nearest right one.
        EstimatorError: The user's own module cannot be imported or built, or gives the wrong shape.
    """
    raise NotImplementedError


class TabularNetwork(nn.Module):
    """Numbers as they are in the feature table in, logits out: what the model carries.

    Numbers are standardized; a missing one is 0 after that, the mean, and columns that had gaps in the rows
    of the fit get an indicator beside them.

    Args:
        body: From standardized numbers ``(n, numbers + gaps)`` and codes ``(n, categories)`` to logits.
        statistics: Of the numbers.
    """

    def __init__(self, body: nn.Module, statistics: Statistics) -> None:
        super().__init__()

    def forward(self, numbers: Tensor, codes: Tensor) -> Tensor:
        """Logits, shape ``(n, outputs)``.

        Args:
            numbers: Shape ``(n, p)``, float32, NaN where missing.
            codes: Shape ``(n, c)``, int64, each below its column's cardinality.
        """
        raise NotImplementedError
