"""What the ``record-decision`` component's body calls."""

import logging

from kfp_lifecycle.components.record_decision.markdown import decision_page
from kfp_lifecycle.components.shared.errors import ParameterError
from kfp_lifecycle.components.shared.outputs import OutputArtifact, whole_file
from kfp_lifecycle.components.shared.step import step

log = logging.getLogger(__name__)


@step(outputs=("record",))
def record_decision_step(
    *, record: OutputArtifact, decision: str, reasons: str = "", model_name: str = ""
) -> str:
    """Writes the decision into ``record`` and the log, and returns the reasons.

    Args:
        record: Gets the Markdown.
        decision: What was decided.
        reasons: Why, one reason a line.
        model_name: The model that it is about.
    """
    if not decision.strip():
        raise ParameterError("Parameter 'decision' is empty.", "Say what was decided, such as: not deployed.")
    with whole_file(record.path) as path:
        path.write_text(decision_page(decision, reasons, model_name), encoding="utf-8")
    record.metadata.update(decision=decision, model_name=model_name)
    log.info("%s%s: %s", f"{model_name}: " if model_name else "", decision, reasons or "no reason was given")
    return reasons
