"""What users did lately: the `user` entity and `user_statistics`, whose values hold for 30 days."""

from datetime import timedelta

from feast import Entity, FeatureService, FeatureView, Field, FileSource, ValueType
from feast.types import Float64, Int64

user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.INT64)

# Written by make_features.py: a row for each user and each day on which something changed.
daily = FileSource(
    name="user_daily",
    path="data/user_statistics.parquet",
    timestamp_field="event_timestamp",
    created_timestamp_column="created",
)

user_statistics = FeatureView(
    name="user_statistics",
    entities=[user],
    ttl=timedelta(days=30),
    schema=[
        Field(name="user_id", dtype=Int64),
        Field(name="purchases_7d", dtype=Int64, description="Purchases in the last 7 days"),
        Field(name="amount_7d", dtype=Float64, description="What they came to"),
        Field(
            name="mean_session_minutes", dtype=Float64, description="Mean length of the last 7 days' sessions"
        ),
        Field(name="days_since_purchase", dtype=Int64, description="Days since the last purchase"),
    ],
    source=daily,
)

user_churn = FeatureService(name="user_churn", features=[user_statistics], tags={"version": "1"})
