"""Features of a store in featurize, and what model and registry say of them afterwards."""

import datetime as dt
import json
from pathlib import Path
from typing import Any

import mlflow
import polars as pl
import pytest
from mlflow.models import Model
from polars.testing import assert_frame_equal

from kfp_lifecycle.components.evaluate.champion import _identity
from kfp_lifecycle.components.featurize.component import featurize
from kfp_lifecycle.components.register.lineage import Pipeline, tags
from kfp_lifecycle.components.shared.inference.schema import ROW_HASH, Column, TableSchema
from kfp_lifecycle.components.shared.model_format import describe, load_predictor
from kfp_lifecycle.components.train.training import TrainingInputs, TrainingOptions, train_model
from tests.components.feature_store.repositories import NOW, UTC, Users, known_at, some_history
from tests.components.trained import Artifact

OUTPUTS = ("train_features", "test_features", "plan", "transform", "train_rows", "test_rows", "rows_schema")


def rows(count: int, first: int) -> pl.DataFrame:
    number = pl.Series(range(first, first + count))
    return pl.DataFrame(
        {
            "user_id": number % 4,
            "time": [NOW - dt.timedelta(hours=5 * one) for one in number],
            "basket": number.cast(pl.Float64) % 7,
            "bought": number % 3 == 0,
            ROW_HASH: number.cast(pl.UInt64) * 7919,
        }
    ).with_columns(pl.col("user_id").replace({0: None}))


SCHEMA = TableSchema(
    columns=[
        Column("user_id", "integer", role="key", source_type="integer", nullable=True),
        Column("time", "timestamp", role="time", source_type="timestamp"),
        Column("basket", "number", source_type="number"),
        Column("bought", "boolean", role="target", source_type="boolean"),
    ],
    target="bought",
    task="binary",
    classes=["false", "true"],
    positive_class="true",
    source_uri="data/shop.csv",
    source_digest="sha256:aa",
)


def run(folder: Path, **parameters: Any) -> dict[str, Artifact]:
    for name, table in (("train", rows(90, 0)), ("test", rows(30, 90))):
        (folder / name).mkdir(parents=True)
        table.write_parquet(folder / name / "part-0.parquet")
    SCHEMA.save(folder / "schema")
    artifacts = {name: Artifact(str(folder / name)) for name in ("train", "test", "schema", *OUTPUTS)}
    featurize.python_func(**artifacts, **parameters)
    return artifacts


@pytest.fixture(scope="module")
def joined(users: Users, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact]:
    folder = tmp_path_factory.mktemp("joined")
    return run(folder, feature_store=users.uri, feature_service="with_basket", event_time="time")


@pytest.fixture(scope="module")
def model(joined: dict[str, Artifact], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    inputs = TrainingInputs(
        rows=Path(joined["train_rows"].path),
        features=Path(joined["train_features"].path),
        schema=Path(joined["rows_schema"].path),
        plan=Path(joined["plan"].path),
        transform=Path(joined["transform"].path),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        train_model(inputs, folder / "model", TrainingOptions(folds=0))
    return folder / "model"


def test_rows_keep_their_order_and_get_what_was_known_then(joined: dict[str, Artifact]) -> None:
    for side in ("train", "test"):
        before = pl.read_parquet(Path(joined[side].path) / "*.parquet")
        after = pl.read_parquet(Path(joined[f"{side}_rows"].path) / "*.parquet")
        assert_frame_equal(after.select(before.columns), before)
        known = [
            known_at(some_history(), user, time.astimezone(UTC), dt.timedelta(days=30))
            for user, time in before.select("user_id", "time").iter_rows()
        ]
        names = ["purchases_7d", "amount_7d", "plan", "is_active"]
        assert after.select(names).to_dicts() == known
        share = before["basket"] / after["amount_7d"]
        assert after["basket_share"].to_list() == pytest.approx(share.to_list(), nan_ok=True)


def test_the_dataset_says_where_its_features_come_from(joined: dict[str, Artifact], users: Users) -> None:
    said = joined["train_features"].metadata
    assert said["feature_store"] == users.uri
    assert said["feature_service"] == "with_basket"
    assert said["feature_service_version"].startswith("sha256:")
    assert said["feature_registry_digest"] == users.open().digest()
    assert "user_statistics:amount_7d" in said["feature_references"]
    assert joined["test_rows"].metadata["feature_service"] == "with_basket"


def test_the_schema_says_which_columns_a_request_brings(joined: dict[str, Artifact]) -> None:
    schema = TableSchema.load(joined["rows_schema"].path)
    assert TableSchema.from_dict(schema.to_dict()) == schema
    assert schema.feature_source is not None
    assert schema.feature_source.entities == ["user_id"]
    assert schema.feature_source.request == ["basket"]
    assert {column.name: column.reference for column in schema.columns if column.reference} == {
        "purchases_7d": "user_statistics:purchases_7d",
        "amount_7d": "user_statistics:amount_7d",
        "plan": "user_statistics:plan",
        "is_active": "user_statistics:is_active",
        "basket_share": "basket_view:basket_share",
    }
    plan = schema.column("plan")
    assert (plan.type, plan.nullable, plan.categories) == ("string", True, ["basic", "premium"])
    # What tells rows apart is what prepare has hashed.
    assert _identity(schema) == _identity(SCHEMA)


def test_the_model_asks_for_what_the_store_does_not_have(model: Path) -> None:
    inputs = {spec["name"]: spec["required"] for spec in Model.load(model).signature.inputs.to_dict()}
    assert inputs["basket"] is True
    assert inputs["amount_7d"] is False
    metadata = Model.load(model).metadata
    assert metadata["request"] == ["user_id", "basket"]
    assert metadata["feature_store"]["columns"]["plan"] == "user_statistics:plan"
    assert metadata["feature_store"]["service"] == "with_basket"
    described = describe(model)
    assert described.schema.feature_source is not None
    assert json.dumps(described.parameters["featurize"]["feature_service"]) == '"with_basket"'
    with pytest.raises(Exception, match="of the feature store: ask the model server"):
        load_predictor(model).predict(rows(3, 0))  # its own copy of SchemaError
    mlflow.set_tracking_uri(None)


def test_the_registry_says_it_too(model: Path, users: Users) -> None:
    evaluation = {"metrics": {}, "options": {"confidence": 0.95}}
    found = tags("sha256:1", describe(model), evaluation, Pipeline(), True, "")
    assert found["feature_store"] == users.uri
    assert found["feature_service"] == "with_basket"
    assert found["feature_registry_digest"] == users.open().digest()


def test_a_list_of_features_and_names_that_are_taken(users: Users, tmp_path: Path) -> None:
    artifacts = run(
        tmp_path,
        feature_store=users.uri,
        features=["user_statistics:plan", "user_statistics:amount_7d"],
        event_time="time",
    )
    schema = TableSchema.load(artifacts["rows_schema"].path)
    assert [column.name for column in schema.columns][-2:] == ["plan", "amount_7d"]
    assert schema.feature_source is not None
    assert schema.feature_source.service == ""


def test_without_a_store_rows_and_schema_pass_through(tmp_path: Path) -> None:
    artifacts = run(tmp_path)
    for side in ("train", "test"):
        given, passed = (Path(artifacts[name].path) / "part-0.parquet" for name in (side, f"{side}_rows"))
        assert passed.read_bytes() == given.read_bytes()
        assert passed.samefile(given)  # a link, which takes no room
    assert Path(artifacts["rows_schema"].path).read_text() == Path(artifacts["schema"].path).read_text()
    assert "feature_store" not in artifacts["train_features"].metadata
