"""KL4: secrets written into the file."""

from collections.abc import Iterator

from kfp_lifecycle.compiler.ir import Pipeline
from kfp_lifecycle.compiler.lint.rule import Hit, Options, Severity, rule
from kfp_lifecycle.compiler.lint.server import constants
from kfp_lifecycle.compiler.safe_yaml import Map, texts
from kfp_lifecycle.compiler.secrets import assigns_secret, is_literal, names_secret, secret_in
from kfp_lifecycle.compiler.text import shown


@rule(
    "KL401",
    "secret-literal",
    Severity.ERROR,
    "Whoever can read the file, the run or the database can read a secret that is written into it.",
    "Keep it in a Kubernetes Secret (kfp.kubernetes.use_secret_as_env), and revoke the one that was written.",
)
def _secrets(pipeline: Pipeline, options: Options) -> Iterator[Hit]:
    yield from _by_value(pipeline)
    for component in pipeline.all_components:
        for port in component.inputs.values():
            if names_secret(port.name) and is_literal(port.data.get("defaultValue")):
                said = f"The default of {shown(port.name)} looks like a secret."
                yield Hit(port.line, said, component.place)
    for task in pipeline.tasks:
        for name, value, line in constants(task):
            if names_secret(name) and is_literal(value):
                yield Hit(line, f"Its input {shown(name)} is given what looks like a secret.", task.place)
    for task, executor in pipeline.pod_tasks:
        for variable in (executor.container or Map()).get("env", []):
            if names_secret(variable.get("name", "")) and is_literal(variable.get("value")):
                said = f"The variable {shown(variable['name'])} is given what looks like a secret."
                yield Hit(variable.line, said, task.place)


def _by_value(pipeline: Pipeline) -> Iterator[Hit]:
    for document in (pipeline.file.spec, pipeline.file.platform):
        for place, text in texts(document):
            if (what := secret_in(text)) is not None:
                yield Hit(place.line, f"{place} holds {what}.")
            elif assigns_secret(text):
                said = f"{place} gives a literal to a name that is a secret's."
                yield Hit(place.line, said, severity=Severity.WARNING)
