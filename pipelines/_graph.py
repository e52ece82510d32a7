"""The graph that the training pipelines share; they differ in the step that trains, and in its image."""

from collections.abc import Callable, Mapping
from typing import Any

from kfp import dsl

from kfp_lifecycle.components.evaluate import evaluate
from kfp_lifecycle.components.featurize import featurize
from kfp_lifecycle.components.prepare import prepare
from kfp_lifecycle.components.register import register

#: The outputs of a task by name.
Outputs = Mapping[str, Any]


def train_and_register(
    parameters: Mapping[str, Any],
    fit: Callable[[Outputs, Outputs], Outputs],
    *,
    name: str,
    version: str,
    image: str,
) -> None:
    """Prepare → featurize → ``fit`` → evaluate → register, within a pipeline function.

    Args:
        parameters: The pipeline's parameters by name; each task gets those that its component takes.
        fit: Makes the task that trains, of the rows (``train``, ``test``, their ``schema``) and the outputs
            of featurize; gives its outputs, with ``model`` and ``mlflow_run_id``.
        name: The pipeline's name.
        version: Its version.
        image: The image that the model is trained in, where the model is judged too.
    """
    prepared = prepare(**taken(prepare, parameters)).outputs
    features = featurize(
        train=prepared["train"],
        test=prepared["test"],
        schema=prepared["schema"],
        **taken(featurize, parameters),
    ).outputs
    # From here on the rows have the features of the store, if there is one.
    rows = {
        "train": features["train_rows"],
        "test": features["test_rows"],
        "schema": features["rows_schema"],
    }
    trained = fit(rows, features)
    judged = evaluate(
        model=trained["model"],
        test=rows["test"],
        schema=rows["schema"],
        mlflow_run_id=trained["mlflow_run_id"],
        **taken(evaluate, parameters),
    )
    if image != evaluate.component_spec.implementation.container.image:
        judged.set_container_image(image)
    evaluated = judged.outputs
    register(
        model=trained["model"],
        evaluation=evaluated["evaluation"],
        approved=evaluated["approved"],
        reasons=evaluated["reasons"],
        mlflow_run_id=trained["mlflow_run_id"],
        pipeline_name=name,
        pipeline_version=version,
        pipeline_digest="",  # the compiler writes it into the compiled file
        pipeline_run_id=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
        image=image,
        **taken(register, parameters),
    )


def taken(component: Any, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Of a pipeline's parameters those that a component takes, by name."""
    return {name: value for name, value in parameters.items() if name in component.component_spec.inputs}
