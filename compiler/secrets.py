"""Telling a secret by its form or by its name."""

import json
import re
from typing import Any

#: What a text must hold to be worth matching, the pattern, and what it is. Every repetition is bounded.
_TOKENS = [
    (("AKIA", "ASIA"), r"\b(AKIA|ASIA)[0-9A-Z]{16}\b", "an AWS access key"),
    (("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), r"\bgh[pousr]_[A-Za-z0-9]{36}", "a GitHub token"),
    (("github_pat_",), r"\bgithub_pat_[A-Za-z0-9_]{60}", "a GitHub token"),
    (("glpat-",), r"\bglpat-[A-Za-z0-9_-]{20}", "a GitLab token"),
    (("xox",), r"\bxox[abeprs]-[A-Za-z0-9-]{10}", "a Slack token"),
    (("AIza",), r"\bAIza[0-9A-Za-z_-]{35}", "a Google API key"),
    (("hf_",), r"\bhf_[A-Za-z0-9]{30}", "a Hugging Face token"),
    (("sk-",), r"\bsk-([a-z]{2,8}-)?[A-Za-z0-9]{32}", "an API key"),
    (("pypi-AgEI",), r"\bpypi-AgEI[A-Za-z0-9_-]{20}", "a PyPI token"),
    (("PRIVATE KEY-----",), r"-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----", "a private key"),
    (("eyJ",), r"\beyJ[A-Za-z0-9_-]{10,200}\.eyJ[A-Za-z0-9_-]{10}", "a JSON web token"),
    (("://",), r"://[^/\s:@\"'{}<>$]{1,60}:[^/\s:@\"'{}<>$]{1,100}@[A-Za-z0-9]", "a password in a URL"),
]
_SIGNS = ("password", "passwd", "secret", "token", "key", "credential")
_WORDS = r"password|passwd|secret|token|api_?key|access_?key|secret_?key|private_?key|credentials?"
#: A name that ends in one of these words names a secret. token_column and secret_name do not, nor does
#: secret alone, which in Kubernetes is the name of one.
_SECRET_NAME = rf"(^|[^a-z])(?!secret$)({_WORDS})$|[^a-z]secret$"
#: An assignment of a literal to such a name, in code or in a command.
_ASSIGNED = rf"({_WORDS})[a-z0-9_]{{0,3}}[\"']?\s{{0,4}}[=:]\s{{0,4}}[\"'][^\"'\s{{}}$<>]{{8,200}}[\"']"
_NO_LITERAL = r"\{\{|\$|<.*>$|(none|null|true|false|auto|default|[a-z]+://[^@]*)$"

#: A text longer than this is in no pipeline that a server takes; none of the above is shorter.
_LONGEST, _SHORTEST = 200_000, 8


def secret_in(text: str) -> str | None:
    """What kind of secret a text holds, by its form; None where none is seen."""
    if len(text) < _SHORTEST:
        return None
    for starts, pattern, what in _TOKENS:
        # Patterns are compiled when they are first needed: most files need none.
        if any(start in text for start in starts) and re.search(pattern, text[:_LONGEST]):
            return what
    return None


def assigns_secret(text: str) -> bool:
    """Whether a text, such as code or a command, gives a literal to a name that is a secret's."""
    if len(text) < _SHORTEST:
        return False
    lower = text[:_LONGEST].lower()
    return any(sign in lower for sign in _SIGNS) and re.search(_ASSIGNED, lower) is not None


def hidden(name: str, value: Any) -> str:
    """``value`` as text for a message: stars where it looks like a secret."""
    text = value if isinstance(value, str) else json.dumps(value)
    if secret_in(text) or (names_secret(name) and is_literal(value)):
        return "***"
    return text


def names_secret(name: str) -> bool:
    """Whether a name, of an input or a variable, says that its value is a secret."""
    if not any(sign in name.lower() for sign in _SIGNS):
        return False
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name[-200:])
    return re.search(_SECRET_NAME, snake.lower()) is not None


def is_literal(value: Any) -> bool:
    """Whether a value is a text, and no placeholder, no URI and no word that says there is none."""
    return isinstance(value, str) and len(value) > 3 and not re.match(_NO_LITERAL, value[:200].lower())
