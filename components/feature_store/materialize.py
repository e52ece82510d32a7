"""From the offline store to the online store: which views, which window, and what came of it."""

import datetime as dt
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from kfp_lifecycle.components.feature_store.lock import held
from kfp_lifecycle.components.feature_store.repository import Repository, feast_errors
from kfp_lifecycle.components.shared.errors import FeatureStoreError, ParameterError, did_you_mean

log = logging.getLogger(__name__)

#: Where the window of a view without a TTL begins that was never materialized: its values never expire.
BEGINNING = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
#: By how much a window's end may be ahead of this clock.
CLOCK_SKEW = dt.timedelta(minutes=5)


@dataclass(frozen=True)
class ViewReport:
    """What became of one feature view.

    Args:
        view: Its name.
        start: Where its window began; None where it was up to date.
        end: Where it ended.
        rows: Entities that were written; None where an engine outside this process wrote them.
        newest: The newest event time that the offline store has up to ``end``; None where that is not known.
        ttl: How long its values hold; None for ever.
        seconds: How long it took.
        error: Why it failed; empty where it did not.
    """

    view: str
    start: dt.datetime | None
    end: dt.datetime
    rows: int | None
    newest: dt.datetime | None
    ttl: dt.timedelta | None
    seconds: float
    error: str = ""

    @property
    def age(self) -> dt.timedelta | None:
        """How old the newest value is at the end of the window."""
        return None if self.newest is None else self.end - self.newest

    @property
    def is_stale(self) -> bool:
        """Whether even the newest value is older than its TTL."""
        return self.ttl is not None and self.age is not None and self.age > self.ttl


@dataclass
class Written:
    """What passes to the online store."""

    rows: int = 0
    newest: dt.datetime | None = None
    calls: int = field(default=0)


def parse_time(text: str, parameter: str) -> dt.datetime | None:
    """The moment in an ISO 8601 text, without an offset in UTC; None for an empty one.

    Raises:
        ParameterError: The text is no time.
    """
    if not text:
        return None
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise ParameterError(
            f"Parameter {parameter!r} is {text!r}, which is no time.",
            "Write it as 2026-01-31T08:00:00+00:00.",
        ) from error
    return moment.replace(tzinfo=dt.UTC) if moment.tzinfo is None else moment.astimezone(dt.UTC)


def materialize(
    repository: Repository, views: Sequence[str] = (), start: str = "", end: str = ""
) -> list[ViewReport]:
    """Brings the online store up to date, view by view; a view that fails does not keep the others.

    Feast's registry remembers up to when each view is done as soon as it is, so that a run after a failure
    does what is left; what a view had written before it failed is written again, to the same values.

    Args:
        repository: The repository, applied.
        views: The feature views; none are all that are served online.
        start: Where the window begins (ISO 8601); empty is where each view's last one ended, or its TTL
            before ``end`` for one that was never materialized.
        end: Where it ends; empty is now.

    Raises:
        ParameterError: The window is empty, ends in the future, or is no time.
        FeatureStoreError: There is no such view, another materialization is under way, or a view failed.
    """
    now = dt.datetime.now(dt.UTC)
    begin, until = parse_time(start, "start"), parse_time(end, "end") or now
    if until > now + CLOCK_SKEW:
        raise ParameterError(
            f"Parameter 'end' is {until.isoformat()}, which is in the future.",
            "What comes until then would be taken for done. Give a time that has passed, or leave it empty.",
        )
    if begin is not None and begin >= until:
        raise ParameterError(
            f"The window from {begin.isoformat()} to {until.isoformat()} is empty.",
            "Give an end after start.",
        )
    with held(repository, "materialization"):
        repository.store.refresh_registry()
        chosen = _chosen(repository, views)
        return [_materialize(repository, view, begin, until) for view in chosen]


