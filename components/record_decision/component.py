"""The KFP face of ``record-decision``."""

from kfp import dsl

from kfp_lifecycle.components.shared.image import CORE_IMAGE

VERSION = "1.0.0"


@dsl.component(base_image=CORE_IMAGE, install_kfp_package=False)
def record_decision(
    record: dsl.Output[dsl.Markdown],
    decision: str,
    reasons: str = "",
    model_name: str = "",
) -> str:
    """Says in a run why something was not done, where the run's graph only shows that it was not.

    It is the other branch of a condition: of deploying a model, or of training it again.

    Args:
        record: The decision, the model and the reasons, as the UI shows them.
        decision: What was decided, such as not deployed.
        reasons: Why, one reason a line.
        model_name: The registered model that it is about.

    Returns:
        The reasons.

    Raises:
        ParameterError: The decision is empty.
        StorageError: The disk is full or cannot be written.
    """
    from kfp_lifecycle.components.record_decision.step import record_decision_step

    return record_decision_step(record=record, decision=decision, reasons=reasons, model_name=model_name)
