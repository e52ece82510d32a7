"""A training as a program, on data by URI: what ``python -m kfp_lifecycle.components.train_gpu`` runs.

Several of it, started by torchrun, train one network together; the first of them writes what is left.
"""

import argparse
import logging
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from kfp_lifecycle.components.shared.errors import ParameterError
from kfp_lifecycle.components.shared.flags import hyperparameters
from kfp_lifecycle.components.shared.metric_lines import print_metric_lines
from kfp_lifecycle.components.shared.storage import fetch, upload
from kfp_lifecycle.components.train_gpu.flags import options_of
from kfp_lifecycle.components.train_gpu.history import EpochRecord
from kfp_lifecycle.components.train_gpu.launch import launch
from kfp_lifecycle.components.train_gpu.options import NetworkOptions
from kfp_lifecycle.components.train_gpu.training import Inputs, train_network

#: The module that :func:`.launch.launch` starts in several processes.
MODULE = "kfp_lifecycle.components.train_gpu.program"


def arguments() -> argparse.ArgumentParser:
    """The program's own flags; every other ``--name=value`` is an option of the training."""
    parser = argparse.ArgumentParser(
        prog="python -m kfp_lifecycle.components.train_gpu",
        description="Trains a network, prints its metrics after each epoch, and uploads the model.",
        epilog="Every other --name=value is a parameter of the component train-gpu, such as --epochs=10. "
        "URIs are paths, gs://, s3:// or minio://.",
        allow_abbrev=False,
    )
    parser.add_argument("--train", required=True, metavar="URI", help="training split from prepare")
    parser.add_argument("--schema", required=True, metavar="URI", help="schema from prepare")
    parser.add_argument("--plan", required=True, metavar="URI", help="unfitted transform from featurize")
    parser.add_argument("--model", required=True, metavar="URI", help="where the MLflow model folder goes")
    parser.add_argument("--report", default="", metavar="URI", help="where the HTML report goes")
    parser.add_argument("--result", default="", metavar="URI", help="where metrics and run id go, as JSON")
    return parser


def start(words: Sequence[str]) -> None:
    """Trains as the flags say, in as many processes as ``devices`` says. Raises as :func:`run` does.

    Raises:
        ParameterError: There is no such flag, or ``nodes`` is more than 1.
    """
    options = options_of(hyperparameters(arguments().parse_known_args(words)[1]))
    if options.nodes > 1:
        raise ParameterError(
            f"Parameter 'nodes' is {options.nodes}, but this program trains on the machine that it is on.",
            "Start it with torchrun on each node, or run the component, which makes a TrainJob.",
        )
    if "RANK" in os.environ or (devices := processes(options)) == 1:
        run(words)
    else:
        launch(words, devices, module=MODULE)


def processes(options: NetworkOptions) -> int:
    """How many processes train on this machine: one for each device; 0 devices is all GPUs, or the CPU."""
    return options.devices or torch.cuda.device_count() or 1


def run(words: Sequence[str]) -> None:
    """Trains as the flags say, in this process. Raises as :func:`.training.train_network` does."""
    given, rest = arguments().parse_known_args(words)
    options = options_of(hyperparameters(rest))
    with tempfile.TemporaryDirectory(prefix="train-gpu-") as place:
        here = Path(place)
        inputs = Inputs(
            rows=fetch(given.train, here / "train"),
            schema=fetch(given.schema, here / "schema"),
            plan=fetch(given.plan, here / "plan"),
        )
        model, report, told = here / "model", here / "report.html", here / "result.json"
        result = train_network(inputs, model, report, options, [print_metrics])
        if result is None:  # not the first of several processes
            return
        result.save(told)
        # The result last: who finds it finds the others too.
        for path, uri in ((model, given.model), (report, given.report), (told, given.result)):
            if uri:
                upload(path, uri)


def print_metrics(record: EpochRecord, best: bool) -> None:
    """One ``name=value`` a line on standard output, as Katib's collector reads them."""
    values = {"epoch": record.epoch, "train_loss": record.train_loss, **record.held_out}
    print_metric_lines(values)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    run(sys.argv[1:])
