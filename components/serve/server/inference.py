"""The one place where an answer comes from, whichever protocol the request came by.

A codec makes a :class:`Call` when a request comes, tells the observers through :meth:`Inference.started`,
decodes the rows and awaits :meth:`Inference.answer`; whatever goes wrong before an answer, it hands to
:meth:`Inference.failed`. So each call that is started ends in exactly one of answered and failed.
"""

import time
from collections.abc import Sequence
from typing import Protocol

from kfp_lifecycle.components.serve.server.failures import RequestError, TooLargeError
from kfp_lifecycle.components.serve.server.host import Host
from kfp_lifecycle.components.serve.server.models import ServedModel
from kfp_lifecycle.components.serve.server.options import ServerOptions
from kfp_lifecycle.components.serve.server.table import Table


class Call:
    """One request for a prediction.

    Args:
        id: The client's ``x-request-id``, or a new one.
        protocol: ``v1``, ``v2`` or ``grpc``.
        served: The model that was chosen for it.
    """

    __slots__ = ("began", "id", "protocol", "received", "rows", "served")

    def __init__(self, id: str, protocol: str, served: ServedModel) -> None:  # noqa: A002
        self.id, self.protocol, self.served = id, protocol, served
        #: Seconds on the clock of ``time.perf_counter``: when it came, and when its last byte had come.
        self.began = self.received = time.perf_counter()
        self.rows = 0


class Answer:
    """What a call is answered with.

    Args:
        call: The call.
        inputs: The checked rows: exactly the model's input columns.
        given: The rows as the client sent them, with columns that are no input.
        outputs: The model's output columns.
    """

    __slots__ = ("call", "given", "inputs", "outputs", "seconds")

    def __init__(self, call: Call, given: Table, inputs: Table, outputs: Table) -> None:
        self.call, self.given, self.inputs, self.outputs = call, given, inputs, outputs
        #: Seconds from the request's last byte.
        self.seconds = time.perf_counter() - call.received


class Observer(Protocol):
    """Who is told of each call: metrics, the prediction log. Called in the event loop: it must not wait."""

    def started(self, call: Call) -> None:
        """A request for a prediction has come; its body may still be under way."""

    def answered(self, answer: Answer) -> None:
        """Its answer is about to be sent."""

    def failed(self, call: Call, error: RequestError) -> None:
        """It is about to be answered with an error, or its client has gone."""


class Predictor(Protocol):
    """Runs checked rows through a model: at once, in a thread, or together with those of other calls."""

    async def predict(self, served: ServedModel, rows: Table) -> Table:
        """The model's output columns. Raises ``RequestError``."""


class Inference:
    """Answers calls.

    Args:
        host: The models.
        options: The server's settings.
        predictor: What runs the model.
        observers: Who is told.
    """

    def __init__(
        self, host: Host, options: ServerOptions, predictor: Predictor, observers: Sequence[Observer] = ()
    ) -> None:
        self.host, self.options, self.predictor = host, options, predictor
        self.observers = list(observers)
        #: Whether requests are welcome; not before all has started, and not while the server drains.
        self.ready = False

    def started(self, call: Call) -> None:
        """Tells the observers that a call has come."""
        for observer in self.observers:
            observer.started(call)

    async def answer(self, call: Call, given: Table) -> Answer:
        """The answer to a call that was started.

        Raises:
            RequestError: The rows do not fit the model, or it failed; the caller hands it to :meth:`failed`.
        """
        call.rows = given.height
        if given.height > self.options.max_rows:
            raise TooLargeError(
                f"The request has {given.height} rows; this server takes {self.options.max_rows} at once."
            )
        served = call.served
        rows = await served.lookup(given) if served.lookup else given
        inputs = served.check(rows)
        answer = Answer(call, given, inputs, await self.predictor.predict(served, inputs))
        for observer in self.observers:
            observer.answered(answer)
        return answer

    def failed(self, call: Call, error: RequestError) -> None:
        """Tells the observers that a call that was started has no answer."""
        for observer in self.observers:
            observer.failed(call, error)
