"""What kfp.local refuses, leaves out or gets wrong without a word, found in a compiled file before it is run.

Each check is held against the real kfp.local in tests/runner/test_traps.py. Not here is what
:mod:`kfp_lifecycle.runner.hooks` makes right.
"""

import os
import re
from collections.abc import Callable, Collection, Container, Iterator
from dataclasses import dataclass
from enum import StrEnum

from kfp_lifecycle.compiler.spec import Spec, artifacts, component_of, executors, parameters, task_parameters
from kfp_lifecycle.runner.errors import PipelineFileError
from kfp_lifecycle.runner.load import RunnableFile


class Severity(StrEnum):
    """``ERROR``: the run would fail or be wrong. ``NOTE``: something that a cluster does is left out here."""

    ERROR = "error"
    NOTE = "note"


@dataclass(frozen=True)
class Finding:
    """One trap in a compiled file.

    Args:
        trap: Which one, a stable name: the lint rules of compiler/lint/local.py know them by it.
        severity: Whether the file cannot be run, or its user should know.
        task: Name of the task; empty where the whole file is meant.
        problem: What kfp.local does with it.
        fix: What to do.
    """

    trap: str
    severity: Severity
    task: str
    problem: str
    fix: str


@dataclass(frozen=True)
class _Task:
    """A task, the component that it runs, and the component whose graph it stands in."""

    name: str
    task: Spec
    component: Spec
    parent: Spec

    @property
    def loops(self) -> bool:
        return "parameterIterator" in self.task or "artifactIterator" in self.task


def check(
    compiled: RunnableFile, given: Collection[str] = (), variables: Container[str] | None = os.environ
) -> list[Finding]:
    """Every trap in ``compiled``, errors first.

    Args:
        compiled: The file to be run.
        given: Names of the parameters that the run is given: a default None harms only who relies on it.
        variables: The environment variables that a run would have; None where that is not known.
    """
    tasks = list(_tasks(compiled.spec))
    found = [finding for rule in _TASK_RULES for task in tasks for finding in rule(compiled, task)]
    found += _input_findings(compiled, given)
    found += _resource_findings(compiled, tasks)
    found += _kubernetes_findings(compiled, tasks, variables)
    return sorted(dict.fromkeys(found), key=lambda finding: finding.severity)


def refuse(findings: Collection[Finding]) -> None:
    """Raises ``PipelineFileError`` if there is an error among ``findings``."""
    errors = [f"{f.problem} {f.fix}" for f in findings if f.severity is Severity.ERROR]
    if errors:
        raise PipelineFileError(f"This file cannot be run locally: {' '.join(errors)}")


def _tasks(spec: Spec) -> Iterator[_Task]:
    for parent in (spec["root"], *spec["components"].values()):
        for name, task in parent.get("dag", {}).get("tasks", {}).items():
            yield _Task(name, task, component_of(spec, task), parent)


def _error(trap: str, task: _Task, problem: str, fix: str) -> Finding:
    return Finding(trap, Severity.ERROR, task.name, f"Task {task.name!r} {problem}", fix)


def _container(compiled: RunnableFile, task: _Task) -> Iterator[Finding]:
    container = executors(compiled.spec).get(task.component.get("executorLabel", ""), {}).get("container")
    if container is None:
        return
    command = [str(part) for part in (*container.get("command", []), *container.get("args", []))]
    if not any("kfp.dsl.executor_main" in part for part in command):
        yield _error(
            "container-component",
            task,
            "is a container component; a local run without containers has only Python components.",
            "Run the pipeline on a cluster, or make it a @dsl.component.",
        )
    elif command[:3] == ["python3", "-m", "kfp.dsl.executor_main"]:
        yield _error(
            "containerized-component",
            task,
            "is a containerized Python component (it has a target_image), whose code is only in its image.",
            "Run the pipeline on a cluster, or leave target_image out.",
        )
    packages = [part for part in command[:-1] if "pip install" in part]
    if packages and len(command) > 1:
        yield Finding(
            "installs-packages",
            Severity.NOTE,
            task.name,
            f"Task {task.name!r} installs packages into the environment that this command runs in.",
            "To prevent it, set install_kfp_package=False and leave packages_to_install out.",
        )


