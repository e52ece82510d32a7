"""The options that say what is to run, here or on a cluster."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from kfp_lifecycle.runner.load import RunnableFile


def _names(incomplete: str) -> list[str]:
    from kfp_lifecycle.runner.resolve import names

    return [name for name in names() if name.startswith(incomplete)]


Target = Annotated[
    str,
    typer.Argument(
        metavar="NAME|FILE",
        help="A compiled pipeline or component: its name, NAME@VERSION, or a YAML file.",
        autocompletion=_names,
        show_default=False,
    ),
]
Params = Annotated[
    Path | None,
    typer.Option("--params", metavar="FILE", help="Parameters as YAML, one name: value a line."),
]
Param = Annotated[
    list[str] | None,
    typer.Option("-p", "--param", metavar="name=value", help="One parameter; it wins over --params."),
]
Experiment = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="The run's experiment, made if it is missing; else KF_PIPELINES_DEFAULT_EXPERIMENT_NAME, "
        "or Default.",
        show_default=False,
    ),
]
PipelineVersion = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="The version's name; else as the file's name says, or by its content.",
        show_default=False,
    ),
]


def read_target(
    target: str, params: Path | None, param: list[str] | None
) -> tuple["RunnableFile", dict[str, Any]]:
    """The file and its parameters, checked for a cluster; what is only odd is told on standard error."""
    from kfp_lifecycle.runner.cluster.submit import check_file, check_parameters
    from kfp_lifecycle.runner.load import load
    from kfp_lifecycle.runner.parameters import read_parameters
    from kfp_lifecycle.runner.resolve import find

    file = load(find(target))
    for note in check_file(file):
        typer.secho(note, fg=typer.colors.YELLOW, err=True)
    parameters = read_parameters(file, params, param or [])
    check_parameters(parameters)
    return file, parameters
