"""``record-decision``: why something was not done, for the UI and for the next step."""

from pathlib import Path

import pytest

from kfp_lifecycle.components.record_decision.step import record_decision_step
from kfp_lifecycle.components.shared.errors import ParameterError
from tests.components.trained import Artifact


def test_the_record_says_what_was_decided_about_which_model_and_why(tmp_path: Path) -> None:
    record = Artifact(str(tmp_path / "record"))
    reasons = "roc_auc 0.79 is below 0.80\n\nworse than version 3"

    assert (
        record_decision_step(record=record, decision="not deployed", reasons=reasons, model_name="churn")
        == reasons
    )

    assert Path(record.path).read_text() == (
        "# churn: not deployed\n\n- roc\\_auc 0.79 is below 0.80\n- worse than version 3\n"
    )
    assert record.metadata == {"decision": "not deployed", "model_name": "churn"}


def test_a_decision_without_reasons_says_so(tmp_path: Path) -> None:
    record = Artifact(str(tmp_path / "record"))
    assert record_decision_step(record=record, decision="no retraining") == ""
    assert Path(record.path).read_text() == "# no retraining\n\nNo reason was given.\n"


def test_reasons_are_text_and_never_markup(tmp_path: Path) -> None:
    record = Artifact(str(tmp_path / "record"))
    record_decision_step(record=record, decision="kept", reasons="<script>*x*</script> [a](b) | `c`")
    assert "- \\<script\\>\\*x\\*\\</script\\> \\[a\\](b) \\| \\`c\\`\n" in Path(record.path).read_text()


def test_an_empty_decision_is_refused_and_leaves_no_record(tmp_path: Path) -> None:
    record = Artifact(str(tmp_path / "record"))
    with pytest.raises(ParameterError, match="'decision' is empty"):
        record_decision_step(record=record, decision=" ")
    assert not Path(record.path).exists()
