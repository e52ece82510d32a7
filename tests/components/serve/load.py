"""Clients that ask a server without end and remember whatever goes wrong."""

import asyncio
import http.client
import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import urlsplit

from kserve import InferenceGRPCClient, InferInput, InferRequest


@dataclass
class Seen:
    """What clients saw.

    Args:
        answers: Answers by version.
        rows: Rows that were predicted, by version.
        protocols: Answers by protocol.
        faults: What was not answered, or answered wrongly.
    """

    answers: Counter[str] = field(default_factory=Counter)
    rows: Counter[str] = field(default_factory=Counter)
    protocols: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    @property
    def requests(self) -> int:
        return self.answers.total()


class Load(AbstractContextManager["Load"]):
    """Clients in threads, each with a connection of its own that it keeps. Predictions are labels.

    Args:
        url: The server.
        model: The model's name.
        rows: Rows as records; each request takes some of them.
        expected: By version the prediction of each row.
        clients: How many ask at once, V1 and V2 by turns.
        grpc: The address of gRPC for one more client; empty for none.
        pause_s: How long a client thinks between two requests.
    """

    def __init__(
        self,
        url: str,
        model: str,
        rows: Sequence[dict[str, Any]],
        expected: dict[str, list[Any]],
        *,
        clients: int = 4,
        grpc: str = "",
        pause_s: float = 0.0,
    ) -> None:
        self.seen = Seen()
        self._address = urlsplit(url).netloc
        self._model, self._rows, self._expected = model, list(rows), expected
        self._grpc, self._pause_s = grpc, pause_s
        self._ended, self._lock = threading.Event(), threading.Lock()
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(clients)]
        if grpc:
            self._threads.append(threading.Thread(target=self._run_grpc))

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def wait(self, more: int, timeout_s: float = 60) -> None:
        """Waits until so many more requests have been answered, and some by each protocol."""
        wanted, deadline = self.seen.requests + more, time.monotonic() + timeout_s
        protocols = 3 if self._grpc else 2
        while self.seen.requests < wanted or len(self.seen.protocols) < protocols:
            assert time.monotonic() < deadline, f"only {self.seen.requests} answers; {self.seen.faults[:3]}"
            time.sleep(0.01)

    def _ask(self, number: int) -> None:
        connection = http.client.HTTPConnection(self._address, timeout=30)
        for turn in itertools.count(number):
            if self._ended.is_set():
                connection.close()
                return
            picked = self._picked(turn)
            protocol = "V2" if turn % 2 else "V1"
            path = f"/v2/models/{self._model}/infer" if turn % 2 else f"/v1/models/{self._model}:predict"
            body = tensors(picked) if turn % 2 else {"instances": picked}
            headers = {"Content-Type": "application/json", "X-Request-Id": f"{number}-{turn}"}
            try:
                connection.request("POST", path, json.dumps(body), headers)
                response = connection.getresponse()
                answer = json.loads(response.read())
            except (OSError, http.client.HTTPException, ValueError) as error:
                self._fault(f"{protocol} {number}-{turn}: {error!r}")
                connection.close()
                continue
            if response.status != 200:
                self._fault(f"{protocol} {number}-{turn}: {response.status} {answer}")
                continue
            self._check(f"{protocol} {number}-{turn}", answer.get("model_version"), turn, predictions(answer))
            time.sleep(self._pause_s)

    def _run_grpc(self) -> None:
        try:
            asyncio.run(self._ask_grpc())
        except Exception as error:
            self._fault(f"the gRPC client ended: {error!r}")

    async def _ask_grpc(self) -> None:
        async with InferenceGRPCClient(
            self._grpc, retries=0, channel_args=[("grpc.enable_retries", 0)]
        ) as client:
            for turn in itertools.count(1):
                if self._ended.is_set():
                    return
                inputs = [
                    InferInput(each["name"], each["shape"], each["datatype"], each["data"])
                    for each in tensors(self._picked(turn))["inputs"]
                ]
                for each in inputs:
                    if each.datatype == "BYTES":
                        each.data = [value.encode() for value in each.data]
                request = InferRequest(self._model, inputs, request_id=f"grpc-{turn}")
                try:
                    answer = await client.infer(request)
                except Exception as error:
                    self._fault(f"gRPC {turn}: {error!r}")
                    continue
                labels = [label.decode() for label in answer.outputs[0].as_numpy()]
                self._check(f"gRPC {turn}", answer.model_version, turn, labels)
                await asyncio.sleep(self._pause_s)

    def _picked(self, turn: int) -> list[dict[str, Any]]:
        return [self._rows[place] for place in self._places(turn)]

    def _places(self, turn: int) -> list[int]:
        count = (1, 1, 3, 1, 20)[turn % 5]
        return [(turn * 7 + step) % len(self._rows) for step in range(count)]

    def _check(self, what: str, version: str | None, turn: int, found: list[Any]) -> None:
        """Whether an answer is the one that its version gives; V1 does not say which version that is."""
        places = self._places(turn)
        for known in [version] if version is not None else self._expected:
            if [str(value) for value in found] == [str(self._expected[known][place]) for place in places]:
                with self._lock:
                    self.seen.answers[version or "?"] += 1
                    self.seen.rows[version or "?"] += len(places)
                    self.seen.protocols[what.partition(" ")[0]] += 1
                return
        self._fault(f"{what}: {found} is not what version {version or '(any)'} says of rows {places}")

    def _fault(self, text: str) -> None:
        with self._lock:
            self.seen.faults.append(text)


def tensors(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Records as a V2 request, one tensor a column."""
    kinds = {int: "INT64", float: "FP64", bool: "BOOL", str: "BYTES"}
    inputs = []
    for name in rows[0]:
        values = [row[name] for row in rows]
        kind = next((kinds[type(value)] for value in values if value is not None), "BYTES")
        inputs.append({"name": name, "shape": [len(rows)], "datatype": kind, "data": values})
    return {"inputs": inputs}


def predictions(answer: dict[str, Any]) -> list[Any]:
    """The predictions of a V1 or V2 answer."""
    if "predictions" in answer:
        return [row["prediction"] for row in answer["predictions"]]
    return next(list(each["data"]) for each in answer["outputs"] if each["name"] == "prediction")
