"""Five servers of one scikit-learn model side by side under wrk, at 1 and at 100 rows a request.

Usage: serving.py [--dry] [--seconds N] [--rounds N]
"""

import argparse
import json
import os
import pickle
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from measure import ROOT, machine, publish, table

sys.path.insert(0, str(ROOT))

from tests.components.trained import prepare, train
from tests.servers import free_port

FEATURES = 20
SIZES = (1, 100)
CONNECTIONS = 8
V1 = "/v1/models/model:predict"


@dataclass
class Candidate:
    """A server, and how it is asked."""

    name: str
    command: list[str]
    port: int
    path: str
    bodies: dict[int, bytes]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{self.path}"


@dataclass
class Result:
    """Requests a second, latencies in milliseconds, and answers that were none."""

    rate: float
    p50: float
    p99: float
    cpu_us: float


def main() -> None:
    words = argparse.ArgumentParser()
    words.add_argument("--dry", action="store_true")
    words.add_argument("--seconds", type=int, default=8)
    words.add_argument("--rounds", type=int, default=3)
    given = words.parse_args()
    with tempfile.TemporaryDirectory() as place, ExitStack() as stack:
        folder = Path(place)
        candidates = build(folder)
        pids = {each.name: stack.enter_context(started(each, folder)) for each in candidates}
        results = measured(candidates, pids, folder, given.seconds, given.rounds)
    text = report(candidates, results, given.seconds, given.rounds)
    publish("serving", text) if not given.dry else print(text, machine(), sep="\n\n")


def build(folder: Path) -> list[Candidate]:
    """The model in three forms, and a server for each."""
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder / 'mlflow.db'}"
    rng = np.random.default_rng(0)
    names = [f"x{number}" for number in range(FEATURES)]
    values = rng.normal(size=(2000, FEATURES))
    target = (values[:, 0] + values[:, 1] + rng.normal(size=2000) > 0).astype(np.int64)
    frame = pl.DataFrame(values, schema=names).with_columns(target=pl.Series(target))
    train(prepare(folder / "prepared", frame, "target", "binary"), folder / "model")
    estimator = plain(folder, values, target, names)
    rows = {size: values[:size].tolist() for size in SIZES}
    lists = {size: dumped({"instances": each}) for size, each in rows.items()}
    records = {
        size: dumped({"instances": [dict(zip(names, row, strict=True)) for row in each]})
        for size, each in rows.items()
    }
    split = {
        size: dumped({"dataframe_split": {"columns": names, "data": each}}) for size, each in rows.items()
    }
    ours = [sys.executable, "-m", "kfp_lifecycle.components.serve", "--host", "127.0.0.1", "--name", "model"]
    small = [sys.executable, str(Path(__file__).with_name("serving_plain.py"))]
    mlflow = [sys.executable, "-m", "mlflow", "models", "serve", "--env-manager", "local", "-m"]

    def made(name: str, command: Sequence[str], path: str, bodies: dict[int, bytes]) -> Candidate:
        port = free_port()
        return Candidate(name, [word.replace("PORT", str(port)) for word in command], port, path, bodies)

    model, bare = str(folder / "model"), str(folder / "bare")
    logged = [*ours, "--port", "PORT", "--log", str(folder / "log")]
    return [
        made("kfp-lifecycle, Model artifact, records", [*logged, "--model", model], V1, records),
        made("kfp-lifecycle, Model artifact, lists", [*logged, "--model", model], V1, lists),
        made("kfp-lifecycle, plain MLflow model, lists", [*logged, "--model", bare], V1, lists),
        made("FastAPI with pydantic lists", [*small, "fastapi", str(estimator), "PORT"], V1, lists),
        made("kserve.Model", [*small, "kserve", str(estimator), "PORT"], V1, lists),
        made("mlflow models serve", [*mlflow, bare, "-p", "PORT"], "/invocations", split),
    ]


def plain(folder: Path, values: Any, target: Any, names: list[str]) -> Path:
    """The same kind of estimator without our transform: as a pickle, and as an MLflow model."""
    import mlflow.sklearn
    import pandas as pd
    from mlflow.models import infer_signature
    from sklearn.linear_model import LogisticRegression

    rows = pd.DataFrame(values, columns=names)
    fitted = LogisticRegression(max_iter=1000).fit(rows, target)
    mlflow.sklearn.save_model(
        fitted,
        folder / "bare",
        serialization_format="cloudpickle",
        signature=infer_signature(rows, fitted.predict(rows)),
        input_example=rows.head(3),
        pip_requirements=["scikit-learn"],
    )
    file = folder / "estimator.pkl"
    file.write_bytes(pickle.dumps(LogisticRegression(max_iter=1000).fit(values, target)))
    return file


