"""The KFP face of ``featurize``."""

from kfp import dsl

from kfp_lifecycle.components.shared.image import CORE_IMAGE

VERSION = "1.0.0"


@dsl.component(base_image=CORE_IMAGE, install_kfp_package=False)
def featurize(
    train: dsl.Input[dsl.Dataset],
    test: dsl.Input[dsl.Dataset],
    schema: dsl.Input[dsl.Artifact],
    train_features: dsl.Output[dsl.Dataset],
    test_features: dsl.Output[dsl.Dataset],
    plan: dsl.Output[dsl.Artifact],
    transform: dsl.Output[dsl.Artifact],
    train_rows: dsl.Output[dsl.Dataset],
    test_rows: dsl.Output[dsl.Dataset],
    rows_schema: dsl.Output[dsl.Artifact],
    feature_store: str = "",
    feature_service: str = "",
    features: list[str] = [],
    event_time: str = "",
    derive: dict[str, str] = {},
    exclude_columns: list[str] = [],
    impute_numeric: str = "median",
    impute_category: str = "missing",
    encode: str = "auto",
    max_onehot: int = 32,
    rare_share: float = 0.01,
    scale: str = "standard",
    date_parts: list[str] = ["year", "month", "day", "weekday", "hour"],
    overrides: str = "{}",
    seed: int = 42,
) -> None:
    """Turns prepared rows into features by one plan, fitted on the training split alone.

    With a feature store, each row first gets the features that were known at its event time (a point-in-time
    join by Feast); what follows takes these for columns of the table.

    The plan is a scikit-learn-compatible transform. It is written unfitted, so that folds and trials can fit
    their own, and fitted, so that the model carries it.

    Args:
        train: The training split from prepare.
        test: The test split from prepare.
        schema: The schema from prepare.
        train_features: The training split's feature table, a folder of Parquet files, with the target.
        test_features: The test split's feature table, by the transform fitted on the training split.
        plan: The transform, unfitted, as JSON.
        transform: The transform, fitted, as JSON.
        train_rows: The training split with the feature store's columns; without a store as it came.
        test_rows: The test split, likewise.
        rows_schema: The schema of these rows: which columns come with a request, and which from the store.
        feature_store: Feast repository: a folder or gs://, s3:// URI that holds feature_store.yaml; empty
            takes no features from a store.
        feature_service: Feature service of the repository with the features to take.
        features: Features to take in place of a service, each as view:feature.
        event_time: Column with each row's event time; a value of the store counts if it was known by then.
        derive: New column to the SQL expression that computes it from the columns of the same row, such as
            {"total_value": "tenure * monthly_charges"}.
        exclude_columns: Columns that must not become features.
        impute_numeric: How missing numbers are filled: median, mean, zero or none.
        impute_category: How missing categories are filled: missing (a category of its own) or most_frequent.
        encode: How categories become numbers: onehot, ordinal, target, or auto (onehot up to max_onehot
            categories, target above).
        max_onehot: The most categories that auto encodes as one column each.
        rare_share: Categories with less than this share of rows (0 to 1) are taken together as one, except by
            target encoding, which draws them to the mean by itself.
        scale: How numbers are scaled: standard (mean 0, variance 1), minmax (0 to 1) or none.
        date_parts: Parts taken from dates and timestamps: year, month, day, weekday, hour, minute, dayofyear.
        overrides: The choices above by column, as one JSON object: {"tenure": {"scale": "none"}}.
        seed: Seed of the cross-fitting that target encoding uses on the training rows.

    Raises:
        ParameterError: A parameter is of the wrong type, out of range, or names a column that is not there.
        ExpressionError: An expression of derive does not parse, or reaches outside the row.
        SchemaError: The rows are not what the schema says.
        FeatureStoreError: The feature store cannot be opened or read, has not what is asked for, or an entity
            column is missing or of another type.
        StorageError: The disk is full or cannot be written.
    """
    from kfp_lifecycle.components.featurize.step import featurize_step

    featurize_step(
        train=train,
        test=test,
        schema=schema,
        train_features=train_features,
        test_features=test_features,
        plan=plan,
        transform=transform,
        train_rows=train_rows,
        test_rows=test_rows,
        rows_schema=rows_schema,
        feature_store=feature_store,
        feature_service=feature_service,
        features=features,
        event_time=event_time,
        derive=derive,
        exclude_columns=exclude_columns,
        impute_numeric=impute_numeric,
        impute_category=impute_category,
        encode=encode,
        max_onehot=max_onehot,
        rare_share=rare_share,
        scale=scale,
        date_parts=date_parts,
        overrides=overrides,
        seed=seed,
    )
