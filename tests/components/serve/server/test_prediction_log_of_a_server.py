"""The prediction log of a real server with a real model, whose disk is full for a while."""

import contextlib
import time
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from prometheus_client.parser import text_string_to_metric_families

from kfp_lifecycle.components.shared.prediction_log import COLUMNS, SALT, hashed, read_log
from tests.components.serve.load import tensors
from tests.components.serve.serving import serving

pytestmark = pytest.mark.server


def dropped(server):
    families = text_string_to_metric_families(server.get("/metrics").text)
    return next(
        family.samples[0].value for family in families if family.name == "prediction_log_dropped_rows"
    )


def until(check):
    deadline = time.monotonic() + 60
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_no_request_fails_while_the_disk_is_full_and_what_waits_is_written_at_the_end(
    models, small_disk, tmp_path
):
    log, ballast = small_disk / "log", small_disk / "ballast"
    flags = ["--log", str(log), "--log-flush-s", "0.1", "--log-rows", "20", "--log-columns", "customer_id"]
    flags += ["--log-exclude", "female,probability_No", "--log-hash", "contract,customer_id"]
    sent = []
    with serving(models.binary, tmp_path, *flags, env={SALT: "pepper"}) as server:

        def ask(number):
            row = {**models.rows[number], "customer_id": f"C-{number}"}
            answer = server.post("/v2/models/churn/infer", tensors([row]), **{"X-Request-Id": f"r-{number}"})
            assert answer.status_code == 200, answer.text
            sent.append(answer.json())

        for number in range(5):
            ask(number)
        until(lambda: list(log.rglob("*.parquet")))
        with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 4096)
        for number in range(5, 40):
            ask(number)
        until(lambda: "no space left on device" in server.log.read_text())
        until(lambda: "The prediction log dropped" in server.log.read_text())
        lost = dropped(server)
        assert lost >= 10
        ballast.unlink()
        until(lambda: "is written again" in server.log.read_text())
        for number in range(40, 45):
            ask(number)
        assert server.stop() == 0
        said = server.log.read_text()
    now = datetime.now(UTC)
    rows, problems = read_log(str(log), now - timedelta(days=1), now + timedelta(days=1))
    rows = rows.collect().sort("_time")
    assert problems == []
    assert rows.height == 45 - lost
    assert f"{lost:.0f} in all: " in said
    assert rows["_request_id"].tail(5).to_list() == [f"r-{number}" for number in range(40, 45)]
    assert not {"female", "probability_No"} & set(rows.columns)
    assert set(rows.columns) >= {*COLUMNS, "tenure", "customer_id", "prediction", "probability_Yes"}
    check_values(rows, models, sent)


def check_values(rows, models, sent):
    answers = {answer["id"]: {each["name"]: each["data"][0] for each in answer["outputs"]} for answer in sent}
    for row in rows.to_dicts():
        given = models.rows[int(row["_request_id"][2:])]
        assert row["tenure"] == given["tenure"]
        assert row["prediction"] == answers[row["_request_id"]]["prediction"]
        assert row["probability_Yes"] == answers[row["_request_id"]]["probability_Yes"]
        number = row["_request_id"][2:]
        for name, value in (("contract", given["contract"]), ("customer_id", f"C-{number}")):
            assert row[name] == hashed(pl.Series([value]), "pepper")[0]
