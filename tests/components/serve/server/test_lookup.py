"""Requests with entity keys alone: what is looked up, and what is done where the store knows nothing."""

import asyncio
import datetime as dt
import json
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kfp_lifecycle.components.feature_store.online import Looked, OnlineFeatures
from kfp_lifecycle.components.serve.server import lookup as module
from kfp_lifecycle.components.serve.server.failures import BadRequestError, FeaturesError
from kfp_lifecycle.components.serve.server.lifecycle_model import LifecycleModel
from kfp_lifecycle.components.serve.server.loading import load
from kfp_lifecycle.components.serve.server.lookup import Lookup, lookup_of
from kfp_lifecycle.components.serve.server.lookup_settings import LookupSettings
from kfp_lifecycle.components.serve.server.options import parse
from kfp_lifecycle.components.serve.server.table import Table
from kfp_lifecycle.components.shared.errors import FeatureStoreError, ParameterError
from kfp_lifecycle.components.shared.prediction_log import read_log
from tests.components.feature_store.repositories import Users
from tests.components.serve.server.stored import COMPUTED, STORED, store, store_model
from tests.components.serve.serving import Server, serving
from tests.servers import RedisServer, redis_server

FRESH = {"purchases_7d": 2, "amount_7d": 20.0, "plan": "basic", "is_active": True, "basket_share": 0.5}
NOTHING = dict.fromkeys(FRESH)


@pytest.fixture(scope="module")
def users(tmp_path_factory: pytest.TempPathFactory) -> Users:
    return store(tmp_path_factory.mktemp("users"))


@pytest.fixture(scope="module")
def model(users: Users, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stored")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
        return store_model(folder, users)


@pytest.fixture(scope="module")
def features(users: Users, model: Path) -> OnlineFeatures:
    served = LifecycleModel(model, (), name="m", version="1", uri="m", digest="d")
    assert served.description is not None
    return OnlineFeatures.open(served.description.schema, [column.name for column in served.inputs])


def made(model: Path, features: Any, **settings: Any) -> Lookup:
    """A look-up of the model's with features that are open already, or whatever stands in for them."""
    served = LifecycleModel(model, (), name="m", version="1", uri="m", digest="d")
    assert served.description is not None
    return Lookup(served.description.schema, served.inputs, LookupSettings(**settings), lambda: features)


def asked(*users: Any, **more: list[Any]) -> Table:
    columns = {"user_id": list(users), "basket": [10.0] * len(users), "visits": [1] * len(users)}
    return Table({**columns, **more}, len(users))


def found(lookup: Lookup, rows: Table) -> list[dict[str, Any]]:
    """The features of each row."""
    return [{name: row[name] for name in FRESH} for row in asyncio.run(_call(lookup, rows)).records()]


async def _call(lookup: Lookup, rows: Table) -> Table:
    return await lookup(rows)


# What is found


def test_entity_keys_are_enough(model: Path, features: OnlineFeatures) -> None:
    fresh, gap, stale, unknown, blank = found(made(model, features), asked(2, 3, 1, 404, None))
    assert fresh == pytest.approx(FRESH)
    assert gap == pytest.approx({**NOTHING, "amount_7d": 5.5, "is_active": False, "basket_share": 10 / 5.5})
    assert stale == unknown == blank == NOTHING


@pytest.mark.parametrize("key", ["2", 2.0, " 2 "])
def test_a_key_may_come_in_the_source_s_own_form(model: Path, features: OnlineFeatures, key: Any) -> None:
    assert found(made(model, features), asked(key)) == [pytest.approx(FRESH)]


def test_what_the_request_brings_is_not_looked_up(model: Path, features: OnlineFeatures) -> None:
    lookup = made(model, features)
    (row,) = found(lookup, asked(2, amount_7d=[77.0]))
    assert row == pytest.approx({**FRESH, "amount_7d": 77.0})
    # A row with every feature needs no key at all, such as the model's own example.
    whole = Table({**{name: [value] for name, value in FRESH.items()}, "visits": [1]}, 1)
    assert asyncio.run(_call(lookup, whole)) is whole


def test_a_served_model_asks_for_keys_and_its_own_columns(model: Path) -> None:
    served = load(str(model))
    assert [column.name for column in served.asked] == ["user_id", "basket", "visits"]
    looked = asyncio.run(_call(served.lookup, asked(2)))
    answer = served.predict(served.check(looked))
    whole = Table({**{name: [value] for name, value in FRESH.items()}, "visits": [1]}, 1)
    assert answer.records() == served.predict(served.check(whole)).records()


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (
            Table({"user": [2], "basket": [1.0]}, 1),
            "no column 'user_id', by which features are looked up.*'user'",
        ),
        (asked("two"), "Column 'user_id' is integer, but has 'two' in row 0"),
        (asked(2, 2.5), "Column 'user_id' is integer, but has '2.5' in row 1"),
        (asked(2**70), "Column 'user_id' is integer"),
        (asked(True), "Column 'user_id' is integer"),
        (asked(2, basket=["much"]), "Column 'basket' is number, but has 'much'"),
    ],
)
def test_a_wrong_key_is_named(model: Path, features: OnlineFeatures, rows: Table, said: str) -> None:
    with pytest.raises(BadRequestError, match=said):
        found(made(model, features), rows)


