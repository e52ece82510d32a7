"""Putting a profile's settings on the tasks of pipelines, through KFP's task API.

KFP builds a pipeline's spec while its module is imported, so that is when the settings must be made: each
task gets them as it is created. What the pipeline's code then says itself (``task.set_memory_limit``) comes
later, and wins.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from kfp_lifecycle.compiler.profiles.model import Images, Profile, Resources, Settings
from kfp_lifecycle.compiler.spec import Spec, executors

#: Name of the volume that is mounted as shared memory.
_SHARED_MEMORY = "shared-memory"
#: The components whose steps make pods themselves, and what says nothing about those.
_TUNER, _SERVER, _OF_STEPS = "katib-tune", "serve", ("retry", "cache")
#: Of a model server's pods moreover: they do not end, and have the model as their only data.
_OF_ROLLOUTS = ("timeout_seconds", "volumes", "shared_memory")


@dataclass
class Tracing:
    """What is known once pipelines were traced.

    Args:
        profile: What the tasks were given.
        components: The names of the components whose tasks were seen.
        cached: The images of those that the profile lets the cache answer for, by component.
        last: The task that was created last.
    """

    profile: Profile
    components: set[str] = field(default_factory=set)
    cached: dict[str, str] = field(default_factory=dict)
    last: Any = None

    def take(self, task: Any) -> None:
        """Gives a new task its settings. Graphs, importers and the server's own tasks need none."""
        self.last, name = task, task.component_spec.name
        self.components.add(name)
        if task.container_spec is None or str(task.container_spec.image).startswith("argostub/"):
            return
        # This check has nothing to find here, and reads the whole call stack for each setting: 90 ms.
        task._ensure_container_spec_exists = _nothing
        settings = self.profile.settings(name)
        if settings.cache:
            self.cached[name] = task.container_spec.image
        _settle(task, settings)
        if name == _TUNER:
            _tell_of_trials(task, self.profile)
        if name == _SERVER:
            _tell_of_predictors(task, self.profile)
        if _needs_kubernetes(settings, self.profile.images):
            _settle_pod(task, settings, self.profile.images)


@contextmanager
def applied(profile: Profile) -> Iterator[Tracing]:
    """Within the block, every task that KFP creates gets the profile's settings.

    Pipelines that were traced before are forgotten, so that importing them traces them again.
    """
    from kfp.dsl.pipeline_task import PipelineTask

    _forget_pipelines()
    tracing, original = Tracing(profile), PipelineTask.__init__

    def create(task: Any, *args: Any, **kwargs: Any) -> None:
        original(task, *args, **kwargs)
        tracing.take(task)

    PipelineTask.__init__ = create
    try:
        yield tracing
    finally:
        PipelineTask.__init__ = original


def _nothing() -> None:
    pass


def _forget_pipelines() -> None:
    from kfp.dsl.graph_component import GraphComponent

    for name, module in list(sys.modules.items()):
        values = list(getattr(module, "__dict__", {}).values())
        if any(type(v) is GraphComponent and v.pipeline_func.__module__ == name for v in values):
            del sys.modules[name]


def _settle(task: Any, settings: Settings) -> None:
    """What KFP itself knows."""
    resources = settings.resources or Resources()
    for kind, amounts in (("request", resources.requests), ("limit", resources.limits)):
        for what in ("cpu", "memory"):
            if amounts is not None and (amount := getattr(amounts, what)) is not None:
                getattr(task, f"set_{what}_{kind}")(amount)
    if settings.accelerator is not None:
        task.set_accelerator_type(settings.accelerator.type)
        task.set_accelerator_limit(settings.accelerator.count)
    for name, value in (settings.env or {}).items():
        task.set_env_variable(name, value)
    task.set_caching_options(bool(settings.cache))
    if settings.retry is not None:
        retry = settings.retry
        task.set_retry(retry.count, f"{retry.backoff_seconds}s", retry.factor, f"{retry.longest_seconds}s")


def _tell_of_trials(task: Any, profile: Profile) -> None:
    """Tells the step what the profile says of the pods that Katib makes for it, by the component they run."""
    from kfp_lifecycle.components.katib_tune.backend import TRAINERS
    from kfp_lifecycle.components.katib_tune.trial_job import PODS_VARIABLE

    pods = {trainer: _said_of_pods(profile, trainer) for trainer in TRAINERS}
    if any(pods.values()):
        task.set_env_variable(PODS_VARIABLE, json.dumps(pods, sort_keys=True))


