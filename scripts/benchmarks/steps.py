"""What the benchmarks need to call a component's step without KFP; imports no step itself."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CATALOG = Path(__file__).resolve().parents[2] / "compiled" / "catalog.json"


@dataclass
class Artifact:
    """What a step needs of a KFP artifact; curves for the Kubeflow UI are left out."""

    path: str
    uri: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)

    def log_roc_curve(self, *_: object) -> None: ...

    def log_confusion_matrix(self, *_: object) -> None: ...


def component_defaults(component: str) -> dict[str, Any]:
    """The parameters of a component that have a default, from the catalog."""
    return {i["name"]: i["default"] for i in _newest(component)["inputs"] if "default" in i}


def component_names(component: str) -> tuple[set[str], set[str]]:
    """The names of a component's parameters, and of its artifacts, in and out."""
    entry = _newest(component)
    artifacts = {i["name"] for i in (*entry["inputs"], *entry["outputs"]) if i["kind"] == "artifact"}
    return {i["name"] for i in entry["inputs"]} - artifacts, artifacts


def _newest(component: str) -> dict[str, Any]:
    entries = json.loads(CATALOG.read_text())["files"]
    found: dict[str, Any] = max(
        (e for e in entries if e["kind"] == "component" and e["name"] == component),
        key=lambda e: e["version"],
    )
    return found
