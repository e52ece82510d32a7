"""What looking features up adds to a request: a model asked by entity key, and with all its features."""

import json
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from measure import ROOT, publish, table

sys.path.insert(0, str(ROOT))  # the tests' repository and model

REQUESTS, WARM = 3_000, 300
ROWS = (1, 100)
WAYS = [("SQLite", "users_v1"), ("Redis", "users_v1"), ("SQLite", "with_basket")]
FEATURES = {"users_v1": "4 stored", "with_basket": "4 stored, 1 on demand by pandas"}


def main() -> None:
    rows = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for name, service in WAYS:
            with online_store(name, folder) as online:
                model, uri = made(folder / f"{name}-{service}", online, service)
                with server(model, uri, folder / f"{name}-{service}.log") as url:
                    rows += measured(name, service, url)
    headers = ["store", "features", "rows", "all in the request", "by entity key", "added at the median"]
    said = f"Median of {REQUESTS:,} requests on one connection, the two ways taking turns."
    publish("online_features", f"{table(headers, rows)}\n\n{said}")


def measured(name: str, service: str, url: str) -> list[list[str]]:
    """A line for each size of a request."""
    lines = []
    known: dict[str, object] = {"purchases_7d": 2, "amount_7d": 20.0, "plan": "basic", "is_active": True}
    own: dict[str, object] = {"visits": 1}
    if service == "with_basket":
        known["basket_share"], own["basket"] = 0.5, 10.0
    for rows in ROWS:
        whole, keyed = [], []
        with httpx.Client(base_url=url, timeout=60) as client:
            bodies = {
                "whole": json.dumps({"instances": [{**own, **known}] * rows}),
                "keyed": json.dumps({"instances": [{**own, "user_id": n % 3 + 1} for n in range(rows)]}),
            }
            for number in range((REQUESTS + WARM) // max(rows // 10, 1)):
                for times, way in ((whole, "whole"), (keyed, "keyed")):
                    start = time.perf_counter()
                    answer = client.post("/v1/models/again:predict", content=bodies[way])
                    seconds = time.perf_counter() - start
                    answer.raise_for_status()
                    if number >= WARM // max(rows // 10, 1):
                        times.append(seconds * 1000)
            assert "degraded" not in client.get("/v2/health/ready").json()
        without, looked = statistics.median(whole), statistics.median(keyed)
        said = [f"{value:.2f} ms" for value in (without, looked, looked - without)]
        lines.append([name, FEATURES[service], str(rows), *said])
    return lines


@contextmanager
def online_store(name: str, folder: Path) -> Iterator[dict[str, str] | None]:
    """The setting of the online store, which runs meanwhile; None is Feast's own default, SQLite."""
    if name == "SQLite":
        yield None
        return
    port = free_port()
    program = shutil.which("redis-server") or sys.exit("redis-server is not installed")
    command = [program, "--save", "", "--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        time.sleep(1)
        yield {"type": "redis", "connection_string": f"127.0.0.1:{port}"}
    finally:
        process.terminate()
        process.wait()


def made(folder: Path, online: dict[str, str] | None, service: str) -> tuple[Path, str]:
    """A model of the service's features, and its repository."""
    from tests.components.serve.server.stored import store, store_model

    folder.mkdir()
    users = store(folder / "users", online)
    return store_model(folder, users, service), users.uri


@contextmanager
def server(model: Path, uri: str, log: Path) -> Iterator[str]:
    """The model server as a process of its own, once it is ready."""
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "kfp_lifecycle.components.serve",
        "--model",
        str(model),
        "--name",
        "again",
    ]
    command += ["--host", "127.0.0.1", "--port", str(port), "--feature-store", uri]
    command += ["--feature-timeout-ms", "10000"]
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            if process.poll() is not None:
                sys.exit(log.read_text())
            try:
                if httpx.get(f"{url}/v2/health/ready").status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
