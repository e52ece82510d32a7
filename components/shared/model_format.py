"""The Model artifact: an MLflow pyfunc folder that takes raw rows and needs no kfp-lifecycle to load.

In the folder, beside what MLflow puts there::

    code/kfp_lifecycle_model_<hash>/   the inference package, named by its own content
    data/lifecycle/schema.json         the Schema of the training data
                   transform.json      the fitted transform
                   estimator.pkl       the fitted estimator, or of a network in its place
                   network.pt2         the graph from features to predictions, from torch.export
                   network.onnx        the same graph for servers that take ONNX
                   model.json          what the model says of itself
                   reference.parquet   a sample of settled training rows with out-of-fold predictions
                   training_rows.parquet   hashes of training rows
                   example.json        rows of the input example, and what the model makes of them

An estimator is a pickle. skops, which MLflow takes for scikit-learn models because its files cannot run
code, would not make a model that brings its own code any safer to load, and would cost each process that
loads one 0.7 s for the import alone (and 0.24 s instead of 0.03 s for 200 trees). Load models that you trust.

The name by content lets models of different versions live in one process, and keeps an installed
kfp-lifecycle of another version from shadowing what the model was made with.
"""

import hashlib
import importlib
import json
import pickle
import shutil
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt
import polars as pl
import yaml

from kfp_lifecycle.components.shared import inference
from kfp_lifecycle.components.shared.errors import EstimatorError, SchemaError
from kfp_lifecycle.components.shared.inference.files import ESTIMATOR, SCHEMA, TRANSFORM
from kfp_lifecycle.components.shared.inference.schema import TableSchema
from kfp_lifecycle.components.shared.model_example import DATA as FOLDER
from kfp_lifecycle.components.shared.model_example import EXAMPLE, record

if TYPE_CHECKING:  # register describes models, and has no use for scikit-learn, which these import
    from kfp_lifecycle.components.shared.inference.model import Model
    from kfp_lifecycle.components.shared.inference.transform import FeatureTransform

DATA = FOLDER
DESCRIPTION, REFERENCE, TRAINING_ROWS = "model.json", "reference.parquet", "training_rows.parquet"

#: In the reference sample the out-of-fold predictions are the columns of a prediction with this before the
#: name, so that no column of the table can be meant.
OUT_OF_FOLD = "_"

#: Rows of the input example.
EXAMPLE_ROWS = 5

#: The most row hashes that a model carries (8 bytes each).
MAX_HASHES = 1_000_000

#: What inference imports; the model pins the versions that it was made with.
REQUIREMENTS = ("mlflow-skinny", "numpy", "pandas", "polars", "scikit-learn")


@dataclass(frozen=True)
class TrainingRows:
    """Which rows a model was trained on: the hashes of a deterministic sub-sample of them.

    Args:
        modulus: The sub-sample is the rows whose hash is a multiple of this; 1 keeps all.
        hashes: Their hashes (UInt64, shape ``(n,)``), sorted.
    """

    modulus: int
    hashes: npt.NDArray[np.uint64]

    @classmethod
    def of(cls, hashes: npt.NDArray[np.uint64]) -> "TrainingRows":
        """The record of a training table with these row hashes, with :data:`MAX_HASHES` entries at most."""
        modulus, kept = 1, np.unique(hashes)
        while len(kept) > MAX_HASHES:
            modulus *= 2
            kept = kept[kept % np.uint64(modulus) == 0]
        return cls(modulus, kept)

    def seen(self, hashes: npt.NDArray[np.uint64]) -> int:
        """How many of ``hashes`` (UInt64, shape ``(m,)``) are known to be training rows.

        With a modulus over 1 only about one in modulus can be known, so none of many is still a sure sign.
        """
        return int(np.isin(hashes, self.hashes).sum())


