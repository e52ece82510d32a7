"""Registering models that train has made, in a real MLflow registry."""

import multiprocessing
import os
import shutil
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import mlflow
import pytest
from mlflow.tracking import MlflowClient

from kfp_lifecycle.components.register.lineage import LONGEST, MODEL_DIGEST, Pipeline
from kfp_lifecycle.components.register.registry import (
    CHALLENGER,
    CHAMPION,
    champion_history,
    make_champion,
    promote,
    rollback,
    take_back,
    versions,
)
from kfp_lifecycle.components.register.versions import DONE, Registered, Request, register_model
from kfp_lifecycle.components.shared.errors import ParameterError, RegistryError, SchemaError, TrackingError
from kfp_lifecycle.components.shared.model_format import model_digest
from tests.components.conftest import Telco
from tests.components.trained import evaluation_file

NAME = "churn"
PIPELINE = Pipeline("training", "1.0.0", "sha256:feed", "run-17", "kfp-lifecycle/python-core:0.1.0")


@pytest.fixture
def evaluation(tmp_path: Path) -> Path:
    return evaluation_file(tmp_path / "evaluation.json", roc_auc=0.85, f1=0.6)


def state(client: MlflowClient) -> tuple[dict[str, str], list[str], int]:
    """Aliases, history and number of versions."""
    model = client.get_registered_model(NAME)
    aliases = {alias: str(version) for alias, version in model.aliases.items()}
    return aliases, champion_history(model), len(versions(client, NAME))


def request(telco: Telco, *, approved: bool = True, **more: str) -> Request:
    run_id = more.pop("mlflow_run_id", telco.good.run_id)
    return Request(NAME, approved, "roc_auc is 0.85.", "A **model**.", run_id, PIPELINE, **more)


def other(telco: Telco, *, approved: bool = True) -> Request:
    return request(telco, approved=approved, mlflow_run_id=telco.weak.run_id)


def test_an_approved_model_is_challenger_and_champion(
    store: MlflowClient, telco: Telco, evaluation: Path
) -> None:
    done = register_model(telco.good_model, evaluation, request(telco))
    assert done == Registered(NAME, "1", [CHALLENGER, CHAMPION])
    assert done.uri == "models:/churn/1"
    assert state(store) == ({CHALLENGER: "1", CHAMPION: "1"}, ["1"], 1)


def test_a_model_that_was_not_approved_never_becomes_champion(
    store: MlflowClient, telco: Telco, evaluation: Path
) -> None:
    assert register_model(telco.good_model, evaluation, request(telco, approved=False)).aliases == [
        CHALLENGER
    ]
    assert state(store) == ({CHALLENGER: "1"}, [], 1)
    register_model(telco.weak_model, evaluation, other(telco))
    register_model(telco.good_model, evaluation, request(telco, approved=False))
    assert state(store)[0] == {CHALLENGER: "2", CHAMPION: "2"}


def test_the_champion_loads_by_its_alias_and_predicts(
    store: MlflowClient, telco: Telco, evaluation: Path
) -> None:
    register_model(telco.good_model, evaluation, request(telco))
    rows = telco.prepared.test.drop("churn", "_row_hash").head(3).to_pandas()
    answer = mlflow.pyfunc.load_model("models:/churn@champion").predict(rows)
    assert set(answer["prediction"]) <= {"Yes", "No"}


def test_the_version_leads_back_to_its_run_data_pipeline_and_parameters(
    store: MlflowClient, telco: Telco, evaluation: Path
) -> None:
    register_model(telco.good_model, evaluation, request(telco))
    version = store.get_model_version(NAME, "1")
    assert version.run_id == telco.good.run_id
    assert store.get_run(version.run_id).info.status == "FINISHED"
    wanted = {
        "pipeline_name": "training",
        "pipeline_version": "1.0.0",
        "pipeline_digest": "sha256:feed",
        "pipeline_run_id": "run-17",
        "image": "kfp-lifecycle/python-core:0.1.0",
        "dataset_uri": "data/prepared.csv",
        "dataset_digest": "sha256:0123456789abcdef",
        "task": "binary",
        "target": "churn",
        "approved": "true",
        "reasons": "roc_auc is 0.85.",
        "test_roc_auc": "0.85",
        "test_roc_auc_low": "0.83",
        "test_roc_auc_high": "0.87",
        MODEL_DIGEST: model_digest(telco.good_model),
    }
    assert wanted.items() <= version.tags.items()
    assert '"target": "churn"' in version.tags["parameters.prepare"]
    assert version.tags["parameters.featurize"] == '{"exclude_columns": []}'
    assert "LogisticRegression" in version.tags["parameters.train"]


