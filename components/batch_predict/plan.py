"""What a batch inference will do, fixed before any shard is scored: which files, which one model version.

The plan lies in the folder of the results, where every worker reads it. That folder is named by the plan's
digest, so that the same table and model come back to the same folder and find there what is already scored.
"""

import hashlib
import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from kfp_lifecycle.components.batch_predict.table import SourceFile
from kfp_lifecycle.components.shared.errors import StorageError, redact
from kfp_lifecycle.components.shared.storage import Store, open_store

#: Names that begin with an underscore are no part of the table, here as everywhere in the Hadoop world.
PLAN = "_plan.json"


@dataclass(frozen=True)
class Part:
    """The scores of one shard.

    Args:
        name: The Parquet file, below the folder of the results.
        file: The position of the source's file in the plan.
        first: The shard's first row in that file.
        rows: How many rows it has.
    """

    name: str
    file: int
    first: int
    rows: int


@dataclass(frozen=True)
class Plan:
    """What is scored and with what.

    Args:
        source: Where the table is, without credentials.
        files: The files that it is made of, in order.
        model_name: The registered model.
        model_version: The version's number: the same for all shards, wherever an alias moves meanwhile.
        model_digest: The digest of the version's files, as register has noted it; empty where it has not.
        file_format: ``csv``, ``parquet`` or ``auto``.
        encoding: Text encoding of a CSV source.
        delimiter: Separator of a CSV source.
        key_columns: Columns of the source that go with the scores.
        shard_rows: Rows of a shard.
    """

    source: str
    files: list[SourceFile]
    model_name: str
    model_version: str
    model_digest: str
    file_format: str
    encoding: str
    delimiter: str
    key_columns: list[str]
    shard_rows: int

    @property
    def model_uri(self) -> str:
        """The version as MLflow names it."""
        return f"models:/{self.model_name}/{self.model_version}"

    @property
    def folder(self) -> str:
        """Name of the folder of the results: model, version, and a digest of all that is planned."""
        files = [(file.name, file.version) for file in self.files]
        text = json.dumps({**asdict(self), "files": files}, sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:12]
        return f"{quote(self.model_name, safe=' ').replace(' ', '_')}-v{self.model_version}-{digest}"

    def part_name(self, file: int, first: int) -> str:
        """Name of the part with the scores of a file's shard; parts sort as the rows do.

        Args:
            file: The file's position in :attr:`files`.
            first: The shard's first row in the file.
        """
        said = (self.files[file].version, first, self.shard_rows, self.model_uri, self.model_digest)
        how = (self.encoding, self.delimiter, self.key_columns)
        digest = hashlib.sha256(json.dumps([*said, *how]).encode()).hexdigest()[:16]
        return f"part-{file:05d}-{first:012d}-{digest}.parquet"

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Plan":
        """The inverse of ``asdict``."""
        return cls(**{**data, "files": [SourceFile(**file) for file in data["files"]]})


def read_plan(store: Store, output: str) -> Plan:
    """The plan in the folder of the results.

    Raises:
        StorageError: It is not there: the steps do not share the output.
    """
    try:
        return Plan.from_dict(read_json(store, PLAN))
    except (ValueError, KeyError, TypeError, StorageError) as error:
        raise StorageError(
            f"The plan of the shards cannot be read from {redact(store.uri)}: {error}",
            "Give an output that all steps reach: gs://, s3://, or a volume that they share. "
            f"{output!r} may be in one pod alone.",
        ) from error


def open_results(output: str, folder: str) -> Store:
    """The store of the results of one plan."""
    return open_store(f"{output.rstrip('/')}/{folder}")


def write_json(store: Store, data: Any, name: str) -> None:
    """Writes ``data`` as JSON, whole or not at all."""
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "data.json"
        file.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        store.write(file, name)


def read_json(store: Store, name: str) -> Any:
    """What :func:`write_json` wrote. Raises ``StorageError`` where there is none."""
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "data.json"
        store.read(name, file)
        return json.loads(file.read_text(encoding="utf-8"))
