"""Recorded examples through the real endpoint: a version must answer as it did when it was saved."""

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

import requests

from kfp_lifecycle.components.serve.rollout.target import Address
from kfp_lifecycle.components.shared.errors import RolloutError
from kfp_lifecycle.components.shared.model_example import Example

log = logging.getLogger(__name__)

#: How far a number may be from the recorded one: another processor adds in another order, and networks
#: compute in 32 bits.
RELATIVE, ABSOLUTE = 1e-4, 1e-6
_TIMEOUT_S = 30.0


class Caller:
    """Sends recorded examples to one version, over one connection.

    Args:
        address: Where to.
        example: Rows and what the model made of them when it was saved.
    """

    def __init__(self, address: Address, example: Example) -> None:
        self._address, self._example = address, example
        self._url = f"{address.url}/v2/models/{address.model}"
        if address.version:
            self._url += f"/versions/{address.version}"
        self._session = requests.Session()
        self._session.headers.update(address.headers)

    def check(self) -> None:
        """All examples at once, and each alone, must give the recorded outputs.

        Raises:
            RolloutError: They do not, or there is no answer.
        """
        rows = len(self._example.inputs)
        self._compare(range(rows))
        for row in range(rows):
            self._compare([row])
        log.info("%d examples gave the recorded outputs at %s", rows, self._address.url)

    def replay(self, count: int) -> int:
        """Sends ``count`` requests, an example each; a wrong answer is an error, as in :meth:`check`.

        A request that fails on the server counts there, in its metrics, which is where a rollout looks.

        Returns:
            How many of them failed.
        """
        failed = 0
        for number in range(count):
            try:
                self._compare([number % len(self._example.inputs)])
            except _FailedError:
                failed += 1
        return failed

    def _compare(self, rows: Sequence[int]) -> None:
        inputs = [self._example.inputs[row] for row in rows]
        expected = [self._example.outputs[row] for row in rows]
        answered = self._ask(inputs)
        if len(answered) != len(expected):
            raise RolloutError(f"It answered {len(expected)} example rows with {len(answered)}.")
        for row, got, want in zip(rows, answered, expected, strict=True):
            for column, value in want.items():
                if not _same(got.get(column), value):
                    raise RolloutError(
                        f"Example row {row} gave {column} = {got.get(column)!r} where {value!r} is recorded."
                    )

    def _ask(self, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """The endpoint's answer for some rows, a dict of output columns each."""
        try:
            answer = self._session.post(f"{self._url}/infer", json=tensors(rows), timeout=_TIMEOUT_S)
        except requests.RequestException as error:
            raise _FailedError(f"There is no answer from {self._url}: {type(error).__name__}.") from error
        if answer.status_code >= 500:
            raise _FailedError(f"An example was answered with {answer.status_code}: {answer.text[:300]}")
        if answer.status_code != 200:
            raise RolloutError(f"An example was answered with {answer.status_code}: {answer.text[:300]}")
        return _rows(answer.json())


class _FailedError(RolloutError):
    """A request that the server failed at, or did not answer."""


def tensors(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Rows as a request of the V2 protocol: one tensor of shape ``(n, 1)`` a column.

    A column of mixed values is sent as text. A gap is null, whatever the type.
    """
    inputs = []
    for column in rows[0]:
        values = [row[column] for row in rows]
        datatype = _datatype(values)
        if datatype == "BYTES":
            values = [None if value is None else str(value) for value in values]
        inputs.append({"name": column, "datatype": datatype, "shape": [len(values), 1], "data": values})
    return {"inputs": inputs}


def _datatype(values: Sequence[Any]) -> str:
    kinds = {type(value) for value in values if value is not None}
    if kinds == {bool}:
        return "BOOL"
    if kinds == {int}:
        return "INT64"
    return "FP64" if kinds and kinds <= {int, float} else "BYTES"


def _rows(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    columns = {one["name"]: one["data"] for one in body["outputs"]}
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _same(got: Any, want: Any) -> bool:
    numbers = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in (got, want))
    if numbers:
        return math.isclose(got, want, rel_tol=RELATIVE, abs_tol=ABSOLUTE)
    return bool(got == want)