def failures(reports: Sequence[ViewReport]) -> FeatureStoreError | None:
    """The error of those views that failed; None where all is well."""
    failed = [report for report in reports if report.error]
    if not failed:
        return None
    return FeatureStoreError(
        "; ".join(f"feature view {report.view!r} failed: {report.error}" for report in failed) + ".",
        f"{len(reports) - len(failed)} of {len(reports)} views are done. Run it again: it does what is left.",
    )


def _chosen(repository: Repository, names: Sequence[str]) -> list[Any]:
    with feast_errors(repository.uri):
        store = repository.store
        views = {
            view.name: view for view in [*store.list_feature_views(), *store.list_stream_feature_views()]
        }
    online = {name: view for name, view in views.items() if view.online and view.batch_source is not None}
    if not online:
        raise FeatureStoreError(
            f"{repository.uri} has no feature view that is served online.",
            "Run feature-store-apply, and leave online=True in one.",
        )
    for name in names:
        if name not in online:
            raise FeatureStoreError(
                f"There is no feature view {name!r} that is served online.", did_you_mean(name, online)
            )
    return [online[name] for name in (names or sorted(online))]


def _materialize(
    repository: Repository, view: Any, begin: dt.datetime | None, until: dt.datetime
) -> ViewReport:
    ttl = view.ttl if view.ttl and view.ttl > dt.timedelta(0) else None
    start = begin or _last_end(view) or (until - ttl if ttl else BEGINNING)
    newest, began, error = _newest(repository, view, until), time.monotonic(), ""
    written = Written()
    if start < until:
        with counted(repository.store, written):
            try:
                with feast_errors(repository.uri):
                    repository.store.materialize(start, until, [view.name])
            except FeatureStoreError as failure:
                error = failure.problem.rstrip(".")
    # Files are read in this process; what else reads nothing here may have written elsewhere.
    rows = written.rows if written.calls or (_reads_files(view) and not error) else None
    report = ViewReport(
        view.name,
        start if start < until else None,
        until,
        rows,
        newest or written.newest,
        ttl,
        time.monotonic() - began,
        error,
    )
    log.info("%s: %s", view.name, error or f"{rows if rows is not None else 'unknown'} rows")
    return report


@contextmanager
def counted(store: Any, written: Written) -> Iterator[None]:
    """Counts in ``written`` what passes to the online store within the block."""
    online = store._get_provider().online_store
    write = online.online_write_batch

    def counting(config: Any, table: Any, data: Any, progress: Any) -> None:
        write(config, table, data, progress)
        written.calls += 1
        written.rows += len(data)
        times = [_utc(row[2]) for row in data]
        written.newest = max([*times, *([written.newest] if written.newest else [])])

    online.online_write_batch = counting
    try:
        yield
    finally:
        del online.online_write_batch


def _reads_files(view: Any) -> bool:
    from kfp_lifecycle.components.feature_store.engine.sources import is_readable

    return is_readable(view.batch_source)


def _last_end(view: Any) -> dt.datetime | None:
    last = view.most_recent_end_time
    return None if last is None else _utc(last)


def _newest(repository: Repository, view: Any, until: dt.datetime) -> dt.datetime | None:
    """The newest event time that a source of files has up to ``until``; None where that is not known."""
    import polars as pl

    from kfp_lifecycle.components.feature_store.engine.sources import TIME, Columns, is_readable, scan

    source = view.batch_source
    if not is_readable(source):
        return None
    with suppress(FeatureStoreError):  # the materialization itself says what is wrong
        rows = scan(source, repository.folder, Columns({}, {}, source.timestamp_field))
        found = (
            rows.filter(pl.col(TIME) <= until).select(pl.col(TIME).max()).collect(engine="streaming").item()
        )
        return None if found is None else found.astimezone(dt.UTC)
    return None


def _utc(moment: dt.datetime) -> dt.datetime:
    return moment.replace(tzinfo=dt.UTC) if moment.tzinfo is None else moment.astimezone(dt.UTC)
