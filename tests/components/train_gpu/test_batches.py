"""Batches, held on the device and streamed: every row once an epoch, the same again, and from any step on."""

import threading
import weakref
from collections.abc import Iterator
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kfp_lifecycle.components.shared.errors import DeviceError, ParameterError, StorageError
from kfp_lifecycle.components.shared.inference.schema import TableSchema
from kfp_lifecycle.components.train_gpu import batches as batches_module
from kfp_lifecycle.components.train_gpu.batch import Batches, Cuts
from kfp_lifecycle.components.train_gpu.batches import DeviceBatches, make_batches
from kfp_lifecycle.components.train_gpu.reading import FeatureReader
from kfp_lifecycle.components.train_gpu.streaming import StreamedBatches
from tests.components.train_gpu.feature_tables import CLASSES, NUMBERS, SPEC, feature_table, rows_of
from tests.conftest import SOAK

CPU = torch.device("cpu")
EXAMPLES = 1000 if SOAK else 60


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Tables of some sizes, in row groups of 100."""
    place = tmp_path_factory.mktemp("tables")
    return {rows: feature_table(place / str(rows), rows) for rows in (1, 7, 100, 101, 1000, 2345)}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def batches_of(table: Path, memory: str = "device", **given_: Any) -> Batches:
    options: dict[str, Any] = {"batch_size": 64, "device": CPU, "shuffle": True, "seed": 11}
    return make_batches(table, SPEC, CLASSES, memory=memory, **(options | given_))


def listed(batches: Batches, epoch: int = 0, start: int = 0) -> list[list[int]]:
    return [rows_of(batch) for batch in batches.epoch(epoch, start)]


@given(rows=st.integers(1, 5000), batch_size=st.integers(1, 6000), world=st.integers(1, 9))
@settings(max_examples=10 * EXAMPLES, deadline=None)
def test_cuts_are_whole_and_even(rows: int, batch_size: int, world: int) -> None:
    cuts = Cuts(rows, min(batch_size, rows), world)
    bounds = [cuts.batch(step) for step in range(cuts.steps)]
    assert bounds[0][0] == 0
    assert bounds[-1][1] == rows
    assert all(end == start for (_, end), (start, _) in pairwise(bounds))
    for step, (start, end) in enumerate(bounds):
        last = step == cuts.steps - 1
        assert end - start == cuts.batch_size or last
        shares = [cuts.share(step, rank) for rank in range(world)]
        assert [shares[0][0], shares[-1][1]] == [start, end]
        assert all(stop == begin for (_, stop), (begin, _) in pairwise(shares))
        sizes = [cuts.size(step, rank) for rank in range(world)]
        assert max(sizes) - min(sizes) <= 1
        # A rank has nothing to do only where there are not enough rows for all.
        assert min(sizes) >= 1 or cuts.batch_size < world
    for rank in range(world):
        before = [cuts.rows_before(step, rank) for step in range(cuts.steps + 1)]
        assert before[0] == 0
        assert [b - a for a, b in pairwise(before)] == [cuts.size(s, rank) for s in range(cuts.steps)]


@given(
    rows=st.sampled_from([1, 7, 100, 101, 1000, 2345]),
    batch_size=st.integers(1, 700),
    world=st.integers(1, 5),
    streamed=st.booleans(),
    shuffle=st.booleans(),
    epoch=st.integers(0, 3),
    window_rows=st.integers(1, 1500),
    data=st.data(),
)
@settings(max_examples=EXAMPLES, deadline=None)
def test_every_row_comes_once_whatever_the_ranks(
    tables: dict[int, Path],
    rows: int,
    batch_size: int,
    world: int,
    streamed: bool,
    shuffle: bool,
    epoch: int,
    window_rows: int,
    data: st.DataObject,
) -> None:
    ranks: list[Batches] = []
    for rank in range(world):
        reader = FeatureReader(tables[rows], SPEC, CLASSES)
        given_: dict[str, Any] = {"shuffle": shuffle, "seed": 5, "rank": rank, "world": world}
        if streamed:
            given_["window_bytes"] = window_rows * reader.row_bytes
        kind: Any = StreamedBatches if streamed else DeviceBatches
        ranks.append(kind(reader, min(batch_size, rows), CPU, **given_))
    found = [listed(batches, epoch) for batches in ranks]
    assert {len(steps) for steps in found} == {ranks[0].steps}
    assert sorted(chain.from_iterable(chain.from_iterable(found))) == list(range(rows))
    # What each rank is told of a step is the size of what all ranks have of it.
    sizes = [sum(len(steps[step]) for steps in found) for step in range(ranks[0].steps)]
    assert [batch.rows for batch in ranks[-1].epoch(epoch)] == sizes
    start = data.draw(st.integers(0, ranks[0].steps))
    for batches, steps in zip(ranks, found, strict=True):
        assert listed(batches, epoch, start) == steps[start:]


@pytest.mark.parametrize("memory", ["device", "stream"])
def test_seed_and_epoch_alone_decide_the_order(tables: dict[int, Path], memory: str) -> None:
    first = listed(batches_of(tables[2345], memory))
    torch.manual_seed(3)
    torch.rand(5)
    assert listed(batches_of(tables[2345], memory)) == first
    other_epoch, other_seed = (
        listed(batches_of(tables[2345], memory), epoch=1),
        listed(batches_of(tables[2345], memory, seed=12)),
    )
    assert first != other_epoch != other_seed != first
    # Two seeds' epochs are no shifted copies of each other.
    assert listed(batches_of(tables[2345], memory, seed=12), epoch=0) != other_epoch


@pytest.mark.parametrize("memory", ["device", "stream"])
def test_the_shuffle_reaches_across_the_table(tables: dict[int, Path], memory: str) -> None:
    batches = batches_of(tables[2345], memory, batch_size=100)
    for rows in listed(batches)[:-1]:
        assert max(rows) - min(rows) > 1000
        assert rows != sorted(rows)


@pytest.mark.parametrize("memory", ["device", "stream"])
def test_without_shuffling_the_rows_come_in_the_tables_order(tables: dict[int, Path], memory: str) -> None:
    batches = batches_of(tables[2345], memory, shuffle=False)
    assert list(chain.from_iterable(listed(batches, epoch=4))) == list(range(2345))


def test_held_batches_have_the_same_rows_whatever_the_ranks(tables: dict[int, Path]) -> None:
    alone = listed(batches_of(tables[2345]))
    ranks = [listed(batches_of(tables[2345], rank=rank, world=3)) for rank in range(3)]
    assert [a + b + c for a, b, c in zip(*ranks, strict=True)] == alone


def test_a_rank_reads_no_more_than_its_share(
    tables: dict[int, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    real = FeatureReader._fill

    def fill(self: FeatureReader, rows: Any, piece: Any) -> None:
        read.append(piece.end - piece.start)
        real(self, rows, piece)

    monkeypatch.setattr(FeatureReader, "_fill", fill)
    for rank in range(4):
        read.clear()
        shares = listed(batches_of(tables[1000], "stream", batch_size=40, rank=rank, world=4))
        assert sum(read) == sum(map(len, shares)) == 250
    reader = FeatureReader(tables[2345], SPEC, CLASSES)
    window = 300 * reader.row_bytes
    late = StreamedBatches(reader, 100, CPU, shuffle=True, seed=0, window_bytes=window)
    read.clear()
    listed(late, start=20)
    # From step 20 on are rows 2000 to 2344; the window that row 2000 is in begins at most 400 rows before.
    assert 345 <= sum(read) <= 345 + 400


def test_no_more_than_a_few_windows_are_in_memory(
    tables: dict[int, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    windows: list[weakref.ref[torch.Tensor]] = []
    real = StreamedBatches._window

    def window(self: StreamedBatches, *given_: Any) -> Any:
        made = real(self, *given_)
        windows.append(weakref.ref(made.numbers))
        return made

    monkeypatch.setattr(StreamedBatches, "_window", window)
    reader = FeatureReader(tables[2345], SPEC, CLASSES)
    batches = StreamedBatches(reader, 10, CPU, shuffle=True, seed=0, window_bytes=100 * reader.row_bytes)
    most = 0
    for _ in batches.epoch(0):
        most = max(most, sum(made() is not None for made in windows))
    assert len(windows) >= 23
    # One in use, one ready, one that waits to be, and one that the next batch begins in.
    assert 2 <= most <= 4


def test_a_rest_too_small_for_the_ranks_joins_the_batch_before(tables: dict[int, Path]) -> None:
    assert [batch.rows for batch in batches_of(tables[101], batch_size=50).epoch(0)] == [50, 51]
    assert [batch.rows for batch in batches_of(tables[101], batch_size=33).epoch(0)] == [33, 33, 33, 2]
    assert [batch.rows for batch in batches_of(tables[101], batch_size=33, world=2).epoch(0)] == [33, 33, 35]


@pytest.mark.parametrize("memory", ["device", "stream"])
def test_a_batch_larger_than_the_table_is_cut_to_it(
    tables: dict[int, Path], memory: str, caplog: pytest.LogCaptureFixture
) -> None:
    batches = batches_of(tables[7], memory, batch_size=1000)
    assert (batches.rows, batches.batch_size, batches.steps) == (7, 7, 1)
    assert "batch_size is 7 instead of 1000" in caplog.text
    assert [sorted(rows) for rows in listed(batches)] == [list(range(7))]


@pytest.mark.parametrize("memory", ["device", "stream"])
def test_more_ranks_than_rows_leave_some_with_empty_batches(tables: dict[int, Path], memory: str) -> None:
    shares = [listed(batches_of(tables[1], memory, rank=rank, world=3)) for rank in range(3)]
    assert sorted(shares) == [[[]], [[]], [[0]]]


@pytest.mark.parametrize("memory", ["device", "stream"])
@pytest.mark.parametrize("batch_size", [7, 1000])
def test_class_weights_are_the_rows_own(tables: dict[int, Path], memory: str, batch_size: int) -> None:
    weights = [0.5, 1.0, 4.0]
    for batch in batches_of(tables[100], memory, batch_size=batch_size, class_weights=weights).epoch(0):
        assert batch.weight is not None
        assert torch.equal(batch.weight, torch.tensor(weights)[batch.target])
    assert next(iter(batches_of(tables[100], memory).epoch(0))).weight is None


@pytest.mark.parametrize("memory", ["device", "stream"])
def test_a_regressions_target_is_scaled_in_full_precision(tmp_path: Path, memory: str) -> None:
    table = feature_table(tmp_path, 1000, schema=NUMBERS)
    options: dict[str, Any] = {"batch_size": 100, "device": CPU, "shuffle": False, "seed": 0}
    plain = make_batches(table, SPEC, NUMBERS, memory=memory, **options)
    assert [row for batch in plain.epoch(0) for row in rows_of(batch, NUMBERS)] == list(range(1000))
    scaled = make_batches(table, SPEC, NUMBERS, memory=memory, centre=100.0, scale=0.25, **options)
    values = torch.cat([batch.target for batch in scaled.epoch(0)])
    assert torch.equal(values, (torch.arange(1000) / 2 - 100) / 0.25)


@pytest.mark.parametrize(("numbers", "codes"), [((), ("k",)), (("a",), ()), ((), ())])
@pytest.mark.parametrize("memory", ["device", "stream"])
def test_a_table_may_have_no_numbers_or_no_codes(
    tables: dict[int, Path], memory: str, numbers: tuple[str, ...], codes: tuple[str, ...]
) -> None:
    from kfp_lifecycle.components.train_gpu.features import FeatureSpec

    spec = FeatureSpec(numbers, codes, (1000,) * len(codes))
    options: dict[str, Any] = {"batch_size": 60, "device": CPU, "shuffle": True, "seed": 0}
    made = list(make_batches(tables[100], spec, CLASSES, memory=memory, **options).epoch(0))
    assert [batch.numbers.shape for batch in made] == [(60, len(numbers)), (40, len(numbers))]
    assert [batch.codes.shape for batch in made] == [(60, len(codes)), (40, len(codes))]


def test_bad_options_are_refused(tables: dict[int, Path]) -> None:
    with pytest.raises(ParameterError, match="'batch_size' is 0"):
        batches_of(tables[7], batch_size=0)
    with pytest.raises(ParameterError, match=r"'memory' is 'gpu'. Give one of: auto, device, stream"):
        batches_of(tables[7], "gpu")


@pytest.mark.parametrize(
    ("free", "memory", "world", "kind"),
    [
        (10**9, "auto", "1", DeviceBatches),
        (10_000, "auto", "1", StreamedBatches),
        (90_000, "auto", "1", DeviceBatches),
        (90_000, "auto", "2", StreamedBatches),
        (90_000, "stream", "1", StreamedBatches),
        (45_000, "device", "1", DeviceBatches),
    ],
)
def test_the_table_is_held_where_there_is_room(
    tables: dict[int, Path], monkeypatch: pytest.MonkeyPatch, free: int, memory: str, world: str, kind: Any
) -> None:
    """A row takes 28 bytes, so the table 28,000: half of the room is for other things."""
    monkeypatch.setattr(batches_module, "free_bytes", lambda _: free)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", world)
    assert isinstance(batches_of(tables[1000], memory), kind)


def test_a_table_that_does_not_fit_is_refused_where_it_must(
    tables: dict[int, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches_module, "free_bytes", lambda _: 20_000)
    with pytest.raises(DeviceError, match=r"cpu has 0.0 GiB free. Set memory to auto or stream"):
        batches_of(tables[1000], "device")


def test_a_damaged_table_is_said_at_once(tmp_path: Path) -> None:
    table = feature_table(tmp_path, 100)
    file = table / "part-0.parquet"
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(StorageError, match=r"part-0.parquet cannot be read"):
        batches_of(table)
    with pytest.raises(StorageError, match="cannot be read"):
        batches_of(tmp_path / "nowhere")


def readers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "read-ahead"]


def streamed(table: Path, schema: TableSchema = CLASSES) -> StreamedBatches:
    reader = FeatureReader(table, SPEC, schema)
    window = 100 * reader.row_bytes
    return StreamedBatches(reader, 10, CPU, shuffle=False, seed=0, window_bytes=window)


def test_damage_found_while_reading_ahead_is_raised_where_it_is_reached(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    table = feature_table(tmp_path, 1000)
    file = table / "part-0.parquet"
    column = pq.ParquetFile(file).metadata.row_group(5).column(0)
    content = bytearray(file.read_bytes())
    content[column.data_page_offset : column.data_page_offset + 40] = b"\xff" * 40
    file.write_bytes(content)
    seen: list[int] = []
    with pytest.raises(StorageError, match="cannot be read"):
        seen.extend(row for batch in streamed(table).epoch(0) for row in rows_of(batch))
    assert seen == list(range(500))
    assert not readers()


def test_who_stops_early_leaves_no_thread(tables: dict[int, Path]) -> None:
    batches = streamed(tables[2345]).epoch(0)
    next(batches)
    assert len(readers()) == 1
    batches.close()  # type: ignore[attr-defined]  # a generator
    assert not readers()


def test_what_the_training_raises_ends_the_thread(tables: dict[int, Path]) -> None:
    def train() -> None:
        for step, _ in enumerate(streamed(tables[2345]).epoch(0)):
            if step == 30:
                raise ValueError("the network failed")

    with pytest.raises(ValueError, match="the network failed"):
        train()
    assert not readers()


def test_an_epoch_that_is_over_or_never_begun_leaves_no_thread(tables: dict[int, Path]) -> None:
    batches = streamed(tables[100])
    assert len(listed(batches)) == 10
    batches.epoch(1)
    assert not readers()
