"""The graph that the training pipelines share; they differ in the step that trains, and in its image."""

from collections.abc import Callable, Mapping
from typing import Any

from kfp import dsl

from kfp_lifecycle.components.evaluate import evaluate
from kfp_lifecycle.components.featurize import featurize
from kfp_lifecycle.components.prepare import prepare
from kfp_lifecycle.components.record_decision import record_decision
from kfp_lifecycle.components.register import register
from kfp_lifecycle.components.serve import serve

#: Parameters of serve that a pipeline which deploys takes by the same names.
SERVE = (
    "canary_steps",
    "step_seconds",
    "min_requests",
    "max_error_rate",
    "max_latency_ms",
    "max_slowdown",
    "ready_timeout",
    "keep_running",
    "server_arguments",
    "namespace",
    "service_account",
    "min_replicas",
    "max_replicas",
    "gateway",
    "host",
)

#: The outputs of a task by name.
Outputs = Mapping[str, Any]


def train_and_register(
    parameters: Mapping[str, Any],
    fit: Callable[[Outputs, Outputs], Outputs],
    *,
    name: str,
    version: str,
    image: str,
    runtime: str = "kfp-lifecycle",
) -> None:
    """Prepare → featurize → ``fit`` → evaluate → register → serve, within a pipeline function.

    Args:
        parameters: The pipeline's parameters by name; each task gets those that its component takes. Serve
            is there for a pipeline with a parameter ``deploy``.
        fit: Makes the task that trains, of the rows (``train``, ``test``, their ``schema``) and the outputs
            of featurize; gives its outputs, with ``model`` and ``mlflow_run_id``.
        name: The pipeline's name.
        version: Its version.
        image: The image that the model is trained in, where the model is judged too.
        runtime: KServe's runtime that can serve the model.
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
    deploys = {"challenger_only": parameters["deploy"]} if "deploy" in parameters else {}
    registered = register(
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
        **deploys,
        **taken(register, parameters),
    ).outputs
    if deploys:
        _deploy(parameters, evaluated, registered, runtime)


def _deploy(parameters: Mapping[str, Any], evaluated: Outputs, registered: Outputs, runtime: str) -> None:
    """Serve, where that is wanted and the model is approved. Else the run says why not.

    Each condition has its other branch: kfp.local skips one without it, and a graph that only lacks a step
    says nothing.
    """
    model_name = parameters["model_name"]
    with dsl.If(parameters["deploy"] == True, "deploy"):  # noqa: E712 - an expression of KFP
        with dsl.If(evaluated["approved"] == True, "approved"):  # noqa: E712
            serve(
                model=registered["model_uri"],
                target=parameters["serve_target"],
                runtime=runtime,
                run_id=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
                **{name: parameters[name] for name in SERVE},
            )
        with dsl.Else("not approved"):
            record_decision(
                decision="not deployed", reasons=evaluated["reasons"], model_name=model_name
            ).set_display_name("why not deployed")
    with dsl.Else("no deployment"):
        record_decision(
            decision="not deployed", reasons="The parameter deploy is false.", model_name=model_name
        ).set_display_name("no deployment asked for")


def taken(component: Any, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Of a pipeline's parameters those that a component takes, by name."""
    return {name: value for name, value in parameters.items() if name in component.component_spec.inputs}