# Missing and stale, as the settings say


def test_a_fallback_takes_the_place_of_a_missing_value(model: Path, features: OnlineFeatures) -> None:
    lookup = made(model, features, fallback={"plan": "premium", "purchases_7d": 0}, missing="null")
    fresh, unknown = found(lookup, asked(2, 404))
    assert fresh == pytest.approx(FRESH)
    assert unknown == {**NOTHING, "plan": "premium", "purchases_7d": 0}


def test_a_missing_value_can_be_an_error(model: Path, features: OnlineFeatures) -> None:
    lookup = made(model, features, missing="error", fallback={"purchases_7d": 0, "plan": "basic"})
    assert found(lookup, asked(2, 3))[1]["plan"] == "basic"
    with pytest.raises(FeaturesError, match=r"Feature '.*' has no value in row 1: there is none for its key"):
        found(lookup, asked(2, 404))


def test_a_stale_value_can_be_used_or_be_an_error(model: Path, features: OnlineFeatures) -> None:
    (row,) = found(made(model, features, stale="use"), asked(1))
    assert row == pytest.approx({**FRESH, "purchases_7d": 9, "amount_7d": 90.0, "basket_share": 10 / 90})
    with pytest.raises(FeaturesError, match="older than its time to live in row 1"):
        found(made(model, features, stale="error"), asked(2, 1))


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--feature-missing", "maybe"], "feature-missing.*null, error"),
        (["--feature-stale", "old"], "feature-stale"),
        (["--feature-fallback", "[1]"], "feature-fallback"),
        (["--feature-timeout-ms", "0"], "feature-timeout-ms"),
    ],
)
def test_a_wrong_setting_is_named(flags: list[str], said: str) -> None:
    with pytest.raises(ParameterError, match=said):
        parse(["--model", "m", *flags])


def test_a_fallback_is_for_a_column_of_the_store(model: Path, features: OnlineFeatures) -> None:
    with pytest.raises(ParameterError, match=r"names 'plam', which .*Did you mean 'plan'"):
        made(model, features, fallback={"plam": 1})


# Several calls, and a store that does not answer


class Stub:
    """Stands in for an online store: counts its calls, and does what a test says. A test double."""

    def __init__(self) -> None:
        self.calls: list[list[Any]] = []
        self.act: Callable[[list[Any]], None] = lambda keys: None

    def look_up(self, keys: dict[str, list[Any]]) -> Looked:
        self.calls.append(keys["user_id"])
        self.act(keys["user_id"])
        return Looked({name: [key * 1.0 for key in keys["user_id"]] for name in FRESH}, {})

    def ping(self) -> None:
        self.act([])


def test_calls_that_come_meanwhile_go_together(model: Path) -> None:
    stub = Stub()
    stub.act = lambda keys: time.sleep(0.05)

    async def many() -> list[Table]:
        lookup = made(model, stub, timeout_s=30.0)
        return await asyncio.gather(*(lookup(asked(n, n + 100)) for n in range(40)))

    answers = asyncio.run(many())
    assert [answer.columns["amount_7d"] for answer in answers] == [[n, n + 100] for n in range(40)]
    assert stub.calls[0] == [0, 100]
    assert stub.calls[1:] == [[key for n in range(1, 40) for key in (n, n + 100)]]