def _tell_of_predictors(task: Any, profile: Profile) -> None:
    """Tells the step what the profile says of the pods that KServe makes for it."""
    from kfp_lifecycle.components.shared.pod_settings import PREDICTOR_PODS

    said = _said_of_pods(profile, _SERVER)
    if pods := {key: value for key, value in said.items() if key not in _OF_ROLLOUTS}:
        task.set_env_variable(PREDICTOR_PODS, json.dumps(pods, sort_keys=True))


def _said_of_pods(profile: Profile, component: str) -> dict[str, Any]:
    images = {"pull_policy": profile.images.pull_policy, "pull_secrets": profile.images.pull_secrets}
    said = _plain(asdict(profile.settings(component)) | images)
    return {key: value for key, value in said.items() if key not in _OF_STEPS}


def forget_pods(spec: Spec) -> None:
    """Takes what a step was told of the pods that it makes out of a component that is compiled alone.

    A pipeline that loads the component from its file makes a task of its own and tells that one; and KFP
    2.17 cannot compile a pipeline with a component from a file that has environment variables.
    """
    containers = [executor.get("container", {}) for executor in executors(spec).values()]
    for container in [container for container in containers if "env" in container]:
        from kfp_lifecycle.components.katib_tune.trial_job import PODS_VARIABLE
        from kfp_lifecycle.components.shared.pod_settings import PREDICTOR_PODS

        told = (PODS_VARIABLE, PREDICTOR_PODS)
        container["env"] = [variable for variable in container["env"] if variable["name"] not in told]
        if not container["env"]:
            del container["env"]


def _plain(value: Any) -> Any:
    """Without what is not said."""
    if isinstance(value, dict):
        found = {key: _plain(own) for key, own in value.items()}
        return {key: own for key, own in found.items() if own not in (None, {}, [], "")}
    return [_plain(own) for own in value] if isinstance(value, list | tuple) else value


def _needs_kubernetes(settings: Settings, images: Images) -> bool:
    return bool(
        settings.node_selector
        or settings.tolerations
        or settings.secrets
        or settings.volumes
        or settings.shared_memory
        or settings.timeout_seconds
        or settings.labels
        or settings.annotations
        or images.pull_policy
        or images.pull_secrets
    )


def _settle_pod(task: Any, settings: Settings, images: Images) -> None:
    """What only Kubernetes knows."""
    from kfp import kubernetes

    for key, value in (settings.node_selector or {}).items():
        kubernetes.add_node_selector(task, key, value)
    for t in settings.tolerations or ():
        kubernetes.add_toleration(task, t.key, t.operator, t.value, t.effect, t.seconds)
    for secret in settings.secrets or ():
        kubernetes.use_secret_as_env(task, secret.name, secret.env, secret.optional)
    for volume in settings.volumes or ():
        kubernetes.mount_pvc(task, volume.claim, volume.path, volume.sub_path)
    if settings.shared_memory is not None:
        kubernetes.empty_dir_mount(task, _SHARED_MEMORY, "/dev/shm", "Memory", settings.shared_memory)
    if settings.timeout_seconds is not None:
        kubernetes.set_timeout(task, settings.timeout_seconds)
    for key, value in (settings.labels or {}).items():
        kubernetes.add_pod_label(task, key, value)
    for key, value in (settings.annotations or {}).items():
        kubernetes.add_pod_annotation(task, key, value)
    if images.pull_policy is not None:
        kubernetes.set_image_pull_policy(task, images.pull_policy)
    if images.pull_secrets:
        kubernetes.set_image_pull_secrets(task, list(images.pull_secrets))


def run_settings(profile: Profile) -> dict[str, Any]:
    """What holds for a whole run, as the platform spec's ``pipelineConfig`` holds it."""
    from google.protobuf import json_format
    from kfp import dsl
    from kfp.compiler import pipeline_spec_builder
    from kfp.pipeline_spec import pipeline_spec_pb2

    config = dsl.PipelineConfig(
        ttl_seconds_after_finished=profile.run.ttl_seconds,
        active_deadline_seconds=profile.run.timeout_seconds,
    )
    platform = pipeline_spec_builder._merge_pipeline_config(config, pipeline_spec_pb2.PlatformSpec())
    plain: dict[str, Any] = json_format.MessageToDict(platform)
    found: dict[str, Any] = plain.get("platforms", {}).get("kubernetes", {}).get("pipelineConfig", {})
    return found
