"""What a search's parameters are to the trainer: checked before the first trial, not by it."""

import inspect
from typing import Any

from kfp_lifecycle.components.katib_tune.backend import Problem
from kfp_lifecycle.components.katib_tune.space import check_takes, ends
from kfp_lifecycle.components.shared.errors import TuningError
from kfp_lifecycle.components.shared.inference.schema import TableSchema
from kfp_lifecycle.components.shared.inference.transform import FeatureTransform
from kfp_lifecycle.components.train.__main__ import arguments
from kfp_lifecycle.components.train.estimators import load_class
from kfp_lifecycle.components.train.flags import complaint
from kfp_lifecycle.components.train.training import TrainingOptions, make_recipe


def check_estimator(
    problem: Problem, options: TrainingOptions, schema: TableSchema, plan: FeatureTransform
) -> dict[str, Any]:
    """Checks that the estimator takes what is searched, and each value that stands at an end.

    A parameter may be searched and be among the fixed ones: that is its value in trial 0.

    Args:
        problem: The search.
        options: Estimator, fixed parameters, class weights and folds of its trials.
        schema: The schema of the rows.
        plan: The unfitted transform.

    Returns:
        The values that all of the estimator's parameters have in trial 0.

    Raises:
        TuningError: It takes no such parameter (names the nearest) or value, or a trial has no folds.
        EstimatorError: The estimator itself, or a fixed parameter, is wrong.
        ParameterError: The class weights do not fit the table.
    """
    if options.folds < 2:
        raise TuningError(f"folds is {options.folds}, and a trial is judged by its folds.", "Give 2 or more.")
    flags = {action.dest for action in arguments()._actions}
    for name in problem.space.names:
        if name in flags:
            raise TuningError(
                f"The search space has {name!r}, which is a setting of all trials.",
                "Give it as a parameter of the step.",
            )
    recipe = make_recipe(options, schema, plan)
    cls = load_class(recipe.path)
    takes = inspect.signature(cls).parameters
    if not any(own.kind is own.VAR_KEYWORD for own in takes.values()):
        check_takes(problem.space.names, takes, recipe.path)
    for name, value in ends(problem.space):
        if said := complaint(cls, name, value):
            raise TuningError(f"The search space's parameter {name!r} has {value!r}: {said}", "Correct it.")
    return dict(recipe.estimator.get_params(deep=False))
