"""What a user can get wrong, each with a message that names it and the nearest right thing."""

import datetime as dt
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from kfp_lifecycle.components.feature_store.apply import apply
from kfp_lifecycle.components.feature_store.historical import check_rows, join_features
from kfp_lifecycle.components.feature_store.references import select
from kfp_lifecycle.components.feature_store.repository import Repository, open_repository
from kfp_lifecycle.components.featurize.options import Options
from kfp_lifecycle.components.shared.errors import FeatureStoreError, ParameterError
from kfp_lifecycle.components.shared.inference.schema import Column, TableSchema
from tests.components.feature_store.repositories import (
    NOW,
    OWN,
    Users,
    make_users,
    some_history,
    write_configuration,
)


@pytest.fixture(scope="module")
def repository(users: Users) -> Repository:
    return users.open()


SCHEMA = TableSchema(
    columns=[
        Column("user_id", "integer", role="key"),
        Column("time", "timestamp"),
        Column("basket", "number"),
        Column("late", "boolean", role="target"),
    ],
    target="late",
    task="binary",
)


@pytest.mark.parametrize(
    ("service", "features", "error", "message"),
    [
        ("users_v2", [], FeatureStoreError, "no feature service 'users_v2'. Did you mean 'users_v1'?"),
        ("", ["user_statistic:plan"], FeatureStoreError, "Did you mean 'user_statistics'?"),
        ("", ["user_statistics:plans"], FeatureStoreError, "Did you mean 'plan'?"),
        ("", ["plan"], ParameterError, "view:feature"),
        ("", [], ParameterError, "both empty"),
        ("users_v1", ["user_statistics:plan"], ParameterError, "both given"),
    ],
)
def test_references_that_are_not_there(
    repository: Repository, service: str, features: list[str], error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as caught:
        select(repository, service, features)
    assert message in str(caught.value)


def without(name: str) -> TableSchema:
    return replace(SCHEMA, columns=[column for column in SCHEMA.columns if column.name != name])


def typed(name: str, kind: str) -> TableSchema:
    columns = [replace(column, type=kind) if column.name == name else column for column in SCHEMA.columns]
    return replace(SCHEMA, columns=columns)


@pytest.mark.parametrize(
    ("schema", "event_time", "error", "message"),
    [
        (SCHEMA, "", ParameterError, "'event_time' is empty"),
        (SCHEMA, "tim", ParameterError, "Did you mean 'time'?"),
        (SCHEMA, "basket", ParameterError, "which is number and no time"),
        (without("user_id"), "time", FeatureStoreError, "no column 'user_id'"),
        (
            replace(without("user_id"), dropped={"user_id": "a key"}),
            "time",
            FeatureStoreError,
            "dropped: a key",
        ),
        (
            typed("user_id", "string"),
            "time",
            FeatureStoreError,
            "is string in the rows, but the entity key is integer",
        ),
        (without("basket"), "time", FeatureStoreError, "no column 'basket', the request column"),
    ],
)
def test_rows_that_the_join_cannot_use(
    repository: Repository, schema: TableSchema, event_time: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as caught:
        check_rows(schema, select(repository, "with_basket", []), event_time)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([NOW, None], "is empty in 1 rows"),
        ([NOW, dt.datetime.now(dt.UTC) + dt.timedelta(days=2)], "is in the future in 1 rows"),
    ],
)
def test_event_times_that_are_missing_or_in_the_future(
    repository: Repository, tmp_path: Path, times: list[dt.datetime | None], message: str
) -> None:
    rows = pl.LazyFrame({"user_id": [1, 2], "time": times})
    selection = select(repository, "users_v1", [])
    with pytest.raises(ParameterError, match=message):
        join_features(rows, repository, selection, "time", selection.columns([]), tmp_path / "joined")
    assert not (tmp_path / "joined").exists()


def test_names_that_the_rows_have_already(repository: Repository) -> None:
    selection = select(repository, "users_v1", [])
    assert "user_statistics__plan" in selection.columns(["plan"])
    with pytest.raises(FeatureStoreError, match="has no name"):
        selection.columns(["plan", "user_statistics__plan"])


def test_parameters_of_a_store_without_one() -> None:
    with pytest.raises(ParameterError, match="'feature_store' is empty"):
        Options(feature_service="users_v1")


