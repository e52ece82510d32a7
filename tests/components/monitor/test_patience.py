"""From alarms to one retraining."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kfp_lifecycle.components.monitor.findings import Verdict
from kfp_lifecycle.components.monitor.history import History, Retraining, Row, retraining_name
from kfp_lifecycle.components.monitor.patience import Patience, conclude, settle
from kfp_lifecycle.components.shared.errors import ParameterError
from tests.components.monitor.test_history import DAY, NOON, row

WEEK = Patience(1, 1, timedelta(days=7))


def windows(text: str) -> list[Row]:
    """A window a letter: ``x`` alarms, ``.`` does not, ``?`` cannot be judged."""
    verdicts: dict[str, Verdict] = {"x": "drift", ".": "steady", "?": "unjudged"}
    return [replace(row(day), verdict=verdicts[sign]) for day, sign in enumerate(text)]


def begun_by(one: Row) -> Retraining:
    name = retraining_name(one.model, one.version, one.end)
    return Retraining(name, one.model, one.version, one.end, one.looked, run_id=f"run-{one.end:%d}")


@pytest.mark.parametrize(
    ("seen", "rule", "retrain", "said"),
    [
        ("x", (1, 1), True, "Each alarm counts."),
        (".", (1, 1), False, "no alarm"),
        ("x", (2, 3), False, "1 of the last 1 windows alarm; needed are 2 of 3."),
        ("xx", (2, 3), True, "2 of the last 2 windows alarm"),
        ("x.x", (2, 3), True, "2 of the last 3 windows alarm"),
        ("x..x", (2, 3), False, "1 of the last 3 windows"),
        # An alarm that has passed starts nothing.
        ("xx.", (2, 3), False, "2 of the last 3 windows"),
        ("xxxx", (3, 3), True, "3 of the last 3"),
    ],
)
def test_k_of_n_windows_must_alarm(seen: str, rule: tuple[int, int], retrain: bool, said: str) -> None:
    *before, last = windows(seen)
    verdict = settle(last, before, [], Patience(*rule))
    assert verdict.retrain is retrain
    assert said in " ".join(verdict.reasons)


@pytest.mark.parametrize(("days", "retrain"), [(1, False), (6, False), (7, True), (30, True)])
def test_within_the_cooldown_no_other_is_asked_for(days: int, retrain: bool) -> None:
    verdict = settle(row(days, alarm=True), [], [begun_by(row(0))], WEEK)
    assert verdict.retrain is retrain
    assert retrain or "(run-01); for 7 days after it" in verdict.reasons[-1]


def test_another_version_does_not_end_the_cooldown() -> None:
    after = row(1, version="4", alarm=True)
    assert not settle(after, [], [begun_by(row(0, version="3"))], WEEK).retrain


def test_a_late_look_at_an_earlier_window_starts_nothing() -> None:
    verdict = settle(row(1, alarm=True), [], [begun_by(row(30))], WEEK)
    assert not verdict.retrain
    assert "A later window" in verdict.reasons[-1]


def test_a_window_looked_at_again_decides_as_before() -> None:
    one = row(3, alarm=True)
    assert settle(one, [], [begun_by(one)], WEEK).retrain
    # … but its labels may have come meanwhile, and say otherwise.
    assert not settle(replace(one, verdict="steady"), [], [begun_by(one)], WEEK).retrain


@pytest.mark.parametrize(
    ("seen", "decisions"), [("x?x", "..x"), ("x??", "..."), ("xx?x", ".x.x"), ("..x.x", "....x")]
)
def test_it_is_concluded_window_by_window_and_kept(tmp_path: Path, seen: str, decisions: str) -> None:
    history, rule = History(str(tmp_path)), Patience(2, 3, timedelta())
    found = [conclude(one, history, rule) for one in windows(seen)]
    assert "".join("x" if one.retrain else "." for one in found) == decisions
    assert history.rows(row().model) == found
    assert all(one.reasons[0] == "month: psi 0.9 > 0.1" for one in found)
    # Looked at again, each decides as before.
    assert [conclude(one, history, rule) for one in windows(seen)] == found


@pytest.mark.parametrize("rule", [(0, 3), (4, 3), (1, 0)])
def test_a_rule_that_can_never_be_met_is_refused(rule: tuple[int, int]) -> None:
    with pytest.raises(ParameterError):
        Patience(*rule).check()


@given(
    st.lists(st.booleans(), min_size=1, max_size=40), st.integers(1, 4), st.integers(0, 3), st.integers(0, 9)
)
def test_whatever_alarms_retrainings_are_a_cooldown_apart(
    alarms: list[bool], k: int, more: int, cooldown: int
) -> None:
    rule, seen, begun = Patience(k, k + more, cooldown * DAY), list[Row](), list[Retraining]()
    for day, alarm in enumerate(alarms):
        one = row(day, alarm=alarm)
        if settle(one, seen, begun, rule).retrain:
            assert alarm
            assert sum(alarms[max(0, day + 1 - k - more) : day + 1]) >= k
            assert all((one.end - earlier.window_end) >= cooldown * DAY for earlier in begun)
            begun.append(begun_by(one))
        seen.append(one)
    assert all(one.end == NOON + day * DAY for day, one in enumerate(seen))
    if cooldown == 0 and k == 1:
        assert len(begun) == sum(alarms)