def test_the_description_is_markdown_for_people(store: MlflowClient, telco: Telco, evaluation: Path) -> None:
    register_model(telco.good_model, evaluation, request(telco))
    text = store.get_model_version(NAME, "1").description
    assert text.startswith("A **model**.\n\n**Approved**\n\n- roc_auc is 0.85.")
    assert "| roc_auc | 0.85 | 0.83 to 0.87 |" in text
    assert "`training` `1.0.0` `sha256:feed`" in text


def test_registering_again_changes_nothing(store: MlflowClient, telco: Telco, evaluation: Path) -> None:
    first = register_model(telco.good_model, evaluation, request(telco))
    before = store.get_model_version(NAME, "1")
    assert register_model(telco.good_model, evaluation, request(telco)) == first
    after = store.get_model_version(NAME, "1")
    assert (after.tags, after.description, after.aliases) == (before.tags, before.description, before.aliases)
    assert state(store) == ({CHALLENGER: "1", CHAMPION: "1"}, ["1"], 1)


def test_a_copy_of_the_model_elsewhere_is_the_same_model(
    store: MlflowClient, telco: Telco, evaluation: Path, tmp_path: Path
) -> None:
    register_model(telco.good_model, evaluation, request(telco))
    copy = shutil.copytree(telco.good_model, tmp_path / "copy")
    assert register_model(copy, evaluation, request(telco)).version == "1"


@pytest.mark.parametrize("alias", [CHALLENGER, CHAMPION])
def test_an_alias_that_was_not_set_is_set_the_next_time(
    store: MlflowClient, telco: Telco, evaluation: Path, alias: str
) -> None:
    register_model(telco.good_model, evaluation, request(telco))
    store.delete_registered_model_alias(NAME, alias)
    store.delete_model_version_tag(NAME, "1", DONE)
    register_model(telco.good_model, evaluation, request(telco))
    assert state(store) == ({CHALLENGER: "1", CHAMPION: "1"}, ["1"], 1)
    store.delete_registered_model_alias(NAME, alias)
    register_model(telco.good_model, evaluation, request(telco))
    assert state(store)[0] == {CHALLENGER: "1", CHAMPION: "1"}


def test_a_late_retry_undoes_no_later_version(store: MlflowClient, telco: Telco, evaluation: Path) -> None:
    register_model(telco.good_model, evaluation, request(telco))
    store.delete_model_version_tag(NAME, "1", DONE)
    register_model(telco.weak_model, evaluation, other(telco))
    register_model(telco.good_model, evaluation, request(telco))
    assert state(store) == ({CHALLENGER: "2", CHAMPION: "2"}, ["1", "2"], 2)


def test_a_late_retry_undoes_no_promotion_and_no_rollback(
    store: MlflowClient, telco: Telco, evaluation: Path
) -> None:
    register_model(telco.good_model, evaluation, request(telco))
    register_model(telco.weak_model, evaluation, other(telco))
    rollback(store, NAME)
    register_model(telco.weak_model, evaluation, other(telco))
    assert state(store)[0][CHAMPION] == "1"
    promote(store, NAME, "2")
    register_model(telco.good_model, evaluation, request(telco))
    assert state(store)[0][CHAMPION] == "2"


def test_a_model_that_is_approved_the_second_time_becomes_champion(
    store: MlflowClient, telco: Telco, evaluation: Path, tmp_path: Path
) -> None:
    register_model(telco.good_model, evaluation, request(telco, approved=False))
    better = evaluation_file(tmp_path / "second.json", roc_auc=0.9)
    register_model(telco.good_model, better, request(telco))
    assert state(store) == ({CHALLENGER: "1", CHAMPION: "1"}, ["1"], 1)
    version = store.get_model_version(NAME, "1")
    assert version.tags["approved"] == "true"
    assert version.tags["test_roc_auc"] == "0.9"
    assert "**Approved**" in version.description


def test_where_the_model_came_from_stays_as_first_told(
    store: MlflowClient, telco: Telco, evaluation: Path
) -> None:
    register_model(telco.good_model, evaluation, request(telco))
    elsewhere = Request(NAME, True, "", "", telco.good.run_id, Pipeline("other", "9.9.9", "", "run-18", ""))
    register_model(telco.good_model, evaluation, elsewhere)
    assert store.get_model_version(NAME, "1").tags["pipeline_run_id"] == "run-17"