def break_text(folder: Path) -> None:
    (folder / "feature_store.yaml").write_text("project: [")


def break_store(folder: Path) -> None:
    write_configuration(folder, {**OWN, "online_store": {"type": "sqlit"}})


def no_project(folder: Path) -> None:
    (folder / "feature_store.yaml").write_text("provider: local")


def no_file(folder: Path) -> None:
    (folder / "feature_store.yaml").unlink()


def damaged(folder: Path) -> None:
    (folder / "data" / "registry.db").write_bytes(b"\xff" * 100)


def newer_format(folder: Path) -> None:
    rewrite(folder, "2")


def older_format(folder: Path) -> None:
    rewrite(folder, "0")


def newer_fields(folder: Path) -> None:
    registry = folder / "data" / "registry.db"
    registry.write_bytes(registry.read_bytes() + b"\xda\x3e\x05later")  # field 1003, which no Feast has


def rewrite(folder: Path, version: str) -> None:
    from feast.protos.feast.core.Registry_pb2 import Registry

    path, registry = folder / "data" / "registry.db", Registry()
    registry.ParseFromString(path.read_bytes())
    registry.registry_schema_version = version
    path.write_bytes(registry.SerializeToString())


@pytest.mark.parametrize(
    ("breaks", "message"),
    [
        (no_file, "holds no feature_store.yaml"),
        (no_project, "names no project"),
        (break_text, "feature_store.yaml"),
        (break_store, "sqlit"),
        (damaged, "registry"),
        (newer_format, "format 2, which is newer than this Feast's"),
        (older_format, "format 0, which is older than this Feast's"),
        (newer_fields, "was written by a newer Feast"),
    ],
)
def test_repositories_that_cannot_be_opened(
    users: Users, tmp_path: Path, breaks: Callable[[Path], None], message: str
) -> None:
    import shutil

    folder = Path(shutil.copytree(users.folder, tmp_path / "copy"))
    breaks(folder)
    with pytest.raises(FeatureStoreError) as caught:
        open_repository(str(folder))
    assert message in str(caught.value)


def test_a_repository_that_was_never_applied(tmp_path: Path) -> None:
    write_configuration(tmp_path, OWN)
    with pytest.raises(FeatureStoreError, match="Run feature-store-apply"):
        select(open_repository(str(tmp_path)), "users_v1", [])


@pytest.mark.parametrize(
    ("definitions", "message"),
    [
        ("1 / 0", "ZeroDivisionError"),
        ("import no_such_module_here", "no_such_module_here"),
        ("from feast import Project\na = Project(name='one')\nb = Project(name='two')", "more than one"),
    ],
)
def test_definitions_that_fail(tmp_path: Path, definitions: str, message: str) -> None:
    write_configuration(tmp_path, OWN)
    (tmp_path / "definitions.py").write_text(definitions)
    with pytest.raises(FeatureStoreError, match=message):
        apply(str(tmp_path))


def test_a_source_that_is_not_there_or_lacks_a_column(tmp_path: Path) -> None:
    users = make_users(tmp_path, some_history())
    repository = users.open()
    selection = select(repository, "users_v1", [])
    rows = pl.LazyFrame({"user_id": [1], "time": [NOW]})
    some_history().rename({"plan": "plam"}).write_parquet(users.source)
    with pytest.raises(FeatureStoreError, match=r"no column 'plan'\. Did you mean 'plam'"):
        join_features(rows, repository, selection, "time", selection.columns([]), tmp_path / "joined")
    users.source.unlink()
    with pytest.raises(FeatureStoreError, match="does not exist"):
        join_features(rows, repository, selection, "time", selection.columns([]), tmp_path / "joined")


MODULES = [
    "featurize.step",
    "featurize.component",
    "feature_store.repository",
    "feature_store.references",
    "feature_store.historical",
    "feature_store.materialize",
    "feature_store.apply",
    "feature_store_materialize.step",
    "feature_store_apply.step",
    "train.step",
    "evaluate.step",
    "register.step",
]


def test_feast_is_imported_by_those_alone_who_use_it() -> None:
    imports = "; ".join(f"import kfp_lifecycle.components.{module}" for module in MODULES)
    code = f"import sys; {imports}; print('feast' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
