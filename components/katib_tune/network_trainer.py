"""``train-gpu`` in a search: its options and networks checked, and trained anew for the comparison."""

import itertools
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kfp_lifecycle.components.evaluate.predictions import Scored
from kfp_lifecycle.components.evaluate.scoring import read_truth
from kfp_lifecycle.components.katib_tune.backend import Problem
from kfp_lifecycle.components.katib_tune.network_options import check_options, network_options
from kfp_lifecycle.components.katib_tune.trainer import Rows, parts, scored
from kfp_lifecycle.components.shared.errors import LifecycleError, TuningError
from kfp_lifecycle.components.shared.inference.schema import TableSchema
from kfp_lifecycle.components.shared.inference.transform import FeatureTransform
from kfp_lifecycle.components.train.crossval import finite_predictions
from kfp_lifecycle.components.train.weights import parse_class_weight
from kfp_lifecycle.components.train_gpu.device import choose_device
from kfp_lifecycle.components.train_gpu.distributed import Group
from kfp_lifecycle.components.train_gpu.export import NetworkFiles, export_network
from kfp_lifecycle.components.train_gpu.features import Tables, make_tables
from kfp_lifecycle.components.train_gpu.fitting import fit_tables, layout
from kfp_lifecycle.components.train_gpu.losses import Target
from kfp_lifecycle.components.train_gpu.network import OWN, build_network
from kfp_lifecycle.components.train_gpu.options import NetworkOptions
from kfp_lifecycle.components.train_gpu.statistics import Statistics

#: Options that decide what the network is: each choice is built once before the first trial.
_OF_NETWORK = ("network", "network_parameters")


class NetworkTrainer:
    """See :class:`.trainer.Trainer`. Feature tables are made once, and held-out rows are those of the trials.

    Args:
        problem: The search.
        rows: The data.
        schema: Its schema.
        plan: The unfitted transform.
        scratch: An empty folder on local disk.
    """

    def __init__(
        self, problem: Problem, rows: Rows, schema: TableSchema, plan: FeatureTransform, scratch: Path
    ) -> None:
        self._problem, self._rows, self._schema = problem, rows, schema
        self._plan, self._scratch = plan, scratch

    @property
    def name(self) -> str:
        """The network, as train-gpu names it."""
        return f"train-gpu, network {self._options({}).network}"

    def check(self) -> dict[str, Any]:
        """See :func:`.network_options.check_options`; networks are built for the table's own features."""
        found = check_options(self._problem, self._schema.task)
        parse_class_weight(found["class_weight"], self._schema)
        self._build(self._options({}))
        for searched in self._networks():
            try:
                self._build(self._options(searched))
            except LifecycleError as error:
                said = ", ".join(f"{name} {value!r}" for name, value in searched.items())
                raise TuningError(f"The search space has {said}: {error}", "Correct it.") from error
        return found

    def refit(self, parameters: Mapping[str, Any]) -> Scored:
        """See :class:`.trainer.Trainer`; the network predicts as the one of a model does."""
        schema, tables, options = self._schema, self._tables, self._options(parameters)
        truth, device = read_truth(self._rows.test, schema), choose_device(options)
        fitted = fit_tables(tables, schema, options, device, Group(device=device.torch))
        files = NetworkFiles(fitted.network, layout(tables, schema), options.network)
        network = files.estimator(len(schema.classes))
        transform = tables.transform.transform
        features = (np.asarray(transform(some), dtype=np.float64) for some in parts(self._rows.test))
        found = (finite_predictions(options.network, network, some, schema) for some in features)
        return scored(schema, truth, found)

    def _options(self, parameters: Mapping[str, Any]) -> NetworkOptions:
        return network_options(self._problem, parameters)

    @cached_property
    def _tables(self) -> Tables:
        share, seed = self._options({}).validation_share, self._problem.seed
        return make_tables(self._rows.train, self._schema, self._plan, share, seed, self._scratch)

    def _networks(self) -> Iterator[dict[str, Any]]:
        """What is searched of the network itself: each choice, with those that hold under it."""
        space = self._problem.space
        own = [parameter for parameter in space if parameter.name in _OF_NETWORK]
        for values in itertools.product(*(parameter.values for parameter in own)) if own else ():
            chosen: dict[str, Any] = {}
            for parameter, value in zip(own, values, strict=True):
                if space.active(parameter.name, chosen):
                    chosen[parameter.name] = value
            yield chosen

    def _build(self, options: NetworkOptions) -> None:
        tables = self._tables
        count = len(tables.spec.numbers)
        nothing = Statistics(torch.zeros(count), torch.ones(count), torch.zeros(0, dtype=torch.int64))
        network = build_network(tables.spec, nothing, Target.of(self._schema, 0.0, 1.0).outputs, options)
        if options.network not in OWN:  # the model needs its graph, and a search is long
            export_network(network, layout(tables, self._schema), options.network)
