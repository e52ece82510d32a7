"""Training on several nodes: a ``TrainJob`` of Kubeflow Trainer, from its creation to the model it leaves.

The step makes the job, shows what its first process prints, and brings back what it has left in the object
store beside the step's own model. The job's name follows from where the model goes, which stays the same
when Kubeflow starts a step again: that adopts the job that runs already, and never makes a second one.
"""

import hashlib
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from kubeflow_trainer_api.models import (
    IoK8sApiCoreV1EnvVar,
    IoK8sApiCoreV1ResourceRequirements,
    IoK8sApimachineryPkgApiResourceQuantity,
    IoK8sApimachineryPkgApisMetaV1ObjectMeta,
    TrainerV1alpha1RuntimeRef,
    TrainerV1alpha1Trainer,
    TrainerV1alpha1TrainJob,
    TrainerV1alpha1TrainJobSpec,
)

from kfp_lifecycle.components.shared.cluster import AlreadyThere, Cluster, Kind, Objects, cancellable, connect
from kfp_lifecycle.components.shared.errors import ClusterError, ParameterError, redact
from kfp_lifecycle.components.shared.storage import fetch, is_remote, open_store
from kfp_lifecycle.components.train_gpu.flags import option_flags
from kfp_lifecycle.components.train_gpu.job_log import JobLog
from kfp_lifecycle.components.train_gpu.options import NetworkOptions
from kfp_lifecycle.components.train_gpu.result import Result

log = logging.getLogger(__name__)

_INSTALLS = "Kubeflow Trainer (version 2)"
TRAIN_JOB = Kind("TrainJob", "trainer.kubeflow.org", "v1alpha1", "trainjobs", _INSTALLS)
RUNTIME_KIND = Kind("TrainingRuntime", "trainer.kubeflow.org", "v1alpha1", "trainingruntimes", _INSTALLS)
#: The runtime in manifests/: image, command and credentials of each node.
RUNTIME = "kfp-lifecycle-torch"

#: What of this step's environment the nodes need too. Secrets they have from the runtime.
ENVIRONMENT = (
    "MLFLOW_TRACKING_URI",
    "MLFLOW_RUN_ID",
    "MLFLOW_EXPERIMENT_ID",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "STORAGE_EMULATOR_HOST",
)
GPU = "nvidia.com/gpu"
#: Seconds between two looks at the job; for how long one that is being deleted is waited for.
INTERVAL_S, GONE_S = 5.0, 120.0


def train_on_nodes(
    inputs: Mapping[str, str], model_uri: str, model: Path, report: Path, options: NetworkOptions
) -> Result:
    """Trains on ``options.nodes`` nodes and brings back model, report and result.

    Args:
        inputs: ``train``, ``schema`` and ``plan`` to their URIs in an object store.
        model_uri: Where Kubeflow will put the model; the job writes beside it.
        model: The folder to bring the model to.
        report: The file to bring the report to.
        options: How to train.

    Raises:
        ParameterError: An artifact is where the nodes cannot read it.
        ClusterError: Kubernetes refuses, Kubeflow Trainer is not there, or the job fails without saying why.
        LifecycleError: What a process of the job has declared, as it would be raised here.
        Cancelled: The step was cancelled; the job is deleted.
    """
    _check_reach({**inputs, "model": model_uri, "checkpoint_uri": options.checkpoint_uri or model_uri})
    place = f"{model_uri.rstrip('/')}-trainjob"
    with cancellable():
        cluster = connect()
        for kind, verbs in ((TRAIN_JOB, ("create", "get", "delete")), (RUNTIME_KIND, ("get",))):
            cluster.require(kind, *verbs)
        jobs, name = cluster.objects(TRAIN_JOB), job_name(place)
        try:
            if "result.json" not in open_store(place).names():
                _start(cluster, jobs, name, train_job(name, inputs, place, options))
                _wait(cluster, jobs, name)
            result = _bring(place, model, report)
        except ClusterError:
            raise
        except BaseException as error:
            if not isinstance(
                error, Exception
            ):  # cancelled, not failed: a failed job is left to be looked at
                log.warning("deleting the TrainJob %s", name)
                jobs.delete(name)
            raise
        jobs.delete(name)
    _remove(place)
    return result


def job_name(place: str) -> str:
    """The name of the job that writes to ``place``: the same for each attempt of a step."""
    return f"train-gpu-{hashlib.sha256(place.encode()).hexdigest()[:16]}"