def test_no_run_named_takes_the_run_that_the_model_names(
    store: MlflowClient, telco: Telco, evaluation: Path
) -> None:
    register_model(telco.good_model, evaluation, request(telco, mlflow_run_id=""))
    assert store.get_model_version(NAME, "1").run_id == telco.good.run_id


def test_a_model_that_this_mlflow_does_not_have_is_logged_in_a_run_of_its_own(
    telco: Telco, evaluation: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'elsewhere.db'}")
    before = model_digest(telco.good_model)
    register_model(telco.good_model, evaluation, request(telco, mlflow_run_id=""))
    client = MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
    version = client.get_model_version(NAME, "1")
    assert version.run_id not in ("", None, telco.good.run_id)
    assert client.get_run(version.run_id).info.status == "FINISHED"
    assert model_digest(telco.good_model) == before, "an input artifact is not written to"
    rows = telco.prepared.test.drop("churn", "_row_hash").head(3).to_pandas()
    assert len(mlflow.pyfunc.load_model("models:/churn@champion").predict(rows)) == 3
    register_model(telco.good_model, evaluation, request(telco, mlflow_run_id=""))
    assert len(versions(client, NAME)) == 1
    assert len(client.search_runs([client.get_run(version.run_id).info.experiment_id])) == 1


def test_the_run_of_another_model_is_refused_and_nothing_is_registered(
    store: MlflowClient, telco: Telco, evaluation: Path
) -> None:
    with pytest.raises(RegistryError, match=rf"run '{telco.good.run_id}', but mlflow_run_id is"):
        register_model(telco.good_model, evaluation, request(telco, mlflow_run_id=telco.weak.run_id))
    assert store.search_registered_models() == []


def test_a_run_that_is_not_there_is_refused(
    telco: Telco, evaluation: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'empty.db'}")
    with pytest.raises(RegistryError, match="holds no model"):
        register_model(telco.good_model, evaluation, request(telco))


def test_two_at_once_make_one_version_of_one_model(
    store: MlflowClient, telco: Telco, evaluation: Path
) -> None:
    requests = [(telco.good_model, evaluation, request(telco))] * 2
    assert {done.version for done in at_once(requests)} == {"1"}
    assert state(store) == ({CHALLENGER: "1", CHAMPION: "1"}, ["1"], 1)


def test_two_at_once_of_two_models_leave_both_aliases_on_the_newer(
    store: MlflowClient, telco: Telco, evaluation: Path
) -> None:
    at_once([
        (telco.good_model, evaluation, request(telco)),
        (telco.weak_model, evaluation, other(telco)),
    ])  # fmt: skip
    aliases, history, number = state(store)
    assert (aliases, number) == ({CHALLENGER: "2", CHAMPION: "2"}, 2)
    assert history[-1] == "2"


