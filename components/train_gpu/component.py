"""The KFP face of ``train-gpu``."""

from typing import NamedTuple

from kfp import dsl

from kfp_lifecycle.components.shared.image import TORCH_IMAGE

VERSION = "1.0.0"


@dsl.component(base_image=TORCH_IMAGE, install_kfp_package=False)
def train_gpu(
    train: dsl.Input[dsl.Dataset],
    schema: dsl.Input[dsl.Artifact],
    plan: dsl.Input[dsl.Artifact],
    model: dsl.Output[dsl.Model],
    metrics: dsl.Output[dsl.Metrics],
    report: dsl.Output[dsl.HTML],
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
    tuned_parameters: str = "{}",
    experiment: str = "kfp-lifecycle",
    run_name: str = "",
    reference_rows: int = 2000,
    seed: int = 42,
) -> NamedTuple("Outputs", [("mlflow_run_id", str)]):
    """Trains a neural network on a table with PyTorch, on a GPU where there is one, and logs it to MLflow.

    Rows are held out as prepare split the table; the transform is fitted on the others alone, and the epoch
    that predicts the held-out rows best is kept. Features that featurize encodes as ordinal get embeddings.
    The same code runs on the CPU, on several devices of one node, and on several nodes (a TrainJob of
    Kubeflow Trainer). The model takes a row as it is in the source, needs no GPU, and has its network inside
    as torch.export and ONNX.

    Args:
        train: The training split from prepare.
        schema: The schema from prepare.
        plan: The unfitted transform from featurize, which is fitted on the rows that are not held out.
        model: An MLflow model folder: mlflow.pyfunc.load_model reads it where this library is not installed.
        metrics: Loss and metrics on the held-out rows, best epoch, rows a second.
        report: Learning curves and what the training ran on.
        network: residual, mlp, or the dotted path of an own torch.nn.Module, which is called with numbers,
            cardinalities and outputs and takes (numbers, codes).
        network_parameters: The network's own parameters as one JSON object, such as {"width": 256}.
        loss: cross_entropy for classes, mse or huber for numbers; auto is the first for the task.
        optimizer: adamw, or sgd with Nesterov momentum.
        learning_rate: The highest that the schedule gives.
        weight_decay: Decay of the weights of linear layers.
        schedule: cosine, step, plateau or constant.
        warmup_share: Share of all steps (0 to 1) in which the learning rate rises.
        epochs: How often each row is seen at most.
        batch_size: Rows of a step, over all devices.
        dropout: Share of activations (0 to 1) that are dropped in training.
        class_weight: none, balanced, or a JSON object of class to weight.
        clip_norm: The largest norm of a step's gradient; 0 does not clip.
        monitor: What tells the best epoch on the held-out rows: loss, or a metric such as roc_auc.
        patience: Epochs without a better one after which training stops; 0 never stops early.
        validation_share: Share of training rows (0 to 1) that are held out to find the best epoch; 0 holds
            out none and keeps the last epoch.
        precision: bf16 (mixed), fp32, or auto: bf16 where the device is made for it.
        compile: Whether torch.compile makes kernels of the network first.
        deterministic: Only operations that give the same bits in each run, which may be slower.
        memory: device holds the table there, stream reads it from disk in each epoch, auto holds it where
            there is room.
        require_gpu: Whether to fail where there is no GPU, instead of training on the CPU. With several
            nodes, whether each asks for GPUs.
        devices: Devices of one node; 0 takes all that it has.
        nodes: Nodes; more than 1 is a TrainJob of Kubeflow Trainer.
        checkpoint_uri: Folder, mounted volume, gs:// or s3:// for checkpoints, from which a step that is
            started again goes on; empty writes none, and with several nodes beside the model.
        checkpoint_minutes: Minutes between two checkpoints; 0 writes by epochs only.
        checkpoint_epochs: Epochs between two checkpoints; 0 writes by time only.
        tuned_parameters: Any of the parameters before this one as one JSON object, which go over them: what
            katib-tune found to be best.
        experiment: MLflow experiment to log to.
        run_name: Name of the MLflow run; empty lets MLflow choose. A run that Kubeflow's MLflow plugin has
            opened is used as it is.
        reference_rows: How many held-out rows are kept inside the model, with their predictions, as the
            reference that monitor compares with.
        seed: Seed of the weights, the order of rows, dropout, the held-out rows and the reference sample.

    Returns:
        mlflow_run_id: The MLflow run that holds parameters, metrics and model.

    Raises:
        ParameterError: A parameter is of the wrong type or out of range, or does not fit the task.
        EstimatorError: The network cannot be imported, built, trained or exported, or its loss is no number.
        DeviceError: A GPU is required and there is none, or memory is too small for one row.
        SplitError: No rows can be held out.
        TargetError: The rows have one class only.
        SchemaError: The inputs do not belong together.
        CheckpointError: The checkpoints are of another training, or none can be read.
        ClusterError: Several nodes are asked for, and Kubernetes refuses or lacks Kubeflow Trainer.
        TrackingError: MLflow cannot be reached, or in a pod none is configured.
        StorageError: The disk is full, or an output or a checkpoint cannot be written.
    """
    from kfp_lifecycle.components.train_gpu.step import train_gpu_step

    return train_gpu_step(
        train=train,
        schema=schema,
        plan=plan,
        model=model,
        metrics=metrics,
        report=report,
        network=network,
        network_parameters=network_parameters,
        loss=loss,
        optimizer=optimizer,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        schedule=schedule,
        warmup_share=warmup_share,
        epochs=epochs,
        batch_size=batch_size,
        dropout=dropout,
        class_weight=class_weight,
        clip_norm=clip_norm,
        monitor=monitor,
        patience=patience,
        validation_share=validation_share,
        precision=precision,
        compile=compile,
        deterministic=deterministic,
        memory=memory,
        require_gpu=require_gpu,
        devices=devices,
        nodes=nodes,
        checkpoint_uri=checkpoint_uri,
        checkpoint_minutes=checkpoint_minutes,
        checkpoint_epochs=checkpoint_epochs,
        tuned_parameters=tuned_parameters,
        experiment=experiment,
        run_name=run_name,
        reference_rows=reference_rows,
        seed=seed,
    )
