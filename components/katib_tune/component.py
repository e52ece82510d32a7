"""The KFP face of ``katib-tune``."""

from typing import NamedTuple

from kfp import dsl

from kfp_lifecycle.components.shared.image import TUNE_IMAGE

VERSION = "1.0.0"


@dsl.component(base_image=TUNE_IMAGE, install_kfp_package=False)
def katib_tune(
    train: dsl.Input[dsl.Dataset],
    test: dsl.Input[dsl.Dataset],
    schema: dsl.Input[dsl.Artifact],
    plan: dsl.Input[dsl.Artifact],
    trials: dsl.Output[dsl.Dataset],
    metrics: dsl.Output[dsl.Metrics],
    report: dsl.Output[dsl.HTML],
    experiment_yaml: dsl.Output[dsl.Artifact],
    search_space: str,
    trainer: str = "train",
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
    estimator: str = "auto",
    estimator_parameters: str = "{}",
    class_weight: str = "none",
    folds: int = 5,
    where: str = "auto",
    storage: str = "tuning.db",
    memory_limit: str = "",
    trial_image: str = "",
    namespace: str = "",
    service_account: str = "",
    keep_experiment: bool = False,
    run_id: str = "",
    experiment: str = "kfp-lifecycle",
    run_name: str = "",
    confidence: float = 0.95,
    bootstrap_samples: int = 1000,
    seed: int = 42,
) -> NamedTuple("Outputs", [("best_parameters", str), ("helped", bool), ("mlflow_run_id", str)]):
    """Searches hyperparameters of train or train-gpu: with Katib on the cluster, with Optuna on a laptop.

    Trial 0 is the parameters as they are given; the others are chosen by the algorithm. Each is judged by
    cross-validation in the same folds, or a network on the same held-out rows. Default and best are then
    fitted on all training rows and compared on the test rows, with an interval that says whether tuning
    helped. A step that is run again goes on with the search that was interrupted.

    Args:
        train: The training split from prepare.
        test: The test split from prepare, which has no part in the search.
        schema: The schema from prepare.
        plan: The unfitted transform from featurize, which every fold fits anew.
        trials: All trials as one table: state, objective, parameters, metrics, time, error.
        metrics: The best trial's metrics, and both models' on the test rows.
        report: History, parallel coordinates, importance, slices and the comparison in one HTML page.
        experiment_yaml: Katib's Experiment as it was sent, or as it would be for a local search.
        search_space: By parameter its values, as JSON or YAML, such as
            {"max_depth": {"type": "int", "min": 2, "max": 8}}; or a whole search with them under parameters,
            whose own settings then hold instead of the parameters here.
        trainer: Component that trials run, and that the best parameters are for: train (an estimator), or
            train-gpu (a network). The step and the trials of train-gpu need an image with PyTorch.
        objective: Metric that is searched for its best value; auto is roc_auc for binary, roc_auc_ovr for
            multiclass and rmse for regression. With train-gpu validation_loss, or validation_ before each of
            these; the epoch that is best by it counts.
        goal: A value of the objective at which the search ends; empty searches on.
        additional_metrics: Other metrics that Katib is to collect.
        algorithm: random, grid, tpe, bayesianoptimization (gp), cmaes or hyperband.
        algorithm_settings: Its own settings as one JSON object, by Katib's names, such as {"eta": 3}.
        early_stopping: median ends a trial that is worse, after two folds (or epochs) or more, than half of
            those before were there; none lets each trial end by itself.
        max_trials: Trials in all, trial 0 among them.
        parallel_trials: Trials at a time. On a laptop each is one process with one thread, and there are no
            more than cores.
        max_failed_trials: How many trials may fail before the search does.
        time_budget: Seconds after which no trial goes on; 0 is no end.
        estimator: Dotted path of the estimator's class, such as sklearn.ensemble.RandomForestClassifier;
            auto is HistGradientBoosting for the task. Of train alone.
        estimator_parameters: Parameters that every trial has, as one JSON object: of the estimator, or of
            train-gpu, such as {"network": "mlp", "epochs": 20}. One that is searched has its value in trial 0
            from here.
        class_weight: none, balanced, or a JSON object of class to weight.
        folds: Number of cross-validation folds, 2 or more. Of train alone.
        where: katib, local, or auto: Katib in a pod of a cluster, and Optuna elsewhere.
        storage: SQLite file that a local search is kept in, and taken up from after a crash.
        memory_limit: Memory of all trials of a local search together, such as 4Gi; a trial that outgrows its
            part has failed. Empty is most of what is free.
        trial_image: Image of Katib's trials: the trainer's. Needed with Katib alone.
        namespace: Namespace of Katib's Experiment; empty is the pod's own.
        service_account: Service account of Katib's trials; empty is the namespace's default.
        keep_experiment: Whether the Experiment and its trials stay when the search has ended.
        run_id: The pipeline run that the Experiment is for, in its name and labels.
        experiment: MLflow experiment to log to.
        run_name: Name of the MLflow run, which holds a nested run for each trial.
        confidence: Coverage of the comparison's intervals, between 0 and 1.
        bootstrap_samples: Number of bootstrap samples of the comparison.
        seed: Seed of the algorithm, the folds or held-out rows, and the estimator or network.

    Returns:
        best_parameters: The trainer's parameters to train with, as one JSON object: those of every trial,
            and over them the best.
        helped: Whether the best parameters are better than the default on the test rows beyond doubt.
        mlflow_run_id: The MLflow run that holds the search.

    Raises:
        TuningError: The search makes no sense, the algorithm cannot do it, too many trials failed (it has
            the first one's own error), or none gave a value.
        EstimatorError: The estimator or network cannot be imported, takes no such parameter, or cannot be
            fitted.
        ParameterError: A parameter is of the wrong type or out of range.
        SplitError: There are too few rows, classes, groups or moments for the folds.
        SchemaError: The splits are not of the schema.
        ClusterError: Kubernetes cannot be reached or refuses, or Katib is not installed.
        TrackingError: MLflow cannot be reached, or in a pod none is configured.
        StorageError: The data cannot be read, or the disk is full.
    """
    from kfp_lifecycle.components.katib_tune.step import katib_tune_step

    return katib_tune_step(
        train=train,
        test=test,
        schema=schema,
        plan=plan,
        trials=trials,
        metrics=metrics,
        report=report,
        experiment_yaml=experiment_yaml,
        search_space=search_space,
        trainer=trainer,
        objective=objective,
        goal=goal,
        additional_metrics=additional_metrics,
        algorithm=algorithm,
        algorithm_settings=algorithm_settings,
        early_stopping=early_stopping,
        max_trials=max_trials,
        parallel_trials=parallel_trials,
        max_failed_trials=max_failed_trials,
        time_budget=time_budget,
        estimator=estimator,
        estimator_parameters=estimator_parameters,
        class_weight=class_weight,
        folds=folds,
        where=where,
        storage=storage,
        memory_limit=memory_limit,
        trial_image=trial_image,
        namespace=namespace,
        service_account=service_account,
        keep_experiment=keep_experiment,
        run_id=run_id,
        experiment=experiment,
        run_name=run_name,
        confidence=confidence,
        bootstrap_samples=bootstrap_samples,
        seed=seed,
    )
