"""The champion from a real registry: compared with on the same rows, or said why not."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import polars as pl
import pytest
from mlflow.models import Model
from mlflow.tracking import MlflowClient

from kfp_lifecycle.components.evaluate.evaluation import Evaluation, Options, evaluate_model
from kfp_lifecycle.components.evaluate.report import render_report
from kfp_lifecycle.components.register.lineage import Pipeline
from kfp_lifecycle.components.register.versions import Request, register_model
from kfp_lifecycle.components.shared.errors import RegistryError
from kfp_lifecycle.components.shared.inference.files import ESTIMATOR
from kfp_lifecycle.components.shared.inference.schema import ROW_HASH
from tests.components.conftest import Telco
from tests.components.trained import Prepared, churn, evaluation_file, prepare, train


def crown(model: Path, run_id: str, tmp_path: Path) -> None:
    """Makes the model the champion of ``churn``."""
    file = evaluation_file(tmp_path / "evaluation.json", roc_auc=0.8)
    register_model(model, file, Request("churn", True, "", "", run_id, Pipeline()))


def judge(model: Path, prepared: Prepared, **options: Any) -> Evaluation:
    asked = {"model_name": "churn", "bootstrap_samples": 200, **options}
    return evaluate_model(model, prepared.test_path, prepared.schema, Options(**asked))


def why_not(telco: Telco, prepared: Prepared | None = None, model: Path | None = None) -> str:
    """The reason why the champion is not comparable, after a look at both settings of on_incomparable."""
    subject = (model or telco.good_model, prepared or telco.prepared)
    rejected = judge(*subject, thresholds=["roc_auc >= 0.5"])
    assert not rejected.decision.approved
    assert rejected.champion is not None
    assert rejected.champion.incomparable in rejected.decision.reasons[0]
    assert "The model is refused (on_incomparable is reject)." in rejected.decision.reasons[0]
    passed = judge(*subject, thresholds=["roc_auc >= 0.5"], on_incomparable="thresholds")
    assert passed.decision.approved
    failed = judge(*subject, thresholds=["roc_auc >= 0.99"], on_incomparable="thresholds")
    assert not failed.decision.approved
    assert "not comparable" in render_report(rejected, {})
    return rejected.champion.incomparable


@pytest.fixture
def crowned(store: MlflowClient, telco: Telco, tmp_path: Path) -> MlflowClient:
    """The weak model, trained on the same rows, is champion."""
    crown(telco.weak_model, telco.weak.run_id, tmp_path)
    return store


def test_no_registered_model_yet_means_the_thresholds_alone(store: MlflowClient, telco: Telco) -> None:
    assert judge(telco.good_model, telco.prepared, thresholds=["roc_auc >= 0.8"]).decision.approved
    assert not judge(telco.good_model, telco.prepared, thresholds=["roc_auc >= 0.9"]).decision.approved


def test_a_model_without_champion_means_the_thresholds_alone(store: MlflowClient, telco: Telco) -> None:
    store.create_registered_model("churn")
    decision = judge(telco.good_model, telco.prepared).decision
    assert decision.approved
    assert "There is no champion yet: the thresholds alone decide." in decision.reasons


def test_a_better_model_is_approved_and_both_are_on_the_report(crowned: MlflowClient, telco: Telco) -> None:
    found = judge(telco.good_model, telco.prepared)
    assert found.decision.approved
    assert found.champion is not None
    difference = found.champion.differences["roc_auc"]
    assert difference.value == pytest.approx(
        found.metrics["roc_auc"].value - found.champion.metrics["roc_auc"].value
    )
    assert 0 < difference.low < difference.value < difference.high
    assert "champion (version 1)" in found.decision.reasons[0]
    assert "clearly better" in found.decision.reasons[0]
    page = render_report(found, {})
    assert "Champion (version 1)" in page
    assert '<span class="badge good">better</span>' in page


def test_the_champion_is_scored_on_the_same_rows_as_mlflow_would(crowned: MlflowClient, telco: Telco) -> None:
    found = judge(telco.good_model, telco.prepared)
    assert found.champion is not None
    assert found.champion.scored is not None
    rows = telco.prepared.test.drop("churn", ROW_HASH).to_pandas()
    answer = mlflow.pyfunc.load_model("models:/churn@champion").predict(rows)
    assert found.champion.scored.positive_probability == pytest.approx(answer["probability_Yes"].to_numpy())
    assert (found.champion.scored.truth == found.scored.truth).all()


def test_a_worse_model_is_refused(store: MlflowClient, telco: Telco, tmp_path: Path) -> None:
    crown(telco.good_model, telco.good.run_id, tmp_path)
    decision = judge(telco.weak_model, telco.prepared, thresholds=["roc_auc >= 0.5"]).decision
    assert not decision.approved
    assert "clearly worse" in decision.reasons[0]


def test_a_model_as_good_as_the_champion_passes_unless_an_improvement_is_asked(
    store: MlflowClient, telco: Telco, tmp_path: Path
) -> None:
    crown(telco.good_model, telco.good.run_id, tmp_path)
    assert judge(telco.good_model, telco.prepared).decision.approved
    decision = judge(telco.good_model, telco.prepared, min_improvement=0.01).decision
    assert not decision.approved
    assert "min_improvement" in decision.reasons[0]


def test_another_metric_may_be_asked_for(crowned: MlflowClient, telco: Telco) -> None:
    decision = judge(telco.good_model, telco.prepared, champion_metric="log_loss").decision
    assert decision.approved
    assert decision.reasons[0].startswith("log_loss is")


def test_a_champion_with_fewer_columns_is_comparable(crowned: MlflowClient, telco: Telco) -> None:
    champion = judge(telco.good_model, telco.prepared).champion
    assert champion is not None
    assert champion.incomparable == ""


def test_a_champion_that_has_seen_test_rows(crowned: MlflowClient, telco: Telco, tmp_path: Path) -> None:
    both = pl.concat([telco.prepared.test.head(500), telco.prepared.train.head(7)])
    reason = why_not(telco, replace(telco.prepared, folder=tmp_path / "mixed", test=both).write())
    assert reason == "it has seen 7 of 507 test rows in its training."


def test_one_training_row_among_the_test_rows_is_enough(
    crowned: MlflowClient, telco: Telco, tmp_path: Path
) -> None:
    both = pl.concat([telco.prepared.test, telco.prepared.train.head(1)])
    found = judge(telco.good_model, replace(telco.prepared, folder=tmp_path / "mixed", test=both).write())
    assert found.champion is not None
    assert found.champion.incomparable.startswith("it has seen 1 of")


def described(model: Path, copy: Path, change: Callable[[Path], None]) -> Path:
    """A copy of the model whose data folder is changed, and which no MLflow run holds yet."""
    shutil.copytree(model, copy)
    change(copy / "data" / "lifecycle")
    about = Model.load(str(copy))
    about.run_id = about.model_id = None
    about.save(str(copy / "MLmodel"))
    return copy


def test_a_champion_that_keeps_some_hashes_only_is_told_by_those(
    store: MlflowClient, telco: Telco, tmp_path: Path
) -> None:
    def thin(data: Path) -> None:
        about = json.loads((data / "model.json").read_text())
        about["training_rows_modulus"] = 4
        (data / "model.json").write_text(json.dumps(about))
        hashes = pl.read_parquet(data / "training_rows.parquet")
        hashes.filter(pl.col("hash") % 4 == 0).write_parquet(data / "training_rows.parquet")

    crown(described(telco.weak_model, tmp_path / "thin", thin), "", tmp_path)
    found = judge(telco.good_model, telco.prepared)
    assert found.champion is not None
    assert found.champion.incomparable == ""
    known = telco.prepared.train.filter(pl.col(ROW_HASH) % 4 == 0).head(3)
    mixed = pl.concat([telco.prepared.test, known])
    tellable = int((mixed[ROW_HASH] % 4 == 0).sum())
    reason = why_not(telco, replace(telco.prepared, folder=tmp_path / "mixed", test=mixed).write())
    assert reason == f"it has seen 3 of {tellable} test rows in its training."


def test_a_champion_without_row_hashes_cannot_be_told_from_one_that_has_seen_them(
    store: MlflowClient, telco: Telco, tmp_path: Path
) -> None:
    def forget(data: Path) -> None:
        pl.DataFrame({"hash": np.zeros(0, np.uint64)}).write_parquet(data / "training_rows.parquet")

    crown(described(telco.weak_model, tmp_path / "forgets", forget), "", tmp_path)
    assert "cannot be told" in why_not(telco)


def test_test_rows_without_hashes_cannot_be_told(crowned: MlflowClient, telco: Telco, tmp_path: Path) -> None:
    without = replace(telco.prepared, folder=tmp_path / "no", test=telco.prepared.test.drop(ROW_HASH))
    assert "they have no _row_hash" in why_not(telco, without.write())


@pytest.mark.parametrize(
    "change",
    [
        {"parameters": {"key_columns": ["tenure"]}},
        {"missing_values": ["?"]},
        {"dropped": {"comment": "missing in 90% of the rows"}},
        {"parameters": {"target_expression": "churn"}},
    ],
)
def test_rows_that_are_told_apart_otherwise_cannot_be_compared(
    crowned: MlflowClient, telco: Telco, tmp_path: Path, change: dict[str, Any]
) -> None:
    other = telco.prepared.with_schema(tmp_path / "other", **change)
    reason = why_not(telco, other)
    assert "whether it has seen the test rows in its training cannot be told" in reason
    assert "key_columns" in reason


def test_columns_left_out_by_name_and_types_that_hash_alike_do_not_matter(
    crowned: MlflowClient, telco: Telco, tmp_path: Path
) -> None:
    columns = [
        replace(column, type="number") if column.name == "tenure" else column
        for column in telco.prepared.schema.columns
    ]
    other = telco.prepared.with_schema(
        tmp_path / "other",
        columns=columns,
        dropped={"comment": "named in drop_columns"},
        parameters={"drop_columns": ["comment"]},
    )
    champion = judge(telco.good_model, other).champion
    assert champion is not None
    assert champion.incomparable == ""


@pytest.fixture(scope="module")
def others(
    telco: Telco, table: Callable[[str], Any], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[Prepared, Path]]:
    """Models that answer another question than the champion, by what differs."""
    folder = tmp_path_factory.mktemp("others")
    rows = churn(table).head(2000)
    made = {}
    for name, changed, target, task, positive, estimator in (
        ("task", rows, "monthly_charges", "regression", "", "LinearRegression"),
        ("target", rows.rename({"churn": "left"}), "left", "binary", "Yes", "LogisticRegression"),
        (
            "classes",
            rows.with_columns(pl.col("churn").replace({"Yes": "Leaves"})),
            "churn",
            "binary",
            "No",
            "LogisticRegression",
        ),
        ("positive class", rows, "churn", "binary", "No", "LogisticRegression"),
        ("columns", rows.drop("tenure", "contract"), "churn", "binary", "Yes", "LogisticRegression"),
    ):
        prepared = prepare(folder / name, changed, target, task, positive=positive)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("MLFLOW_TRACKING_URI", telco.store(folder))
            train(prepared, folder / f"{name}-model", estimator=f"sklearn.linear_model.{estimator}")
        made[name] = prepared, folder / f"{name}-model"
    return made


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("target", "its target differs: churn in its training, left in the test rows."),
        ("classes", "its classes differ: No, Yes in its training, Leaves, No in the test rows."),
        ("positive class", "its positive class differs: Yes in its training, No in the test rows."),
    ],
)
def test_a_champion_that_answers_another_question(
    store: MlflowClient,
    telco: Telco,
    others: dict[str, tuple[Prepared, Path]],
    tmp_path: Path,
    what: str,
    said: str,
) -> None:
    crown(telco.good_model, telco.good.run_id, tmp_path)
    prepared, model = others[what]
    assert why_not(telco, prepared, model) == said


def test_a_champion_of_another_task(
    store: MlflowClient, telco: Telco, others: dict[str, tuple[Prepared, Path]], tmp_path: Path
) -> None:
    crown(telco.good_model, telco.good.run_id, tmp_path)
    prepared, model = others["task"]
    found = judge(model, prepared)
    assert found.champion is not None
    assert found.champion.incomparable == (
        "its task differs: binary in its training, regression in the test rows."
    )
    assert not found.decision.approved


def test_a_champion_that_needs_a_column_which_the_test_rows_lack(
    store: MlflowClient, telco: Telco, others: dict[str, tuple[Prepared, Path]], tmp_path: Path
) -> None:
    crown(telco.good_model, telco.good.run_id, tmp_path)
    prepared, model = others["columns"]
    assert why_not(telco, prepared, model) == (
        "it needs 'tenure', 'contract', which the test rows do not have."
    )


def test_a_champion_whose_files_are_gone(store: MlflowClient, telco: Telco, tmp_path: Path) -> None:
    store.create_registered_model("churn")
    store.create_model_version("churn", str(tmp_path / "gone"))
    store.set_registered_model_alias("churn", "champion", "1")
    assert "cannot be" in why_not(telco)


def test_a_champion_of_another_make(store: MlflowClient, telco: Telco, tmp_path: Path) -> None:
    from sklearn.linear_model import LogisticRegression

    mlflow.sklearn.save_model(LogisticRegression(), tmp_path / "foreign", pip_requirements=[])
    store.create_registered_model("churn")
    store.create_model_version("churn", str(tmp_path / "foreign"))
    store.set_registered_model_alias("churn", "champion", "1")
    assert why_not(telco).startswith("what it was trained on cannot be told: ")


def test_a_champion_that_cannot_be_loaded(store: MlflowClient, telco: Telco, tmp_path: Path) -> None:
    def damage(data: Path) -> None:
        (data / ESTIMATOR).write_bytes(b"not an estimator")

    crown(described(telco.weak_model, tmp_path / "damaged", damage), "", tmp_path)
    assert why_not(telco).startswith("it cannot score the test rows: ")


def test_a_name_that_cannot_be_a_models(store: MlflowClient, telco: Telco) -> None:
    with pytest.raises(RegistryError, match="cannot be the name"):
        judge(telco.good_model, telco.prepared, model_name="a/b")
