"""A registry with two versions of the Telco model, and the table that they score."""

import contextlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import polars as pl
import pytest

from kfp_lifecycle.components.batch_predict.manifest import MANIFEST, Collected, collect
from kfp_lifecycle.components.batch_predict.plan import open_results, read_json
from kfp_lifecycle.components.batch_predict.planning import Request, make_plan
from kfp_lifecycle.components.batch_predict.scoring import score_shards
from kfp_lifecycle.components.register.lineage import Pipeline
from kfp_lifecycle.components.register.versions import Request as Registration
from kfp_lifecycle.components.register.versions import register_model
from kfp_lifecycle.components.shared.inference.schema import ROW_HASH
from tests.components.conftest import Telco
from tests.components.trained import evaluation_file


@pytest.fixture(scope="session")
def registry(telco: Telco, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database where version 1 of ``churn`` is the champion, version 2 is not, and ``empty`` has none."""
    folder = tmp_path_factory.mktemp("registry")
    evaluation = evaluation_file(folder / "evaluation.json", roc_auc=0.8)
    with contextlib.chdir(folder), pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", telco.store(folder))
        for model, run, approved in (
            (telco.good_model, telco.good.run_id, True),
            (telco.weak_model, telco.weak.run_id, False),
        ):
            register_model(model, evaluation, Registration("churn", approved, "", "", run, Pipeline()))
        mlflow.MlflowClient(f"sqlite:///{folder / 'mlflow.db'}").create_registered_model("empty")
    return folder / "mlflow.db"


@dataclass
class Batch:
    """One batch inference, its steps called one after another as the pipeline calls them."""

    output: str
    shares: list[str]
    records: list[str]
    done: Collected

    @property
    def scored(self) -> list[int]:
        """How many parts each worker made."""
        folder = self.shares[0].partition("/")[0]
        store = open_results(self.output, folder)
        return [read_json(store, record.removeprefix(f"{folder}/"))["scored"] for record in self.records]

    @property
    def manifest(self) -> dict[str, Any]:
        found: dict[str, Any] = read_json(open_results(self.done.uri, ""), MANIFEST)
        return found

    @property
    def parts(self) -> list[Path]:
        return sorted(Path(self.done.uri).glob("part-*.parquet"))

    @property
    def table(self) -> pl.DataFrame:
        return pl.read_parquet(self.parts)


def run(source: Path | str, output: Path | str, **asked: Any) -> Batch:
    shares = make_plan(Request(str(source), asked.pop("model_name", "churn"), str(output), **asked))
    records = [score_shards(str(output), share) for share in shares]
    return Batch(str(output), shares, records, collect(str(output), records))


@pytest.fixture
def place(registry: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The test's own folder, where MLflow has the registry."""
    shutil.copy(registry, tmp_path / "mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    return tmp_path


@pytest.fixture(scope="session")
def rows(telco: Telco) -> pl.DataFrame:
    """Rows to score, with a key whose zeros and blanks count."""
    inputs = telco.prepared.test.drop("churn", ROW_HASH)
    keys = [f"{number:05d}" if number != 3 else "NA" for number in range(inputs.height)]
    return inputs.insert_column(0, pl.Series("customer", keys))


@pytest.fixture(scope="session")
def expected(telco: Telco, rows: pl.DataFrame) -> Callable[[Path], pl.DataFrame]:
    """What MLflow's own ``predict`` says of the rows."""

    def predict(model: Path) -> pl.DataFrame:
        answer = mlflow.pyfunc.load_model(str(model)).predict(rows.drop("customer").to_pandas())
        return pl.DataFrame({name: answer[name].to_list() for name in answer.columns})

    return predict
