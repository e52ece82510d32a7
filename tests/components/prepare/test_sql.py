"""A query on a real PostgreSQL server."""

import subprocess
import sys

import polars as pl
import pytest

from kfp_lifecycle.components.prepare import sql
from kfp_lifecycle.components.shared.errors import ParameterError, SourceError
from tests.servers import free_port, postgres_server

pytestmark = pytest.mark.server
PASSWORD = "hush-hush"


@pytest.fixture(scope="module")
def server():
    """A cluster of its own, reached by the environment as libpq reads it."""
    with postgres_server(PASSWORD) as port, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PGUSER", "owner")
        patch.setenv("PGPASSWORD", PASSWORD)
        uri = f"postgresql://127.0.0.1:{port}/postgres"
        execute(uri, SETUP)
        yield uri


SETUP = """
create table customers as select
    n as id, (n / 3.0)::numeric(10, 4) as charge, n % 7 as tenure, (n % 2 = 0) as partner,
    case when n % 5 = 0 then null else 'plan ' || n % 4 end as plan, (n * 2)::text as number_as_text,
    date '2024-01-01' + n as since, timestamptz '2024-01-01 12:00+02' + n * interval '1 hour' as seen,
    md5(n::text)::uuid as code, case when n % 3 = 0 then 'Yes' else 'No' end as churn
from generate_series(1, 5000) n
"""


def execute(uri: str, statement: str) -> None:
    import adbc_driver_postgresql.dbapi

    with adbc_driver_postgresql.dbapi.connect(uri) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        connection.commit()


def test_a_query_becomes_a_table(prepare, server):
    made = prepare(server, query="select * from customers; ", target="churn", key_columns=["code"])
    kinds = {column.name: column.type for column in made.schema.columns}
    assert kinds == {
        "id": "integer",
        "charge": "number",
        "tenure": "integer",
        "partner": "boolean",
        "plan": "string",
        "number_as_text": "integer",
        "since": "date",
        "seen": "timestamp",
        "code": "string",
        "churn": "string",
    }
    both = made.both.sort("id")
    assert both.height == 5000
    assert both["id"].to_list() == list(range(1, 5001))
    assert both["charge"][2] == 1.0
    assert both["number_as_text"][6] == 14
    assert both["plan"].null_count() == 1000
    assert both["since"][0].isoformat() == "2024-01-02"
    assert both["seen"][0].isoformat() == "2024-01-01T11:00:00+00:00"
    assert both["code"][0] == "c4ca4238-a0b9-2382-0dcc-509a6f75849b"
    assert made.schema.source_uri == server
    assert made.schema.parameters["query"] == "select * from customers; "


def test_the_digest_is_that_of_the_rows_in_any_order(prepare, server):
    ways = ("order by id", "order by id desc", "where id <> 7")
    digests = [
        prepare(server, query=f"select id, plan, churn from customers {way} -- {way}", target="churn")
        for way in ways
    ]
    first, second, other = (made.schema.source_digest for made in digests)
    assert first == second
    assert first.startswith("xxh3:")
    assert other != first


def test_rows_come_in_batches(server, tmp_path, monkeypatch):
    monkeypatch.setattr(sql, "BATCH_BYTES", 1 << 16)
    fetched = sql.fetch_query(
        server, "select n, md5(n::text) as text from generate_series(1, 50000) n", tmp_path
    )
    assert len(fetched.files) > 10
    assert pl.scan_parquet(fetched.files).select(pl.len()).collect().item() == 50_000


def test_memory_does_not_grow_with_the_rows(server, tmp_path):
    """A million rows more, some 60 MB in the driver's form, and no more memory."""
    code = (
        "import resource, sys, pathlib\n"
        "from kfp_lifecycle.components.prepare.sql import fetch_query\n"
        "base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "query = 'select n, n::float8 / 3 as x, md5(n::text) as t from generate_series(1, {}) n'\n"
        f"fetch_query({server!r}, query.format(sys.argv[1]), pathlib.Path(sys.argv[2]))\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base) / 1024)\n"
    )
    peaks = []
    for count in (200_000, 1_200_000):
        folder = tmp_path / str(count)
        folder.mkdir()
        command = [sys.executable, "-c", code, str(count), str(folder)]
        peaks.append(float(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    assert peaks[1] < peaks[0] + 30


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("select nope from customers", 'column "nope" does not exist'),
        ("select * from nowhere", 'relation "nowhere" does not exist'),
        ("selct 1", "syntax error"),
        ("delete from customers", "read-only transaction"),
        ("select 1 / (id - 3000) as x, churn from customers", "division by zero"),
        ("select id, id from customers", "two columns named 'id'"),
        ("select age(since) as x, churn from customers", "'x' as an interval"),
    ],
)
def test_a_query_that_does_not_work(prepare, server, query, said):
    with pytest.raises(SourceError) as raised:
        prepare(server, query=query, target="churn")
    assert said in str(raised.value)
    assert "127.0.0.1" in str(raised.value)
    assert PASSWORD not in str(raised.value)


def test_a_query_without_rows(prepare, server):
    with pytest.raises(SourceError, match="has columns but no rows"):
        prepare(server, query="select * from customers where false", target="churn")


def test_a_wrong_password_is_not_repeated(prepare, server, monkeypatch):
    monkeypatch.setenv("PGPASSWORD", "wrong-one")
    with pytest.raises(SourceError, match="PGPASSWORD") as raised:
        prepare(server, query="select 1", target="y")
    assert "wrong-one" not in str(raised.value)


def test_a_server_that_does_not_answer(prepare):
    with pytest.raises(SourceError, match="Check host, port, database"):
        prepare(f"postgresql://127.0.0.1:{free_port()}/db", query="select 1", target="y")


def test_a_database_needs_a_query_and_a_file_takes_none(prepare):
    with pytest.raises(ParameterError, match="'query' is empty"):
        prepare("postgresql://localhost/db", target="y")
