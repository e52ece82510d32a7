"""What the server answers, over V1 and V2, asked by hand and by KServe's own client."""

import asyncio
from typing import Any

import httpx
import mlflow.pyfunc
import numpy as np
import pandas as pd
import pytest
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput

from tests.components.serve.serving import Models, Server

PREDICT = "/v1/models/churn:predict"
INFER = "/v2/models/churn/infer"

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def expected(models: Models) -> list[dict[str, Any]]:
    """What MLflow itself makes of the rows."""
    model = mlflow.pyfunc.load_model(str(models.binary), suppress_warnings=True).get_raw_model()
    return list(model.predict(pd.DataFrame(models.rows)).to_dict("records"))


def tensors(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    def datatype(value: Any) -> str:
        return {int: "INT64", float: "FP64"}.get(type(value), "BYTES")

    return [
        {
            "name": name,
            "datatype": datatype(value),
            "shape": [len(rows), 1],
            "data": [row[name] for row in rows],
        }
        for name, value in rows[0].items()
    ]


def same(got: list[dict[str, Any]], want: list[dict[str, Any]]) -> None:
    assert [row["prediction"] for row in got] == [row["prediction"] for row in want]
    for column in ("probability_No", "probability_Yes"):
        assert [row[column] for row in got] == pytest.approx([row[column] for row in want], rel=1e-12)


@pytest.mark.parametrize("count", [1, 3, 200])
@pytest.mark.parametrize("form", ["instances", "inputs", "lists", "columns", "split", "dataframe_records"])
def test_v1_takes_rows_in_every_form(
    churn_server: Server, models: Models, expected: list[Any], form: str, count: int
) -> None:
    rows = models.rows[:count]
    names = list(rows[0])
    bodies = {
        "instances": {"instances": rows},
        "inputs": {"inputs": rows},
        "lists": {"instances": [list(row.values()) for row in rows]},
        "columns": {"inputs": {name: [row[name] for row in rows] for name in names}},
        "split": {"dataframe_split": {"columns": names, "data": [list(row.values()) for row in rows]}},
        "dataframe_records": {"dataframe_records": rows},
    }
    answer = churn_server.post(PREDICT, bodies[form])
    assert answer.status_code == 200, answer.text
    same(answer.json()["predictions"], expected[:count])


def test_a_record_may_have_its_columns_in_another_order_and_without_an_optional_one(
    churn_server: Server, models: Models
) -> None:
    row = dict(reversed(models.rows[0].items()))
    whole = churn_server.post(PREDICT, {"instances": [{**row, "total_charges": None}]}).json()
    del row["total_charges"]  # null in some training rows
    answer = churn_server.post(PREDICT, {"instances": [row]})
    assert answer.status_code == 200
    assert answer.json()["predictions"] == whole["predictions"]


def test_numbers_may_come_as_text_and_the_target_may_come_along(
    churn_server: Server, models: Models, expected: list[Any]
) -> None:
    row = {**models.rows[1], "tenure": " 34 ", "monthly_charges": "56.95", "churn": "No"}
    answer = churn_server.post(PREDICT, {"instances": [row]})
    same(answer.json()["predictions"], expected[1:2])


def test_v2_answers_tensors(churn_server: Server, models: Models, expected: list[Any]) -> None:
    answer = churn_server.post(INFER, {"id": "mine", "inputs": tensors(models.rows[:4])})
    body = answer.json()
    assert answer.status_code == 200, answer.text
    assert (body["id"], body["model_name"]) == ("mine", "churn")
    columns = {each["name"]: each for each in body["outputs"]}
    assert columns["prediction"]["datatype"] == "BYTES"
    assert columns["probability_Yes"]["datatype"] == "FP64"
    assert columns["prediction"]["shape"] == [4]
    rows = [
        dict(zip(columns, v, strict=True)) for v in zip(*(c["data"] for c in columns.values()), strict=True)
    ]
    same(rows, expected[:4])


def test_v2_addresses_a_version(churn_server: Server, models: Models) -> None:
    version = churn_server.get("/v2/models/churn").json()["versions"][0]
    body = {"inputs": tensors(models.rows[:1])}
    answer = churn_server.post(f"/v2/models/churn/versions/{version}/infer", body)
    assert answer.json()["model_version"] == version
    missing = churn_server.post("/v2/models/churn/versions/99/infer", body)
    assert missing.status_code == 404
    assert version in missing.json()["error"]


def test_v2_gives_the_outputs_that_are_asked_for(churn_server: Server, models: Models) -> None:
    body = {"inputs": tensors(models.rows[:1]), "outputs": [{"name": "probability_Yes"}]}
    answer = churn_server.post(INFER, body).json()
    assert [each["name"] for each in answer["outputs"]] == ["probability_Yes"]
    body["outputs"] = [{"name": "probability_Maybe"}]
    refused = churn_server.post(INFER, body)
    assert refused.status_code == 400
    assert "probability_Maybe" in refused.json()["error"]


def asked(server: Server, protocol: str, call: Any) -> Any:
    """What a call with KServe's client gives."""

    async def ask() -> Any:
        client = InferenceRESTClient(RESTConfig(protocol=protocol))
        try:
            return await call(client)
        finally:
            await client.close()

    return asyncio.run(ask())


@pytest.mark.parametrize("binary", [False, True])
def test_kserves_client_of_v2(
    churn_server: Server, models: Models, expected: list[Any], binary: bool
) -> None:
    inputs = []
    for each in tensors(models.rows[:3]):
        tensor = InferInput(each["name"], each["shape"], each["datatype"])
        dtype = {"INT64": np.int64, "FP64": np.float64}.get(each["datatype"], np.object_)
        tensor.set_data_from_numpy(np.array(each["data"], dtype=dtype).reshape(3, 1), binary_data=binary)
        inputs.append(tensor)
    names = ["prediction", "probability_No", "probability_Yes"]
    outputs = [RequestedOutput(name, parameters={"binary_data": binary}) for name in names]
    request = InferRequest("churn", inputs, request_id="r1", request_outputs=outputs)
    answer = asked(
        churn_server, "v2", lambda client: client.infer(churn_server.url, request, model_name="churn")
    )
    assert (answer.id, answer.model_name) == ("r1", "churn")
    columns = [answer.get_output_by_name(name).as_numpy().tolist() for name in names]
    rows = [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]
    for row in rows:
        if isinstance(row["prediction"], bytes):
            row["prediction"] = row["prediction"].decode()
    same(rows, expected[:3])


def test_kserves_client_of_v1(churn_server: Server, models: Models, expected: list[Any]) -> None:
    answer = asked(
        churn_server,
        "v1",
        lambda client: client.infer(churn_server.url, {"instances": models.rows[:2]}, model_name="churn"),
    )
    same(answer["predictions"], expected[:2])


def test_kserves_client_finds_the_server_live_and_the_model_ready(churn_server: Server) -> None:
    url = churn_server.url
    assert asked(churn_server, "v1", lambda client: client.is_server_live(url))
    assert asked(churn_server, "v1", lambda client: client.is_model_ready(url, "churn"))
    assert asked(churn_server, "v2", lambda client: client.is_server_live(url))
    assert asked(churn_server, "v2", lambda client: client.is_server_ready(url))
    assert asked(churn_server, "v2", lambda client: client.is_model_ready(url, "churn"))
    assert not asked(churn_server, "v2", lambda client: client.is_model_ready(url, "other"))


def test_kserves_client_gets_the_reason_of_a_refusal(churn_server: Server) -> None:
    with pytest.raises(httpx.HTTPStatusError, match="The rows have no column 'female'"):
        asked(
            churn_server,
            "v1",
            lambda client: client.infer(
                churn_server.url, {"instances": [{"nothing": 1}]}, model_name="churn"
            ),
        )


def test_metadata(churn_server: Server, models: Models) -> None:
    about = churn_server.get("/v2").json()
    assert about["name"] == "kfp-lifecycle"
    assert "binary_tensor_data" in about["extensions"]
    model = churn_server.get("/v2/models/churn").json()
    assert [each["name"] for each in model["inputs"]] == list(models.rows[0])
    kinds = {each["name"]: each["datatype"] for each in model["inputs"]}
    assert (kinds["tenure"], kinds["monthly_charges"], kinds["contract"]) == ("INT64", "FP64", "BYTES")
    assert [each["name"] for each in model["outputs"]] == ["prediction", "probability_No", "probability_Yes"]
    assert churn_server.get("/v1/models").json() == {"models": ["churn"]}
    assert churn_server.get("/v1/models/churn").json() == {"name": "churn", "ready": True}


def test_the_request_id_is_the_clients_or_a_new_one(churn_server: Server, models: Models) -> None:
    body = {"instances": models.rows[:1]}
    assert churn_server.post(PREDICT, body, **{"x-request-id": "abc-1"}).headers["x-request-id"] == "abc-1"
    new = [churn_server.post(PREDICT, body).headers["x-request-id"] for _ in range(2)]
    assert len(set(new)) == 2
    assert all(len(each) == 32 for each in new)
    refused = churn_server.post(PREDICT, {}, **{"x-request-id": "abc-2"})
    assert refused.json()["request_id"] == refused.headers["x-request-id"] == "abc-2"


def test_a_request_id_that_is_no_text_is_replaced(churn_server: Server) -> None:
    answer = churn_server.client.get("/v2/health/live", headers={"x-request-id": b"\xff\xfe"})
    assert len(answer.headers["x-request-id"]) == 32
