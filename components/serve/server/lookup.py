"""Features from a feature store, put beside the columns of a request.

A request has the entity keys, and its own columns; what the model takes from the store is looked up here. A
feature that the request brings along is taken as it is.

Calls that come while a look-up is under way wait for the next one, which is for all of them together. Where
the store does not answer, requests are answered without waiting for it, as the settings say of missing
values, until it answers again.
"""

import asyncio
import datetime as dt
import logging
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from kfp_lifecycle.components.feature_store.online import Looked, OnlineFeatures
from kfp_lifecycle.components.feature_store.repository import is_stores
from kfp_lifecycle.components.serve.server.failures import BadRequestError, FeaturesError, RequestError
from kfp_lifecycle.components.serve.server.lookup_settings import LookupSettings
from kfp_lifecycle.components.serve.server.models import InputColumn
from kfp_lifecycle.components.serve.server.table import Table, as_list
from kfp_lifecycle.components.shared.errors import LifecycleError, ParameterError, did_you_mean, redact
from kfp_lifecycle.components.shared.inference.schema import TableSchema

log = logging.getLogger(__name__)

#: Seconds between looks at a store that does not answer.
RETRY_S = 1.0
#: By how much the time-out grows with each row, in seconds.
ROW_S = 0.001
#: Rows of one look-up for several calls.
TOGETHER = 1_000


@dataclass(frozen=True)
class _Asked:
    """A call that waits for its features."""

    keys: dict[str, list[Any]]
    height: int
    answer: "asyncio.Future[Looked | None]"


