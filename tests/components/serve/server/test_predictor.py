"""A model that is slow, or that fails: who asked is told, and others are answered meanwhile."""

import asyncio
import threading
import time
from typing import Any

import httpx
import pytest

from kfp_lifecycle.components.serve.server.app import App
from kfp_lifecycle.components.serve.server.direct import AT_ONCE_S, DirectPredictor
from kfp_lifecycle.components.serve.server.failures import RequestError
from kfp_lifecycle.components.serve.server.host import Host
from kfp_lifecycle.components.serve.server.inference import Answer, Call, Inference
from kfp_lifecycle.components.serve.server.models import InputColumn, OutputColumn, ServedModel
from kfp_lifecycle.components.serve.server.options import ServerOptions
from kfp_lifecycle.components.serve.server.table import Table


class Slow(ServedModel):
    """Waits for as many seconds as it is given, or fails where they are less than none."""

    inputs = [InputColumn("seconds", "number", True)]  # noqa: RUF012
    outputs = [OutputColumn("prediction", "BYTES")]  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__("slow", "1", "", "")
        self.threads: list[str] = []

    def check(self, rows: Table) -> Table:
        return rows

    def predict(self, rows: Table) -> Table:
        self.threads.append(threading.current_thread().name)
        wait = float(rows.columns["seconds"][0])
        if wait < 0:
            raise OSError("the model's own trouble")
        time.sleep(wait)
        return Table({"prediction": ["done"] * rows.height}, rows.height)

    def settled(self, rows: Table) -> Any:
        return rows.frame()


class Told:
    """An observer that keeps what it is told."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def started(self, call: Call) -> None:
        self.said.append("started")

    def answered(self, answer: Answer) -> None:
        self.said.append("answered")

    def failed(self, call: Call, error: RequestError) -> None:
        self.said.append(error.kind)


def asked(*seconds: float, slow: bool = True, **options: Any) -> tuple[list[httpx.Response], Slow, list[str]]:
    """The answers to requests that are sent together."""
    model, told = Slow(), Told()
    model.seconds = 1.0 if slow else 0.0
    settings = ServerOptions("x", **options)

    async def ask() -> list[httpx.Response]:
        predictor = DirectPredictor(4, settings.timeout_s)
        app = App(Inference(Host(model), settings, predictor, [told]), settings, {})
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app),  # type: ignore[arg-type]
            base_url="http://server",
        ) as client:
            calls = [
                client.post("/v1/models/slow:predict", json={"instances": [{"seconds": each}]})
                for each in seconds
            ]
            answers = await asyncio.gather(*calls)
        predictor.close()
        return list(answers)

    return asyncio.run(ask()), model, told.said


def test_slow_predictions_run_side_by_side_in_threads() -> None:
    began = time.monotonic()
    answers, model, said = asked(0.3, 0.3, 0.3, 0.3)
    assert time.monotonic() - began < 1.1
    assert [answer.status_code for answer in answers] == [200] * 4
    assert all(name.startswith("predict") for name in model.threads)
    assert sorted(said) == ["answered"] * 4 + ["started"] * 4


def test_quick_predictions_run_at_once_until_they_are_slow() -> None:
    _, model, _ = asked(*[0.0] * 5, slow=False)
    assert set(model.threads) == {"MainThread"}
    _, model, _ = asked(*[0.02] * 30, slow=False)
    assert model.seconds > AT_ONCE_S
    assert model.threads[-1].startswith("predict")


def test_an_answer_that_takes_too_long_is_not_waited_for() -> None:
    (late, soon), _, said = asked(0.5, 0.01, timeout_s=0.2)
    assert (late.status_code, soon.status_code) == (504, 200)
    assert late.json()["error"] == "The model took longer than 0.2 s."
    assert "timeout" in said


def test_more_requests_than_are_taken_are_told_to_come_again() -> None:
    answers, _, said = asked(0.2, 0.2, 0.2, max_in_flight=2)
    assert sorted(answer.status_code for answer in answers) == [200, 200, 503]
    (refused,) = (answer for answer in answers if answer.status_code == 503)
    assert refused.headers["retry-after"] == "1"
    assert said.count("overloaded") == 1


@pytest.mark.parametrize("slow", [True, False])
def test_a_model_that_fails_is_the_servers_fault(slow: bool, caplog: pytest.LogCaptureFixture) -> None:
    (answer,), _, said = asked(-1, slow=slow)
    assert answer.status_code == 500
    assert answer.json()["error"] == "The model failed: OSError."
    assert said == ["started", "model"]
    assert "the model's own trouble" in caplog.text
