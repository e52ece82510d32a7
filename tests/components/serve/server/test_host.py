"""Which model answers, and how a rollout moves it."""

import pytest

from kfp_lifecycle.components.serve.server.failures import ConflictError, UnknownModelError
from kfp_lifecycle.components.serve.server.host import Host
from kfp_lifecycle.components.serve.server.models import ServedModel


class Named(ServedModel):
    """A model that only has a name and a version."""

    inputs, outputs = [], []

    def check(self, rows):  # type: ignore[no-untyped-def]
        return rows

    predict = settled = check


def named(version: str) -> ServedModel:
    return Named("churn", version, f"models:/churn/{version}", "")


def test_the_candidate_gets_its_share_evenly() -> None:
    host = Host(named("1"))
    host.offer(named("2"))
    assert {host.choose("churn").version for _ in range(50)} == {"1"}
    host.shift(10)
    chosen = [host.choose("churn").version for _ in range(100)]
    assert chosen.count("2") == 10
    assert [chosen[start : start + 10].count("2") for start in range(0, 100, 10)] == [1] * 10
    host.shift(100)
    assert {host.choose("churn").version for _ in range(50)} == {"2"}
    host.shift(0)
    assert {host.choose("churn").version for _ in range(50)} == {"1"}


def test_a_version_is_addressed_whatever_its_share() -> None:
    host = Host(named("1"))
    host.offer(named("2"))
    assert host.choose("churn", "2").version == "2"
    assert host.choose("churn", "1").version == "1"
    with pytest.raises(UnknownModelError, match="no version '3'"):
        host.choose("churn", "3")
    with pytest.raises(UnknownModelError, match="no model 'other'"):
        host.choose("other")


def test_promote_and_drop() -> None:
    host = Host(named("1"))
    for act in (host.promote, lambda: host.shift(5)):
        with pytest.raises(ConflictError):
            act()
    host.offer(named("2"))
    with pytest.raises(ConflictError, match="Version 2 is a candidate already"):
        host.offer(named("3"))
    host.shift(30)
    assert host.promote().version == "1"
    assert (host.stable.version, host.candidate, host.share) == ("2", None, 0)
    host.offer(named("3"))
    host.shift(50)
    host.drop()
    assert [model.version for model in host.models] == ["2"]
    assert host.replace(named("4")).version == "2"
    assert host.stable.version == "4"
