"""How airlines have fared at an airport over the last 7 days, as it was known before a departure."""

from datetime import timedelta

import pandas as pd
from feast import Entity, FeatureService, FeatureView, Field, FileSource, RequestSource, ValueType
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float64, Int64, String

airline = Entity(name="airline", join_keys=["carrier"], value_type=ValueType.STRING)
airport = Entity(name="airport", join_keys=["origin"], value_type=ValueType.STRING)

# Written by make_features.py: a row an hour for each airline at each airport.
hourly = FileSource(
    name="airline_airport_hourly",
    path="data/airline_airport.parquet",
    timestamp_field="event_timestamp",
    created_timestamp_column="created",
)

airline_airport = FeatureView(
    name="airline_airport_statistics",
    entities=[airline, airport],
    ttl=timedelta(days=7),
    schema=[
        Field(name="carrier", dtype=String),
        Field(name="origin", dtype=String),
        Field(name="flights_7d", dtype=Int64, description="Flights that arrived"),
        Field(name="late_share_7d", dtype=Float64, description="Share of them over 15 minutes late"),
        Field(name="mean_delay_7d", dtype=Float64, description="Their mean arrival delay in minutes"),
        Field(name="late_share_6h", dtype=Float64, description="Share of late ones in the last 6 hours"),
    ],
    source=hourly,
)

planned = RequestSource(name="planned", schema=[Field(name="distance", dtype=Int64)])


@on_demand_feature_view(
    sources=[airline_airport, planned],
    schema=[Field(name="delay_per_1000_miles", dtype=Float64)],
)
def distance_delay(inputs: pd.DataFrame) -> pd.DataFrame:
    """The mean delay set against how far the flight goes: a feature computed at the time of the request."""
    return pd.DataFrame({"delay_per_1000_miles": 1000.0 * inputs["mean_delay_7d"] / inputs["distance"]})


flight_delay = FeatureService(
    name="flight_delay", features=[airline_airport], tags={"version": "1"}, description="For late flights"
)
flight_delay_by_distance = FeatureService(
    name="flight_delay_by_distance",
    features=[airline_airport, distance_delay],
    tags={"version": "1"},
    description="Likewise, with a feature that is computed when a request comes",
)
