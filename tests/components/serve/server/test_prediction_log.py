"""The prediction log's writer: what is written, and what happens when it cannot be."""

import asyncio
import contextlib
import logging
import time
from datetime import UTC, datetime, timedelta

import boto3
import polars as pl
import pytest

from kfp_lifecycle.components.serve.server import prediction_log
from kfp_lifecycle.components.serve.server.loading import load
from kfp_lifecycle.components.serve.server.log_rows import log_columns
from kfp_lifecycle.components.serve.server.models import InputColumn
from kfp_lifecycle.components.serve.server.options import ServerOptions
from kfp_lifecycle.components.serve.server.prediction_log import PredictionLog
from kfp_lifecycle.components.serve.server.table import Table
from kfp_lifecycle.components.shared.errors import ParameterError, StorageError
from kfp_lifecycle.components.shared.inference.settle import DTYPES
from kfp_lifecycle.components.shared.prediction_log import COLUMNS, SALT, hashed, read_log
from tests.components.serve.server.small import NAMES, Small, answered, row, table
from tests.servers import free_port, s3_server


class Writer:
    """A log that is being written, and what it counted as dropped."""

    def __init__(self, uri, served=None, environ=None, **options):
        self.served = served or Small()
        self.dropped = {}
        settings = ServerOptions("unused", log=str(uri), **{"log_flush_s": 0.05, **options})
        columns = log_columns(settings, self.served, environ or {})
        self.log = PredictionLog(settings, columns, self.drop)
        self.uri = str(uri)

    def drop(self, served, rows):
        self.dropped[served.version] = self.dropped.get(served.version, 0) + rows

    def __enter__(self):
        asyncio.run(self.log.start(None))
        return self

    def __exit__(self, *_):
        asyncio.run(self.log.stop(30))

    def take(self, given, request_id="r", served=None):
        self.log.answered(answered(served or self.served, given, request_id))

    def rows(self):
        now = datetime.now(UTC)
        rows, problems = read_log(self.uri, now - timedelta(days=2), now + timedelta(days=2))
        assert problems == []
        return rows.collect()


def fill(ballast):
    """Takes all that is left of a disk."""
    with contextlib.suppress(OSError), ballast.open("ab", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)


def eventually(check):
    deadline = time.monotonic() + 30
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_each_row_is_logged_with_its_inputs_outputs_version_request_and_time(tmp_path):
    before = datetime.now(UTC)
    with Writer(tmp_path / "log") as writer:
        writer.take(row(age="31", member="No"), "first")
        writer.take(table(age=[1, None], fare=[0.5, 1], code=["x", None]), "second")
        writer.take(row(age=5), "third", Small("2"))
    rows = writer.rows().sort("_version", "_request_id", "_row")
    assert list(rows.columns) == [*COLUMNS, *NAMES, "prediction", "seen"]
    assert rows["_request_id"].to_list() == ["first", "second", "second", "third"]
    assert rows["_row"].to_list() == [0, 0, 1, 0]
    assert rows["_version"].to_list() == ["1", "1", "1", "2"]
    assert set(rows["_model"]) == {"small"}
    assert rows["age"].to_list() == [31, 1, None, 5], "in the schema's type, however it was sent"
    assert rows["member"].to_list() == [False, False, False, True]
    assert rows["prediction"].to_list() == [38.5, 1.5, 1.0, 12.5]
    assert rows["seen"].to_list() == ["a", "x", None, "a"]
    assert before <= rows["_time"].min() <= rows["_time"].max() <= datetime.now(UTC)


def test_what_one_client_sends_does_not_change_how_anothers_values_are_logged(tmp_path):
    with Writer(tmp_path / "log") as writer:
        for number, value in enumerate([501.0, "abc", None, 501, True]):
            writer.take(row(code=value), str(number))
    rows = writer.rows().sort("_request_id")
    assert rows["code"].to_list() == rows["seen"].to_list()
    assert rows["code"].to_list()[:4] == ["501", "abc", None, "501"]


def test_rows_are_in_the_folder_of_their_day(tmp_path, monkeypatch):
    days = [datetime(2026, 11, 22, 23, 59, tzinfo=UTC), datetime(2026, 11, 23, tzinfo=UTC)]
    moments = iter([int(day.timestamp()) * 1_000_000_000 for day in days])
    writer = Writer(tmp_path / "log")
    with monkeypatch.context() as patch:
        patch.setattr(prediction_log.time, "time_ns", lambda: next(moments))
        for _ in days:
            writer.take(row())
    with writer:
        pass
    for day in days:
        (file,) = (tmp_path / "log" / f"date={day.date()}").iterdir()
        assert file.name.startswith(f"part-{int(day.timestamp() * 1000)}-")
        assert pl.read_parquet(file)["_time"].to_list() == [day]


