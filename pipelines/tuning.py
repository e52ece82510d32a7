"""The ``tuning`` pipeline: prepare → featurize → katib-tune → train with the best → evaluate → register."""

from kfp import dsl

from kfp_lifecycle.components.katib_tune import katib_tune
from kfp_lifecycle.components.shared.image import CORE_IMAGE
from kfp_lifecycle.components.train import train
from kfp_lifecycle.pipelines._graph import Outputs, taken, train_and_register

VERSION = "1.0.0"


# A parameter without a description of its own gets that of the first component that takes it.
@dsl.pipeline(name="tuning")
def tuning(
    source: str,
    target: str,
    model_name: str,
    search_space: str,
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
    estimator: str = "auto",
    estimator_parameters: str = "{}",
    class_weight: str = "none",
    folds: int = 5,
    objective: str = "auto",
    goal: str = "",
    additional_metrics: list[str] = [],
    algorithm: str = "tpe",
    algorithm_settings: str = "{}",
    early_stopping: str = "none",
    max_trials: int = 30,
    parallel_trials: int = 2,
    max_failed_trials: int = 3,
    time_budget: float = 0.0,
    where: str = "auto",
    storage: str = "tuning.db",
    memory_limit: str = "",
    namespace: str = "",
    service_account: str = "",
    keep_experiment: bool = False,
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
    """Searches hyperparameters, then trains, evaluates and registers a model with the best, for any table.

    Args:
        model_name: Name of the registered model. The new version joins it and is compared with its champion.
        description: Text for people, kept with the model version.
        seed: Seed of the split, the folds, the search, the estimator and the bootstrap.
    """
    parameters = dict(locals())

    def fit(prepared: Outputs, features: Outputs) -> Outputs:
        tuned = katib_tune(
            train=prepared["train"],
            test=prepared["test"],
            schema=prepared["schema"],
            plan=features["plan"],
            trial_image=CORE_IMAGE,
            run_id=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
            **taken(katib_tune, parameters),
        ).outputs
        best = {"estimator_parameters": tuned["best_parameters"]}
        outputs: Outputs = train(
            train=prepared["train"],
            train_features=features["train_features"],
            schema=prepared["schema"],
            plan=features["plan"],
            transform=features["transform"],
            **{**taken(train, parameters), **best},
        ).outputs
        return outputs

    train_and_register(parameters, fit, name="tuning", version=VERSION, image=CORE_IMAGE)
