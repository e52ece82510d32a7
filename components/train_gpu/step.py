"""What the ``train-gpu`` component's body calls."""

import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from kfp_lifecycle.components.shared.outputs import InputArtifact, OutputArtifact
from kfp_lifecycle.components.shared.parameters import json_object
from kfp_lifecycle.components.shared.step import step
from kfp_lifecycle.components.train_gpu.options import NetworkOptions, check_names
from kfp_lifecycle.components.train_gpu.result import Result


class Outputs(NamedTuple):
    """The component's output parameters."""

    mlflow_run_id: str


@step(outputs=("model", "metrics", "report"))
def train_gpu_step(
    *,
    train: InputArtifact,
    schema: InputArtifact,
    plan: InputArtifact,
    model: OutputArtifact,
    metrics: OutputArtifact,
    report: OutputArtifact,
    network_parameters: str,
    tuned_parameters: str,
    **parameters: Any,
) -> Outputs:
    """Trains as the component says; see :func:`.training.train_network` for the errors."""
    parameters["network_parameters"] = json_object(network_parameters, "network_parameters")
    tuned = json_object(tuned_parameters, "tuned_parameters")
    check_names(tuned)
    options = NetworkOptions(**{**parameters, **tuned})
    inputs = {"train": train, "schema": schema, "plan": plan}
    if options.nodes > 1:
        from kfp_lifecycle.components.train_gpu.trainjob import train_on_nodes

        uris = {name: artifact.uri for name, artifact in inputs.items()}
        result = train_on_nodes(uris, model.uri, Path(model.path), Path(report.path), options)
    else:
        paths = {name: artifact.path for name, artifact in inputs.items()}
        result = _train_here(paths, Path(model.path), Path(report.path), options)
    metrics.metadata.update(result.metrics)
    model.metadata.update(
        {
            "framework": "mlflow",
            "estimator": result.estimator,
            "device": result.device,
            "mlflow_run_id": result.run_id,
            "mlflow_model_id": result.model_id,
        }
    )
    return Outputs(mlflow_run_id=result.run_id)


def _train_here(paths: dict[str, str], model: Path, report: Path, options: NetworkOptions) -> Result:
    """In this process, or in one for each device of this machine."""
    from kfp_lifecycle.components.train_gpu.flags import option_flags
    from kfp_lifecycle.components.train_gpu.launch import launch
    from kfp_lifecycle.components.train_gpu.program import MODULE, processes
    from kfp_lifecycle.components.train_gpu.training import Inputs, train_network

    if (devices := processes(options)) == 1:
        inputs = Inputs(*(Path(paths[name]) for name in ("train", "schema", "plan")))
        result = train_network(inputs, model, report, options)
        assert result is not None  # this process is the only one
        return result
    with tempfile.TemporaryDirectory() as place:
        told = Path(place) / "result.json"
        outputs = {"model": model, "report": report, "result": told}
        words = [f"--{name}={path}" for name, path in {**paths, **outputs}.items()]
        launch([*words, *option_flags(options)], devices, module=MODULE)
        return Result.load(told)
