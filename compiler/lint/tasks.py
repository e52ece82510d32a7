"""KL5: what each task that runs in a pod should say."""

from collections.abc import Iterator

from kfp_lifecycle.compiler.ir import Executor, Pipeline
from kfp_lifecycle.compiler.lint.images import DIGEST
from kfp_lifecycle.compiler.lint.rule import Hit, Options, Severity, rule
from kfp_lifecycle.compiler.text import shown


@rule(
    "KL501",
    "no-resources",
    Severity.WARNING,
    "A pod without requests or limits is put anywhere, evicted first, or takes its whole node.",
    "Set both: set_cpu_request or _limit, and set_memory_request or _limit.",
)
def _resources(pipeline: Pipeline, options: Options) -> Iterator[Hit]:
    for task, executor in pipeline.pod_tasks:
        missing = [kind for kind in ("CPU", "memory") if not _has_resource(executor, kind)]
        if missing:
            yield Hit(executor.line, f"It asks for no {' and no '.join(missing)}.", task.place)


def _has_resource(executor: Executor, kind: str) -> bool:
    name = kind.capitalize()
    keys = {
        f"resource{name}Limit",
        f"resource{name}Request",
        f"{kind.lower()}Limit",
        f"{kind.lower()}Request",
    }
    return any(executor.resources.get(key) for key in keys)


@rule(
    "KL502",
    "no-retry",
    Severity.WARNING,
    "A task without retries fails for good when its node goes away.",
    "Set task.set_retry(…), with backoff; 0 says that it must run once only.",
)
def _retry(pipeline: Pipeline, options: Options) -> Iterator[Hit]:
    for task, _ in pipeline.pod_tasks:
        if "retryPolicy" not in task.data and not task.parent.inherits_retry:
            yield Hit(task.line, "It has no retry policy.", task.place)


@rule(
    "KL503",
    "no-cache-decision",
    Severity.WARNING,
    "The SDK turns caching on where nothing is said, and the cache knows an image by its name alone.",
    "Say set_caching_options(False), or name the image by digest, so that other code is another key.",
)
def _cache(pipeline: Pipeline, options: Options) -> Iterator[Hit]:
    for task, executor in pipeline.pod_tasks:
        caching = task.data.get("cachingOptions")
        if caching is None:
            yield Hit(task.line, "It does not say whether it is cached.", task.place)
        elif caching.get("enableCache") and not DIGEST.search(executor.image):
            line = task.data.line_of("cachingOptions")
            yield Hit(line, "It is cached, as by default, by an image whose name has no digest.", task.place)


@rule(
    "KL504",
    "accelerator-without-toleration",
    Severity.WARNING,
    "Nodes with accelerators are tainted: without a toleration the pod stays pending.",
    "Add kfp.kubernetes.add_toleration(task, key=…).",
)
def _toleration(pipeline: Pipeline, options: Options) -> Iterator[Hit]:
    for task, executor in pipeline.pod_tasks:
        if executor.resources.get("accelerator") and not executor.kubernetes.get("tolerations"):
            yield Hit(executor.line_of("resources"), "It has an accelerator, but no toleration.", task.place)


@rule(
    "KL505",
    "accelerator-without-limit",
    Severity.ERROR,
    "Kubernetes gives a pod accelerators by a type and a count; with one of them it gets none.",
    "Set both: set_accelerator_type and set_accelerator_limit.",
)
def _limit(pipeline: Pipeline, options: Options) -> Iterator[Hit]:
    for task, executor in pipeline.pod_tasks:
        accelerator = executor.resources.get("accelerator")
        if accelerator is None:
            continue
        kind = accelerator.get("resourceType") or accelerator.get("type")
        count = accelerator.get("resourceCount") or accelerator.get("count")
        if not kind or str(count or "0") == "0":
            said = (
                f"It has an accelerator {shown(kind)} without a count."
                if kind
                else "Its accelerator has no type."
            )
            yield Hit(executor.line_of("resources"), said, task.place)
