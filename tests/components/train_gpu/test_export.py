"""A network inside the Model artifact: the same numbers from PyTorch, from MLflow alone and from ONNX."""

import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import mlflow.pyfunc
import numpy as np
import numpy.typing as npt
import onnxruntime
import pandas as pd
import pytest
import torch
from mlflow.models import validate_serving_input

from kfp_lifecycle.components.shared.errors import EstimatorError
from kfp_lifecycle.components.shared.inference import network as inference_network
from kfp_lifecycle.components.shared.inference.files import NETWORK, ONNX
from kfp_lifecycle.components.shared.inference.network import ExportedNetwork
from kfp_lifecycle.components.shared.inference.schema import ROW_HASH
from kfp_lifecycle.components.shared.model_format import describe, load_predictor
from kfp_lifecycle.components.train_gpu.export import Layout, NetworkFiles, export_network
from tests.components.train_gpu.exported import TASKS, Saved, saved, table_of
from tests.components.train_gpu.networks import Bessel, Branching, Small

Floats = npt.NDArray[np.float64]
Table = Callable[[str], pd.DataFrame]


@pytest.fixture(scope="module", params=list(TASKS))
def model(request: pytest.FixtureRequest, table: Table, tmp_path_factory: pytest.TempPathFactory) -> Saved:
    return saved(table_of(table, request.param), tmp_path_factory.mktemp("models") / "model")


def _truth(model: Saved) -> Floats:
    with torch.inference_mode():
        return model.served(torch.from_numpy(model.features.astype(np.float32))).numpy()


def _numbers(predicted: pd.DataFrame) -> Floats:
    columns = [name for name in predicted if name.startswith("probability_")] or ["prediction"]
    return np.squeeze(predicted[columns].to_numpy())


def test_the_rows_have_what_must_be_borne(model: Saved) -> None:
    codes = model.features[:, model.served.get_buffer("codes").numpy()]
    assert np.isnan(model.features).any()
    assert (codes == -1).any()
    assert not np.isnan(codes).any()


def test_pytorch_mlflow_and_onnx_agree(model: Saved) -> None:
    truth = _truth(model)
    assert np.isfinite(truth).all()
    np.testing.assert_allclose(model.onnx(model.features), truth, rtol=1e-5, atol=1e-5)
    for predicted in (
        mlflow.pyfunc.load_model(str(model.folder)).predict(model.table.rows.to_pandas()),
        load_predictor(model.folder).predict(model.table.rows),
    ):
        np.testing.assert_allclose(_numbers(predicted), truth, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("place", [0, 7, 11, 599])
def test_one_row_gives_what_it_gives_among_many(model: Saved, place: int) -> None:
    truth = _truth(model)[place]
    features = model.features[[place]]
    np.testing.assert_allclose(model.onnx(features)[0], truth, rtol=1e-5, atol=1e-5)
    predicted = mlflow.pyfunc.load_model(str(model.folder)).predict(model.table.rows[[place]].to_pandas())
    np.testing.assert_allclose(_numbers(predicted), truth, rtol=1e-5, atol=1e-5)


def test_the_graphs_say_what_they_take(model: Saved) -> None:
    session = onnxruntime.InferenceSession(model.data / ONNX)
    (taken,), (given,) = session.get_inputs(), session.get_outputs()
    assert (taken.name, taken.shape) == ("features", ["rows", model.features.shape[1]])
    if model.table.schema.task == "regression":
        assert (given.name, given.shape, given.type) == ("prediction", ["rows"], "tensor(double)")
    else:
        classes = len(model.table.schema.classes)
        assert (given.name, given.shape) == ("probabilities", ["rows", classes])
    assert sorted(file.name for file in model.data.iterdir()) == [
        *("example.json", "model.json", ONNX, NETWORK, "reference.parquet", "schema.json"),
        *("training_rows.parquet", "transform.json"),
    ]


def test_probabilities_sum_to_one_in_64_bits(model: Saved) -> None:
    if model.table.schema.task != "regression":
        probabilities = _numbers(load_predictor(model.folder).predict(model.table.rows))
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=0, atol=1e-15)


def test_no_rows_in_none_out(model: Saved) -> None:
    assert load_predictor(model.folder).predict(model.table.rows.head(0)).empty


def test_many_rows_go_in_parts(model: Saved, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference_network, "CHUNK", 256)
    network = ExportedNetwork.load(model.data / NETWORK, len(model.table.schema.classes))
    np.testing.assert_allclose(network._run(model.features), _truth(model), rtol=1e-6, atol=1e-6)