def test_further_columns_are_logged_as_text_and_null_where_a_request_has_none(tmp_path):
    with Writer(tmp_path / "log", log_columns=("customer_id", "age")) as writer:
        writer.take(row(customer_id=17), "a")
        writer.take(row(), "b")
    rows = writer.rows().sort("_request_id")
    assert rows["customer_id"].to_list() == ["17", None]
    assert rows["age"].to_list() == [30, 30], "an input stays what it is"


def test_columns_are_left_out_or_hashed(tmp_path):
    options = {
        "log_columns": ("customer_id",),
        "log_exclude": ("fare", "seen"),
        "log_hash": ("code", "age", "customer_id"),
    }
    with Writer(tmp_path / "log", environ={SALT: "pepper"}, **options) as writer:
        writer.take(row(customer_id="C-7"))
        writer.take(row(customer_id="C-7", code=None))
    rows = writer.rows()
    assert not {"fare", "seen"} & set(rows.columns)
    assert rows["age"].to_list() == hashed(pl.Series([30, 30]), "pepper").to_list()
    assert sorted(rows["code"], key=str) == sorted([None, *hashed(pl.Series(["a"]), "pepper")], key=str)
    assert rows["customer_id"].n_unique() == 1
    # RFC 2104 by another way: openssl dgst -sha256 -hmac pepper of "C-7".
    assert rows["customer_id"][0] == "aa784acc1a49794bbdd9279cb57e5ed09fa55bbbc3a2199fbbe7146c42ef4cd0"
    files = b"".join(path.read_bytes() for path in (tmp_path / "log").rglob("*.parquet"))
    assert b"C-7" not in files


@pytest.mark.parametrize("flag", ["log_exclude", "log_hash"])
def test_a_mistyped_column_to_keep_out_is_refused_at_the_start(tmp_path, flag):
    with pytest.raises(ParameterError, match=r"names 'agee'.*age"):
        Writer(tmp_path / "log", environ={SALT: "pepper"}, **{flag: ("agee",)})


def test_hashing_needs_a_salt(tmp_path):
    with pytest.raises(ParameterError, match=SALT):
        Writer(tmp_path / "log", log_hash=("age",))


def test_a_place_that_is_known_nowhere_is_refused_at_the_start():
    with pytest.raises(StorageError, match="no storage"):
        Writer("ftp://log/here")


@pytest.mark.server
def test_a_bucket_gets_the_same_rows(tmp_path, monkeypatch):
    with s3_server(tmp_path) as s3:
        for name, value in s3.items():
            monkeypatch.setenv(name, value)
        boto3.client("s3").create_bucket(Bucket="log")
        with Writer("s3://log/predictions") as writer:
            for number in range(20):
                writer.take(row(age=number), str(number))
        assert sorted(writer.rows()["age"]) == list(range(20))


@pytest.mark.server
def test_rows_wait_for_a_bucket_that_cannot_be_reached_and_those_over_the_limit_are_counted(
    tmp_path, monkeypatch, caplog
):
    port = free_port()
    environment = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "someone",
        "AWS_SECRET_ACCESS_KEY": "hush-hush",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_MAX_ATTEMPTS": "1",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    caplog.set_level(logging.INFO)
    with Writer("s3://log/predictions", log_rows=100) as writer:
        for number in range(120):
            writer.take(row(age=number), str(number))
        assert writer.dropped == {"1": 20}
        eventually(lambda: "cannot be written; rows wait" in caplog.text)
        eventually(lambda: "dropped 20 rows, 20 in all" in caplog.text)
        with s3_server(tmp_path, port):
            boto3.client("s3").create_bucket(Bucket="log")
            eventually(lambda: "is written again" in caplog.text)
            eventually(lambda: writer.log._in == writer.log._out)
            writer.take(row(age=1000), "later")
            eventually(lambda: writer.log._in == writer.log._out)
            assert sorted(writer.rows()["age"]) == [*range(100), 1000]
    assert "hush-hush" not in caplog.text


def test_rows_wait_for_a_disk_that_is_full(small_disk, caplog):
    ballast = small_disk / "ballast"
    with Writer(small_disk / "log") as writer:
        writer.take(row(age=1))
        eventually(lambda: writer.log._in == writer.log._out)
        ballast.write_bytes(b"x" * 150_000)
        fill(ballast)
        writer.take(row(age=2))
        eventually(lambda: "no space left on device" in caplog.text)
        writer.take(row(age=3))
        ballast.unlink()
        eventually(lambda: writer.log._in == writer.log._out)
        assert sorted(writer.rows()["age"]) == [1, 2, 3]
        assert writer.dropped == {}
    assert not list(small_disk.rglob("*.partial"))


def test_a_table_with_very_many_columns_has_fewer_rows_waiting(tmp_path, monkeypatch):
    monkeypatch.setattr(prediction_log, "_VALUES", 50)  # five columns a row, with the row itself
    writer = Writer(tmp_path / "log")
    for _ in range(12):
        writer.take(row())
    assert writer.dropped == {"1": 2}


