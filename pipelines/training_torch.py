"""The ``training-torch`` pipeline: prepare → featurize → train-gpu → evaluate → register → serve."""

from kfp import dsl

from kfp_lifecycle.components.shared.image import TORCH_IMAGE
from kfp_lifecycle.components.train_gpu import train_gpu
from kfp_lifecycle.pipelines._graph import Outputs, taken, train_and_register

VERSION = "1.0.0"


# A parameter without a description of its own gets that of the first component that takes it.
@dsl.pipeline(name="training-torch")
def training_torch(
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
    network: str = "residual",
    network_parameters: str = "{}",
    loss: str = "auto",
    optimizer: str = "adamw",
    learning_rate: float = 0.001,
    weight_decay: float = 0.0001,
    schedule: str = "cosine",
    warmup_share: float = 0.05,
    epochs: int = 30,
    batch_size: int = 1024,
    dropout: float = 0.15,
    class_weight: str = "none",
    clip_norm: float = 1.0,
    monitor: str = "loss",
    patience: int = 8,
    validation_share: float = 0.1,
    precision: str = "auto",
    compile: bool = False,  # noqa: A002
    deterministic: bool = False,
    memory: str = "auto",
    require_gpu: bool = False,
    devices: int = 1,
    nodes: int = 1,
    checkpoint_uri: str = "",
    checkpoint_minutes: float = 10.0,
    checkpoint_epochs: int = 0,
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
    deploy: bool = False,
    serve_target: str = "auto",
    canary_steps: str = "[10, 50, 100]",
    step_seconds: float = 0.0,
    min_requests: int = 100,
    max_error_rate: float = 0.01,
    max_latency_ms: float = 1000.0,
    max_slowdown: float = 3.0,
    ready_timeout: float = 600.0,
    keep_running: bool = True,
    server_arguments: list[str] = [],
    namespace: str = "",
    service_account: str = "",
    min_replicas: int = 1,
    max_replicas: int = 3,
    gateway: str = "",
    host: str = "",
    seed: int = 42,
) -> None:
    """Trains a neural network on any table, evaluates and registers it, by parameters alone.

    Args:
        model_name: Name of the registered model. The new version joins it and is compared with its champion.
        description: Text for people, kept with the model version.
        deploy: Whether an approved model is rolled out, and is champion only once it has all traffic. Else
            it becomes the champion at once, and nothing is served.
        serve_target: Where it is served: kserve, local (a process of this machine), or auto: KServe in a pod
            of a cluster, and local elsewhere.
        seed: Seed of the split, the network's weights, the order of rows and the bootstrap.
    """
    parameters = dict(locals())

    def fit(prepared: Outputs, features: Outputs) -> Outputs:
        outputs: Outputs = train_gpu(
            train=prepared["train"],
            schema=prepared["schema"],
            plan=features["plan"],
            **taken(train_gpu, parameters),
        ).outputs
        return outputs

    train_and_register(
        parameters,
        fit,
        name="training-torch",
        version=VERSION,
        image=TORCH_IMAGE,
        runtime="kfp-lifecycle-torch",
    )
