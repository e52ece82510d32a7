"""What monitor tells the steps after it."""

from dataclasses import replace

import pytest

from kfp_lifecycle.components.monitor.message import MOST_COLUMNS, read_summary, summary_text
from kfp_lifecycle.components.shared.errors import ParameterError
from tests.components.monitor.test_history import row


def test_what_is_told_is_read() -> None:
    found = read_summary(summary_text(row(), "gs://bucket/report"))
    assert (found.model, found.version, found.window) == (row().model, "3", row().window)
    assert (found.drifted, found.report, found.accuracy) == (["month", "dep_time"], "gs://bucket/report", 0.8)


def test_a_table_of_a_thousand_columns_stays_short() -> None:
    wide = replace(row(), drifted=[f"column {n}" for n in range(1000)])
    assert read_summary(summary_text(wide)).drifted == wide.drifted[:MOST_COLUMNS]


@pytest.mark.parametrize("text", ["", "{}", "[]", "no JSON", '{"model": "m", "start": 3}'])
def test_what_monitor_has_not_written_is_refused(text: str) -> None:
    with pytest.raises(ParameterError, match="'summary'"):
        read_summary(text)