def _nested_with_artifact(compiled: RunnableFile, task: _Task) -> Iterator[Finding]:
    inputs = task.task.get("inputs", {})
    if (
        "dag" in task.component
        and not task.loops
        and inputs.get("artifacts")
        and not inputs.get("parameters")
    ):
        yield _error(
            "nested-artifact",
            task,
            "is a nested pipeline that takes artifacts and no parameter: kfp.local loses the artifacts.",
            "Give it a parameter too, or call its components directly.",
        )


def _one_of_artifacts(compiled: RunnableFile, task: _Task) -> Iterator[Finding]:
    outputs = task.component.get("dag", {}).get("outputs", {}).get("artifacts", {})
    if any(len(selector.get("artifactSelectors", [])) > 1 for selector in outputs.values()):
        yield _error(
            "one-of-artifacts",
            task,
            "gives a dsl.OneOf of artifacts, which kfp.local cannot choose from.",
            "Use dsl.OneOf of parameters, or let each branch go on by itself.",
        )


def _loop_over_named_output(compiled: RunnableFile, task: _Task) -> Iterator[Finding]:
    items = task.task.get("parameterIterator", {}).get("items", {}).get("inputParameter", "")
    key = task_parameters(task.task).get(items, {}).get("taskOutputParameter", {}).get("outputParameterKey")
    if key not in (None, "Output"):
        yield _error(
            "loop-over-named-output",
            task,
            f"loops over the named output {key!r}; kfp.local finds only a component's single output.",
            "Let the component return just that list.",
        )


def _lost_in_loop(compiled: RunnableFile, task: _Task) -> Iterator[Finding]:
    """Values from outside a loop that kfp.local replaces by the loop's item, without a word."""
    iterator = task.task.get("parameterIterator")
    if iterator is None:
        return
    items = iterator.get("items", {}).get("inputParameter", "")
    for name, source in task_parameters(task.task).items():
        if name == items and not _reads(task.component, name):
            continue
        if (output := source.get("taskOutputParameter")) is not None:
            value = f"the output {output.get('outputParameterKey')!r} of {output.get('producerTask')!r}"
        elif str(source.get("componentInputParameter", "")).endswith("-loop-item"):
            value = "the item of an outer loop"
        else:
            continue
        yield _error(
            "value-lost-in-loop",
            task,
            f"uses {value} inside the loop; kfp.local puts the loop's own item in its place, without a word.",
            "Pass it as an artifact or a pipeline parameter, or put it into the items of the loop.",
        )


def _reads(component: Spec, name: str) -> bool:
    """Whether anything in a component's graph takes its input ``name``."""
    tasks = component.get("dag", {}).get("tasks", {}).values()
    return any(
        source.get("componentInputParameter") == name
        for task in tasks
        for source in task_parameters(task).values()
    )


def _condition_on_named_output(compiled: RunnableFile, task: _Task) -> Iterator[Finding]:
    condition = task.task.get("triggerPolicy", {}).get("condition", "")
    for name in re.findall(r"parameter_values\['([^']+)'\]", condition):
        key = (
            task_parameters(task.task).get(name, {}).get("taskOutputParameter", {}).get("outputParameterKey")
        )
        if key not in (None, "Output"):
            yield _error(
                "condition-on-named-output",
                task,
                f"is a dsl.If without Else on the named output {key!r}: kfp.local skips it without a word.",
                "Add a dsl.Else, or let the component return just that value.",
            )


def _dangling(compiled: RunnableFile, task: _Task) -> Iterator[Finding]:
    known = parameters(task.parent, "inputDefinitions")
    for source in task_parameters(task.task).values():
        name = source.get("componentInputParameter")
        if name is not None and name not in known:
            yield _error(
                "dangling-input",
                task,
                f"takes {name!r}, which nothing around it has: so KFP compiles a text of two loops' items.",
                "Build the text in a component that takes both items.",
            )


def _none_default(compiled: RunnableFile, task: _Task) -> Iterator[Finding]:
    """KFP compiles a default None to no value at all, and kfp.local then looks for one."""
    nested = "dag" in task.component
    for name, parameter in parameters(task.component, "inputDefinitions").items():
        bad = nested or parameter.get("parameterType") == "NUMBER_INTEGER"
        empty = parameter.get("isOptional") and "defaultValue" not in parameter
        if bad and empty and name not in task_parameters(task.task):
            yield _error(
                "none-default",
                task,
                f"leaves {name!r} at None, which kfp.local cannot pass on.",
                "Give it a value.",
            )


