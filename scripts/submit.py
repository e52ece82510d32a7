"""``kfp-lifecycle submit``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kfp_lifecycle.scripts.connection import (
    CaCertOption,
    ContextOption,
    HostOption,
    NamespaceOption,
    connected,
)

if TYPE_CHECKING:
    from kfp_lifecycle.runner.cluster.submit import Submission


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
RunName = Annotated[
    str,
    typer.Option(
        metavar="NAME", help="The run's name; else the pipeline's with the time.", show_default=False
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
Wait = Annotated[bool, typer.Option("--wait", help="Follow the run until it ends.")]


def submit_command(
    target: Target,
    params: Params = None,
    param: Param = None,
    experiment: Experiment = "",
    run_name: RunName = "",
    pipeline_version: PipelineVersion = "",
    wait: Wait = False,
    context: ContextOption = "",
    host: HostOption = "",
    namespace: NamespaceOption = "",
    ca_cert: CaCertOption = "",
) -> None:
    """Start a run of a compiled pipeline on a Kubeflow cluster.

    The file and the parameters are checked first, as `lint` and `run` do. The version is uploaded if the
    server does not have it: one of the same name and content is taken as it is, one with another content is
    refused. Whatever becomes of the connection, one run is started.

    With --wait, exits with 0 when the run succeeds, with 1 when it fails. After Ctrl-C (130) the run goes
    on; `kfp-lifecycle watch` follows it again.

    **Examples**

        kfp-lifecycle submit training --params pipelines/params/churn.yaml -p source=gs://bucket/churn.csv
        kfp-lifecycle submit training@1.0.0 --params my.yaml --experiment churn --wait
        kfp-lifecycle submit build/my.yaml --host https://kubeflow.example.com/pipeline -n team-a
    """
    from kfp_lifecycle.runner.cluster.experiments import experiment_name
    from kfp_lifecycle.runner.cluster.submit import check_file, check_parameters, submit
    from kfp_lifecycle.runner.load import load
    from kfp_lifecycle.runner.parameters import read_parameters
    from kfp_lifecycle.runner.resolve import find
    from kfp_lifecycle.scripts.watch import follow

    file = load(find(target))
    for note in check_file(file):
        typer.secho(note, fg=typer.colors.YELLOW, err=True)
    parameters = read_parameters(file, params, param or [])
    check_parameters(parameters)
    server = connected(context, host, namespace, ca_cert)
    try:
        done = submit(
            server,
            file,
            parameters,
            experiment=experiment_name(experiment),
            run_name=run_name,
            version=pipeline_version,
            tell=lambda text: typer.echo(text, err=True),
        )
    except KeyboardInterrupt:
        typer.echo(f"See whether a run was started: kfp-lifecycle runs list{server.options}", err=True)
        raise typer.Exit(130) from None
    _show(done)
    if wait:
        follow(server, done.run_id)
    typer.echo(f"Follow it: kfp-lifecycle watch {done.run_id}{server.options}", err=True)


def _show(done: "Submission") -> None:
    typer.echo(f"Started {done.name!r} in the experiment {done.experiment!r}.", err=True)
    typer.echo(done.link or done.run_id)
