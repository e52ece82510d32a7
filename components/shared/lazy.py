"""Lazy export of a component from its package."""

from collections.abc import Callable
from importlib import import_module
from typing import Any


def lazy_component(package: str) -> Callable[[str], Any]:
    """A module-level ``__getattr__`` that loads ``<package>.component`` when the component is asked for.

    Args:
        package: Full name of the component's package; its last part is the component's name.

    Returns:
        A function for the package's ``__getattr__`` (PEP 562). Raises ``AttributeError`` for other names.
    """
    name = package.rpartition(".")[2]

    def __getattr__(attribute: str) -> Any:  # noqa: N807
        if attribute != name:
            raise AttributeError(f"module {package!r} has no attribute {attribute!r}")
        return getattr(import_module(f"{package}.component"), name)

    return __getattr__