def test_one_call_s_failing_view_fails_no_other(model: Path, caplog: pytest.LogCaptureFixture) -> None:
    stub = Stub()

    def act(keys: list[Any]) -> None:
        time.sleep(0.02)
        if 13 in keys:
            raise ZeroDivisionError("in the user's view")

    stub.act = act

    async def many() -> list[Any]:
        lookup = made(model, stub, timeout_s=30.0)
        called = await asyncio.gather(*(lookup(asked(n)) for n in (1, 13, 2)), return_exceptions=True)
        assert not lookup.degraded()
        return called

    one, thirteen, two = asyncio.run(many())
    assert one.columns["amount_7d"] == [1.0]
    assert two.columns["amount_7d"] == [2.0]
    assert isinstance(thirteen, FeaturesError)
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize("way", ["slow", "down"])
def test_a_store_that_does_not_answer_costs_no_request(
    model: Path, way: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "RETRY_S", 0.05)
    stub, state = Stub(), {"is_well": True}

    def act(keys: list[Any]) -> None:
        if not state["is_well"]:
            if way == "slow":
                time.sleep(0.3)
            raise ConnectionRefusedError("connection refused")

    stub.act = act

    async def story() -> None:
        lookup = made(model, stub, timeout_s=0.1, fallback={"plan": "basic"})
        assert (await lookup(asked(2))).columns["amount_7d"] == [2.0]
        state["is_well"] = False
        assert (await lookup(asked(2))).columns["amount_7d"] == [None]
        assert lookup.degraded()
        before = len(stub.calls)
        for _ in range(20):
            answer = await lookup(asked(2))
            assert answer.columns["amount_7d"] == [None]
            assert answer.columns["plan"] == ["basic"]
        assert len(stub.calls) == before
        state["is_well"] = True
        async with asyncio.timeout(30):
            while lookup.degraded():
                await asyncio.sleep(0.01)
        assert (await lookup(asked(2))).columns["amount_7d"] == [2.0]

    caplog.set_level(logging.INFO)
    asyncio.run(story())
    said = [record.message for record in caplog.records if record.name == module.__name__]
    assert len(said) == 2
    assert said[0].startswith("answering without the feature store: ")
    assert said[1] == "the feature store answers again"


def test_many_rows_have_more_time(model: Path) -> None:
    stub = Stub()
    stub.act = lambda keys: time.sleep(0.2 if len(keys) > 1 else 0)

    async def story() -> None:
        lookup = made(model, stub, timeout_s=0.05)
        assert (await lookup(asked(*range(400)))).columns["amount_7d"][-1] == 399.0
        assert not lookup.degraded()

    asyncio.run(story())


def test_a_repository_without_the_model_s_features_is_refused(
    model: Path, users: Users, tmp_path: Path
) -> None:
    served = LifecycleModel(model, (), name="m", version="1", uri="m", digest="d")
    assert served.description is not None
    with pytest.raises(FeatureStoreError, match=r"holds no feature_store\.yaml"):
        lookup_of(served.description.schema, served.inputs, LookupSettings(repository=str(tmp_path)))
    for text, replaced, said in (
        ("basket_view])", "])", "'basket_view:basket_share', which .* does not give any more"),
        (
            '"purchases_7d", dtype=Int64',
            '"purchases_7d", dtype=String',
            "'purchases_7d' is integer, and .* string now",
        ),
        ('name="with_basket"', 'name="with_baskets"', "Did you mean 'with_baskets'"),
    ):
        changed = _changed(users, tmp_path / said[:12].strip("' "), text, replaced)
        with pytest.raises(FeatureStoreError, match=said):
            lookup_of(served.description.schema, served.inputs, LookupSettings(repository=changed))


def _changed(users: Users, folder: Path, text: str, replaced: str) -> str:
    """The repository with its definitions changed, applied."""
    import shutil

    from kfp_lifecycle.components.feature_store.apply import apply

    shutil.copytree(users.folder, folder)
    (folder / "data" / "registry.db").unlink()
    definitions = (folder / "definitions.py").read_text()
    assert text in definitions
    (folder / "definitions.py").write_text(definitions.replace(text, replaced))
    apply(str(folder))
    return str(folder)


