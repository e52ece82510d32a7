"""Networks for tables: embeddings of the categories beside the numbers, then a residual or a plain MLP.

The residual network is the ResNet of Gorishniy et al., "Revisiting Deep Learning Models for Tabular Data"
(NeurIPS 2021, arXiv:2106.11959), with layer in place of batch normalization: a row's prediction in training
then does not depend on the rows beside it, so that a batch may be cut in parts (other devices, too little
memory) and may be one row.
"""

import inspect
import itertools
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from kfp_lifecycle.components.shared.dotted import check_parameters, load_dotted
from kfp_lifecycle.components.shared.errors import (
    EstimatorError,
    LifecycleError,
    ParameterError,
    did_you_mean,
)
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
    def codes(self) -> Sequence[str]:
        """Names of the categories."""

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
        ParameterError: ``network_parameters`` of ``residual`` or ``mlp`` are wrong. Names the nearest.
        EstimatorError: The user's own module cannot be imported or built, or gives the wrong shape.
    """
    numbers, cardinalities = len(spec.numbers) + len(statistics.gaps), list(spec.cardinalities)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        if options.network in OWN:
            body = _own(options, numbers, cardinalities, outputs)
        else:
            body = _users(options, numbers, cardinalities, outputs)
    network = TabularNetwork(body, statistics)
    _check(network, options.network, spec, outputs)
    return network


class TabularNetwork(nn.Module):
    """Numbers as they are in the feature table in, logits out: what the model carries.

    Numbers are standardized; a missing one is 0 after that, the mean, and columns that had gaps in the rows
    of the fit get an indicator beside them.

    Args:
        body: From standardized numbers ``(n, numbers + gaps)`` and codes ``(n, categories)`` to logits.
        statistics: Of the numbers.
    """

    mean: Tensor
    scale: Tensor
    gaps: Tensor

    def __init__(self, body: nn.Module, statistics: Statistics) -> None:
        super().__init__()
        self.body = body
        self.register_buffer("mean", statistics.mean.clone())
        self.register_buffer("scale", statistics.scale.clone())
        self.register_buffer("gaps", statistics.gaps.clone())
        self.has_gaps = len(statistics.gaps) > 0

    def forward(self, numbers: Tensor, codes: Tensor) -> Tensor:
        """Logits, shape ``(n, outputs)``.

        Args:
            numbers: Shape ``(n, p)``, float32, NaN where missing.
            codes: Shape ``(n, c)``, int64, each below its column's cardinality.
        """
        x = ((numbers - self.mean) / self.scale).clamp(-LIMIT, LIMIT).nan_to_num(0.0)
        if self.has_gaps:
            x = torch.cat([x, numbers.index_select(1, self.gaps).isnan().to(x.dtype)], dim=1)
        logits: Tensor = self.body(x, codes)
        return logits


class Features(nn.Module):
    """Numbers and embedded categories side by side, shape ``(n, width)``.

    All categories share one table of embeddings of one width, so that a batch takes a single look-up.

    Args:
        numbers: How many numbers.
        cardinalities: How many codes each category has.
        embedding_width: Numbers that stand for a category; 0 takes :func:`embedding_width`.
    """

    offsets: Tensor

    def __init__(self, numbers: int, cardinalities: Sequence[int], embedding_width: int) -> None:
        super().__init__()
        each = embedding_width or default_embedding_width(cardinalities)
        self.width = numbers + each * len(cardinalities)
        self.embeddings = nn.Embedding(sum(cardinalities), each) if cardinalities else None
        if self.embeddings is not None:
            # As wide as the numbers beside it that a linear layer gets: a column of variance 1 in all.
            nn.init.normal_(self.embeddings.weight, std=each**-0.5)
        starts = [0, *itertools.accumulate(cardinalities)][:-1] if cardinalities else []
        self.register_buffer("offsets", torch.tensor(starts, dtype=torch.int64), persistent=False)

    def forward(self, numbers: Tensor, codes: Tensor) -> Tensor:
        """See the class."""
        if self.embeddings is None:
            return numbers
        embedded: Tensor = self.embeddings(codes + self.offsets)
        return torch.cat([numbers, embedded.flatten(1)], dim=1)


def default_embedding_width(cardinalities: Sequence[int]) -> int:
    """fast.ai's rule of thumb, ``1.6 · n^0.56``, for the category with the most codes; 4 to 32."""
    most = float(max(cardinalities, default=1))
    return min(32, max(4, round(1.6 * math.pow(most, 0.56))))


class Residual(nn.Module):
    """Blocks of two layers, each added to what came in.

    Args:
        numbers: How many numbers.
        cardinalities: How many codes each category has.
        outputs: How many logits.
        dropout: Share of a block's activations that are dropped in training.
        width: Of what goes from block to block.
        blocks: How many.
        hidden: Width inside a block; 0 is twice ``width``.
        embedding_width: See :class:`Features`.
    """

    def __init__(
        self,
        numbers: int,
        cardinalities: Sequence[int],
        outputs: int,
        dropout: float,
        *,
        width: int = 192,
        blocks: int = 2,
        hidden: int = 0,
        embedding_width: int = 0,
    ) -> None:
        super().__init__()
        self.features = Features(numbers, cardinalities, embedding_width)
        self.first = nn.Linear(self.features.width, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(width),
                nn.Linear(width, hidden or 2 * width),
                nn.ReLU(),
                nn.Dropout(dropout),
                nn.Linear(hidden or 2 * width, width),
            )
            for _ in range(blocks)
        )
        self.head = nn.Sequential(nn.LayerNorm(width), nn.ReLU(), nn.Linear(width, outputs))

    def forward(self, numbers: Tensor, codes: Tensor) -> Tensor:
        """Logits, shape ``(n, outputs)``."""
        x = self.first(self.features(numbers, codes))
        for block in self.blocks:
            x = x + block(x)
        logits: Tensor = self.head(x)
        return logits


