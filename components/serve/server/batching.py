"""Dynamic batching: rows of requests that come at about the same time go through the model together.

A model predicts 32 rows in little more time than one, so that under load a server answers several times as
many requests; an idle one answers later by the wait.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from kfp_lifecycle.components.serve.server.alike import groups
from kfp_lifecycle.components.serve.server.inference import Predictor
from kfp_lifecycle.components.serve.server.models import ServedModel
from kfp_lifecycle.components.serve.server.table import Table


@dataclass
class _Waiting:
    """Requests to one model that wait for each other."""

    rows: int = 0
    calls: list[tuple[Table, "asyncio.Future[Table]"]] = field(default_factory=list)
    timer: asyncio.TimerHandle | None = None


class BatchingPredictor:
    """Puts a predictor's requests together; each gets its own rows' predictions, or its own error.

    Args:
        predictor: Runs rows through a model.
        max_rows: The most rows that go together. A request with as many goes alone.
        wait_ms: How long a request waits for others, in milliseconds.
        batched: Is told how many rows go through a model together.
    """

    def __init__(
        self,
        predictor: Predictor,
        max_rows: int,
        wait_ms: float,
        batched: Callable[[ServedModel, int], None] = lambda served, rows: None,
    ) -> None:
        self._predictor, self._max_rows, self._wait_s = predictor, max_rows, wait_ms / 1000
        self._batched = batched
        self._waiting: dict[ServedModel, _Waiting] = {}
        self._running: set[asyncio.Task[None]] = set()

    async def predict(self, served: ServedModel, rows: Table) -> Table:
        """The model's output columns. Raises ``RequestError``."""
        if rows.height >= self._max_rows:
            self._batched(served, rows.height)
            return await self._predictor.predict(served, rows)
        loop = asyncio.get_running_loop()
        waiting = self._waiting.get(served)
        if waiting is not None and waiting.rows + rows.height > self._max_rows:
            self._send(served)
            waiting = None
        if waiting is None:
            waiting = self._waiting[served] = _Waiting()
            waiting.timer = loop.call_later(self._wait_s, self._send, served)
        future: asyncio.Future[Table] = loop.create_future()
        waiting.calls.append((rows, future))
        waiting.rows += rows.height
        if waiting.rows == self._max_rows:
            self._send(served)
        return await future

    def _send(self, served: ServedModel) -> None:
        waiting = self._waiting.pop(served)
        if waiting.timer is not None:
            waiting.timer.cancel()
        # Without those whose client has gone, or whose time is over.
        calls = [(rows, future) for rows, future in waiting.calls if not future.done()]
        for positions in groups([rows for rows, _ in calls]):
            task = asyncio.ensure_future(self._run(served, [calls[position] for position in positions]))
            self._running.add(task)  # the loop itself holds no task
            task.add_done_callback(self._running.discard)

    async def _run(self, served: ServedModel, calls: list[tuple[Table, "asyncio.Future[Table]"]]) -> None:
        together = Table.concatenated([rows for rows, _ in calls])
        self._batched(served, together.height)
        try:
            outputs = await self._predictor.predict(served, together)
        except Exception as error:
            await self._apart(served, calls, error)
            return
        start = 0
        for rows, future in calls:
            if not future.done():
                future.set_result(outputs.slice(start, rows.height))
            start += rows.height

    async def _apart(
        self, served: ServedModel, calls: list[tuple[Table, "asyncio.Future[Table]"]], error: Exception
    ) -> None:
        """Gives each call its own answer or error, where together they failed for one of them."""
        for rows, future in calls:
            if future.done():
                continue
            if len(calls) == 1:
                future.set_exception(error)
                return
            try:
                outputs = await self._predictor.predict(served, rows)
            except Exception as own:
                if not future.done():
                    future.set_exception(own)
            else:
                if not future.done():
                    future.set_result(outputs)
