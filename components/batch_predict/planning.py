"""Making the plan: what is asked, which files there are, and which version of the model it is."""

import os
from dataclasses import asdict, dataclass, field

from mlflow.entities.model_registry import ModelVersion

from kfp_lifecycle.components.batch_predict.plan import PLAN, Plan, open_results, write_json
from kfp_lifecycle.components.batch_predict.table import list_files
from kfp_lifecycle.components.register.lineage import MODEL_DIGEST
from kfp_lifecycle.components.register.registry import CHAMPION, find_version, holder, registered_model
from kfp_lifecycle.components.shared.errors import ParameterError, RegistryError
from kfp_lifecycle.components.shared.parameters import check_type, one_of
from kfp_lifecycle.components.shared.storage import check_writable
from kfp_lifecycle.components.shared.tracking import connect, tracking_errors

#: Workers of a run in a cluster that does not say how many.
CLUSTER_WORKERS = 4


@dataclass(frozen=True)
class Request:
    """What is asked of a batch inference; see the component ``plan-shards`` for each.

    Raises:
        ParameterError: A parameter is of the wrong type or out of range. Names it.
    """

    source: str
    model_name: str
    output: str
    model_version: str = ""
    file_format: str = "auto"
    encoding: str = "utf-8"
    delimiter: str = ","
    key_columns: list[str] = field(default_factory=list)
    shard_rows: int = 250_000
    workers: int = 0

    def __post_init__(self) -> None:
        for name in ("source", "model_name", "output"):
            if not getattr(self, name).strip():
                raise ParameterError(f"Parameter {name!r} is empty.", "It must be given.")
        one_of(self.file_format, ("auto", "csv", "parquet"), "file_format")
        check_type("key_columns", self.key_columns, list[str])
        if self.shard_rows < 1:
            raise ParameterError(f"Parameter 'shard_rows' is {self.shard_rows}.", "Give 1 or more.")
        if self.workers < 0:
            raise ParameterError(f"Parameter 'workers' is {self.workers}.", "Give 0 or more.")


def make_plan(request: Request) -> list[str]:
    """Lists the table's files, fixes the model's version, and writes the plan to the output.

    Returns:
        One text a worker: the folder of the results below the output, and which worker it is of how many
        (``churn-v3-0a1b2c3d4e5f/0-of-4``). Not JSON, which KFP would take apart.

    Raises:
        SourceError: The table is not there or cannot be reached.
        ParameterError: A parameter is out of range, or a password is in the source.
        RegistryError: There is no such model or version, or it has no champion.
        TrackingError: MLflow cannot be reached.
        StorageError: The output cannot be written.
    """
    version = _fixed_version(request.model_name, request.model_version.strip())
    plan = Plan(
        source=request.source,
        files=list_files(request.source, request.file_format),
        model_name=request.model_name,
        model_version=str(version.version),
        model_digest=version.tags.get(MODEL_DIGEST, ""),
        file_format=request.file_format,
        encoding=request.encoding,
        delimiter=request.delimiter,
        key_columns=list(request.key_columns),
        shard_rows=request.shard_rows,
    )
    check_writable(request.output)
    write_json(open_results(request.output, plan.folder), asdict(plan), PLAN)
    in_cluster = bool(os.environ.get("KUBERNETES_SERVICE_HOST"))
    workers = request.workers or (CLUSTER_WORKERS if in_cluster else 1)
    return [f"{plan.folder}/{number}-of-{workers}" for number in range(workers)]


def _fixed_version(model_name: str, number: str) -> ModelVersion:
    client = connect()
    with tracking_errors():
        model = registered_model(client, model_name)
        chosen = number or holder(model, CHAMPION)
        if not chosen:
            raise RegistryError(
                f"The registered model {model_name!r} has no champion to score with.",
                f"Make a version the champion with: kfp-lifecycle promote {model_name}; or name one with "
                "model_version.",
            )
        return find_version(client, model, chosen)
