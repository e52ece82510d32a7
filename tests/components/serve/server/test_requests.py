"""Requests that are wrong: each gets its status, the column and the reason, and nothing else breaks."""

import json
from typing import Any

import pytest

from tests.components.serve.serving import Models, Server

PREDICT = "/v1/models/churn:predict"
INFER = "/v2/models/churn/infer"

pytestmark = pytest.mark.server


def changed(models: Models, **changes: Any) -> dict[str, Any]:
    row = {**models.rows[0], **changes}
    return {"instances": [{name: value for name, value in row.items() if value != "absent"}]}


@pytest.mark.parametrize(
    ("changes", "column", "reason"),
    [
        ({"tenure": "absent"}, "tenure", "The rows have no column 'tenure'."),
        ({"tenure": "absent", "tenur": 1}, "tenure", "Did you mean 'tenur'?"),
        ({"colour": "red"}, "colour", "The model has no column 'colour'."),
        ({"contrac": "x"}, "contrac", "Did you mean 'contract'?"),
        ({"tenure": "a year"}, "tenure", "is integer, but has 'a year', which is no integer of 64 bits"),
        ({"tenure": 1.5}, "tenure", "has '1.5', which is no integer"),
        ({"tenure": 2**70}, "tenure", "no integer of 64 bits"),
        ({"tenure": None}, "tenure", "Column 'tenure' has no value in row 0, and it is required"),
        ({"tenure": " "}, "tenure", "Column 'tenure' has no value in row 0, and it is required"),
        ({"contract": ""}, "contract", "Column 'contract' has no value in row 0"),
        ({"tenure": [1, 2]}, "tenure", "Column 'tenure' is integer in the schema, but comes as List"),
        (
            {"contract": {"a": 1}},
            "contract",
            "Column 'contract' is string in the schema, but comes as",
        ),
        ({"monthly_charges": "inf"}, "monthly_charges", "no finite number"),
        ({"monthly_charges": True}, "monthly_charges", ""),
    ],
)
def test_a_wrong_column_is_named_with_the_reason(
    churn_server: Server, models: Models, changes: dict[str, Any], column: str, reason: str
) -> None:
    answer = churn_server.post(PREDICT, changed(models, **changes))
    if changes == {"monthly_charges": True}:  # a boolean is the number 1 or 0
        assert answer.status_code == 200
        return
    assert answer.status_code == 400, answer.text
    body = answer.json()
    assert body["column"] == column
    assert reason in body["error"]
    assert body["request_id"] == answer.headers["x-request-id"]


def test_the_row_of_a_gap_is_named(churn_server: Server, models: Models) -> None:
    rows = [dict(row) for row in models.rows[:5]]
    rows[3]["tenure"] = None
    answer = churn_server.post(PREDICT, {"instances": rows})
    assert answer.status_code == 400
    assert "has no value in row 3" in answer.json()["error"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "The body is no JSON"),
        (b"{", "The body is no JSON"),
        (b"\xff\xfe", "The body is no JSON"),
        (b"[1]", "The body is no JSON object."),
        (b"{}", "The body has none of instances, inputs, dataframe_split, dataframe_records."),
        (b'{"instances": 3}', "'instances' is no list of rows."),
        (b'{"instances": []}', "The request has no rows"),
        (b'{"instances": [[1, 2]]}', "Row 0 has 2 values, where there are 19 columns"),
        (b'{"instances": [{"a": 1}, 2]}', "of 'instances' is no object"),
        (b'{"instances": [1, 2]}', "of 'instances' is no object"),
        (b'{"instances": [{"tenure": NaN}]}', "JSON has no NaN: send null"),
        (b'{"inputs": {"tenure": 3}}', "Column 'tenure' of 'inputs' is no list"),
        (b'{"inputs": {"tenure": [3], "female": [1, 2]}}', "has 1 values, where others have 2"),
        (b'{"dataframe_split": {"columns": ["a"]}}', "no object with 'columns' and 'data'"),
        (b'{"dataframe_split": {"columns": ["a", "a"], "data": []}}', "Column 'a' is there twice"),
        (b'{"dataframe_split": {"columns": ["a"], "data": [[1, 2]]}}', "Row 0 has 2 values"),
        (b'{"instances": [{"tenure": ' + b"[" * 2000 + b"]" * 2000 + b"}]}", "JSON"),
    ],
)
def test_a_body_that_is_none(churn_server: Server, body: bytes, reason: str) -> None:
    answer = churn_server.client.post(PREDICT, content=body)
    assert answer.status_code == 400, answer.text
    assert reason in answer.json()["error"]