class Lookup:
    """Looks up the features of one model. Its calls come from the event loop.

    Args:
        schema: The model's schema, with a ``feature_source``.
        inputs: The model's input columns.
        settings: The settings.
        open_features: Opens the online store.

    Raises:
        FeatureStoreError: The repository has not what the model needs, or Feast is not installed. That a
            store cannot be reached is no error: see :meth:`degraded`.
        ParameterError: ``fallback`` names a column that comes from no store.
    """

    def __init__(
        self,
        schema: TableSchema,
        inputs: Sequence[InputColumn],
        settings: LookupSettings,
        open_features: Callable[[], OnlineFeatures],
    ) -> None:
        self._settings, self._open = settings, open_features
        self._columns = [column.name for column in inputs if schema.column(column.name).reference]
        for name in settings.fallback:
            if name not in self._columns:
                raise ParameterError(
                    f"--feature-fallback names {name!r}, which the model takes from no store.",
                    did_you_mean(name, self._columns),
                )
        self._keys = _keys(schema)
        own = [column for column in inputs if column.name not in self._columns]
        keys = [InputColumn(name, kind, required=True) for name, kind in self._keys.items()]
        #: What a request has to have: entity keys and its own columns.
        self.asked = [*keys, *(column for column in own if column.name not in self._keys)]
        self._thread = ThreadPoolExecutor(1, "features")
        self._features: OnlineFeatures | None = None
        self._waiting: list[_Asked] = []
        self._rows = 0
        self._is_busy = False
        self._problem = ""
        self._probe: asyncio.Task[None] | None = None
        self._first()

    def degraded(self) -> str:
        """Why requests are answered without the store just now; empty while it answers."""
        if self._problem and self._probe is None:
            self._probe = asyncio.get_running_loop().create_task(self._probing())
        return self._problem

    async def __call__(self, rows: Table) -> Table:
        """The rows with the model's features beside their own columns.

        Raises:
            BadRequestError: An entity key is missing or of another type.
            FeaturesError: A value is missing or stale, and the settings make that an error.
        """
        absent = [name for name in self._columns if name not in rows.columns]
        if not absent or not rows.height:
            return rows
        keys = {name: _typed(name, kind, rows) for name, kind in self._keys.items()}
        looked = None if self.degraded() else await self._ask(keys, rows.height)
        added = {name: self._settled(name, looked, rows.height) for name in absent}
        return Table({**rows.columns, **added}, rows.height)

    def _first(self) -> None:
        """Opens the store and reads it once: Feast imports much at its first look-up."""
        try:
            self._try()
        except LifecycleError as error:
            # Without a cause it is the definitions that are wrong, and no store that may come back.
            if error.__cause__ is None or isinstance(error.__cause__, ImportError):
                raise
            self._problem = _said(error)
        except Exception as error:
            self._problem = _said(error)
        if self._problem:
            log.warning("serving begins without the feature store: %s", self._problem)

    def _try(self) -> None:
        if self._features is None:
            self._features = self._open()
        self._features.ping()

    async def _ask(self, keys: dict[str, list[Any]], height: int) -> Looked | None:
        """What the store has; None where it does not answer."""
        loop = asyncio.get_running_loop()
        asked = _Asked(keys, height, loop.create_future())
        self._waiting.append(asked)
        self._rows += height
        patience = self._settings.timeout_s + ROW_S * self._rows
        if not self._is_busy:
            self._next(loop)
        try:
            async with asyncio.timeout(patience):
                return await asked.answer
        except TimeoutError:
            self._fail(f"it did not answer within {patience:.3g} s")
            return None

    def _next(self, loop: asyncio.AbstractEventLoop) -> None:
        """Looks up for those who wait, as many as go together."""
        batch: list[_Asked] = []
        rows = 0
        while self._waiting and (not batch or rows + self._waiting[0].height <= TOGETHER):
            asked = self._waiting.pop(0)
            if asked.answer.done():  # it waits no more
                self._rows -= asked.height
                continue
            batch.append(asked)
            rows += asked.height
        if not batch:
            return
        self._is_busy = True
        running = loop.run_in_executor(self._thread, self._look_up, [asked.keys for asked in batch])
        running.add_done_callback(lambda done: self._answer(loop, batch, done))

    def _look_up(self, calls: list[dict[str, list[Any]]]) -> list[Looked | Exception]:
        """What each call is answered with. Raises where the store does not answer."""
        features = self._features
        assert features is not None
        try:
            return _apart(features.look_up(_together(calls)), calls)
        except Exception as error:
            if is_stores(error):
                raise
            # The code of an on-demand view: one call's values are no other call's mistake.
            if len(calls) == 1:
                return [error]
            return [self._look_up([call])[0] for call in calls]

    def _answer(
        self, loop: asyncio.AbstractEventLoop, batch: list[_Asked], done: "asyncio.Future[Any]"
    ) -> None:
        self._is_busy = False
        self._rows -= sum(asked.height for asked in batch)
        error = done.exception()
        if error is not None:
            self._fail(_said(error))
        results = [None] * len(batch) if error is not None else done.result()
        for asked, result in zip(batch, results, strict=True):
            if asked.answer.done():
                continue
            if isinstance(result, Exception):
                log.warning("an on-demand feature view failed: %s", _said(result), exc_info=result)
                failed = FeaturesError("An on-demand feature view failed for these values; the log has it.")
                asked.answer.set_exception(failed)
            else:
                asked.answer.set_result(result)
        if self._waiting:
            self._next(loop)

    def _fail(self, problem: str) -> None:
        if not self._problem:
            log.warning("answering without the feature store: %s", problem)
        self._problem = problem
        self.degraded()

    async def _probing(self) -> None:
        loop = asyncio.get_running_loop()
        while self._problem:
            await asyncio.sleep(RETRY_S)
            try:
                await loop.run_in_executor(self._thread, self._try)
            except Exception as error:
                self._problem = _said(error)
            else:
                self._problem = ""
        log.info("the feature store answers again")
        self._probe = None

    def _settled(self, name: str, looked: Looked | None, height: int) -> list[Any]:
        """A column's values, with what the settings say where there is none."""
        settings = self._settings
        values = [None] * height if looked is None else looked.values[name]
        flags = looked.stale.get(name) if looked is not None and settings.stale != "use" else None
        if flags is not None:
            if settings.stale == "error":
                raise FeaturesError(
                    f"Feature {name!r} is older than its time to live in row {flags.index(True)}.", name
                )
            values = [None if flag else value for value, flag in zip(values, flags, strict=True)]
        if None not in values:
            return values
        if name in settings.fallback:
            return [settings.fallback[name] if value is None else value for value in values]
        if settings.missing == "error":
            why = "the feature store does not answer" if looked is None else "there is none for its key"
            raise FeaturesError(f"Feature {name!r} has no value in row {values.index(None)}: {why}.", name)
        return values


