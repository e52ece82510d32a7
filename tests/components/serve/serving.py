"""Models to serve, and the server as a real process."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import mlflow.sklearn
import numpy as np
import pandas as pd
from mlflow.models import infer_signature
from sklearn.linear_model import LogisticRegression

from tests.servers import free_port, running

ROWS = 1000


@dataclass(frozen=True)
class Models:
    """Model folders, and rows as clients send them."""

    binary: Path
    regression: Path
    multiclass: Path
    plain: Path
    rows: list[dict[str, Any]]


def plain_model(folder: Path, seed: int = 0) -> None:
    """A scikit-learn model of four numbers, saved by MLflow alone."""
    rng = np.random.default_rng(seed)
    rows = pd.DataFrame(rng.normal(size=(200, 4)), columns=["a", "b", "c", "d"])
    fitted = LogisticRegression().fit(rows, (rows["a"] + rows["b"] > 0).astype(int))
    mlflow.sklearn.save_model(
        fitted,
        folder,
        serialization_format="cloudpickle",
        signature=infer_signature(rows, fitted.predict(rows)),
        input_example=rows.head(3),
        pip_requirements=["scikit-learn"],
    )


@dataclass
class Server:
    """A running server."""

    url: str
    process: "subprocess.Popen[bytes]"
    log: Path
    client: httpx.Client

    def post(self, path: str, body: Any, **headers: str) -> httpx.Response:
        return self.client.post(path, json=body, headers=headers)

    def get(self, path: str, **headers: str) -> httpx.Response:
        return self.client.get(path, headers=headers)

    def stop(self, seconds: float = 20) -> int:
        """Sends SIGTERM and waits for the end; gives the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)


@contextlib.contextmanager
def serving(
    model: str | Path, folder: Path, *flags: str, env: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """``python -m kfp_lifecycle.components.serve`` on a free port, once it is ready."""
    port, log = free_port(), folder / f"server-{len(list(folder.glob('server-*.log')))}.log"
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "kfp_lifecycle.components.serve", "--model", str(model)]
    command += ["--host", "127.0.0.1", "--port", str(port), "--drain-delay-s", "0", *flags]
    with (
        running(command, f"{url}/v2/health/ready", log, env={**os.environ, **(env or {})}) as process,
        httpx.Client(base_url=url, timeout=30) as client,
    ):
        yield Server(url, process, log, client)


Start = Callable[..., Server]
