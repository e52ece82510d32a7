"""Lists as the server gives them: filtered, sorted, in pages."""

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

from tests.kfp_server.errors import invalid

Item = dict[str, Any]

DEFAULT_PAGE, MOST = 20, 200

_OPERATIONS = {
    1: "EQUALS",
    2: "NOT_EQUALS",
    3: "GREATER_THAN",
    5: "GREATER_THAN_EQUALS",
    6: "LESS_THAN",
    7: "LESS_THAN_EQUALS",
    8: "IN",
    9: "IS_SUBSTRING",
}
_TESTS = {
    "EQUALS": lambda a, b: a == b,
    "NOT_EQUALS": lambda a, b: a != b,
    "GREATER_THAN": lambda a, b: a > b,
    "GREATER_THAN_EQUALS": lambda a, b: a >= b,
    "LESS_THAN": lambda a, b: a < b,
    "LESS_THAN_EQUALS": lambda a, b: a <= b,
    "IN": lambda a, b: a in b,
    # MySQL compares text without regard to case.
    "IS_SUBSTRING": lambda a, b: b.lower() in a.lower(),
}


def page(
    items: Sequence[Item], query: Mapping[str, str], fields: Sequence[str]
) -> tuple[list[Item], str, int]:
    """The page that ``query`` asks for, the token of the next one, and how many there are in all."""
    wanted = {key: query.get(key, "") for key in ("sort_by", "filter")}
    start = 0
    if token := query.get("page_token", ""):
        start, wanted_then = _read_token(token)
        # The server takes sort and filter from the token, and refuses others beside it.
        for key, value in wanted.items():
            if value and value != wanted_then[key]:
                raise invalid(f"page token does not match the supplied {key}")
        wanted = wanted_then
    size = _size(query.get("page_size", ""))
    found = [item for item in items if _holds(item, wanted["filter"], fields)]
    found = _sorted(found, wanted["sort_by"], fields)
    end = start + size
    following = _token(end, wanted) if end < len(found) else ""
    return found[start:end], following, len(found)


def _size(text: str) -> int:
    if not text or text == "0":
        return DEFAULT_PAGE
    if not text.lstrip("-").isdigit() or int(text) < 0:
        raise invalid("The page size should be greater than 0. Got " + text)
    return min(int(text), MOST)


def _token(start: int, wanted: Mapping[str, str]) -> str:
    return base64.b64encode(json.dumps([start, dict(wanted)]).encode()).decode()


def _read_token(token: str) -> tuple[int, dict[str, str]]:
    try:
        start, wanted = json.loads(base64.b64decode(token, validate=True))
        return int(start), dict(wanted)
    except ValueError as error:
        raise invalid(f"Invalid package token: {error}") from None


def _sorted(items: list[Item], sort_by: str, fields: Sequence[str]) -> list[Item]:
    words = sort_by.split()
    if len(words) > 2 or (len(words) == 2 and words[1] not in ("asc", "desc")):
        raise invalid(f"Received invalid sort by format {sort_by!r}")
    key = words[0] if words else "created_at"
    if key not in fields:
        raise invalid(f"Invalid sorting field: {key!r}")
    ordered = sorted(items, key=lambda item: str(item.get(key, "")))
    return ordered[::-1] if words[1:] == ["desc"] else ordered


def _holds(item: Item, text: str, fields: Sequence[str]) -> bool:
    if not text:
        return True
    try:
        predicates = json.loads(text).get("predicates", [])
    except (ValueError, AttributeError) as error:
        raise invalid(f"Failed to parse the filter: {error}") from None
    return all(_one(item, predicate, fields) for predicate in predicates)


def _one(item: Item, predicate: Item, fields: Sequence[str]) -> bool:
    key, operation = predicate.get("key"), predicate.get("operation")
    operation = _OPERATIONS.get(operation, operation) if isinstance(operation, int) else operation
    if key not in fields:
        raise invalid(f"no support for filtering on unrecognized field {key!r}")
    if operation not in _TESTS:
        raise invalid(f"invalid operation {operation!r}")
    values = {
        name.replace("_", "").lower(): value
        for name, value in predicate.items()
        if name not in ("key", "operation")
    }
    if len(values) != 1:
        raise invalid("a predicate needs exactly one value")
    kind, value = values.popitem()
    value = value.get("values", []) if kind.endswith("values") else value
    return bool(_TESTS[operation](item.get(key, ""), value))