class MLP(nn.Module):
    """Linear layers with ReLU and dropout between them.

    Args:
        numbers: How many numbers.
        cardinalities: How many codes each category has.
        outputs: How many logits.
        dropout: Share of a layer's activations that are dropped in training.
        hidden: The layers' widths.
        embedding_width: See :class:`Features`.
    """

    def __init__(
        self,
        numbers: int,
        cardinalities: Sequence[int],
        outputs: int,
        dropout: float,
        *,
        hidden: Sequence[int] = (128, 64),
        embedding_width: int = 0,
    ) -> None:
        super().__init__()
        self.features = Features(numbers, cardinalities, embedding_width)
        layers: list[nn.Module] = []
        before = self.features.width
        for width in hidden:
            layers += [nn.Linear(before, width), nn.ReLU(), nn.Dropout(dropout)]
            before = width
        self.layers = nn.Sequential(*layers, nn.Linear(before, outputs))

    def forward(self, numbers: Tensor, codes: Tensor) -> Tensor:
        """Logits, shape ``(n, outputs)``."""
        logits: Tensor = self.layers(self.features(numbers, codes))
        return logits


#: What ``network`` may be beside a dotted path.
OWN: dict[str, type[Residual] | type[MLP]] = {"residual": Residual, "mlp": MLP}


def _own(options: NetworkOptions, numbers: int, cardinalities: list[int], outputs: int) -> nn.Module:
    cls, given = OWN[options.network], dict(options.network_parameters)
    takes = {
        name: parameter.default
        for name, parameter in inspect.signature(cls).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }
    for name, value in given.items():
        if name not in takes:
            raise ParameterError(
                f"Parameter 'network_parameters' has {name!r}, which the network {options.network!r} does "
                "not take.",
                did_you_mean(name, takes),
            )
        _check_value(name, value, takes[name])
    return cls(numbers, cardinalities, outputs, options.dropout, **given)


def _check_value(name: str, value: Any, default: Any) -> None:
    """A whole number of at least 1 (0 where that is the default), or a list of such."""
    many = isinstance(default, tuple)
    if many and not isinstance(value, (list, tuple)):
        raise ParameterError(
            f"Parameter 'network_parameters' has {name} {value!r}.",
            "Give a list of widths, such as [128, 64].",
        )
    smallest = 0 if default == 0 else 1
    for one in value if many else [value]:
        if not isinstance(one, int) or isinstance(one, bool) or one < smallest:
            raise ParameterError(
                f"Parameter 'network_parameters' has {one!r} for {name}.",
                f"Give a whole number of {smallest} or more.",
            )


def _users(options: NetworkOptions, numbers: int, cardinalities: list[int], outputs: int) -> nn.Module:
    path, given = options.network, dict(options.network_parameters)
    if "." not in path:
        raise ParameterError(
            f"Parameter 'network' is {path!r}.",
            did_you_mean(path, OWN) + " Or give the dotted path of a torch.nn.Module.",
        )
    found = load_dotted(path, "network", "mypackage.networks.Wide, or residual", _is_module)
    if not _is_module(found):
        raise EstimatorError(
            f"{path!r} is not a network: it is no subclass of torch.nn.Module.",
            "Give the class, not an object of it.",
        )
    own = {"numbers": numbers, "cardinalities": cardinalities, "outputs": outputs}
    if twice := sorted(own.keys() & given.keys()):
        raise ParameterError(
            f"Parameter 'network_parameters' has {twice[0]!r}, which the table decides.", "Leave it out."
        )
    check_parameters(found, path, {**own, **given})
    with network_errors(path, "built"):
        module: nn.Module = found(**own, **given)
    return module


def _is_module(thing: Any) -> bool:
    return inspect.isclass(thing) and issubclass(thing, nn.Module)


def _check(network: TabularNetwork, path: str, spec: Spec, outputs: int) -> None:
    """Two rows through the network: it gives logits of the right shape, which weights can be learned from."""
    numbers, codes = torch.zeros(2, len(spec.numbers)), torch.zeros(2, len(spec.cardinalities)).long()
    training = network.training
    with network_errors(path, "run on two rows"), torch.random.fork_rng(devices=[]):
        logits = network.eval()(numbers, codes)
    network.train(training)
    if not isinstance(logits, Tensor) or logits.shape != (2, outputs):
        gave = f"shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else type(logits).__name__
        raise EstimatorError(
            f"{path} gives {gave} for 2 rows, where the task needs (2, {outputs}).",
            "Let its last layer give as many numbers as its parameter outputs says, one row each.",
        )
    if not logits.is_floating_point() or not logits.requires_grad:
        raise EstimatorError(
            f"{path} gives {logits.dtype} values that no weight can be learned from.",
            "Give logits: no argmax, no detach, and parameters that require a gradient.",
        )


@contextmanager
def network_errors(path: str, doing: str) -> Iterator[None]:
    """Turns what a user's module raises inside the block into an ``EstimatorError`` that names it."""
    try:
        yield
    except LifecycleError:
        raise
    except Exception as error:
        raise network_error(path, doing, error) from error


def network_error(path: str, doing: str, error: Exception) -> EstimatorError:
    """What a user's module raised, as a declared error."""
    said = " ".join(str(error).split())[:300].rstrip(".")
    return EstimatorError(
        f"The network {path} cannot be {doing}: {type(error).__name__}: {said}.",
        "Correct the module, or network_parameters.",
    )
