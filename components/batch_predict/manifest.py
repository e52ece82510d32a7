"""The end of a batch inference: all parts are there, and the manifest says what they are."""

from dataclasses import dataclass
from typing import Any

from kfp_lifecycle.components.batch_predict.plan import (
    Part,
    Plan,
    open_results,
    read_json,
    read_plan,
    write_json,
)
from kfp_lifecycle.components.shared.errors import StorageError, redact

#: Its presence says that the table of scores is complete.
MANIFEST = "_manifest.json"


@dataclass(frozen=True)
class Collected:
    """A complete table of scores.

    Args:
        uri: The folder of Parquet files.
        plan: What was scored and with what.
        rows: Rows of the source, and so of the scores.
        parts: Number of Parquet files.
        scored: How many of them this run made; the others it found.
    """

    uri: str
    plan: Plan
    rows: int
    parts: int
    scored: int


def collect(output: str, records: list[str]) -> Collected:
    """Checks that every row of the table has been scored once, and writes the manifest.

    Args:
        output: Where the results are.
        records: What each worker gave back.

    Raises:
        StorageError: A worker's record or a part is missing, or rows are.
    """
    folder = records[0].partition("/")[0]
    store = open_results(output, folder)
    plan = read_plan(store, output)
    found = [read_json(store, record.removeprefix(f"{folder}/")) for record in records]
    file_rows = {int(file): rows for record in found for file, rows in record["file_rows"].items()}
    parts = sorted((Part(**part) for record in found for part in record["parts"]), key=lambda part: part.name)
    _check_complete(plan, parts, file_rows, set(store.names()), redact(store.uri))
    rows = sum(file_rows.values())
    write_json(store, _manifest(plan, parts, file_rows, rows), MANIFEST)
    return Collected(store.uri, plan, rows, len(parts), sum(record["scored"] for record in found))


def _check_complete(
    plan: Plan, parts: list[Part], file_rows: dict[int, int], there: set[str], where: str
) -> None:
    for position, file in enumerate(plan.files):
        mine = [part for part in parts if part.file == position]
        next_row = 0
        for part in mine:
            if part.first != next_row or part.name not in there:
                break
            next_row += part.rows
        if not mine or next_row != file_rows.get(position):
            raise StorageError(
                f"The scores in {where} end at row {next_row} of {file.name}: the part after it is missing.",
                "Run the pipeline again: what is scored already stays.",
            )


def _manifest(plan: Plan, parts: list[Part], file_rows: dict[int, int], rows: int) -> dict[str, Any]:
    return {
        "format": 1,
        "model": {
            "name": plan.model_name,
            "version": plan.model_version,
            "uri": plan.model_uri,
            "digest": plan.model_digest,
        },
        "source": {
            "uri": redact(plan.source),
            "files": [
                {"name": file.name, "version": file.version, "rows": file_rows[position]}
                for position, file in enumerate(plan.files)
            ],
        },
        "rows": rows,
        "parts": [
            {
                "name": part.name,
                "file": plan.files[part.file].name,
                "first_row": part.first,
                "rows": part.rows,
            }
            for part in parts
        ],
    }