def test_a_request_with_more_rows_than_may_wait_is_logged_where_none_waits(tmp_path):
    with Writer(tmp_path / "log", log_rows=10) as writer:
        writer.take(table(age=list(range(50))))
        assert writer.dropped == {}
        writer.take(row())
    assert writer.dropped in ({"1": 1}, {})
    assert writer.rows().height == 51 - sum(writer.dropped.values())


def test_rows_that_cannot_be_logged_are_counted_and_the_others_are_logged(tmp_path, caplog):
    class Strange(Small):
        def settled(self, rows):
            if "odd" in rows.columns["code"]:
                raise RuntimeError("a mistake")
            return super().settled(rows)

    odd = Strange("9")
    with Writer(tmp_path / "log") as writer:
        answer = answered(Small(), row(code="odd"))
        answer.call.served = odd
        writer.log.answered(answer)
        writer.take(row(age=4))
    assert writer.dropped == {"9": 1}
    assert "cannot take 1 rows of 9" in caplog.text
    assert writer.rows()["age"].to_list() == [4]


def test_a_file_that_can_never_be_written_does_not_keep_others_waiting(tmp_path, caplog):
    """Values that Parquet has no type for, from a model of another library."""

    class Odd(Small):
        def settled(self, rows):
            return super().settled(rows).with_columns(odd=pl.Series([object()], dtype=pl.Object))

    with Writer(tmp_path / "log", Odd("9")) as writer:
        writer.take(row())
        writer.take(row(age=4), served=Small("1"))
    assert writer.dropped == {"9": 1}
    assert "cannot write date=" in caplog.text
    assert writer.rows()["age"].to_list() == [4]


def test_many_rows_are_written_before_their_time(tmp_path):
    with Writer(tmp_path / "log", log_flush_s=3600) as writer:
        writer.take(table(age=list(range(10_000))))
        eventually(lambda: writer.log._in == writer.log._out)
        assert writer.rows().height == 10_000


def test_an_end_in_time_even_if_the_place_does_not_answer(tmp_path, monkeypatch, caplog):
    writer = Writer(tmp_path / "log")
    monkeypatch.setattr(writer.log._store, "write", lambda *_: time.sleep(3))
    asyncio.run(writer.log.start(None))
    writer.take(row())
    eventually(lambda: writer.log._parts)
    asyncio.run(writer.log.stop(0.1))
    assert "ends with 1 rows unwritten" in caplog.text


def test_taking_is_quick_while_the_place_does_not_answer(tmp_path, monkeypatch):
    """Nothing waits for the writer: more answers than may wait are taken while it hangs."""
    writer = Writer(tmp_path / "log", log_rows=50)
    released = prediction_log.threading.Event()
    monkeypatch.setattr(writer.log._store, "write", lambda *_: released.wait(30))
    with writer:
        for _ in range(500):
            writer.take(row())
        assert not released.is_set()
        assert sum(writer.dropped.values()) == 450
        released.set()


def test_no_value_of_another_table(tmp_path):
    """Extra columns come from the rows as sent, inputs from the checked ones."""
    with Writer(tmp_path / "log", log_columns=("note",)) as writer:
        writer.take(Table({"age": [1, 2], "note": ["é", True]}, 2))
    assert writer.rows().sort("_row")["note"].to_list() == ["é", "True"]


def test_an_input_with_a_name_of_the_logs_own_is_left_out_and_spoken_of(tmp_path, caplog):
    class Clashing(Small):
        def __init__(self):
            super().__init__()
            self.inputs.append(InputColumn("prediction", "number", False))

        def settled(self, rows):
            return super().settled(rows).with_columns(prediction=pl.lit(-1.0))

    with Writer(tmp_path / "log", Clashing()) as writer:
        writer.take(row())
    assert writer.rows()["prediction"].to_list() == [37.5]
    assert "leaves out inputs with names of its own: prediction" in caplog.text


@pytest.mark.parametrize("kind", ["binary", "regression", "multiclass", "plain"])
def test_real_models_are_logged_with_what_they_were_given_and_said(models, tmp_path, kind):
    served = load(str(getattr(models, kind)), kind)
    done = answered(served, served.example)
    with Writer(tmp_path / "log", served) as writer:
        writer.log.answered(done)
    rows = writer.rows().sort("_row")
    inputs, outputs = served.settled(served.check(served.example)), done.outputs.frame()
    assert rows.columns == [*COLUMNS, *inputs.columns, *outputs.columns]
    assert rows.select(inputs.columns).equals(inputs)
    assert rows.select(outputs.columns).equals(outputs)
    assert inputs.height > 1
    if served.description is not None:
        types = {column.name: column.type for column in served.inputs}
        assert {name: rows.schema[name] for name in types} == {
            name: DTYPES[kind] for name, kind in types.items()
        }
