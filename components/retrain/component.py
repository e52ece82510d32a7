"""The KFP face of ``retrain``."""

from typing import NamedTuple

from kfp import dsl

from kfp_lifecycle.components.shared.image import MONITOR_IMAGE

VERSION = "1.0.0"


@dsl.component(base_image=MONITOR_IMAGE, install_kfp_package=False)
def retrain(
    summary: str,
    pipeline: str = "training",
    parameters: str = "{}",
    training_window: str = "",
    history: str = "",
    where: str = "auto",
    experiment: str = "retraining",
    pipeline_version: str = "",
    host: str = "",
    namespace: str = "",
    service_account: str = "",
    output_dir: str = "runs",
    wait: bool = False,
) -> NamedTuple("Outputs", [("retraining", str), ("retraining_link", str), ("started", bool)]):
    """Starts the training pipeline on new data: on a Kubeflow cluster, or on this machine.

    One drift starts one retraining. The run has its name by model, version and window: a step that is run
    again finds the run that it began. While a retraining of the model is under way, none is started.

    Args:
        summary: What monitor found: its output of that name.
        pipeline: The training pipeline: NAME or NAME@VERSION of a released one, or the path or URI of a
            compiled file, such as one for your profile.
        parameters: Its parameters as one JSON object. In texts, {window_start}, {window_end} and
            {training_start} stand for times, in UTC, which may have a format ({window_end:%Y-%m}); {model}
            and {version} for what is to be replaced.
        training_window: How far before the window's end training_start is, such as 90d; empty is the
            window's own start.
        history: Folder or bucket of monitor's history, which retrainings are kept in too; empty keeps none,
            and then one that is under way is found only if the same window began it.
        where: cluster, local, or auto: in a pod of a cluster that cluster, and this machine elsewhere.
        experiment: Kubeflow experiment of the run.
        pipeline_version: What the Kubeflow server calls the version; empty is as the compiled file's name
            says.
        host: Address of the Kubeflow Pipelines server; empty is the pod's own cluster.
        namespace: Namespace of the run; empty is the pod's own.
        service_account: Service account of the run; empty is the server's default.
        output_dir: Folder for runs on this machine.
        wait: Whether the step waits until the run is over, and fails if the run does.

    Returns:
        retraining: The run's id; empty where another step is just starting it.
        retraining_link: Where it is looked at: a page of Kubeflow's, or a folder.
        started: Whether this window began it; false where one is under way.

    Raises:
        RetrainError: The run cannot be started, or the one that was waited for has failed.
        ParameterError: A parameter is of the wrong type, or has a place that nothing fills.
        MonitorError: The history is damaged.
        StorageError: The history or the compiled file cannot be read or written.
    """
    from kfp_lifecycle.components.retrain.step import retrain_step

    return retrain_step(
        summary=summary,
        pipeline=pipeline,
        parameters=parameters,
        training_window=training_window,
        history=history,
        where=where,
        experiment=experiment,
        pipeline_version=pipeline_version,
        host=host,
        namespace=namespace,
        service_account=service_account,
        output_dir=output_dir,
        wait=wait,
    )