def _remote_import(compiled: RunnableFile, task: _Task) -> Iterator[Finding]:
    importer = executors(compiled.spec).get(task.component.get("executorLabel", ""), {}).get("importer", {})
    uri = str(importer.get("artifactUri", {}).get("constant", ""))
    if re.match(r"(gs|s3|minio)://", uri):
        yield Finding(
            "remote-import",
            Severity.NOTE,
            task.name,
            f"Task {task.name!r} imports {uri}, which is not downloaded here.",
            "A step can read its uri, but not its path.",
        )


_Rule = Callable[[RunnableFile, _Task], Iterator[Finding]]

_TASK_RULES: tuple[_Rule, ...] = (
    _container,
    _nested_with_artifact,
    _one_of_artifacts,
    _loop_over_named_output,
    _lost_in_loop,
    _condition_on_named_output,
    _dangling,
    _none_default,
    _remote_import,
)


def _input_findings(compiled: RunnableFile, given: Collection[str]) -> Iterator[Finding]:
    root = compiled.spec["root"]
    for name, artifact in artifacts(root, "inputDefinitions").items():
        if not artifact.get("isOptional"):
            yield Finding(
                "artifact-input",
                Severity.ERROR,
                "",
                f"{compiled.name} takes the artifact {name!r}, which a local run cannot be given.",
                "Run a pipeline that makes it in an earlier step.",
            )
    for name, parameter in compiled.inputs.items():
        if parameter.get("isOptional") and "defaultValue" not in parameter and name not in given:
            yield Finding(
                "none-default",
                Severity.ERROR,
                "",
                f"Parameter {name!r} has the default None, which kfp.local cannot pass on.",
                f"Give it: -p {name}=VALUE.",
            )


def _resource_findings(compiled: RunnableFile, tasks: list[_Task]) -> Iterator[Finding]:
    # A request only tells a cluster's scheduler where a pod fits.
    having = {
        label
        for label, executor in executors(compiled.spec).items()
        if any("Request" not in key for key in executor.get("container", {}).get("resources", {}))
    }
    names = sorted(task.name for task in tasks if task.component.get("executorLabel") in having)
    if names:
        yield Finding(
            "settings-without-effect",
            Severity.NOTE,
            names[0],
            f"CPU, memory and accelerator limits have no effect here ({', '.join(names)}).",
            "A step takes what this machine has.",
        )


_SHELL = "Set the variables in your shell."
_FILES = "A step sees the files of this machine."

#: What to do without a Kubernetes setting that a step may need.
_WITHOUT = {
    "secretAsEnv": _SHELL,
    "configMapAsEnv": _SHELL,
    "fieldPathAsEnv": _SHELL,
    "secretAsVolume": _FILES,
    "configMapAsVolume": _FILES,
    "pvcMount": _FILES,
    "emptyDirMounts": _FILES,
    "genericEphemeralVolume": _FILES,
}


def _kubernetes_findings(
    compiled: RunnableFile, tasks: list[_Task], known: Container[str] | None
) -> Iterator[Finding]:
    labels = {task.component.get("executorLabel", ""): task.name for task in tasks}
    kubernetes = compiled.platform.get("platforms", {}).get("kubernetes", {})
    settings = kubernetes.get("deploymentSpec", {}).get("executors", {})
    for fix in ("", _FILES, _SHELL):
        having = {
            label: [key for key in sorted(setting) if _WITHOUT.get(key, "") == fix]
            for label, setting in settings.items()
        }
        names = sorted(labels.get(label, label) for label, keys in having.items() if keys)
        keys = sorted({key for keys in having.values() for key in keys})
        wanted = {n for label, ks in having.items() for k in ks for n in _variables(settings[label][k])}
        missing = sorted(name for name in wanted if known is not None and name not in known)
        unset = f"; not set: {', '.join(missing)}" if missing else ""
        if names:
            problem = (
                f"Kubernetes settings have no effect here: {', '.join(keys)} ({', '.join(names)}){unset}."
            )
            yield Finding("settings-without-effect", Severity.NOTE, names[0], problem, fix)


def _variables(setting: object) -> Iterator[str]:
    """The environment variables that a secret or config map would set."""
    if isinstance(setting, dict):
        for key, value in setting.items():
            if (
                key in ("envVar", "name")
                and isinstance(value, str)
                and re.fullmatch(r"[A-Z][A-Z0-9_]*", value)
            ):
                yield value
            yield from _variables(value)
    elif isinstance(setting, list):
        for item in setting:
            yield from _variables(item)
