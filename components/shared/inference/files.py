"""Names of the files in a model's data folder."""

SCHEMA, TRANSFORM, ESTIMATOR = "schema.json", "transform.json", "estimator.pkl"