# The server, with Redis


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as started:
        yield started


@pytest.fixture(scope="module")
def server(
    redis: RedisServer, model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Server, Path, Users]]:
    folder = tmp_path_factory.mktemp("server")
    users = store(folder / "users", {"type": "redis", "connection_string": f"127.0.0.1:{redis.port}"})
    flags = ["--name", "again", "--log", str(folder / "log"), "--log-columns", "user_id"]
    flags += ["--feature-store", users.uri, "--feature-fallback", json.dumps({"plan": "basic"})]
    with serving(model, folder, *flags, "--feature-timeout-ms", "1000") as started:
        yield started, folder / "log", users


@pytest.mark.server
def test_a_server_answers_keys_and_logs_what_the_model_saw(
    server: tuple[Server, Path, Users], redis: RedisServer, model: Path
) -> None:
    started, log, _ = server
    ready = started.get("/v2/health/ready").json()
    assert ready == {"ready": True}
    named = [each["name"] for each in started.get("/v2/models/again").json()["inputs"]]
    assert named == ["user_id", "basket", "visits"]
    row = {"user_id": 2, "basket": 10.0, "visits": 1}
    by_key = started.post("/v1/models/again:predict", {"instances": [row]}).json()
    positional = started.post("/v1/models/again:predict", {"instances": [[2, 10.0, 1]]}).json()
    whole = started.post("/v1/models/again:predict", {"instances": [{**FRESH, "visits": 1}]}).json()
    assert by_key["predictions"] == positional["predictions"] == whole["predictions"]
    tensors = [
        {"name": name, "datatype": "FP64" if name == "basket" else "INT64", "shape": [1], "data": [value]}
        for name, value in row.items()
    ]
    v2 = started.post("/v2/models/again/infer", {"inputs": tensors})
    assert v2.status_code == 200, v2.text
    wrong = started.post("/v1/models/again:predict", {"instances": [{"basket": 10.0, "visits": 1}]})
    assert wrong.status_code == 400
    assert wrong.json()["column"] == "user_id"

    redis.stop()
    _until(lambda: "degraded" in _state(started, row))
    down = started.post("/v1/models/again:predict", {"instances": [row]})
    assert down.status_code == 200
    assert started.get("/v2/health/ready").status_code == 200
    redis.start()
    _until(lambda: "degraded" not in started.get("/v2/health/ready").json())
    assert started.stop() == 0
    now, hour = dt.datetime.now(dt.UTC), dt.timedelta(hours=1)
    rows, problems = read_log(str(log), now - hour, now + hour)
    assert not problems
    table = rows.sort("_time").collect()
    first, last = table.row(0, named=True), table.row(-1, named=True)
    assert {name: first[name] for name in STORED | COMPUTED} == pytest.approx(FRESH)
    assert first["user_id"] == "2"
    assert {name: last[name] for name in STORED | COMPUTED} == {**NOTHING, "plan": "basic"}


def _state(started: Server, row: dict[str, Any]) -> dict[str, Any]:
    """Asks something, so that the server notices, and then how it is."""
    assert started.post("/v1/models/again:predict", {"instances": [row]}).status_code == 200
    state: dict[str, Any] = started.get("/v2/health/ready").json()
    return state


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.server
def test_redis_and_sqlite_give_the_same(users: Users, model: Path, tmp_path: Path) -> None:
    with redis_server(tmp_path) as started:
        online = {"type": "redis", "connection_string": f"127.0.0.1:{started.port}"}
        other = store(tmp_path / "users", online)
        keys = {"user_id": [1, 2, 3, 404, None], "basket": [10.0] * 5}
        served = LifecycleModel(model, (), name="m", version="1", uri="m", digest="d")
        assert served.description is not None
        names = [column.name for column in served.inputs]
        schema = served.description.schema
        assert OnlineFeatures.open(schema, names, other.uri).look_up(keys) == OnlineFeatures.open(
            schema, names, users.uri
        ).look_up(keys)
