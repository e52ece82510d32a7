"""The KFP face of ``serve``."""

from typing import NamedTuple

from kfp import dsl

from kfp_lifecycle.components.shared.image import SERVE_IMAGE

VERSION = "1.0.0"


@dsl.component(base_image=SERVE_IMAGE, install_kfp_package=False)
def serve(
    rollout: dsl.Output[dsl.Markdown],
    objects: dsl.Output[dsl.Artifact],
    model: str,
    name: str = "",
    target: str = "auto",
    alias: str = "champion",
    canary_steps: str = "[10, 50, 100]",
    step_seconds: float = 0.0,
    min_requests: int = 100,
    max_error_rate: float = 0.01,
    max_latency_ms: float = 1000.0,
    max_slowdown: float = 3.0,
    ready_timeout: float = 600.0,
    wait_seconds: float = 120.0,
    keep_running: bool = True,
    port: int = 0,
    server_arguments: list[str] = [],
    namespace: str = "",
    service_account: str = "",
    cpu: str = "",
    memory: str = "",
    gpus: int = 0,
    min_replicas: int = 1,
    max_replicas: int = 3,
    scale_metric: str = "",
    scale_target: int = 0,
    request_timeout: int = 60,
    payload_logger: str = "",
    runtime: str = "kfp-lifecycle",
    kserve_mode: str = "",
    gateway: str = "",
    host: str = "",
    run_id: str = "",
) -> NamedTuple("Outputs", [("url", str), ("model_version", str), ("previous_version", str)]):
    """Serves a model with KServe, or on a laptop, and rolls a new version out step by step.

    The new version must give the recorded outputs of its input example through the real endpoint, and then
    keep to the limits at each share of the traffic. On any failure the version before has all traffic again,
    the alias stays where it was, and the step fails with the reason and the last lines of the server's log.
    Run again, it finds what is there and goes on from it.

    Args:
        rollout: The steps of the rollout with requests, failures and latency.
        objects: What was applied, as YAML: the cluster's objects, or the local process.
        model: The model: models:/name/version, models:/name@alias (resolved to a fixed version), a folder,
            gs:// or s3://.
        name: Name to serve it under; empty is the registered name, else the folder's.
        target: kserve, local (a process of this machine), or auto: KServe in a pod of a cluster, and local
            elsewhere.
        alias: Alias of the registered model that moves to the version once it has all traffic; empty moves
            none.
        canary_steps: Shares of the traffic in percent as a JSON list that ends with 100. The first version of
            a model goes to 100 at once.
        step_seconds: How long each share is watched; 0 is 60 on a cluster and 5 on a laptop.
        min_requests: Requests that each share is judged by, at least. What is missing is made up with the
            recorded examples.
        max_error_rate: Share of the requests that may fail, 0 to below 1. The share of those refused as bad
            may be this much higher than with the version before.
        max_latency_ms: Milliseconds that 99 of 100 requests must be answered in; 0 is no limit.
        max_slowdown: How many times as long as with the version before 99 of 100 requests may take; 0 is no
            limit.
        ready_timeout: Seconds in which the new version must be ready.
        wait_seconds: Seconds to wait for another rollout of the same model before this one is refused.
        keep_running: Whether a server that was started on a laptop goes on after the step.
        port: Port of a server that is started on a laptop; 0 is that of the one before, or a free one.
        server_arguments: Further flags of the server, such as --log=s3://bucket/predictions.
        namespace: Namespace of the InferenceService; empty is the pod's own.
        service_account: Service account of its pods, for storage; empty is the namespace's default.
        cpu: Cores that a pod is promised, such as 500m; empty is the profile's.
        memory: Memory of a pod, such as 2Gi; empty is the profile's.
        gpus: GPUs of a pod; 0 is the profile's.
        min_replicas: Fewest pods; 0 lets Knative take all down while nobody asks.
        max_replicas: Most pods.
        scale_metric: What is scaled by: concurrency or rps with Knative, cpu or memory without; empty is
            KServe's choice.
        scale_target: The metric's value that is held; 0 is KServe's own.
        request_timeout: Seconds that a request may take on the cluster.
        payload_logger: URL that KServe's own logger sends requests and answers to; empty is none.
        runtime: Name of the ServingRuntime or ClusterServingRuntime.
        kserve_mode: Standard or Knative; empty is the cluster's default.
        gateway: Without Knative, the Gateway of the route that splits the traffic, as namespace/name.
        host: Without Knative, the host name that clients ask that route for; empty makes no route.
        run_id: The pipeline run, named to another rollout that is kept out meanwhile.

    Returns:
        url: Where the model is served.
        model_version: The version that is served now.
        previous_version: The version that was served before; empty where none was.

    Raises:
        RolloutError: The new version is not ready in time, gives other outputs than recorded, or breaks a
            limit; or another rollout is under way.
        ServingError: It is no model, is not whole, or has no input example to be tested with.
        ParameterError: A parameter is of the wrong form or out of range.
        RegistryError: There is no such model, version or alias.
        ClusterError: Kubernetes cannot be reached or refuses, or KServe is not installed.
        TrackingError: MLflow cannot be reached, or in a pod none is configured.
        StorageError: The model's files cannot be read, or the disk is full.
    """
    from kfp_lifecycle.components.serve.step import serve_step

    return serve_step(
        rollout=rollout,
        objects=objects,
        model=model,
        name=name,
        target=target,
        alias=alias,
        canary_steps=canary_steps,
        step_seconds=step_seconds,
        min_requests=min_requests,
        max_error_rate=max_error_rate,
        max_latency_ms=max_latency_ms,
        max_slowdown=max_slowdown,
        ready_timeout=ready_timeout,
        wait_seconds=wait_seconds,
        keep_running=keep_running,
        port=port,
        server_arguments=server_arguments,
        namespace=namespace,
        service_account=service_account,
        cpu=cpu,
        memory=memory,
        gpus=gpus,
        min_replicas=min_replicas,
        max_replicas=max_replicas,
        scale_metric=scale_metric,
        scale_target=scale_target,
        request_timeout=request_timeout,
        payload_logger=payload_logger,
        runtime=runtime,
        kserve_mode=kserve_mode,
        gateway=gateway,
        host=host,
        run_id=run_id,
    )