def at_once(requests: list[tuple[Path, Path, Request]]) -> list[Registered]:
    """Each in a process of its own, all at the same time."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(len(requests), mp_context=context) as pool:
        return [job.result() for job in [pool.submit(register_model, *one) for one in requests]]


def test_long_parameters_are_replaced_by_where_to_read_them(
    store: MlflowClient, telco: Telco, evaluation: Path, tmp_path: Path
) -> None:
    import json

    copy = shutil.copytree(telco.good_model, tmp_path / "copy")
    described = copy / "data" / "lifecycle" / "model.json"
    about = json.loads(described.read_text())
    about["parameters"]["featurize"] = {"exclude_columns": ["x" * 100] * 100}
    described.write_text(json.dumps(about))
    register_model(copy, evaluation, request(telco))
    tags = store.get_model_version(NAME, "1").tags
    assert max(map(len, tags.values())) <= LONGEST
    assert "data/lifecycle/model.json" in json.loads(tags["parameters.featurize"])["see"]


def test_a_long_text_is_cut_to_what_a_database_holds(
    store: MlflowClient, telco: Telco, evaluation: Path
) -> None:
    long = Request(NAME, False, "no. " * 3000, "text " * 3000, telco.good.run_id)
    register_model(telco.good_model, evaluation, long)
    version = store.get_model_version(NAME, "1")
    assert len(version.description) == LONGEST
    assert len(version.tags["reasons"]) == LONGEST


def test_credentials_in_a_source_do_not_reach_the_registry(
    store: MlflowClient, telco: Telco, evaluation: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(telco.good_model, tmp_path / "copy")
    for file in ("schema.json", "model.json"):
        path = copy / "data" / "lifecycle" / file
        path.write_text(
            path.read_text().replace("data/prepared.csv", "https://u:hunter2@host/a?token=hunter2")
        )
    register_model(copy, evaluation, request(telco))
    version = store.get_model_version(NAME, "1")
    assert "hunter2" not in str(version.tags) + version.description
    assert version.tags["dataset_uri"] == "https://***@host/a?token=***"


def test_bad_input_registers_nothing(
    store: MlflowClient, telco: Telco, evaluation: Path, tmp_path: Path
) -> None:
    with pytest.raises(SchemaError, match="is not a Model artifact"):
        register_model(tmp_path / "nothing", evaluation, request(telco))
    with pytest.raises(ParameterError, match="is not an evaluation artifact"):
        register_model(telco.good_model, tmp_path / "nothing.json", request(telco))
    (tmp_path / "broken.json").write_text('{"metrics": {')
    with pytest.raises(ParameterError, match="is not an evaluation artifact"):
        register_model(telco.good_model, tmp_path / "broken.json", request(telco))
    with pytest.raises(RegistryError, match="cannot be the name"):
        register_model(telco.good_model, evaluation, Request("a/b"))
    assert store.search_registered_models() == []


def test_a_registry_that_cannot_be_reached_is_an_error_without_credentials(
    telco: Telco, evaluation: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://someone:hunter2@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(TrackingError, match=r"http://\*\*\*@127\.0\.0\.1:9") as caught:
        register_model(telco.good_model, evaluation, request(telco))
    assert "hunter2" not in str(caught.value)


def rollout(client: MlflowClient, version: str) -> str:
    return str(client.get_model_version(NAME, version).tags.get("rollout", ""))


def test_a_version_that_serve_is_to_roll_out_stays_the_challenger(
    store: MlflowClient, telco: Telco, evaluation: Path
) -> None:
    wanted = replace(request(telco), challenger_only=True)
    for _ in range(2):  # run again, it finds what it has done
        assert register_model(telco.good_model, evaluation, wanted).aliases == [CHALLENGER]
    assert state(store) == ({CHALLENGER: "1"}, [], 1)
    assert rollout(store, "1") == "awaited"

    promote(store, NAME)
    assert rollout(store, "1") == "done"
    assert register_model(telco.good_model, evaluation, wanted).aliases == [CHALLENGER, CHAMPION]
    assert rollout(store, "1") == "done"


def test_registered_again_without_a_rollout_it_becomes_the_champion(
    store: MlflowClient, telco: Telco, evaluation: Path
) -> None:
    register_model(telco.good_model, evaluation, replace(request(telco), challenger_only=True))
    assert register_model(telco.good_model, evaluation, request(telco)).aliases == [CHALLENGER, CHAMPION]


def test_a_late_registration_makes_no_champion_of_a_version_that_was_rolled_out_in_vain(
    store: MlflowClient, telco: Telco, evaluation: Path
) -> None:
    register_model(telco.good_model, evaluation, request(telco, approved=False))
    register_model(telco.weak_model, evaluation, replace(other(telco), challenger_only=True))
    store.set_model_version_tag(NAME, "2", "rollout", "failed: it was slow")
    register_model(telco.good_model, evaluation, request(telco))
    assert state(store)[0] == {CHALLENGER: "2", CHAMPION: "1"}


def test_a_move_of_the_champion_is_undone_with_its_history(
    store: MlflowClient, telco: Telco, evaluation: Path
) -> None:
    register_model(telco.good_model, evaluation, request(telco))
    register_model(telco.weak_model, evaluation, replace(other(telco), challenger_only=True))
    take_back(store, make_champion(store, NAME, "2"))
    assert state(store) == ({CHALLENGER: "2", CHAMPION: "1"}, ["1"], 2)
    assert "rolled_back" not in store.get_model_version(NAME, "2").tags


def test_the_first_champion_is_taken_back_to_none(
    store: MlflowClient, telco: Telco, evaluation: Path
) -> None:
    register_model(telco.good_model, evaluation, replace(request(telco), challenger_only=True))
    take_back(store, make_champion(store, NAME, "1"))
    assert state(store) == ({CHALLENGER: "1"}, [], 1)
