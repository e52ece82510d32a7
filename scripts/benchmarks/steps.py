"""What the benchmarks need to call a component's step without KFP; imports no step itself."""

from dataclasses import dataclass, field
from typing import Any

import yaml
from measure import ROOT


@dataclass
class Artifact:
    """What a step needs of a KFP artifact; curves for the Kubeflow UI are left out."""

    path: str
    uri: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)

    def log_roc_curve(self, *_: object) -> None: ...

    def log_confusion_matrix(self, *_: object) -> None: ...


def component_defaults(component: str) -> dict[str, Any]:
    """The parameters of a component that have a default, from its compiled file."""
    return {
        name: int(value["defaultValue"])
        if value["parameterType"] == "NUMBER_INTEGER"
        else value["defaultValue"]
        for name, value in _root(component)["inputDefinitions"]["parameters"].items()
        if "defaultValue" in value
    }


def component_names(component: str) -> tuple[set[str], set[str]]:
    """The names of a component's parameters, and of its artifacts, in and out."""
    root = _root(component)
    artifacts = {
        **root["inputDefinitions"].get("artifacts", {}),
        **root["outputDefinitions"].get("artifacts", {}),
    }
    return set(root["inputDefinitions"]["parameters"]), set(artifacts)


def _root(component: str) -> dict[str, Any]:
    newest = max((ROOT / "compiled" / "components" / component).glob("*.yaml"))
    root: dict[str, Any] = yaml.load(newest.read_text(), yaml.CSafeLoader)["root"]
    return root
