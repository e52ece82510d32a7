"""Aliases and history of a real MLflow registry."""

import pytest
from mlflow.tracking import MlflowClient

from kfp_lifecycle.components.register.registry import (
    APPROVED,
    CHALLENGER,
    CHAMPION,
    HISTORY,
    HISTORY_LENGTH,
    ROLLED_BACK,
    Change,
    champion_history,
    find_champion,
    promote,
    rollback,
    versions,
)
from kfp_lifecycle.components.shared.errors import RegistryError, TrackingError
from tests.components.conftest import Telco

NAME = "churn"


@pytest.fixture
def registry(store: MlflowClient, telco: Telco) -> MlflowClient:
    """Four approved versions and a fifth that is not, which is the challenger; none is champion."""
    store.create_registered_model(NAME)
    for approved in ("true", "true", "true", "true", "false"):
        store.create_model_version(
            NAME, f"models:/{telco.good.model_id}", tags={APPROVED: approved, "reasons": "roc_auc is 0.7."}
        )
    store.set_registered_model_alias(NAME, CHALLENGER, "5")
    return store


def champion(client: MlflowClient) -> str:
    return str(client.get_model_version_by_alias(NAME, CHAMPION).version)


def test_promote_says_what_changed(registry: MlflowClient) -> None:
    assert promote(registry, NAME, "1") == Change(NAME, CHAMPION, "", "1")
    assert promote(registry, NAME, "3") == Change(NAME, CHAMPION, "1", "3")
    assert champion(registry) == "3"


def test_promote_again_changes_nothing(registry: MlflowClient) -> None:
    promote(registry, NAME, "1")
    promote(registry, NAME, "2")
    again = promote(registry, NAME, "2")
    assert not again.changed
    assert champion_history(registry.get_registered_model(NAME)) == ["1", "2"]


def test_promote_takes_the_challenger_where_no_version_is_named(registry: MlflowClient) -> None:
    registry.set_registered_model_alias(NAME, CHALLENGER, "4")
    assert promote(registry, NAME).after == "4"


def test_a_version_that_was_not_approved_needs_force(registry: MlflowClient) -> None:
    with pytest.raises(
        RegistryError, match=r"Version 5 of 'churn' was not approved.*roc_auc is 0\.7.*--force"
    ):
        promote(registry, NAME)
    assert find_champion(registry, NAME) is None
    assert promote(registry, NAME, force=True).after == "5"


def test_rollback_walks_back_through_the_history_and_then_says_that_there_is_none(
    registry: MlflowClient,
) -> None:
    for version in ("1", "3", "4"):
        promote(registry, NAME, version)
    assert rollback(registry, NAME) == Change(NAME, CHAMPION, "4", "3")
    assert rollback(registry, NAME) == Change(NAME, CHAMPION, "3", "1")
    with pytest.raises(RegistryError, match="Version 1 of 'churn' is the champion, and none was before it"):
        rollback(registry, NAME)
    assert champion(registry) == "1"


def test_a_version_promoted_after_a_rollback_does_not_lead_back_to_the_one_rolled_back(
    registry: MlflowClient,
) -> None:
    for version in ("1", "2"):
        promote(registry, NAME, version)
    rollback(registry, NAME)
    promote(registry, NAME, "3")
    assert rollback(registry, NAME).after == "1"


def test_a_version_may_be_champion_twice(registry: MlflowClient) -> None:
    for version in ("1", "2", "1"):
        promote(registry, NAME, version)
    assert rollback(registry, NAME).after == "2"
    assert rollback(registry, NAME).after == "1"


def test_rollback_marks_the_version_and_promote_takes_the_mark_away(registry: MlflowClient) -> None:
    for version in ("1", "2"):
        promote(registry, NAME, version)
    rollback(registry, NAME)
    assert ROLLED_BACK in registry.get_model_version(NAME, "2").tags
    promote(registry, NAME, "2")
    assert ROLLED_BACK not in registry.get_model_version(NAME, "2").tags