def dumped(body: Any) -> bytes:
    return json.dumps(body).encode()


@contextmanager
def started(candidate: Candidate, folder: Path) -> Iterator[int]:
    """The server, once it answers; gives its process group."""
    log = folder / f"{candidate.port}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(candidate.command, stdout=out, stderr=out, start_new_session=True)
    try:
        deadline = time.monotonic() + 180
        while not answers(candidate):
            if process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"{candidate.name} does not answer: {log.read_text()[-2000:]}")
            time.sleep(0.3)
        yield process.pid
    finally:
        process.terminate()
        process.wait(30)


def answers(candidate: Candidate) -> bool:
    request = urllib.request.Request(candidate.url, candidate.bodies[1], {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return "predictions" in json.loads(answer.read())
    except OSError:
        return False


def measured(
    candidates: list[Candidate], pids: dict[str, int], folder: Path, seconds: int, rounds: int
) -> dict[tuple[str, int], Result]:
    """The median of several rounds in which the servers take turns."""
    found: dict[tuple[str, int], list[Result]] = {}
    for candidate in candidates:
        for size in SIZES:
            one(candidate, size, pids[candidate.name], folder, 1)
    for _ in range(rounds):
        for candidate in candidates:
            for size in SIZES:
                result = one(candidate, size, pids[candidate.name], folder, seconds)
                found.setdefault((candidate.name, size), []).append(result)
    return {
        key: Result(*(statistics.median(getattr(each, name) for each in runs) for name in vars(runs[0])))
        for key, runs in found.items()
    }


def one(candidate: Candidate, size: int, pid: int, folder: Path, seconds: int) -> Result:
    """One run of wrk."""
    body, script = folder / "body", folder / "post.lua"
    body.write_bytes(candidate.bodies[size])
    script.write_text(
        f'wrk.method = "POST"\nwrk.headers["Content-Type"] = "application/json"\n'
        f'wrk.body = io.open("{body}", "rb"):read("*a")\n'
    )
    command = [
        "wrk",
        "-t1",
        f"-c{CONNECTIONS}",
        f"-d{seconds}",
        "--latency",
        "-s",
        str(script),
        candidate.url,
    ]
    before = cpu_seconds(pid)
    out = subprocess.run([*command, candidate.url], capture_output=True, text=True, check=True).stdout
    used = cpu_seconds(pid) - before
    if wrong := re.findall(r"Non-2xx.*|Socket errors.*", out):
        sys.exit(f"{candidate.name} at {size} rows: {wrong}")
    done = int(re.search(r"(\d+) requests in", out)[1])  # type: ignore[index]
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1])  # type: ignore[index]
    return Result(rate, latency(out, "50%"), latency(out, "99%"), used / max(done, 1) * 1e6)


def latency(out: str, share: str) -> float:
    value, unit = re.search(rf"{share}\s+([\d.]+)(us|ms|s)\b", out).groups()  # type: ignore[union-attr]
    return float(value) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[unit]


def cpu_seconds(group: int) -> float:
    """CPU time of all processes of a group so far."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            values = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(values[2]) == group:
            ticks += int(values[11]) + int(values[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def report(
    candidates: list[Candidate], results: dict[tuple[str, int], Result], seconds: int, rounds: int
) -> str:
    parts = []
    for size in SIZES:
        rows = []
        ours = results[candidates[0].name, size]
        for candidate in candidates:
            got = results[candidate.name, size]
            rows.append(
                [
                    candidate.name,
                    f"{got.rate:,.0f}",
                    f"{got.p50:.2f} ms",
                    f"{got.p99:.2f} ms",
                    f"{got.cpu_us:,.0f} µs",
                    f"{ours.rate / got.rate:.2f}",
                ]
            )
        title = f"{size} row{'s' * (size > 1)} a request"
        head = [
            title,
            "requests a second",
            "p50",
            "p99",
            "CPU a request",
            "the first line against it",
        ]
        parts.append(table(head, rows))
    note = (
        f"wrk with {CONNECTIONS} connections for {seconds} s, the median of {rounds} rounds in which the "
        f"servers take turns; one process each. The model is a logistic regression of {FEATURES} numbers. "
        "Ours check each request against the signature, count it, and write it to a prediction log; a Model "
        "artifact also scales its columns and answers with probabilities. The others do nothing of that. The "
        "last column is the first line's requests a second against each line's."
    )
    return "\n\n".join([*parts, note])


if __name__ == "__main__":
    main()