def train_job(name: str, inputs: Mapping[str, str], place: str, options: NetworkOptions) -> dict[str, Any]:
    """The ``TrainJob`` as Kubernetes takes it.

    Args:
        name: Its name.
        inputs: ``train``, ``schema`` and ``plan`` to their URIs.
        place: The URI below which model, report and result are written.
        options: How to train. GPUs are asked for where ``require_gpu`` says that there must be one.
    """
    outputs = {
        "model": f"{place}/model",
        "report": f"{place}/report.html",
        "result": f"{place}/result.json",
    }
    # A node that is lost must not cost the work: the nodes always write checkpoints.
    there = options.checkpoint_uri or f"{place}/checkpoints"
    flags = option_flags(replace(options, nodes=1, devices=1, checkpoint_uri=there))
    devices = options.devices or None
    limits = {GPU: IoK8sApimachineryPkgApiResourceQuantity(str(devices or 1))}
    env = [IoK8sApiCoreV1EnvVar(name=key, value=value) for key, value in _environment().items()]
    job = TrainerV1alpha1TrainJob(
        apiVersion=TRAIN_JOB.api_version,
        kind=TRAIN_JOB.name,
        metadata=IoK8sApimachineryPkgApisMetaV1ObjectMeta(
            name=name, labels={"app.kubernetes.io/part-of": "kfp-lifecycle"}
        ),
        spec=TrainerV1alpha1TrainJobSpec(
            runtimeRef=TrainerV1alpha1RuntimeRef(
                apiGroup=RUNTIME_KIND.group, kind=RUNTIME_KIND.name, name=RUNTIME
            ),
            trainer=TrainerV1alpha1Trainer(
                numNodes=options.nodes,
                numProcPerNode=devices,
                args=[*(f"--{key}={uri}" for key, uri in {**inputs, **outputs}.items()), *flags],
                env=env or None,
                resourcesPerNode=IoK8sApiCoreV1ResourceRequirements(limits=limits)
                if options.require_gpu
                else None,
            ),
        ),
    )
    body: dict[str, Any] = job.to_dict()
    return body


def _check_reach(uris: Mapping[str, str]) -> None:
    for name, uri in uris.items():
        if not is_remote(uri):
            raise ParameterError(
                f"Parameter 'nodes' is over 1, but {name} is at {redact(uri)!r}: no other node reaches it.",
                "Give an object store (gs://, s3://, minio://), or set nodes to 1.",
            )


def _environment() -> dict[str, str]:
    found = {name: os.environ[name] for name in ENVIRONMENT if os.environ.get(name)}
    return {name: value for name, value in found.items() if redact(value) == value}


def _start(cluster: Cluster, jobs: Objects, name: str, body: dict[str, Any]) -> None:
    """Makes the job, or finds it: what an attempt before this one has made goes on."""
    there = jobs.get(name)
    if there is not None and _is_ours(there, body):
        log.info("the TrainJob %s is there already, from an attempt before this one: going on with it", name)
        return
    if there is not None:
        log.info(
            "replacing the TrainJob %s, which %s", name, _ended(there)[1] or "was made with other options"
        )
        jobs.delete(name)
        if not jobs.gone(name, GONE_S):
            raise ClusterError(
                f"The TrainJob {name!r} in namespace {cluster.namespace!r} was deleted {GONE_S:g} s ago and "
                "is still there.",
                f"See what holds it: kubectl -n {cluster.namespace} get trainjob {name} -o yaml.",
            )
    if cluster.objects(RUNTIME_KIND).get(RUNTIME) is None:
        raise ClusterError(
            f"There is no TrainingRuntime {RUNTIME!r} in namespace {cluster.namespace!r}.",
            "kubectl apply -k manifests/overlays/… has it.",
        )
    try:
        jobs.create(body)
    except AlreadyThere:  # an attempt that was not answered has made it
        log.info("the TrainJob %s is there already", name)
    trainer = body["spec"]["trainer"]
    log.info("TrainJob %s in namespace %s: %d nodes", name, cluster.namespace, trainer["numNodes"])


def _is_ours(there: Mapping[str, Any], body: Mapping[str, Any]) -> bool:
    """Whether a job of the name may still give what this step wants."""
    if there["metadata"].get("deletionTimestamp") or _ended(there)[0] == "Failed":
        return False
    wanted, has = body["spec"]["trainer"], there["spec"].get("trainer", {})
    return all(has.get(key) == wanted.get(key) for key in ("args", "numNodes"))


def _wait(cluster: Cluster, jobs: Objects, name: str) -> None:
    """Shows what the job says until it has ended."""
    lines = JobLog(cluster, name)
    while True:
        job = jobs.get(name)
        lines.show()
        if job is None:
            raise ClusterError(
                f"The TrainJob {name!r} in namespace {cluster.namespace!r} was deleted while it ran.",
                "Run the step again: it goes on from the last checkpoint.",
            )
        state, said = _ended(job)
        if state == "Complete":
            return
        if state == "Failed":
            raise lines.error() or ClusterError(
                f"The TrainJob {name!r} in namespace {cluster.namespace!r} failed: {said}.",
                f"See kubectl -n {cluster.namespace} describe trainjob {name}, and the log above.",
            )
        time.sleep(INTERVAL_S)


def _ended(job: Mapping[str, Any]) -> tuple[str, str]:
    """``Complete`` or ``Failed`` and what is said of it; both empty for a job that still runs."""
    for condition in (job.get("status") or {}).get("conditions") or []:
        if condition["status"] == "True" and condition["type"] in ("Complete", "Failed"):
            said = redact(str(condition.get("message") or condition.get("reason", "")))
            return condition["type"], said.rstrip(".")
    return "", ""


def _bring(place: str, model: Path, report: Path) -> Result:
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        result = Result.load(fetch(f"{place}/result.json", here / "result.json"))
        shutil.copytree(fetch(f"{place}/model", here / "model"), model)
        report.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(fetch(f"{place}/report.html", here / "report.html"), report)
    return result


def _remove(place: str) -> None:
    """Removes what was brought, and the checkpoints that nobody needs any more."""
    store = open_store(place)
    for name in store.names():
        store.delete(name)
