"""``kfp-lifecycle submit``."""

from typing import TYPE_CHECKING, Annotated

import typer

from kfp_lifecycle.scripts.connection import (
    CaCertOption,
    ContextOption,
    HostOption,
    NamespaceOption,
    connected,
)
from kfp_lifecycle.scripts.target import Experiment, Param, Params, PipelineVersion, Target

if TYPE_CHECKING:
    from kfp_lifecycle.runner.cluster.submit import Submission


RunName = Annotated[
    str,
    typer.Option(
        metavar="NAME", help="The run's name; else the pipeline's with the time.", show_default=False
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
    from kfp_lifecycle.runner.cluster.submit import submit
    from kfp_lifecycle.scripts.target import read_target
    from kfp_lifecycle.scripts.watch import follow

    file, parameters = read_target(target, params, param)
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
