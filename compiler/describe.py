"""Descriptions that the Kubeflow UI shows and Python alone does not give.

KFP takes a parameter's description from the function's docstring. Two things are missing then: a pipeline
parameter that goes straight to a component would have to repeat that component's text, and the
descriptions of output artifacts are dropped.
"""

from collections.abc import Mapping

from kfp_lifecycle.compiler.discover import Definition
from kfp_lifecycle.compiler.spec import Spec, component_of, in_order

GROUPS = (
    ("inputDefinitions", "parameters"),
    ("inputDefinitions", "artifacts"),
    ("outputDefinitions", "parameters"),
    ("outputDefinitions", "artifacts"),
)


def describe(spec: Spec, definition: Definition) -> None:
    """Fills descriptions in: from the docstring, then from the tasks that an input goes to.

    A pipeline parameter that several components take gets the text of the first, in task order.

    Args:
        spec: The plain spec; changed in place.
        definition: What it came from.
    """
    documented = _documented(definition)
    own = spec.get("components", {}).get(f"comp-{definition.source.name}")
    for described in (spec["root"], *([own] if own else [])):
        _fill(described, documented)
    _inherit(spec)
    for described in (spec["root"], *spec.get("components", {}).values()):
        _unwrap(described)


def _documented(definition: Definition) -> dict[str, str]:
    """Name to description of all in the docstring; a value returned without a name is ``Output``."""
    parsed = definition.docstring
    returned = {"Output": parsed.returns.description or ""} if parsed.returns else {}
    return returned | {param.arg_name: param.description or "" for param in parsed.params}


def _fill(definition: Spec, documented: Mapping[str, str]) -> None:
    for side, group in GROUPS:
        for name, item in definition.get(side, {}).get(group, {}).items():
            if not item.get("description") and documented.get(name):
                item["description"] = documented[name]


def _inherit(spec: Spec) -> None:
    for group, key in (("parameters", "componentInputParameter"), ("artifacts", "componentInputArtifact")):
        for name, item in spec["root"].get("inputDefinitions", {}).get(group, {}).items():
            if not item.get("description") and (text := _taker(spec, spec["root"], name, group, key)):
                item["description"] = text


def _taker(spec: Spec, definition: Spec, name: str, group: str, key: str) -> str:
    """What the first component that takes the input ``name`` of ``definition`` says about it."""
    for _, task in in_order(definition.get("dag", {})):
        component = component_of(spec, task)
        for inner, given in task.get("inputs", {}).get(group, {}).items():
            if given.get(key) != name:
                continue
            own = component.get("inputDefinitions", {}).get(group, {}).get(inner, {}).get("description", "")
            if text := own or _taker(spec, component, inner, group, key):
                return str(text)
    return ""


def _unwrap(definition: Spec) -> None:
    """Where a docstring's lines break means nothing in a web page."""
    for side, group in GROUPS:
        for item in definition.get(side, {}).get(group, {}).values():
            if "description" in item:
                item["description"] = " ".join(item["description"].split())
