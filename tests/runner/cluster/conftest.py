"""Servers and surroundings for tests of the work with a cluster."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kfp_server import KfpServer


@pytest.fixture(autouse=True)
def config(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The test's own file of contexts, not there yet; and no server of the shell that it is started from."""
    for name in [name for name in os.environ if name.startswith(("KFP_", "KF_PIPELINES_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "no-kube-config"))
    path = tmp_path / "kfp-lifecycle.yaml"
    monkeypatch.setenv("KFP_LIFECYCLE_CONFIG", str(path))
    return path


@pytest.fixture
def double() -> Iterator[KfpServer]:
    """A server for one user."""
    with KfpServer() as server:
        yield server


@pytest.fixture
def shared() -> Iterator[KfpServer]:
    """A server of many users, which lets ``ann`` do everything in ``team-a``."""
    with KfpServer(multi_user=True) as server:
        server.gate.admit("ann", token="token-of-ann")
        verbs = {"get", "list", "create", "delete", "terminate", "retry", "enable", "disable"}
        server.gate.rights = {("ann", "team-a"): verbs}
        yield server
