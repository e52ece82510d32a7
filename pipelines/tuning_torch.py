"""The ``tuning-torch`` pipeline: prepare → featurize → katib-tune → train-gpu → evaluate → register."""

from kfp import dsl

from kfp_lifecycle.components.katib_tune import katib_tune
from kfp_lifecycle.components.shared.image import TORCH_IMAGE
from kfp_lifecycle.components.train_gpu import train_gpu
from kfp_lifecycle.pipelines._graph import Outputs, taken, train_and_register

VERSION = "1.0.0"


# A parameter without a description of its own gets that of the first component that takes it.
@dsl.pipeline(name="tuning-torch")
def tuning_torch(
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
    encode: str = "ordinal",
    max_onehot: int = 32,
    rare_share: float = 0.01,
    scale: str = "standard",
    date_parts: list[str] = ["year", "month", "day", "weekday", "hour"],
    overrides: str = "{}",
    estimator_parameters: str = "{}",
    class_weight: str = "none",
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
    """Searches a neural network's hyperparameters, then trains and registers the best network, for any table.

    Args:
        estimator_parameters: Parameters of train-gpu that every trial and the last training have, as one JSON
            object, such as {"network": "mlp", "epochs": 20}. One that is searched has its value in trial 0
            from here.
        model_name: Name of the registered model. The new version joins it and is compared with its champion.
        description: Text for people, kept with the model version.
        seed: Seed of the split, the held-out rows, the search, the network and the bootstrap.
    """
    parameters = dict(locals())

    def fit(prepared: Outputs, features: Outputs) -> Outputs:
        tuning = katib_tune(
            train=prepared["train"],
            test=prepared["test"],
            schema=prepared["schema"],
            plan=features["plan"],
            trainer="train-gpu",
            trial_image=TORCH_IMAGE,
            run_id=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
            **taken(katib_tune, parameters),
        )
        # It trains default and best anew, to compare them.
        tuning.set_container_image(TORCH_IMAGE)
        outputs: Outputs = train_gpu(
            train=prepared["train"],
            schema=prepared["schema"],
            plan=features["plan"],
            tuned_parameters=tuning.outputs["best_parameters"],
            **taken(train_gpu, parameters),
        ).outputs
        return outputs

    train_and_register(parameters, fit, name="tuning-torch", version=VERSION, image=TORCH_IMAGE)
