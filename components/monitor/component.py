"""The KFP face of ``monitor``."""

from typing import NamedTuple

from kfp import dsl

from kfp_lifecycle.components.shared.image import MONITOR_IMAGE

VERSION = "1.0.0"


@dsl.component(base_image=MONITOR_IMAGE, install_kfp_package=False)
def monitor(
    report: dsl.Output[dsl.HTML],
    findings: dsl.Output[dsl.Artifact],
    metrics: dsl.Output[dsl.Metrics],
    model: str,
    current: str,
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
    false_discovery_rate: float = 0.01,
    drift_share: float = 0.2,
    prediction_threshold: float = 0.1,
    metric: str = "auto",
    max_drop: float = 0.05,
    confidence: float = 0.95,
    min_rows: int = 100,
    history: str = "",
    alarms: int = 1,
    alarm_windows: int = 1,
    cooldown: str = "1d",
    pushgateway: str = "",
    textfile: str = "",
    pictures: bool = True,
    seed: int = 42,
) -> NamedTuple("Outputs", [("retrain", bool), ("verdict", str), ("reasons", str), ("summary", str)]):
    """Compares current data with what a model was trained on, and decides whether to retrain it.

    Four things are looked at: the state of the data, the drift of its columns, the drift of the predictions
    and, where labels have arrived, how good the predictions were. Drift is a difference that is large enough
    to matter and, over all columns together, more than chance. Broken data never leads to retraining.

    Args:
        report: Everything in one self-contained HTML page.
        findings: Everything as JSON: each score with its method, threshold and significance, the state of
            each column, the metrics with their intervals, the decision.
        metrics: The scores that the Kubeflow UI lists.
        model: The model: models:/name@alias, models:/name/version, or the folder or URI of a Model artifact.
        current: The prediction log that serve writes (folder or bucket), or any table: CSV or Parquet at a
            local path, gs://, s3:// or http(s)://.
        window: How far back to look, such as 6h or 7d.
        window_end: End of the window (ISO 8601, UTC unless it says otherwise); empty is the last full hour.
        time_column: Column of a table that the window goes by; empty takes all rows. A log has its own.
        reference: A table to compare with in place of the model's own sample of training rows; empty is the
            sample.
        season: Compare with the same log or table so long before, such as 7d for the same day a week ago;
            empty does not.
        labels: Table of what has turned out to be true: the keys and the target. Empty uses the target in the
            current table, if it is there.
        label_keys: Columns that labels are joined by; empty is a log's request and row.
        label_window: Predictions of so long before the window's end are judged by the labels that have
            arrived for them, such as 30d for labels that come late; empty is the window.
        columns: Input columns to compare; empty is all that the model uses.
        method: auto, evidently for its own choice and verdict, or one of its methods for every column that it
            fits: wasserstein, jensenshannon, psi, kl_div, ks, chisquare, z.
        column_methods: JSON object of column to method.
        threshold: From which score a column counts as drifted; 0 is the method's own.
        column_thresholds: JSON object of column to threshold.
        false_discovery_rate: Of the columns that are called drifted, the share that may be so by chance.
        drift_share: Share of drifted columns from which the table has drifted, above 0 to 1.
        prediction_threshold: From which score the predictions have drifted.
        metric: Metric that decides where labels have arrived; auto is roc_auc for binary, roc_auc_ovr for
            multiclass and rmse for regression.
        max_drop: By how much the metric may be worse than at registration; for rmse, mae and log_loss, which
            have no upper bound, as a share of what it was.
        confidence: Coverage of the intervals, between 0 and 1.
        min_rows: With fewer rows nothing is decided, and the report says so.
        history: Folder or bucket that keeps a row for each window; empty keeps none, and then neither
            patience nor cooldown holds.
        alarms: How many of the last windows must have drifted before the model is retrained.
        alarm_windows: Of how many windows, this one among them.
        cooldown: For how long after a retraining none is asked for, such as 1d.
        pushgateway: URL of a Prometheus Pushgateway; empty pushes nothing.
        textfile: File for the node exporter's textfile collector; empty writes none.
        pictures: Whether Evidently's interactive pictures are part of the report, from a sample of the rows.
        seed: Seed of the samples and the bootstrap.

    Returns:
        retrain: Whether the model should be retrained now.
        verdict: steady, drift, broken or unjudged.
        reasons: Why, one reason a line.
        summary: JSON for those who are told: model, version, window, verdict, drifted columns, report.

    Raises:
        MonitorError: The model holds no reference, the window lies before it was made, or the log is no log.
        ParameterError: A parameter is of the wrong type, out of range, or names an unknown column.
        RegistryError: There is no such registered model, version or alias.
        SchemaError: model is no Model artifact of this library.
        ServingError: model is no model, or not whole.
        SourceError: The current table, the reference or the labels are missing, damaged or not readable.
        TrackingError: The registry fails or cannot be reached.
        StorageError: A place cannot be read, or an output cannot be written.
    """
    from kfp_lifecycle.components.monitor.step import monitor_step

    return monitor_step(
        report=report,
        findings=findings,
        metrics=metrics,
        model=model,
        current=current,
        window=window,
        window_end=window_end,
        time_column=time_column,
        reference=reference,
        season=season,
        labels=labels,
        label_keys=label_keys,
        label_window=label_window,
        columns=columns,
        method=method,
        column_methods=column_methods,
        threshold=threshold,
        column_thresholds=column_thresholds,
        false_discovery_rate=false_discovery_rate,
        drift_share=drift_share,
        prediction_threshold=prediction_threshold,
        metric=metric,
        max_drop=max_drop,
        confidence=confidence,
        min_rows=min_rows,
        history=history,
        alarms=alarms,
        alarm_windows=alarm_windows,
        cooldown=cooldown,
        pushgateway=pushgateway,
        textfile=textfile,
        pictures=pictures,
        seed=seed,
    )
