"""Pipelines that use most of what KFP's SDK can write, for tests that want real compiled files."""

from collections.abc import Callable
from typing import Any

from kfp import dsl, kubernetes


@dsl.component(base_image="python:3.11")
def number(a: int, b: int = 2) -> int:
    return a + b


@dsl.component(base_image="python:3.11")
def numbers() -> list:
    return [1, 2]


@dsl.component(base_image="python:3.11")
def total(values: list) -> int:
    return sum(values)


@dsl.component(base_image="python:3.11")
def write(data: dsl.Output[dsl.Dataset], text: str = "x"):
    data.metadata["text"] = text


@dsl.component(base_image="python:3.11")
def read(data: dsl.Input[dsl.Dataset], metrics: dsl.Output[dsl.Metrics], n: int = 1) -> str:
    return data.uri


@dsl.component(base_image="python:3.11")
def report(status: dsl.PipelineTaskFinalStatus, text: str = "a"):
    print(status, text)


@dsl.container_component
def echo(text: str, out: dsl.OutputPath(str)):
    return dsl.ContainerSpec(image="alpine:3.19", command=["sh", "-c", "echo $0 > $1"], args=[text, out])


@dsl.pipeline
def plain(a: int = 1):
    task = number(a=a, b=3).set_cpu_limit("1").set_memory_limit("1G")
    task.set_retry(2, backoff_duration="30s").set_caching_options(True, cache_key="v1").set_display_name("n")


@dsl.pipeline
def loops(items: list = ["1", "2"]):  # noqa: B006
    with dsl.ParallelFor(items, parallelism=2) as item:
        echo(text=item)
        with dsl.ParallelFor(["a", "b"]) as letter:
            echo(text=letter)
    with dsl.ParallelFor([1, 2]) as item:
        one = number(a=item)
    total(values=dsl.Collected(one.output))


@dsl.pipeline
def branches(a: int = 1) -> str:
    with dsl.If(number(a=a).output == 3):
        one = echo(text="a")
    with dsl.Elif(a == 3):
        two = echo(text="b")
    with dsl.Else():
        three = echo(text="c")
    return dsl.OneOf(one.outputs["out"], two.outputs["out"], three.outputs["out"])


@dsl.pipeline
def exits(text: str = "q"):
    with dsl.ExitHandler(report(text=text), name="end"):
        made = write(text=f"hello {text} {dsl.PIPELINE_JOB_NAME_PLACEHOLDER}")
        read(data=made.outputs["data"]).after(made)
        write(text="at the end").after(made).ignore_upstream_failure()


@dsl.pipeline
def inner(data: dsl.Input[dsl.Dataset], k: int = 4) -> str:
    return read(data=data, n=k).outputs["Output"]


@dsl.pipeline
def outer(uri: str = "gs://bucket/x"):
    imported = dsl.importer(artifact_uri=uri, artifact_class=dsl.Dataset, metadata={"a": "b"})
    inner(data=imported.output, k=3)
    inner(data=imported.output)


@dsl.pipeline(
    pipeline_config=dsl.PipelineConfig(
        workspace=dsl.WorkspaceConfig(size="1Gi"), ttl_seconds_after_finished=60, active_deadline_seconds=600
    )
)
def cluster(secret: str = "name"):
    task = number(a=1).set_accelerator_type("nvidia.com/gpu").set_accelerator_limit(1)
    task.set_env_variable("A", "b")
    kubernetes.use_secret_as_env(task, secret, {"password": "PASSWORD"})
    kubernetes.use_secret_as_volume(task, "mounted", "/secret", optional=True)
    kubernetes.use_config_map_as_env(task, "map", {"key": "KEY"})
    kubernetes.use_config_map_as_volume(task, "map", "/map")
    kubernetes.use_field_path_as_env(task, "POD", "metadata.name")
    kubernetes.add_toleration(task, key="nvidia.com/gpu", operator="Exists", effect="NoSchedule")
    kubernetes.add_node_selector(task, "pool", "gpu")
    kubernetes.add_node_affinity(task, [{"key": "zone", "operator": "In", "values": ["a"]}])
    kubernetes.set_image_pull_policy(task, "Always")
    kubernetes.set_image_pull_secrets(task, ["pull"])
    kubernetes.set_timeout(task, 60)
    kubernetes.set_security_context(task, run_as_user=1000)
    kubernetes.add_pod_label(task, "team", "ml")
    kubernetes.add_pod_annotation(task, "why", "because")
    kubernetes.empty_dir_mount(task, "scratch", "/scratch", size_limit="1Gi")
    kubernetes.add_ephemeral_volume(task, "eph", "/eph", ["ReadWriteOnce"], "1Gi")
    claim = kubernetes.CreatePVC(
        pvc_name_suffix="-data", access_modes=["ReadWriteOnce"], size="1Gi", storage_class_name="standard"
    )
    user = number(a=2)
    kubernetes.mount_pvc(user, pvc_name=claim.outputs["name"], mount_path="/data", sub_path="a")
    kubernetes.DeletePVC(pvc_name=claim.outputs["name"]).after(user)


EXAMPLES: dict[str, Callable[..., Any]] = {
    "plain": plain,
    "loops": loops,
    "branches": branches,
    "exits": exits,
    "outer": outer,
    "cluster": cluster,
    "component": number,
}
