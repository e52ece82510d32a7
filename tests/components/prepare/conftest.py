"""Runs prepare on a table of the test's own."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from kfp_lifecycle.components.prepare.options import Options, Rules
from kfp_lifecycle.components.prepare.table import Prepared, prepare_table
from kfp_lifecycle.components.shared.dataset import scan
from kfp_lifecycle.components.shared.inference.schema import TableSchema


@dataclass
class Made:
    """What a run of prepare left on the disk, read back."""

    folder: Path
    prepared: Prepared

    @property
    def train(self) -> pl.DataFrame:
        return scan(self.folder / "train").collect()

    @property
    def test(self) -> pl.DataFrame:
        return scan(self.folder / "test").collect()

    @property
    def both(self) -> pl.DataFrame:
        return pl.concat([self.train, self.test])

    @property
    def schema(self) -> TableSchema:
        return TableSchema.load(self.folder / "schema.json")

    @property
    def profile(self) -> str:
        return (self.folder / "profile.html").read_text(encoding="utf-8")


Prepare = Callable[..., Made]


@pytest.fixture
def prepare(tmp_path: Path) -> Prepare:
    """``prepare(data, target=…, **options)``: data are columns, CSV text or bytes, a frame, or a source.

    ``rules`` are given as a dict. Outputs are in a folder of the run's own.
    """
    runs = iter(range(1000))

    def run(data: Any, **options: Any) -> Made:
        folder = tmp_path / f"run{next(runs)}"
        folder.mkdir()
        if isinstance(rules := options.get("rules"), Mapping):
            options["rules"] = Rules(**rules)
        source = str(data) if isinstance(data, (str, Path)) and "\n" not in str(data) else write(data, folder)
        try:
            prepared = prepare_table(Options(source=source, **options), **outputs(folder))
        except BaseException:
            assert {path.name for path in folder.iterdir()} <= {"table.csv"}, "a failed run left something"
            raise
        return Made(folder, prepared)

    return run


def outputs(folder: Path) -> dict[str, Path]:
    """Where a run puts what it makes."""
    return {
        "train": folder / "train",
        "test": folder / "test",
        "schema": folder / "schema.json",
        "profile": folder / "profile.html",
    }


def write(data: str | bytes | pl.DataFrame | Mapping[str, Sequence[Any]], folder: Path) -> str:
    """Writes ``data`` as a CSV file and gives its path."""
    file = folder / "table.csv"
    if isinstance(data, bytes):
        file.write_bytes(data)
    elif isinstance(data, str):
        file.write_text(data, encoding="utf-8")
    else:
        (data if isinstance(data, pl.DataFrame) else pl.DataFrame(data)).write_csv(file)
    return str(file)
