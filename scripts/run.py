"""``kfp-lifecycle run``."""

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from kfp_lifecycle.scripts.target import Param, Params, Target


class Runner(StrEnum):
    """What a step runs in."""

    SUBPROCESS = "subprocess"
    DOCKER = "docker"
    PODMAN = "podman"


def run_command(
    target: Target,
    params: Params = None,
    param: Param = None,
    runner: Annotated[
        Runner,
        typer.Option("--runner", help="Each step a process, or a container of the image that it ships in."),
    ] = Runner.SUBPROCESS,
    writable: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DIR",
            help="Folder that steps in containers may write to; repeatable.",
        ),
    ] = None,
    output_dir: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder for artifacts, logs, reports and run.json, new or empty; else runs/NAME-TIME-ID, "
            "which runs/latest leads to.",
        ),
    ] = None,
) -> None:
    """Run a compiled pipeline or component on this machine, with no cluster and no server.

    The compiled file itself is run, by kfp.local: each step is a process of its own in the current folder,
    with its log in a file. NAME is looked up in `compiled/` here or above, then in this library; without a
    version the newest is taken. A parameter is read as the pipeline types it; a mapping for a text parameter
    becomes JSON. MLflow is the server in `MLFLOW_TRACKING_URI`, or else `mlflow.db` in the current folder.

    With `--runner docker` each step runs in its image (`kfp-lifecycle images build`), as a user that is not
    root, with a read-only root file system and only the files mounted that the parameters name, read-only;
    what steps write elsewhere than to the run's own folders goes to `--writable` ones. MLflow's default store
    is then `mlflow-containers/mlflow.db`.

    Exits with 0, with 1 when a step fails, with 130 after Ctrl-C.

    **Examples**

        kfp-lifecycle run training --params pipelines/params/churn.yaml
        kfp-lifecycle run training@1.0.0 --params my.yaml -p folds=3
        kfp-lifecycle run prepare -p source=data/churn.csv -p target=churn
        kfp-lifecycle run training --params my.yaml --runner docker
        kfp-lifecycle run batch-inference --params my.yaml --runner docker --writable predictions
        kfp-lifecycle run my_pipeline.yaml -p 'slices=[contract, gender]'
    """
    from kfp_lifecycle.runner.load import load
    from kfp_lifecycle.runner.local import run
    from kfp_lifecycle.runner.parameters import read_parameters
    from kfp_lifecycle.runner.resolve import find
    from kfp_lifecycle.scripts.process import collector_off
    from kfp_lifecycle.scripts.run_display import show_progress, show_result

    # A step may start a run, but KFP does not load in a process that takes itself for a step.
    os.environ.pop("_KFP_RUNTIME", None)
    file = load(find(target))
    parameters = read_parameters(file, params, param or [])
    with collector_off():
        import kfp.local.pipeline_orchestrator  # noqa: F401 - what the run needs first
    with show_progress() as observer:
        engine = "" if runner is Runner.SUBPROCESS else runner.value
        result = run(
            *(file, parameters),
            output_dir=output_dir,
            observers=[observer],
            engine=engine,
            writable=writable or [],
        )
    show_result(result)
    raise typer.Exit(result.exit_code)