def test_rollback_passes_over_a_version_that_was_deleted(registry: MlflowClient) -> None:
    for version in ("1", "2", "3"):
        promote(registry, NAME, version)
    registry.delete_model_version(NAME, "2")
    assert rollback(registry, NAME).after == "1"


def test_a_promotion_that_stopped_half_way_leaves_the_history_readable(registry: MlflowClient) -> None:
    promote(registry, NAME, "1")
    promote(registry, NAME, "2")
    registry.set_registered_model_tag(NAME, HISTORY, "1,2,3")  # the history is written before the alias
    assert champion_history(registry.get_registered_model(NAME)) == ["1", "2"]
    assert promote(registry, NAME, "3") == Change(NAME, CHAMPION, "2", "3")
    assert champion_history(registry.get_registered_model(NAME)) == ["1", "2", "3"]


def test_a_rollback_that_stopped_half_way_goes_on_from_where_the_alias_is(registry: MlflowClient) -> None:
    for version in ("1", "2", "3"):
        promote(registry, NAME, version)
    registry.set_registered_model_alias(NAME, CHAMPION, "2")  # the alias is moved before the history
    assert rollback(registry, NAME).after == "1"


def test_an_alias_that_was_set_by_hand_is_taken_for_the_champion(registry: MlflowClient) -> None:
    promote(registry, NAME, "1")
    registry.set_registered_model_alias(NAME, CHAMPION, "4")
    assert rollback(registry, NAME) == Change(NAME, CHAMPION, "4", "1")


def test_the_history_stays_within_what_a_database_holds(registry: MlflowClient) -> None:
    promote(registry, NAME, "1")
    long = ",".join(str(number) for number in range(1000, 1000 + HISTORY_LENGTH)) + ",1"
    registry.set_registered_model_tag(NAME, HISTORY, long)
    promote(registry, NAME, "2")
    kept = registry.get_registered_model(NAME).tags[HISTORY]
    assert len(kept) <= 5000
    assert kept.endswith(",1,2")


def test_an_unknown_model_names_the_nearest_and_the_registry(registry: MlflowClient) -> None:
    with pytest.raises(
        RegistryError, match=r"mlflow\.db has no registered model 'chrun'\. Did you mean 'churn'"
    ):
        promote(registry, "chrun")
    with pytest.raises(RegistryError, match="Did you mean 'churn'"):
        rollback(registry, "churns")


@pytest.mark.parametrize("version", ["9", "latest", "-1"])
def test_an_unknown_version_names_those_that_there_are(registry: MlflowClient, version: str) -> None:
    with pytest.raises(RegistryError, match=rf"'churn' has no version '{version}'\. It has: 1, 2, 3, 4, 5"):
        promote(registry, NAME, version)


@pytest.mark.parametrize("name", ["", " ", "a/b", "a:b", "both'\""])
def test_a_name_that_cannot_be_one(registry: MlflowClient, name: str) -> None:
    with pytest.raises(RegistryError, match="cannot be the name of a registered model"):
        promote(registry, name)


def test_a_name_with_a_quotation_mark(registry: MlflowClient, telco: Telco) -> None:
    registry.create_registered_model("it's")
    registry.create_model_version("it's", f"models:/{telco.good.model_id}", tags={APPROVED: "true"})
    assert [version.version for version in versions(registry, "it's")] == [1]


def test_no_champion_and_no_challenger(store: MlflowClient) -> None:
    store.create_registered_model(NAME)
    with pytest.raises(RegistryError, match="has no challenger"):
        promote(store, NAME)
    with pytest.raises(RegistryError, match="has no champion to roll back"):
        rollback(store, NAME)
    assert find_champion(store, NAME) is None
    assert find_champion(store, "not there") is None


def test_a_server_that_has_gone_is_a_tracking_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:secret@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    client = MlflowClient("http://user:secret@127.0.0.1:9")
    with pytest.raises(TrackingError, match=r"127\.0\.0\.1:9") as caught:
        promote(client, NAME)
    assert "secret" not in str(caught.value)
