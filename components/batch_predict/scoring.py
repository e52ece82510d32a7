"""One worker's shards: read, scored and written, while the next is read and the last one written.

A shard's scores appear whole, under a name that tells the shard's content and the model's version. A worker
that is started again scores only the shards that have no whole part yet.
"""

import logging
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

import polars as pl

from kfp_lifecycle.components.batch_predict.model import Scorer
from kfp_lifecycle.components.batch_predict.plan import Part, Plan, open_results, read_plan, write_json
from kfp_lifecycle.components.batch_predict.table import open_file
from kfp_lifecycle.components.prepare.reading import whole_source
from kfp_lifecycle.components.shared.cancel import cancellable
from kfp_lifecycle.components.shared.errors import SchemaError
from kfp_lifecycle.components.shared.storage import Store

log = logging.getLogger(__name__)

#: Columns that stand in for a key where there is none.
FILE, ROW = "_file", "_row"


@dataclass
class Record:
    """What a worker did.

    Args:
        parts: All parts of its share, those that it found included.
        file_rows: Rows of each source file that it read, by the file's position in the plan.
        scored: How many of the parts were made by this call.
    """

    parts: list[Part] = field(default_factory=list)
    file_rows: dict[int, int] = field(default_factory=dict)
    scored: int = 0


def score_shards(output: str, share: str) -> str:
    """Scores one worker's shards.

    Args:
        output: Where the results go.
        share: What :func:`.planning.make_plan` gave for this worker.

    Returns:
        The worker's record: its name below ``output``.

    Raises:
        SourceError: A file of the table is gone, has changed, or is damaged.
        SchemaError: A file lacks a column, or a value does not fit the model's schema. Names file and column.
        ParameterError: A key column has the name of one of the output's own.
        StorageError: The plan is not there, or a part cannot be written.
        TrackingError: MLflow cannot be reached.
    """
    folder, _, which = share.rpartition("/")
    worker, workers = (int(number) for number in which.split("-of-"))
    store = open_results(output, folder)
    plan = read_plan(store, output)
    with cancellable(), tempfile.TemporaryDirectory(prefix="batch-predict-") as place:
        work = _Worker(plan, store, Scorer.load(plan, Path(place) / "model"), Path(place))
        for file in share_of_files(plan, worker, workers):
            work.score_file(file, *share_of_shards(plan, worker, workers))
    log.info("%d parts; %d of them made now", len(work.record.parts), work.record.scored)
    name = f"_workers/{which}.json"
    write_json(store, asdict(work.record), name)
    return f"{folder}/{name}"


def share_of_files(plan: Plan, worker: int, workers: int) -> list[int]:
    """The files that a worker reads, by position: all of them where they are fewer than the workers.

    Else each file is one worker's alone, dealt out by size: the largest first, to who has the least.
    """
    if len(plan.files) < workers:
        return list(range(len(plan.files)))
    loads, mine = [0] * workers, []
    for file in sorted(range(len(plan.files)), key=lambda file: (-plan.files[file].bytes, file)):
        least = min(range(workers), key=lambda number: (loads[number], number))
        loads[least] += max(plan.files[file].bytes, 1)
        if least == worker:
            mine.append(file)
    return sorted(mine)


def share_of_shards(plan: Plan, worker: int, workers: int) -> tuple[int, int]:
    """Which shards of its files are a worker's: the number of the first, and every how many."""
    return (worker, workers) if len(plan.files) < workers else (0, 1)