@dataclass(frozen=True)
class ModelDescription:
    """What a Model artifact says of itself.

    Args:
        schema: The schema of the data it was trained on.
        input_columns: The source columns that it needs, in order.
        estimator: Dotted path of the estimator's class.
        parameters: By component (``prepare``, ``featurize``, ``train``) the parameters that it ran with.
        metrics: Cross-validated metrics (``cv_roc_auc_mean``, …) as train's Metrics artifact has them, or of
            a network those on held-out rows (``validation_roc_auc``, …).
        training_rows: Which rows it was trained on.
        library_version: The version of kfp-lifecycle that wrote it.
    """

    schema: TableSchema
    input_columns: list[str]
    estimator: str
    parameters: dict[str, dict[str, Any]]
    metrics: dict[str, float]
    training_rows: TrainingRows
    library_version: str

    @property
    def task(self) -> str:
        """``binary``, ``multiclass`` or ``regression``."""
        return self.schema.task

    @property
    def target(self) -> str:
        """Name of the target column."""
        return self.schema.target

    @property
    def classes(self) -> list[str]:
        """Class labels as text, in sorted order; empty for regression."""
        return self.schema.classes


class EstimatorFiles(ABC):
    """An estimator that is not a pickle: how it is written, and what loads it."""

    #: Distributions that a process needs to load it, beyond :data:`REQUIREMENTS`.
    requirements: tuple[str, ...] = ()

    @abstractmethod
    def write(self, folder: Path) -> None:
        """Writes the files of :mod:`.inference.files` that the model's loader looks for into ``folder``."""


def save_model(
    folder: Path,
    *,
    estimator: Any,
    estimator_path: str,
    transform: "FeatureTransform",
    schema: TableSchema,
    reference: pl.DataFrame,
    row_hashes: npt.NDArray[np.uint64],
    parameters: Mapping[str, Mapping[str, Any]],
    metrics: Mapping[str, float],
) -> None:
    """Writes a model into an empty folder. For an atomic output, call it within ``whole_folder``.

    Args:
        folder: An empty folder.
        estimator: The fitted estimator, or the files of one; a classifier is fitted on positions in
            ``schema.classes``.
        estimator_path: Dotted path of its class.
        transform: The fitted transform.
        schema: The schema of the training data.
        reference: Settled training rows with target, out-of-fold predictions and row hash; its first rows are
            the input example.
        row_hashes: The hash of every training row (UInt64, shape ``(n,)``).
        parameters: By component the parameters that it ran with, JSON values.
        metrics: Cross-validated metrics.
    """
    import mlflow.pyfunc

    from kfp_lifecycle.components.shared.inference.model import _load_pyfunc
    from kfp_lifecycle.components.shared.model_signature import as_source, input_sources, signature

    rows = TrainingRows.of(row_hashes)
    description = {
        "format": 1,
        "library_version": library_version(),
        "estimator": estimator_path,
        "input_columns": list(transform.input_columns),
        "training_rows_modulus": rows.modulus,
        "metrics": dict(metrics),
        "parameters": {component: dict(values) for component, values in parameters.items()},
    }
    with tempfile.TemporaryDirectory(dir=folder.parent) as place:
        data, code = Path(place) / DATA.name, _copy_of_inference(Path(place))
        data.mkdir()
        schema.save(data / SCHEMA)
        transform.save(data / TRANSFORM)
        if isinstance(estimator, EstimatorFiles):
            estimator.write(data)
        else:
            (data / ESTIMATOR).write_bytes(_pickled(estimator, estimator_path))
        (data / DESCRIPTION).write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
        reference.write_parquet(data / REFERENCE)
        pl.DataFrame({"hash": rows.hashes}).write_parquet(data / TRAINING_ROWS)
        example = as_source(reference.head(EXAMPLE_ROWS), schema, transform.input_columns)
        record(_load_pyfunc(str(data)), example).save(data / EXAMPLE)
        mlflow.pyfunc.save_model(
            folder,
            loader_module=f"{code.name}.model",
            data_path=str(data),
            code_paths=[str(code)],
            signature=signature(schema, transform.input_columns),
            metadata=input_sources(schema, transform.input_columns) or None,
            input_example=example,
            pip_requirements=_requirements(estimator),
        )


