"""The Kubernetes Job that Katib makes for each trial: our train component's image and program, data by URI.

Katib's webhook joins the words of the command with blanks and hands them to a shell, and puts parameters into
the JSON of the Job as they are. So the command is one line for ``sh -c``, quoted here, and values that would
break out of the quotes or of the JSON are refused.
"""

import json
import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kfp_lifecycle.components.katib_tune.backend import Problem
from kfp_lifecycle.components.katib_tune.space import as_text
from kfp_lifecycle.components.shared.errors import TuningError, redact
from kfp_lifecycle.components.shared.metric_lines import TRIAL
from kfp_lifecycle.components.shared.pod_settings import (
    from_secret,
    resources,
    said,
    secret_variables,
    tolerations,
)
from kfp_lifecycle.components.shared.storage import MINIO, is_remote

#: What the compiler tells the katib-tune step: by trainer, what the profile says of its pods.
PODS_VARIABLE = "KFP_LIFECYCLE_TRIAL_PODS"
#: The container that Katib looks at, and the one beside it that reads what the trial prints.
CONTAINER, COLLECTOR = "training-container", "metrics-logger-and-collector"
#: The trial parameter that is the trial's own name.
TRIAL_NAME = "kfp_lifecycle_trial"
_NAME = f"${{trialParameters.{TRIAL_NAME}}}"
#: See :mod:`kfp_lifecycle.components.shared.tracking`, which imports MLflow.
PARENT_RUN_ID = "MLFLOW_PARENT_RUN_ID"
MODULES = {"train": "kfp_lifecycle.components.train", "train-gpu": "kfp_lifecycle.components.train_gpu"}
#: The Secret of Kubeflow's object store, in every namespace that runs pipelines.
STORE_SECRET, STORE_KEYS = (
    "mlpipeline-minio-artifact",
    {"accesskey": "AWS_ACCESS_KEY_ID", "secretkey": "AWS_SECRET_ACCESS_KEY"},
)
_PVC = "pvc://"
_BINARY, _DECIMAL = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), ("", "k", "M", "G", "T", "P", "E")


@dataclass(frozen=True)
class TrialPod:
    """The pods that trials run in.

    Args:
        image: The image of the trainer.
        settings: As a profile says them of a component: ``resources``, ``accelerator``, ``node_selector``,
            ``tolerations``, ``secrets``, ``env``, ``volumes``, ``shared_memory``, ``timeout_seconds``,
            ``labels``, ``annotations``; with ``pull_policy`` and ``pull_secrets`` of its images.
        service_account: Their service account; empty is the namespace's default.
    """

    image: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    service_account: str = ""

    @staticmethod
    def of_profile(image: str, trainer: str, service_account: str = "") -> "TrialPod":
        """As the profile says that this step was compiled with; see :data:`PODS_VARIABLE`."""
        told = json.loads(os.environ.get(PODS_VARIABLE) or "{}")
        return TrialPod(image, told.get(trainer, {}), service_account)


def trial_job(
    problem: Problem, names: tuple[str, ...], pod: TrialPod, labels: Mapping[str, str]
) -> dict[str, Any]:
    """The Job of a trial, with Katib's placeholders in its command.

    Args:
        problem: The search.
        names: The parameters that have placeholders.
        pod: The pod to run in.
        labels: Labels of the Job and its pod.

    Raises:
        TuningError: The data is where no other pod can read it.
    """
    settings = pod.settings
    volumes, mounts = _volumes(problem, settings)
    # Envoy beside a Job never ends, and the collector could not tell the trial's end from its own.
    istio = {"sidecar.istio.io/inject": "false"}
    container = {
        "name": CONTAINER,
        "image": pod.image,
        "command": ["sh", "-c"],
        "args": [command_line(problem, names, settings)],
        "env": _environment(problem, settings),
        "resources": resources(settings),
        "volumeMounts": mounts,
        "imagePullPolicy": settings.get("pull_policy"),
    }
    spec = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 10,
        "serviceAccountName": pod.service_account,
        "nodeSelector": settings.get("node_selector"),
        "tolerations": tolerations(settings),
        "imagePullSecrets": [{"name": name} for name in settings.get("pull_secrets") or ()],
        "containers": [said(container)],
        "volumes": volumes,
    }
    metadata = {
        "labels": {**(settings.get("labels") or {}), **labels, **istio},
        "annotations": {**(settings.get("annotations") or {}), **istio},
    }
    # A trial that fails has failed: Katib counts it, and the algorithm may learn from it.
    job = {"backoffLimit": 0, "activeDeadlineSeconds": settings.get("timeout_seconds")}
    template = {"metadata": metadata, "spec": said(spec)}
    return {"apiVersion": "batch/v1", "kind": "Job", "spec": said(job) | {"template": template}}