class _Worker:
    """Scores files into a store.

    Args:
        plan: The plan.
        store: The folder of the results.
        scorer: The model.
        place: A local folder for what is needed on the way.
    """

    def __init__(self, plan: Plan, store: Store, scorer: Scorer, place: Path) -> None:
        self._plan, self._store, self._scorer, self._place = plan, store, scorer, place
        self._there = set(store.names())
        self.record = Record()

    def score_file(self, position: int, offset: int, every: int) -> None:
        """Scores a file's shards number ``offset``, ``offset + every``, … that have no whole part yet."""
        file, size = self._plan.files[position], self._plan.shard_rows
        with tempfile.TemporaryDirectory(dir=self._place) as folder:
            table = open_file(file, self._scorer.reading(), Path(folder))
            self._scorer.check_columns(table.frame.collect_schema().names(), file.name)
            # A table without rows has one part without rows, so that the scores have their columns.
            firsts = range(0, max(table.rows, 1), size)[offset::every]
            parts = [self._part(position, first, min(size, table.rows - first)) for first in firsts]
            missing = [part for part in parts if not self._is_whole(part)]
            log.info(
                "%s: %d rows, %d of %d parts are to be made", file.name, table.rows, len(missing), len(parts)
            )
            start = time.perf_counter()
            self._score(table.frame, missing)
            rows, seconds = sum(part.rows for part in missing), time.perf_counter() - start
            log.info("%s: %d rows scored, %.0f a second", file.name, rows, rows / max(seconds, 1e-9))
        self.record.file_rows[position] = table.rows
        self.record.parts += parts

    def _part(self, position: int, first: int, rows: int) -> Part:
        return Part(self._plan.part_name(position, first), position, first, rows)

    def _score(self, frame: pl.LazyFrame, parts: Sequence[Part]) -> None:
        def load(part: Part) -> pl.DataFrame:
            rows = frame.select(self._scorer.columns).slice(part.first, part.rows)
            with whole_source(self._plan.files[part.file].name):
                return rows.collect(engine="streaming")

        with ThreadPoolExecutor(1) as writer:
            writing: Future[None] | None = None
            for part, rows in _ahead(parts, load):
                scored = self._scored(part, rows)
                if writing is not None:
                    writing.result()  # one at most waits, and a full disk ends the work
                writing = writer.submit(self._write, part, scored)
            if writing is not None:
                writing.result()

    def _scored(self, part: Part, rows: pl.DataFrame) -> pl.DataFrame:
        """What tells the rows apart, beside their scores."""
        name = self._plan.files[part.file].name
        try:
            scores = self._scorer.score(rows)
        except SchemaError as error:
            where = f"{name}, rows {part.first} to {part.first + part.rows}"
            raise SchemaError(f"{where}: {error.problem}", error.fix) from error
        if self._scorer.keys:
            return rows.select(self._scorer.keys).hstack(scores)
        place = pl.int_range(part.first, part.first + part.rows, dtype=pl.Int64)
        return scores.select(pl.lit(name).alias(FILE), place.alias(ROW), pl.all())

    def _write(self, part: Part, scored: pl.DataFrame) -> None:
        local = self._place / part.name
        scored.write_parquet(local)
        self._store.write(local, part.name)
        local.unlink()
        self.record.scored += 1

    def _is_whole(self, part: Part) -> bool:
        """Whether the part is there with all its rows; one that was cut short is made again."""
        if part.name not in self._there:
            return False
        local = self._place / f"found-{part.name}"
        self._store.read(part.name, local)
        try:
            # To its end: a footer says nothing of the pages before it.
            if pl.read_parquet(local).height == part.rows:
                return True
        except pl.exceptions.PolarsError as error:
            log.info("%s: %s", part.name, error)
        finally:
            local.unlink()
        log.warning("%s is damaged, and is made again", part.name)
        return False


def _ahead(
    parts: Iterable[Part], load: Callable[[Part], pl.DataFrame]
) -> Iterator[tuple[Part, pl.DataFrame]]:
    """Each part with its rows, the next one's read while this one's are worked on."""
    waiting: deque[tuple[Part, Future[pl.DataFrame]]] = deque()
    with ThreadPoolExecutor(1) as pool:
        for part in parts:
            waiting.append((part, pool.submit(load, part)))
            if len(waiting) == 2:
                first, loaded = waiting.popleft()
                yield first, loaded.result()
        while waiting:
            first, loaded = waiting.popleft()
            yield first, loaded.result()
