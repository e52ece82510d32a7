"""Where a model is to be served: on this machine, or by KServe on a cluster."""

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from kfp_lifecycle.components.serve.rollout.local import LocalTarget
from kfp_lifecycle.components.serve.rollout.local_state import StateFile
from kfp_lifecycle.components.serve.rollout.target import Release, Target
from kfp_lifecycle.components.shared.parameters import one_of
from kfp_lifecycle.components.shared.tracking import tracking_errors, tracking_uri

log = logging.getLogger(__name__)

#: Tag of a registered model: where on a cluster it is served, and as what, for those who roll it back.
SERVED = "served_by_kserve"
TARGETS = ("auto", "local", "kserve")


@dataclass(frozen=True)
class Place:
    """Where, and what is asked of the servers there.

    Args:
        target: ``local``, ``kserve``, or ``auto``: KServe in a pod of a cluster, and this machine elsewhere.
        arguments: Further flags of the server, such as ``--log=predictions``.
        port: Of a local server that is started; 0 is that of the one before, or a free one.
        wait_s: How long another rollout of the same model is waited for.
        namespace: KServe's; empty is the pod's own.
        gateway: Gateway of the route that splits the traffic without Knative, as ``namespace/name``.
        host: Host name that clients ask that route for.
        predictor: Further settings of KServe's pods: the fields of :class:`.kserve_objects.Predictor`.
    """

    target: str = "auto"
    arguments: tuple[str, ...] = ()
    port: int = 0
    wait_s: float = 120.0
    namespace: str = ""
    gateway: str = ""
    host: str = ""
    predictor: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        one_of(self.target, TARGETS, "target")

    @property
    def on_cluster(self) -> bool:
        """Whether KServe serves."""
        in_pod = bool(os.environ.get("KUBERNETES_SERVICE_HOST"))
        return self.target == "kserve" or (self.target == "auto" and in_pod)


def make_target(place: Place, release: Release, *, splits: bool) -> Target:
    """What the rollout works on.

    Args:
        place: Where.
        release: What is rolled out.
        splits: Whether the traffic is ever to be split, or goes over in one step.

    Raises:
        ClusterError: There is no way to a cluster from here.
        ParameterError: A setting of the pods cannot be.
        StorageError: There is no place for the state of local servers.
    """
    if not place.on_cluster:
        return LocalTarget(state_file(release), place.arguments, place.port, place.wait_s)
    from kfp_lifecycle.components.serve.rollout.kserve import KServe
    from kfp_lifecycle.components.serve.rollout.kserve_objects import Predictor
    from kfp_lifecycle.components.serve.rollout.kserve_watch import Patience
    from kfp_lifecycle.components.shared.cluster import connect

    return KServe(
        connect(place.namespace),
        release.name,
        Predictor(arguments=place.arguments, **place.predictor),
        gateway=place.gateway,
        host=place.host,
        splits=splits,
        patience=Patience(lock=place.wait_s),
    )


def state_file(release: Release) -> StateFile:
    """Where the state of a local server of this model is kept."""
    registered = release.uri.startswith("models:/")
    return StateFile(release.name, tracking_uri() if registered else "")


def remember(client: MlflowClient, model_name: str, place: Place) -> None:
    """Keeps with the registered model where on a cluster it is served; what fails only warns."""
    if not place.on_cluster:
        return
    from kfp_lifecycle.components.serve.rollout.kserve_objects import Predictor
    from kfp_lifecycle.components.shared.cluster import connect

    settings = Predictor(arguments=place.arguments, **place.predictor).settings
    found = {
        **asdict(place),
        "target": "kserve",
        "namespace": connect(place.namespace).namespace,
        "predictor": {**place.predictor, "settings": dict(settings)},
    }
    try:
        client.set_registered_model_tag(model_name, SERVED, json.dumps(found))
    except MlflowException as error:
        log.warning("the registry could not be told where %s is served: %s", model_name, error)


def remembered(client: MlflowClient, model_name: str) -> Place | None:
    """Where on a cluster a registered model is served; None where it is not. Raises ``TrackingError``."""
    with tracking_errors():
        found = client.get_registered_model(model_name).tags.get(SERVED)
    if not found:
        return None
    values = json.loads(found)
    return Place(**{**values, "arguments": tuple(values["arguments"])})