def tensor(**changes: Any) -> dict[str, Any]:
    return {"name": "tenure", "datatype": "INT64", "shape": [1, 1], "data": [3], **changes}


@pytest.mark.parametrize(
    ("inputs", "reason"),
    [
        (None, "The body has no list of 'inputs'."),
        ([], "The request has no inputs."),
        ([1], "An input is no object with a name."),
        ([{"name": "tenure"}], "Input 'tenure' has no shape or no datatype."),
        ([tensor(datatype="INT63")], "has the datatype 'INT63'"),
        ([tensor(data=["x"])], "Column 'tenure' comes as INT64, but has 'x' in row 0."),
        ([tensor(data=[1.5])], "Column 'tenure' comes as INT64, but has '1.5' in row 0."),
        ([tensor(data=[1, 2])], "has 2 values, but the shape [1, 1] has 1"),
        ([tensor(shape=[-1, 1])], "which is none"),
        ([tensor(shape=["a"])], "which is none"),
        ([tensor(shape=[0, 1], data=[])], "The request has no rows"),
        ([tensor(data=[[1], 2], shape=[2])], "nested unevenly"),
        ([tensor(), tensor()], "Input 'tenure' is there twice."),
        ([tensor(), tensor(name="female", shape=[2], data=[1, 2])], "has the shape [2]"),
        ([tensor(name="all", shape=[1, 3], data=[1, 2, 3])], "has 3 columns, where the model takes 19"),
        ([tensor(parameters={"binary_data_size": 8})], "not as many bytes as it says"),
        ([tensor()], "The rows have no column 'female'"),
    ],
)
def test_tensors_that_are_none(churn_server: Server, inputs: Any, reason: str) -> None:
    answer = churn_server.post(INFER, {"inputs": inputs})
    assert answer.status_code == 400, answer.text
    assert reason in answer.json()["error"]


def test_binary_tensors_that_are_none(churn_server: Server) -> None:
    head = json.dumps({"inputs": [tensor(parameters={"binary_data_size": 3})]}).encode()

    def post(content: bytes, length: Any) -> Any:
        return churn_server.client.post(
            INFER, content=content, headers={"Inference-Header-Content-Length": str(length)}
        )

    for content, length, reason in [
        (head + b"abc", len(head), "are not of INT64"),
        (head + b"abc", "x", "Inference-Header-Content-Length is 'x'"),
        (head, 10**9, "Inference-Header-Content-Length is"),
        (head + b"abcd", len(head), ""),
    ]:
        answer = post(content, length)
        assert answer.status_code == 400, answer.text
        assert reason in answer.json()["error"]


def test_a_hundred_thousand_columns_are_refused_in_a_line(churn_server: Server, models: Models) -> None:
    row = {**models.rows[0], **{f"x{number}": number for number in range(100_000)}}
    answer = churn_server.post(PREDICT, {"instances": [row]})
    assert answer.status_code == 400
    assert "The model has no column 'x0', 'x1'" in answer.json()["error"]
    assert "and 99995 more" in answer.json()["error"]
    assert len(answer.content) < 1000


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/v1/models/other:predict", 404),
        ("POST", "/v2/models/other/infer", 404),
        ("GET", "/v1/models/other", 404),
        ("GET", "/v2/models/other", 404),
        ("GET", "/v2/models/other/ready", 404),
        ("GET", "/v2/models/churn/versions/99", 404),
        ("GET", "/nothing", 404),
        ("GET", "/v2/models/churn/nothing", 404),
        ("POST", "/v1/models/churn:explain", 404),
        ("DELETE", "/v2/models/churn", 404),
        ("POST", "/v2/repository/models/churn/load", 404),
        ("GET", "/%ff%fe", 404),
    ],
)
def test_what_is_not_there(churn_server: Server, method: str, path: str, status: int) -> None:
    answer = churn_server.client.request(method, path, json={} if method == "POST" else None)
    assert answer.status_code == status
    assert answer.json()["error"]


def test_the_server_is_well_after_all_of_it(churn_server: Server, models: Models) -> None:
    assert churn_server.post(PREDICT, {"instances": models.rows[:1]}).status_code == 200
    assert "Traceback" not in churn_server.log.read_text()
