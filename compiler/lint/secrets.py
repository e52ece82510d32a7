"""KL4: secrets written into the file."""

import json
import re
from collections.abc import Iterator
from typing import Any

from kfp_lifecycle.compiler.ir import Pipeline
from kfp_lifecycle.compiler.lint.rule import Hit, Options, Severity, rule
from kfp_lifecycle.compiler.lint.server import constants
from kfp_lifecycle.compiler.safe_yaml import Map, texts
from kfp_lifecycle.compiler.text import shown

#: What a text must hold to be worth matching, the pattern, and what it is. Every repetition is bounded.
_TOKENS = [
    (("AKIA", "ASIA"), r"\b(AKIA|ASIA)[0-9A-Z]{16}\b", "an AWS access key"),
    (("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), r"\bgh[pousr]_[A-Za-z0-9]{36}", "a GitHub token"),
    (("github_pat_",), r"\bgithub_pat_[A-Za-z0-9_]{60}", "a GitHub token"),
    (("glpat-",), r"\bglpat-[A-Za-z0-9_-]{20}", "a GitLab token"),
    (("xox",), r"\bxox[abeprs]-[A-Za-z0-9-]{10}", "a Slack token"),
    (("AIza",), r"\bAIza[0-9A-Za-z_-]{35}", "a Google API key"),
    (("hf_",), r"\bhf_[A-Za-z0-9]{30}", "a Hugging Face token"),
    (("sk-",), r"\bsk-[A-Za-z0-9_-]{32}", "an API key"),
    (("pypi-AgEI",), r"\bpypi-AgEI[A-Za-z0-9_-]{20}", "a PyPI token"),
    (("PRIVATE KEY-----",), r"-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----", "a private key"),
    (("eyJ",), r"\beyJ[A-Za-z0-9_-]{10,200}\.eyJ[A-Za-z0-9_-]{10}", "a JSON web token"),
    (("://",), r"://[^/\s:@\"'{}<>$]{1,60}:[^/\s:@\"'{}<>$]{1,100}@[A-Za-z0-9]", "a password in a URL"),
]
_PATTERNS = [(starts, re.compile(pattern), what) for starts, pattern, what in _TOKENS]

_WORDS = r"password|passwd|secret|token|api_?key|access_?key|secret_?key|private_?key|credentials?"
#: A name that ends in one of these words names a secret; token_column or secret_name do not.
_SECRET_NAME = re.compile(rf"(^|.*[^a-z])({_WORDS})", re.I)
#: An assignment of a literal to such a name, in code or in a command.
_ASSIGNED = re.compile(
    rf"({_WORDS})[a-z0-9_]{{0,3}}[\"']?\s{{0,4}}[=:]\s{{0,4}}[\"'][^\"'\s{{}}$<>]{{8,200}}[\"']", re.I
)
_NO_LITERAL = re.compile(r"\{\{|\$|<.*>$|(none|null|true|false|auto|default|[a-z]+://[^@]*)$", re.I)

#: A text longer than this is in no pipeline that a server takes.
_LONGEST = 200_000


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
            if _names_secret(port.name) and _is_literal(port.data.get("defaultValue")):
                said = f"The default of {shown(port.name)} looks like a secret."
                yield Hit(port.line, said, component.place)
    for task in pipeline.tasks:
        for name, value, line in constants(task):
            if _names_secret(name) and _is_literal(value):
                yield Hit(line, f"Its input {shown(name)} is given what looks like a secret.", task.place)
    for task, executor in pipeline.pod_tasks:
        for variable in (executor.container or Map()).get("env", []):
            if _names_secret(variable.get("name", "")) and _is_literal(variable.get("value")):
                said = f"The variable {shown(variable['name'])} is given what looks like a secret."
                yield Hit(variable.line, said, task.place)


def _by_value(pipeline: Pipeline) -> Iterator[Hit]:
    for document in (pipeline.file.spec, pipeline.file.platform):
        for place, text in texts(document):
            if (what := secret_in(text)) is not None:
                yield Hit(place.line, f"{place} holds {what}.")
            elif _ASSIGNED.search(text[:_LONGEST]):
                said = f"{place} gives a literal to a name that is a secret's."
                yield Hit(place.line, said, severity=Severity.WARNING)


def secret_in(text: str) -> str | None:
    """What kind of secret a text holds, by its form; None where none is seen."""
    for starts, pattern, what in _PATTERNS:
        if any(start in text for start in starts) and pattern.search(text[:_LONGEST]):
            return what
    return None


def hidden(name: str, value: Any) -> str:
    """``value`` as text for a message: stars where it looks like a secret."""
    text = value if isinstance(value, str) else json.dumps(value)
    if secret_in(text) or (_names_secret(name) and _is_literal(value)):
        return "***"
    return text


def _names_secret(name: str) -> bool:
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name[:200])
    return _SECRET_NAME.fullmatch(snake) is not None


def _is_literal(value: Any) -> bool:
    """Whether a value is a text, and no placeholder, no URI and no word that says there is none."""
    return isinstance(value, str) and len(value) > 3 and not _NO_LITERAL.match(value[:200])