def describe(path: str | Path) -> ModelDescription:
    """What the Model artifact at ``path`` (a local folder) says of itself, without loading the estimator.

    Raises:
        SchemaError: ``path`` is no Model artifact of this library.
    """
    data = Path(path) / DATA
    try:
        found = json.loads((data / DESCRIPTION).read_text(encoding="utf-8"))
        hashes = pl.read_parquet(data / TRAINING_ROWS)["hash"].to_numpy()
        return ModelDescription(
            schema=TableSchema.load(data / SCHEMA),
            input_columns=found["input_columns"],
            estimator=found["estimator"],
            parameters=found["parameters"],
            metrics=found["metrics"],
            training_rows=TrainingRows(found["training_rows_modulus"], hashes),
            library_version=found["library_version"],
        )
    except (OSError, ValueError, KeyError, pl.exceptions.PolarsError) as error:
        raise SchemaError(
            f"{path} is not a Model artifact of kfp-lifecycle: {error}.", "Pass the model output of train."
        ) from error


def load_predictor(path: str | Path) -> "Model":
    """The model at ``path`` (a local folder), as ``mlflow.pyfunc.load_model`` loads it, but without MLflow.

    Importing that takes a server longer than all else on its way to the first answer. The class is the one
    that travels in the model, not this library's. Its ``predict`` takes a Polars or pandas frame of raw or
    settled rows, without MLflow's check of types and copy through pandas.
    """
    about = yaml.safe_load((Path(path) / "MLmodel").read_text(encoding="utf-8"))
    flavour = about["flavors"]["python_function"]
    code = str((Path(path) / flavour["code"]).absolute())
    if code not in sys.path:
        sys.path.append(code)
    module = importlib.import_module(flavour["loader_module"])
    return cast("Model", module._load_pyfunc(str(Path(path) / flavour["data"])))


def model_digest(folder: str | Path) -> str:
    """``sha256:…`` of all files of a model folder, their names included."""
    root, digest = Path(folder), hashlib.sha256()
    for file in sorted(path for path in root.rglob("*") if path.is_file()):
        if "__pycache__" in file.parts:  # left by whoever loaded the model from there
            continue
        with file.open("rb") as stream:
            content = hashlib.file_digest(stream, "sha256").hexdigest()
        digest.update(f"{content} {file.relative_to(root).as_posix()}\n".encode())
    return f"sha256:{digest.hexdigest()}"


def read_reference(path: str | Path) -> pl.DataFrame:
    """The model's sample of settled training rows.

    Beside the columns of the schema (without keys) it has the row hash, and the columns of a prediction with
    :data:`OUT_OF_FOLD` before the name: what its fold predicted, null where no fold has judged the row. A
    network's sample is of the rows that were held out from it, with its own predictions.
    """
    return pl.read_parquet(Path(path) / DATA / REFERENCE)


def library_version() -> str:
    """The installed version of kfp-lifecycle."""
    return version("kfp-lifecycle")


def _pickled(estimator: Any, path: str) -> bytes:
    try:
        return pickle.dumps(estimator)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise EstimatorError(
            f"The fitted {path} cannot be saved: {error}.",
            "Keep what cannot be pickled (inner functions, open files, locks) out of its attributes.",
        ) from error


def _copy_of_inference(place: Path) -> Path:
    """A copy of the inference package, named by the hash of its content."""
    source = Path(inference.__file__).parent
    digest = hashlib.sha256()
    for file in sorted(source.glob("*.py")):
        digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    copy = place / f"kfp_lifecycle_model_{digest.hexdigest()[:12]}"
    return shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"))


def _requirements(estimator: Any) -> list[str]:
    """What a process that loads the model needs, at the versions here."""
    names = list(REQUIREMENTS)
    package = type(estimator).__module__.partition(".")[0]
    if isinstance(estimator, EstimatorFiles):
        names += estimator.requirements
    elif package != "sklearn":
        names += packages_distributions().get(package, [])
    # Without the local part: a model of PyTorch's build 2.13.0+cu128 loads with 2.13.0+cpu.
    return [f"{name}=={version(name).partition('+')[0]}" for name in names]