def command_line(problem: Problem, names: tuple[str, ...], settings: Mapping[str, Any]) -> str:
    """The line that a shell in the trial's pod runs.

    Raises:
        TuningError: The data is where no other pod can read it.
    """
    data = {
        name: _reachable(getattr(problem.data, own), settings)
        for name, own in (("train", "rows"), ("schema", "schema"), ("plan", "plan"))
    }
    words = ["python", "-m", MODULES[problem.trainer]]
    alike = {name: value for name, value in {**data, **_flags(problem)}.items() if name not in names}
    words += [f"--{name}={value}" for name, value in alike.items()]
    # Kubernetes makes $$ into $, and $(NAME) into a variable's value.
    fixed = [shlex.quote(word if word.endswith(_NAME) else word.replace("$", "$$")) for word in words]
    searched = [shlex.quote(f"--{name}=${{trialParameters.{name}}}") for name in names]
    return " ".join([*fixed, *searched])


def _flags(problem: Problem) -> dict[str, str]:
    """The trainer's flags that are alike for all trials."""
    options = {name: as_text(value) for name, value in problem.options.items()}
    seed = {"seed": str(problem.seed)}
    if problem.trainer == "train":
        own = {"estimator_parameters": json.dumps(dict(problem.fixed))}
        parent = {"mlflow_parent_run": problem.parent_run} if problem.parent_run else {}
        return {**options, **own, **seed, **parent}
    fixed = {name: as_text(value) for name, value in problem.fixed.items()}
    # A trial is for its metrics: its model goes with its pod.
    own = {"experiment": problem.experiment, "run_name": _NAME, "model": "/tmp/model"}
    return {**options, **fixed, **seed, **own}


def _reachable(uri: str, settings: Mapping[str, Any]) -> str:
    """The URI as a trial's pod reads it."""
    if claim := _claim(uri):
        return f"/mnt/{claim}{uri.removeprefix(_PVC + claim)}"
    paths = [volume["path"].rstrip("/") for volume in settings.get("volumes") or ()]
    path = uri.removeprefix("file://")
    if is_remote(uri) or any(path == mounted or path.startswith(f"{mounted}/") for mounted in paths):
        return uri
    raise TuningError(
        f"{redact(uri)} is on this pod's own disk, where no trial can read it.",
        "Give gs://, s3://, minio:// or pvc://, or a path below a volume that the profile mounts in trials.",
    )


def _claim(uri: str) -> str:
    """The PersistentVolumeClaim of ``pvc://claim/path``; empty for another URI."""
    return uri.removeprefix(_PVC).partition("/")[0] if uri.startswith(_PVC) else ""


def _environment(problem: Problem, settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    plain = {TRIAL: _NAME, "OMP_WAIT_POLICY": "PASSIVE", **(settings.get("env") or {})}
    if problem.parent_run and problem.trainer == "train-gpu":
        plain[PARENT_RUN_ID] = problem.parent_run
    secret = secret_variables(settings)
    if any(uri.startswith("minio://") for uri in problem.data.uris):
        plain.setdefault("AWS_ENDPOINT_URL_S3", os.environ.get("AWS_ENDPOINT_URL_S3") or MINIO)
        there = {*plain, *(item["name"] for item in secret)}
        secret += [
            from_secret(variable, STORE_SECRET, key, optional=True)
            for key, variable in STORE_KEYS.items()
            if variable not in there
        ]
    return [*({"name": name, "value": value} for name, value in plain.items()), *secret]


def _volumes(
    problem: Problem, settings: Mapping[str, Any]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The pod's volumes, and where its container has them."""
    volumes: dict[str, dict[str, Any]] = {}
    mounts: list[dict[str, Any]] = []

    def mount(claim: str, path: str, sub_path: str = "", read_only: bool = False) -> None:
        name = f"claim-{len(volumes)}" if claim not in volumes else volumes[claim]["name"]
        volumes.setdefault(claim, {"name": name, "persistentVolumeClaim": {"claimName": claim}})
        mounts.append(said({"name": name, "mountPath": path, "subPath": sub_path, "readOnly": read_only}))

    for volume in settings.get("volumes") or ():
        mount(volume["claim"], volume["path"], volume.get("sub_path", ""))
    for claim in sorted(filter(None, {_claim(uri) for uri in problem.data.uris})):
        mount(claim, f"/mnt/{claim}", read_only=True)
    found = list(volumes.values())
    if size := settings.get("shared_memory"):
        memory = {"medium": "Memory", "sizeLimit": _canonical(size)}
        found.append({"name": "shared-memory", "emptyDir": memory})
        mounts.append({"name": "shared-memory", "mountPath": "/dev/shm"})
    return found, mounts


def _canonical(amount: str) -> str:
    """An amount as Kubernetes writes it (1024Mi is 1Gi): Katib's webhook refuses what it would rewrite."""
    number, unit = re.fullmatch(r"([0-9]+)([A-Za-z]*)", amount).groups()  # type: ignore[union-attr]
    units, factor = (_BINARY, 1024) if unit in _BINARY[1:] else (_DECIMAL, 1000)
    size = int(number)
    while size and size % factor == 0 and unit != units[-1]:
        size, unit = size // factor, units[units.index(unit) + 1]
    return f"{size}{unit}"
