"""One trial as a program: ``python -m kfp_lifecycle.components.train --train URI --schema URI --plan URI …``.

What Katib starts for each trial, and what anyone can start by hand. Hyperparameters are flags of their own
names; metrics go to standard output as ``name=value``, all else to standard error; exit code 1 is failure.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kfp_lifecycle.components.shared.flags import hyperparameters
from kfp_lifecycle.components.shared.metric_lines import TRIAL, print_metric_lines
from kfp_lifecycle.components.shared.parameters import json_object
from kfp_lifecycle.components.shared.step import entry_point

if TYPE_CHECKING:
    from kfp_lifecycle.components.train.fitting import Recipe


def arguments() -> argparse.ArgumentParser:
    """The program's own flags; every other ``--name=value`` is a hyperparameter."""
    parser = argparse.ArgumentParser(
        prog="python -m kfp_lifecycle.components.train",
        description="Judges one set of hyperparameters by cross-validation and prints its metrics.",
        epilog="Every other --name=value is a parameter of the estimator.",
        allow_abbrev=False,
    )
    parser.add_argument("--train", required=True, metavar="URI", help="training split from prepare")
    parser.add_argument("--schema", required=True, metavar="URI", help="schema from prepare")
    parser.add_argument("--plan", required=True, metavar="URI", help="unfitted transform from featurize")
    parser.add_argument("--estimator", default="auto", help="dotted path of the estimator's class, or auto")
    parser.add_argument(
        "--estimator_parameters", default="{}", metavar="JSON", help="parameters not searched"
    )
    parser.add_argument("--class_weight", default="none", help="none, balanced, or JSON of class to weight")
    parser.add_argument("--folds", type=int, default=5, help="number of folds, 2 or more")
    parser.add_argument("--seed", type=int, default=42, help="seed of folds and estimator")
    parser.add_argument(
        "--mlflow_parent_run", default="", metavar="ID", help="MLflow run to nest this trial in"
    )
    return parser


def main(words: Sequence[str] | None = None) -> None:
    """Runs the trial. Declared errors end the process with one line and code 1."""
    given, rest = arguments().parse_known_args(words)
    with entry_point():
        texts = hyperparameters(rest)
        started = time.time()
        recipe, own, folds = _trial(given, texts)
        from kfp_lifecycle.components.train.trial import run_trial

        so_far: list[Mapping[str, float]] = []

        def report(number: int, metrics: Mapping[str, float]) -> None:
            so_far.append(metrics)
            print_metric_lines(metrics)

        metrics = run_trial(recipe, folds, report)
        if given.mlflow_parent_run:
            _log(given.mlflow_parent_run, own, metrics, so_far, started)


def _trial(given: argparse.Namespace, texts: Mapping[str, str]) -> "tuple[Recipe, dict[str, Any], Any]":
    """The recipe, its hyperparameters, and its folds, made one by one as they are asked for."""
    from kfp_lifecycle.components.shared.dataset import scan
    from kfp_lifecycle.components.shared.inference.schema import TableSchema
    from kfp_lifecycle.components.shared.inference.transform import FeatureTransform
    from kfp_lifecycle.components.shared.storage import fetch
    from kfp_lifecycle.components.train.crossval import fold_data
    from kfp_lifecycle.components.train.estimators import AUTO, load_class
    from kfp_lifecycle.components.train.flags import typed_parameters
    from kfp_lifecycle.components.train.folds import make_folds
    from kfp_lifecycle.components.train.training import TrainingOptions, make_recipe, target_values

    with tempfile.TemporaryDirectory() as place:
        schema = TableSchema.load(fetch(given.schema, Path(place) / "schema.json"))
        plan = FeatureTransform.load(fetch(given.plan, Path(place) / "plan.json"))
        path = AUTO[schema.task] if given.estimator == "auto" else given.estimator
        own = typed_parameters(load_class(path), texts)
        options = TrainingOptions(
            estimator=path,
            estimator_parameters={**json_object(given.estimator_parameters, "estimator_parameters"), **own},
            class_weight=given.class_weight,
            seed=given.seed,
        )
        recipe = make_recipe(options, schema, plan)
        rows = scan(fetch(given.train, Path(place) / "train")).collect()
    y = target_values(rows, schema)
    folds = make_folds(rows, y, schema, given.folds, given.seed)
    return recipe, own, (fold_data(plan, schema, rows, y, fold) for fold in folds)


def _log(
    parent: str,
    own: Mapping[str, Any],
    metrics: Mapping[str, float],
    so_far: Sequence[Mapping[str, float]],
    started: float,
) -> None:
    from kfp_lifecycle.components.shared.tracking import connect, tracking_errors
    from kfp_lifecycle.components.train.trial import log_trial

    name = os.environ.get(TRIAL) or os.environ.get("HOSTNAME", "trial")
    client = connect()
    with tracking_errors():
        parent_run = client.get_run(parent)
        log_trial(
            client, parent_run, name=name, parameters=own, metrics=metrics, folds=so_far, started=started
        )


if __name__ == "__main__":
    main(sys.argv[1:])
