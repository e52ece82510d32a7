"""The ``training`` pipeline: prepare → featurize → train → evaluate → register."""

from kfp import dsl

from kfp_lifecycle.components.evaluate import evaluate
from kfp_lifecycle.components.featurize import featurize
from kfp_lifecycle.components.prepare import prepare
from kfp_lifecycle.components.register import register
from kfp_lifecycle.components.shared.image import CORE_IMAGE
from kfp_lifecycle.components.train import train

VERSION = "1.0.0"


# A parameter without a description of its own gets that of the first component that takes it.
@dsl.pipeline(name="training")
def training(
    source: str,
    target: str,
    model_name: str,
    task: str = "auto",
    target_expression: str = "",
    positive_class: str = "",
    query: str = "",
    revision: str = "",
    file_format: str = "auto",
    encoding: str = "utf-8",
    delimiter: str = ",",
    column_types: dict[str, str] = {},
    missing_values: list[str] = ["NA", "N/A", "NaN", "nan", "null", "NULL", "None"],
    key_columns: list[str] = [],
    drop_columns: list[str] = [],
    drop_duplicates: bool = True,
    max_missing_share: float = 0.5,
    max_categories: int = 10000,
    min_rows: int = 10,
    rules: str = "{}",
    split: str = "auto",
    split_column: str = "",
    test_size: float = 0.2,
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
    estimator: str = "auto",
    estimator_parameters: str = "{}",
    class_weight: str = "none",
    folds: int = 5,
    experiment: str = "kfp-lifecycle",
    run_name: str = "",
    reference_rows: int = 2000,
    thresholds: list[str] = [],
    champion_metric: str = "auto",
    min_improvement: float = 0.0,
    on_incomparable: str = "reject",
    slices: list[str] = [],
    confidence: float = 0.95,
    bootstrap_samples: int = 1000,
    description: str = "",
    seed: int = 42,
) -> None:
    """Trains, evaluates and registers a model of any table, by parameters alone.

    Args:
        model_name: Name of the registered model. The new version joins it and is compared with its champion.
        description: Text for people, kept with the model version.
        seed: Seed of the split, the folds, the estimator and the bootstrap; the same gives the same model.
    """
    prepared = prepare(
        source=source,
        target=target,
        task=task,
        target_expression=target_expression,
        positive_class=positive_class,
        query=query,
        revision=revision,
        file_format=file_format,
        encoding=encoding,
        delimiter=delimiter,
        column_types=column_types,
        missing_values=missing_values,
        key_columns=key_columns,
        drop_columns=drop_columns,
        drop_duplicates=drop_duplicates,
        max_missing_share=max_missing_share,
        max_categories=max_categories,
        min_rows=min_rows,
        rules=rules,
        split=split,
        split_column=split_column,
        test_size=test_size,
        seed=seed,
    ).outputs
    features = featurize(
        train=prepared["train"],
        test=prepared["test"],
        schema=prepared["schema"],
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
    ).outputs
    trained = train(
        train=prepared["train"],
        train_features=features["train_features"],
        schema=prepared["schema"],
        plan=features["plan"],
        transform=features["transform"],
        estimator=estimator,
        estimator_parameters=estimator_parameters,
        class_weight=class_weight,
        folds=folds,
        experiment=experiment,
        run_name=run_name,
        reference_rows=reference_rows,
        seed=seed,
    ).outputs
    evaluated = evaluate(
        model=trained["model"],
        test=prepared["test"],
        schema=prepared["schema"],
        model_name=model_name,
        thresholds=thresholds,
        champion_metric=champion_metric,
        min_improvement=min_improvement,
        on_incomparable=on_incomparable,
        slices=slices,
        confidence=confidence,
        bootstrap_samples=bootstrap_samples,
        mlflow_run_id=trained["mlflow_run_id"],
        seed=seed,
    ).outputs
    register(
        model=trained["model"],
        evaluation=evaluated["evaluation"],
        model_name=model_name,
        approved=evaluated["approved"],
        reasons=evaluated["reasons"],
        description=description,
        mlflow_run_id=trained["mlflow_run_id"],
        pipeline_name="training",
        pipeline_version=VERSION,
        pipeline_digest="",  # the compiler writes it into the compiled file
        pipeline_run_id=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
        image=CORE_IMAGE,
    )