def test_a_network_is_moved_whole_and_says_the_same_where_it_was_moved_to(model: Saved) -> None:
    classes = len(model.table.schema.classes)
    network = ExportedNetwork.load(model.data / NETWORK, classes)
    before = network._run(model.features)
    # Of tensors on this device PyTorch knows the shape and no values: it shows what was not moved.
    network.to("meta")
    assert {parameter.device.type for parameter in network._graph.parameters()} == {"meta"}
    assert {buffer.device.type for buffer in network._graph.buffers()} <= {"meta"}
    features = torch.from_numpy(model.features.astype(np.float32)).to("meta")
    assert network._graph(features).shape == before.shape
    network = ExportedNetwork.load(model.data / NETWORK, classes)
    network.to("cuda" if torch.cuda.is_available() else "cpu")
    np.testing.assert_allclose(network._run(model.features), before, rtol=1e-4, atol=1e-5)


def test_the_example_is_served_from_json(model: Saved) -> None:
    served = validate_serving_input(
        str(model.folder), (model.folder / "serving_input_example.json").read_text()
    )
    assert len(served) == 5


def test_it_describes_itself_as_every_model_does(model: Saved) -> None:
    about = describe(model.folder)
    assert (about.estimator, about.metrics) == ("networks.Small", {"validation_loss": 0.5})
    requirements = (model.folder / "requirements.txt").read_text().split()
    assert f"torch=={torch.__version__.partition('+')[0]}" in requirements


ALONE = """
import sys
sys.path[:0] = {site}
import mlflow.pyfunc
import pandas as pd
predicted = mlflow.pyfunc.load_model({model!r}).predict(pd.read_parquet({rows!r}))
columns = [name for name in predicted if name.startswith("probability_")] or ["prediction"]
import torch
print([name for name in sys.modules if name.startswith("kfp_lifecycle") and "_model_" not in name])
print(torch.cuda.is_available())
print(predicted[columns].to_numpy().sum(axis=0).tolist())
"""


@pytest.mark.parametrize("model", ["binary"], indirect=True)
def test_it_loads_without_this_library_and_without_a_gpu(model: Saved, tmp_path: Path) -> None:
    model.table.rows.drop(ROW_HASH).write_parquet(tmp_path / "rows.parquet")
    code = ALONE.format(
        site=[sysconfig.get_paths()["purelib"]], model=str(model.folder), rows=str(tmp_path / "rows.parquet")
    )
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        # -S: the link by which an editable install is found is a .pth file, which is not read.
        [sys.executable, "-I", "-S", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**env, "CUDA_VISIBLE_DEVICES": ""},
        cwd="/",
    )
    assert done.returncode == 0, done.stderr
    modules, cuda, sums = done.stdout.splitlines()
    assert (modules, cuda) == ("[]", "False")
    np.testing.assert_allclose(json.loads(sums), np.atleast_2d(_truth(model).T).sum(axis=1), rtol=1e-5)


@pytest.mark.parametrize(("numbers", "codes"), [([0, 1], []), ([], [0, 1])])
def test_a_table_of_numbers_alone_and_one_of_categories_alone(
    numbers: list[int], codes: list[int], tmp_path: Path
) -> None:
    network = Small(numbers=len(numbers), cardinalities=[3] * len(codes), outputs=1)
    NetworkFiles(network, Layout(numbers, codes, "binary"), "Small").write(tmp_path)
    rows = np.array([[1.0, 0.0], [-1.0, 1.0]], dtype=np.float32)
    session = onnxruntime.InferenceSession(tmp_path / ONNX)
    for some in (rows, rows[:1]):
        torch_says = ExportedNetwork.load(tmp_path / NETWORK, 2).predict_proba(some)
        np.testing.assert_allclose(session.run(None, {"features": some})[0], torch_says, atol=1e-6)


def test_the_network_that_was_trained_is_left_as_it_was() -> None:
    network = Small(numbers=2, cardinalities=[], outputs=1).bfloat16().train()
    export_network(network, Layout([0, 1], [], "binary"), "Small")
    assert network.training
    assert next(network.parameters()).dtype == torch.bfloat16


def test_a_network_that_is_no_graph_is_named() -> None:
    network = Branching(numbers=2, cardinalities=[], outputs=1)
    with pytest.raises(EstimatorError, match=r"my\.Branching cannot be exported by torch\.export") as caught:
        NetworkFiles(network, Layout([0, 1], [], "binary"), "my.Branching")
    assert "branches on values" in caught.value.fix


def test_a_network_beyond_onnx_is_left_out_there_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    network = Bessel(numbers=2, cardinalities=[], outputs=1)
    NetworkFiles(network, Layout([0, 1], [], "binary"), "my.Bessel").write(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == [NETWORK]
    (said,) = [record.getMessage() for record in caplog.records if record.name.startswith("kfp_lifecycle")]
    assert "my.Bessel cannot be written as ONNX" in said
    assert "bessel_j0" in said
    assert "".join(capfd.readouterr()) == ""


def test_models_without_a_network_do_not_import_pytorch() -> None:
    code = (
        "import sys; import kfp_lifecycle.components.shared.inference.model; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
