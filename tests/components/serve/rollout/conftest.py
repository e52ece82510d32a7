"""A registry of small models, and the first of them served on this machine."""

import contextlib
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import pytest
import requests
from mlflow.tracking import MlflowClient

from kfp_lifecycle.components.serve.rollout import local_process
from kfp_lifecycle.components.serve.rollout.guard import Limits
from kfp_lifecycle.components.serve.rollout.local import LocalTarget
from kfp_lifecycle.components.serve.rollout.local_state import Running, StateFile
from kfp_lifecycle.components.serve.rollout.run import Course
from kfp_lifecycle.components.serve.rollout.targets import Place
from kfp_lifecycle.components.serve.serving import Request, Served, serve_model
from kfp_lifecycle.components.shared.tracking import connect
from tests.components.serve.rollout.sums import VERSIONS

#: Generous: other processes share the cores of a machine that tests.
LIMITS = Limits(min_requests=10, max_latency_ms=20_000, max_slowdown=0)
_TIMES = {"step_s": 0.0, "ready_timeout_s": 90.0}
#: Flags of a server that ends as soon as it has nothing to answer.
QUICK = ("--drain-delay-s", "0")


@dataclass
class Shop:
    """A registry with the model ``sums``, and a place for the state of servers."""

    folder: Path
    client: MlflowClient
    uri: str

    @property
    def state(self) -> StateFile:
        return StateFile("sums", self.uri)

    def serve(self, version: str, **changes: Any) -> Served:
        """Rolls a version out on this machine, quickly."""
        place = Place("local", arguments=QUICK, wait_s=changes.pop("wait_s", 20.0))
        steps = changes.pop("steps", (10, 50, 100))
        times = {name: changes.pop(name, default) for name, default in _TIMES.items()}
        course = Course(steps, limits=changes.pop("limits", LIMITS), **times)
        return serve_model(Request(f"models:/sums/{version}", place=place, course=course, **changes))

    def running(self) -> Running:
        found = LocalTarget(self.state).find()
        assert found is not None
        return found

    def index(self) -> list[dict[str, Any]]:
        """What the server holds, the stable version first."""
        running = self.running()
        headers = local_process.authorization(running)
        return list(requests.get(f"{running.url}/v2/repository/index", headers=headers).json()["models"])

    def served(self) -> list[str]:
        return [one["version"] for one in self.index()]

    def alias(self) -> str:
        return str(self.client.get_registered_model("sums").aliases.get("champion", ""))

    @contextlib.contextmanager
    def traffic(self, row: dict[str, float]) -> Iterator[list[int]]:
        """Requests of a client without pause; gives their status codes, 0 for no answer."""
        url, codes, done = f"{self.running().url}/v1/models/sums:predict", [], threading.Event()

        def ask() -> None:
            while not done.wait(0.01):
                try:
                    codes.append(requests.post(url, json={"instances": [row]}, timeout=30).status_code)
                except requests.RequestException:
                    codes.append(0)

        thread = threading.Thread(target=ask)
        thread.start()
        try:
            yield codes
        finally:
            done.set()
            thread.join()

    def end(self) -> None:
        running = self.state.read()
        if running is not None:
            local_process.stop(running)
            self.state.forget()


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Path:
    """A folder with a store in which the versions of ``sums`` are registered; none has an alias."""
    folder = tmp_path_factory.mktemp("sums")
    shutil.copy(empty_store, folder / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
        client = connect()
        client.create_registered_model("sums")
        for number, version in enumerate(VERSIONS, 1):
            source = version.write(folder / f"v{number}").as_uri()
            client.create_model_version("sums", source)
    return folder


@pytest.fixture(scope="module")
def open_shop(registry: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """Version 1 of ``sums`` is served, and is the champion; the tests of a module share it."""
    folder = tmp_path_factory.mktemp("shop")
    shutil.copy(registry / "mlflow.db", folder / "mlflow.db")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    with pytest.MonkeyPatch.context() as patch:
        _surround(patch, folder, uri)
        shop = Shop(folder, connect(), uri)
        shop.serve("1")
        yield shop
        shop.end()


@pytest.fixture
def shop(open_shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    """The shop, with version 1 served and champion before and after each test."""
    _surround(monkeypatch, open_shop.folder, open_shop.uri)
    mlflow.set_tracking_uri(open_shop.uri)
    yield open_shop
    _surround(monkeypatch, open_shop.folder, open_shop.uri)  # the test may have been elsewhere
    if open_shop.state.read() is None or open_shop.served() != ["1"]:
        open_shop.serve("1", steps=(100,))


def _surround(patch: pytest.MonkeyPatch, folder: Path, uri: str) -> None:
    patch.setenv("KFP_LIFECYCLE_STATE", str(folder / "state"))
    patch.setenv("MLFLOW_TRACKING_URI", uri)
