"""Trials of an estimator on this machine: cross-validated in folds that were made once for all of them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kfp_lifecycle.components.katib_tune.backend import Problem
from kfp_lifecycle.components.katib_tune.workers import Judge, Report
from kfp_lifecycle.components.shared.dataset import scan
from kfp_lifecycle.components.shared.inference.schema import TableSchema
from kfp_lifecycle.components.shared.inference.transform import FeatureTransform
from kfp_lifecycle.components.train.fold_files import FoldFiles, write_folds
from kfp_lifecycle.components.train.folds import make_folds
from kfp_lifecycle.components.train.training import TrainingOptions, make_recipe, target_values
from kfp_lifecycle.components.train.trial import run_trial


@dataclass(frozen=True)
class FoldJob:
    """See :class:`.workers.Job`; a step is a fold.

    Args:
        folds: The folds on disk.
        schema: File of the schema.
        plan: File of the unfitted transform.
        options: Estimator, fixed parameters, class weights and seed.
    """

    folds: FoldFiles
    schema: Path
    plan: Path
    options: TrainingOptions

    def steps(self, parameters: Mapping[str, Any]) -> int:
        """One for each fold."""
        return self.folds.count

    def judge(self) -> Judge:
        """Cross-validates; all workers map the same folds into their memory."""
        schema, plan = TableSchema.load(self.schema), FeatureTransform.load(self.plan)
        folds = [self.folds.read(number) for number in range(self.folds.count)]

        def run(parameters: Mapping[str, Any], report: Report) -> Mapping[str, float]:
            given = {**self.options.estimator_parameters, **parameters}
            recipe = make_recipe(replace(self.options, estimator_parameters=given), schema, plan)
            return run_trial(recipe, folds, report)

        return run


def make_job(problem: Problem, place: Path) -> FoldJob:
    """Writes the folds into ``place``.

    Args:
        problem: The search; its data are local paths.
        place: A folder on local disk.

    Raises:
        SplitError: There can be no folds.
        StorageError: The data cannot be read.
    """
    data, options = problem.data, dict(problem.options)
    schema_file, plan_file = Path(data.schema), Path(data.plan)
    schema, plan = TableSchema.load(schema_file), FeatureTransform.load(plan_file)
    rows = scan(Path(data.rows)).collect()
    y = target_values(rows, schema)
    folds = make_folds(rows, y, schema, int(options.get("folds", 5)), problem.seed)
    write_folds(place / "folds", plan, schema, rows, y, folds)
    training = TrainingOptions(
        estimator=options.get("estimator", "auto"),
        estimator_parameters=dict(problem.fixed),
        class_weight=options.get("class_weight", "none"),
        seed=problem.seed,
    )
    return FoldJob(FoldFiles(place / "folds", len(folds)), schema_file, plan_file, training)