def lookup_of(schema: TableSchema, inputs: Sequence[InputColumn], settings: LookupSettings) -> Lookup:
    """What looks up the features of a model with this schema. Raises as :class:`Lookup`."""
    names = [column.name for column in inputs]
    opened = partial(OnlineFeatures.open, schema, names, settings.repository)
    return Lookup(schema, inputs, settings, opened)


def _keys(schema: TableSchema) -> dict[str, str]:
    """The columns that a look-up needs of a request, with their types."""
    source = schema.feature_source
    assert source is not None
    return {name: schema.column(name).type for name in dict.fromkeys((*source.entities, *source.request))}


def _typed(name: str, kind: str, rows: Table) -> list[Any]:
    """A key's values in the schema's type; a blank is None. Raises ``BadRequestError``."""
    if name not in rows.columns:
        raise BadRequestError(
            f"The rows have no column {name!r}, by which features are looked up. "
            f"{did_you_mean(name, list(rows.columns)[:200])}",
            name,
        )
    convert = _CONVERT[kind]
    values: list[Any] = []
    for row, value in enumerate(as_list(rows.columns[name])):
        if value is None or value == "" or value != value:
            values.append(None)
            continue
        try:
            values.append(convert(value))
        except (TypeError, ValueError, OverflowError):
            raise BadRequestError(
                f"Column {name!r} is {kind}, but has {str(value)[:100]!r} in row {row}.", name
            ) from None
    return values


def _integer(value: Any) -> int:
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        raise ValueError
    number = int(value)
    if not -(2**63) <= number < 2**63:
        raise ValueError
    return number


def _number(value: Any) -> float:
    if isinstance(value, bool) or not math.isfinite(number := float(value)):
        raise ValueError
    return number


def _boolean(value: Any) -> bool:
    words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if (word := str(value).strip().lower()) not in words:
        raise ValueError
    return words[word]


def _text(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, (str, int, float)) or isinstance(value, bool):
        raise TypeError
    return str(value).strip()


def _moment(value: Any) -> dt.datetime:
    moment = value if isinstance(value, dt.datetime) else dt.datetime.fromisoformat(value)
    return moment.astimezone(dt.UTC) if moment.tzinfo else moment.replace(tzinfo=dt.UTC)


#: From a value of a request to one of the schema's type.
_CONVERT: dict[str, Callable[[Any], Any]] = {
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "string": _text,
    "date": _moment,
    "timestamp": _moment,
}


def _together(calls: list[dict[str, list[Any]]]) -> dict[str, list[Any]]:
    if len(calls) == 1:
        return calls[0]
    return {name: [value for call in calls for value in call[name]] for name in calls[0]}


def _apart(looked: Looked, calls: list[dict[str, list[Any]]]) -> list[Looked | Exception]:
    """What was looked up together, by call."""
    parts: list[Looked | Exception] = []
    start = 0
    for call in calls:
        stop = start + len(next(iter(call.values())))
        stale = {name: flags[start:stop] for name, flags in looked.stale.items() if any(flags[start:stop])}
        parts.append(Looked({name: values[start:stop] for name, values in looked.values.items()}, stale))
        start = stop
    return parts


def _said(error: BaseException) -> str:
    if isinstance(error, RequestError):
        return error.reason
    said = redact(" ".join(str(error).split()))[:300].rstrip(".")
    return said or type(error).__name__
