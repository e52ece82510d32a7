"""The steps that a compiled file will run, as far as the file alone tells."""

import re
from collections.abc import Iterator

from kfp_lifecycle.compiler.spec import Spec, component_of, in_order
from kfp_lifecycle.runner.events import Step

#: Tasks that KFP makes of dsl.If, dsl.ParallelFor and dsl.ExitHandler; nobody has given them these names.
_GROUP = re.compile(r"(condition|condition-branches|for-loop|exit-handler)-\d+")


def plan(spec: Spec) -> list[Step]:
    """Every step of ``spec``, each after those it depends on; one for all the items of a loop."""
    return list(_steps(spec, spec["root"], (), (), False))


def _steps(
    spec: Spec, component: Spec, path: tuple[str, ...], conditions: tuple[str, ...], in_loop: bool
) -> Iterator[Step]:
    for name, task in in_order(component["dag"]):
        inner = component_of(spec, task)
        condition = task.get("triggerPolicy", {}).get("condition")
        around = (*conditions, condition) if condition else conditions
        if "dag" in inner:
            shown = path if _GROUP.fullmatch(name) else (*path, name)
            loops = in_loop or "parameterIterator" in task or "artifactIterator" in task
            yield from _steps(spec, inner, shown, around, loops)
        else:
            retries = int(task.get("retryPolicy", {}).get("maxRetryCount", 0))
            reference = str(task.get("componentRef", {}).get("name", ""))
            yield Step(" / ".join((*path, name)), name, reference, in_loop, around, retries)
