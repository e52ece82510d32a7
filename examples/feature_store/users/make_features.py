"""User statistics from a table of events, one row an event: user_id, time, kind, amount, minutes.

    python examples/feature_store/users/make_features.py events.parquet

``kind`` is ``purchase`` (with ``amount``) or ``session`` (with ``minutes``). The statistics of a day are
known at its end.
"""

import sys
from pathlib import Path

import polars as pl

HERE = Path(__file__).parent


def make_features(events: pl.LazyFrame) -> pl.DataFrame:
    """A row for each user and day with an event; its event time is the day's end.

    Args:
        events: The events; ``time`` is a timestamp in UTC.
    """
    is_purchase = pl.col("kind") == "purchase"
    end_of_day = pl.col("time").dt.truncate("1d").dt.offset_by("1d").alias("event_timestamp")
    days = (
        events.group_by("user_id", end_of_day)
        .agg(
            purchases=is_purchase.sum().cast(pl.Int64),
            amount=pl.col("amount").filter(is_purchase).sum(),
            sessions=(~is_purchase).sum(),
            minutes=pl.col("minutes").filter(~is_purchase).sum(),
            last=pl.col("time").filter(is_purchase).max(),
        )
        .sort("event_timestamp")
        .collect()
    )
    week = days.rolling("event_timestamp", period="7d", group_by="user_id").agg(
        purchases_7d=pl.col("purchases").sum(),
        amount_7d=pl.col("amount").sum(),
        mean_session_minutes=pl.col("minutes").sum() / pl.col("sessions").sum(),
    )
    last = days.select(
        "user_id",
        "event_timestamp",
        last=pl.col("last").forward_fill().over("user_id", order_by="event_timestamp"),
    )
    since = (pl.col("event_timestamp") - pl.col("last")).dt.total_days()
    return week.join(last, on=["user_id", "event_timestamp"]).select(
        "user_id",
        "event_timestamp",
        pl.col("event_timestamp").alias("created"),
        "purchases_7d",
        "amount_7d",
        pl.col("mean_session_minutes").fill_nan(None),
        since.alias("days_since_purchase"),
    )


if __name__ == "__main__":
    made = make_features(pl.scan_parquet(sys.argv[1]))
    (HERE / "data").mkdir(exist_ok=True)
    made.write_parquet(HERE / "data" / "user_statistics.parquet")
    print(f"{made.height:,} rows of {made['user_id'].n_unique():,} users")
