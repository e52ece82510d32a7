"""The templates of generated documents and scaffolds."""

import functools
import json
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined


def render(template: str, **values: Any) -> str:
    """The text of a template in ``compiler/templates``; ends in one line end."""
    return _environment().get_template(template).render(**values).strip("\n") + "\n"


@functools.cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # Markdown and Python, not HTML
    )
    environment.filters |= {"cell": _cell, "code": _code, "default_cell": _default_cell}
    return environment


def _cell(text: str) -> str:
    """Text inside a Markdown table: one line, no column breaks, no HTML."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")


def _code(text: str) -> str:
    return f"`{text}`"


def _default_cell(item: dict[str, Any]) -> str:
    if item["required"]:
        return "**required**"
    return _code(json.dumps(item["default"]).replace("|", "\\|")) if "default" in item else ""
