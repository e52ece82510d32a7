"""The ``monitoring`` pipeline: monitor → if it has drifted: retrain → notify; else the run says why not."""

from kfp import dsl

from kfp_lifecycle.components.monitor import monitor
from kfp_lifecycle.components.notify import notify
from kfp_lifecycle.components.notify_failure import notify_failure
from kfp_lifecycle.components.record_decision import record_decision
from kfp_lifecycle.components.retrain import retrain
from kfp_lifecycle.pipelines._graph import taken

VERSION = "1.0.0"


# A parameter without a description of its own gets that of the first component that takes it.
@dsl.pipeline(name="monitoring")
def monitoring(
    model: str,
    current: str,
    history: str,
    training_parameters: str,
    window: str = "24h",
    window_end: str = "",
    time_column: str = "",
    reference: str = "",
    season: str = "",
    labels: str = "",
    label_keys: list[str] = [],
    label_window: str = "",
    columns: list[str] = [],
    method: str = "auto",
    column_methods: str = "{}",
    threshold: float = 0.0,
    column_thresholds: str = "{}",
    false_discovery_rate: float = 0.05,
    drift_share: float = 0.2,
    prediction_threshold: float = 0.1,
    metric: str = "auto",
    max_drop: float = 0.05,
    confidence: float = 0.95,
    min_rows: int = 100,
    alarms: int = 2,
    alarm_windows: int = 3,
    cooldown: str = "1d",
    pushgateway: str = "",
    textfile: str = "",
    pictures: bool = True,
    training_pipeline: str = "training",
    training_window: str = "90d",
    training_where: str = "auto",
    training_experiment: str = "retraining",
    training_version: str = "",
    training_service_account: str = "",
    training_output_dir: str = "runs",
    wait: bool = False,
    events: list[str] = ["retraining", "broken"],
    slack: str = "",
    webhook: str = "",
    webhook_token: str = "",
    email_to: list[str] = [],
    email_from: str = "",
    smtp: str = "",
    smtp_security: str = "starttls",
    smtp_user: str = "",
    smtp_password: str = "",
    ui_host: str = "",
    host: str = "",
    namespace: str = "",
    seed: int = 42,
) -> None:
    """Looks whether a model in production has drifted, and if so starts its training on new data.

    Args:
        history: Folder or bucket that keeps a row for each window, and the retrainings that were begun.
        training_parameters: Parameters of the training pipeline as one JSON object. In texts, {window_start},
            {window_end} and {training_start} stand for times, in UTC, which may have a format
            ({window_end:%Y-%m}); {model} and {version} for what is to be replaced.
        training_pipeline: The training pipeline: NAME or NAME@VERSION of a released one, or the path or URI
            of a compiled file, such as one for your profile.
        training_where: Where the training runs: cluster, local, or auto: in a pod of a cluster that cluster,
            and this machine elsewhere.
        training_experiment: Kubeflow experiment of the training run.
        training_version: What the Kubeflow server calls the training pipeline's version; empty is as the
            compiled file's name says.
        training_service_account: Service account of the training run; empty is the server's default.
        training_output_dir: Folder for training runs on this machine.
        wait: Whether this run waits until the training is over, and fails if it does.
        slack: Where the URL of a webhook is that understands Slack's: env:NAME or file:/path. Never the URL
            itself, which is a secret; empty tells nobody there.
    """
    parameters = dict(locals())
    run_id = dsl.PIPELINE_JOB_ID_PLACEHOLDER
    told = notify_failure(
        pipeline_name="monitoring", model_name=model, run_id=run_id, **taken(notify_failure, parameters)
    )
    with dsl.ExitHandler(told, name="whatever happens"):
        looked = monitor(**taken(monitor, parameters)).outputs
        with dsl.If(looked["retrain"] == True, "drifted"):  # noqa: E712 - an expression of KFP
            begun = retrain(
                summary=looked["summary"],
                pipeline=training_pipeline,
                parameters=training_parameters,
                where=training_where,
                experiment=training_experiment,
                pipeline_version=training_version,
                service_account=training_service_account,
                output_dir=training_output_dir,
                **taken(retrain, parameters),
            ).outputs
            notify(summary=looked["summary"], run_id=run_id, **begun, **taken(notify, parameters))
        with dsl.Else("not drifted"):
            record_decision(decision="not retrained", reasons=looked["reasons"], model_name=model)
            notify(summary=looked["summary"], run_id=run_id, **taken(notify, parameters))
