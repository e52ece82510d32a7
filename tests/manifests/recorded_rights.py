"""A pytest plug-in: every call that tests make of the double of Kubernetes, as RBAC would call it.

    python -m pytest -p tests.manifests.recorded_rights tests/components/train_gpu/test_trainjob.py

It writes them to the file that RECORDED_RIGHTS names: a line of API group, resource and verb for each.
"""

import os
from pathlib import Path
from typing import Any

import pytest

from tests import kubernetes_api

_seen: set[tuple[str, str, str]] = set()


@pytest.fixture(autouse=True)
def _record_rights(monkeypatch: pytest.MonkeyPatch) -> None:
    check, namespace = kubernetes_api.KubernetesApi._check_allowed, kubernetes_api.KubernetesApi._namespace

    def allowed(self: Any, verb: str, resource: str, group: str, *more: str) -> None:
        _seen.add((group, resource, verb))
        check(self, verb, resource, group, *more)

    def look(self: Any, name: str) -> Any:
        _seen.add(("", "namespaces", "get"))
        return namespace(self, name)

    monkeypatch.setattr(kubernetes_api.KubernetesApi, "_check_allowed", allowed)
    monkeypatch.setattr(kubernetes_api.KubernetesApi, "_namespace", look)


def pytest_sessionfinish() -> None:
    Path(os.environ["RECORDED_RIGHTS"]).write_text("".join(f"{','.join(c)}\n" for c in sorted(_seen)))
