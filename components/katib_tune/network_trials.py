"""Trials of a network on this machine: trained as train-gpu does, on feature tables made once for all."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kfp_lifecycle.components.katib_tune.backend import Problem
from kfp_lifecycle.components.katib_tune.network_options import network_options
from kfp_lifecycle.components.katib_tune.objective import Objective
from kfp_lifecycle.components.katib_tune.workers import Judge, Report
from kfp_lifecycle.components.shared.inference.schema import TableSchema
from kfp_lifecycle.components.shared.inference.transform import FeatureTransform
from kfp_lifecycle.components.train_gpu.features import Tables, make_tables


@dataclass(frozen=True)
class NetworkJob:
    """See :class:`.workers.Job`; a step is an epoch.

    Args:
        problem: The search.
        schema: File of the schema.
        tables: Folder of the feature tables.
    """

    problem: Problem
    schema: Path
    tables: Path

    def steps(self, parameters: Mapping[str, Any]) -> int:
        """One for each epoch; patience may end a trial before."""
        return network_options(self.problem, parameters).epochs

    def judge(self) -> Judge:
        """Trains in one thread, and gives the metrics of the epoch that is best by the objective."""
        import torch

        from kfp_lifecycle.components.train_gpu.device import choose_device
        from kfp_lifecycle.components.train_gpu.distributed import Group
        from kfp_lifecycle.components.train_gpu.fitting import fit_tables

        torch.set_num_threads(1)
        schema, tables = TableSchema.load(self.schema), Tables.load(self.tables)

        def run(parameters: Mapping[str, Any], report: Report) -> Mapping[str, float]:
            options, best = network_options(self.problem, parameters), _Best(self.problem.objective, report)
            device = choose_device(options)
            group = Group(device=device.torch)
            fit_tables(tables, schema, options, device, group, [best], exported=False)
            return best.metrics

        return run


class _Best:
    """Watches the epochs of a trial, and reports the best one's metrics so far after each."""

    def __init__(self, objective: Objective, report: Report) -> None:
        self._objective, self._report = objective, report
        self.metrics: Mapping[str, float] = {}

    def __call__(self, record: Any, _: bool) -> None:
        own, metric = record.held_out, self._objective.metric
        value = own.get(metric, math.nan)
        if not self.metrics or self._objective.better(value, self.metrics.get(metric)):
            self.metrics = own
        self._report(record.epoch - 1, self.metrics)


def make_job(problem: Problem, place: Path) -> NetworkJob:
    """Writes the feature tables into ``place``; arguments as of :func:`.fold_trials.make_job`.

    Raises:
        SplitError: No rows can be held out.
        TargetError: The rows to fit on have one class only.
        StorageError: The data cannot be read.
    """
    data, options = problem.data, network_options(problem, {})
    schema, plan = TableSchema.load(Path(data.schema)), FeatureTransform.load(Path(data.plan))
    place.joinpath("tables").mkdir()
    make_tables(Path(data.rows), schema, plan, options.validation_share, problem.seed, place / "tables")
    return NetworkJob(problem, Path(data.schema), place / "tables")
