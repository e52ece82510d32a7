"""Where a network runs."""

import asyncio
import logging

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from kfp_lifecycle.components.serve.server.batching import BatchingPredictor
from kfp_lifecycle.components.serve.server.devices import AUTO, move
from kfp_lifecycle.components.serve.server.direct import DirectPredictor
from kfp_lifecycle.components.serve.server.loading import load
from kfp_lifecycle.components.serve.server.table import Table
from kfp_lifecycle.components.shared.errors import ServingError
from kfp_lifecycle.components.shared.inference.network import ExportedNetwork
from kfp_lifecycle.components.shared.model_format import load_predictor
from tests.components.train_gpu.exported import TASKS, saved, table_of

FEATURES = np.arange(6.0).reshape(3, 2)

no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")


class Net(torch.nn.Module):
    """A network that makes a tensor of its own, which has to be where the weights are."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 2)

    def forward(self, features):
        return torch.softmax(self.layer(features) + torch.ones(2), dim=1)


@pytest.fixture
def network(tmp_path):
    rows = torch.export.Dim("rows")
    program = torch.export.export(Net(), (torch.zeros(2, 2),), dynamic_shapes=({0: rows},))
    torch.export.save(program, tmp_path / "network.pt2")
    return ExportedNetwork.load(tmp_path / "network.pt2", 2)


@pytest.mark.parametrize("device", [AUTO, "cpu"])
@no_gpu
def test_without_a_gpu_a_network_stays_on_the_cpu(network, device):
    before = network.predict_proba(FEATURES)
    move(network, device)
    assert network.device == "cpu"
    assert np.array_equal(network.predict_proba(FEATURES), before)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
@pytest.mark.parametrize("device", [AUTO, "cuda", "cuda:0"])
def test_a_gpu_says_the_same(network, device):
    before = network.predict_proba(FEATURES)
    move(network, device)
    assert network.device.startswith("cuda")
    np.testing.assert_allclose(network.predict_proba(FEATURES), before, rtol=1e-5)


@pytest.mark.parametrize("device", ["cuda:99", "abacus", "cuda:one"])
def test_a_device_that_is_not_there_is_named(network, device):
    with pytest.raises(ServingError, match=f"--device is '{device}'.*(?:GPU|cpu)"):
        move(network, device)


@pytest.mark.parametrize(("device", "lines"), [(AUTO, 0), ("cpu", 0), ("cuda", 1)])
def test_what_is_no_network_stays_where_it_is(caplog, device, lines):
    caplog.set_level(logging.INFO)
    move(LogisticRegression(), device)
    assert len(caplog.records) == lines
    assert all("LogisticRegression runs on the CPU" in record.message for record in caplog.records)


def test_a_server_of_another_model_takes_the_flag(models, caplog):
    assert load(str(models.binary), device="cuda").outputs
    assert "runs on the CPU; only networks run on cuda" in caplog.text
    assert load(str(models.plain), device="cuda").outputs


@pytest.mark.parametrize("task", list(TASKS))
def test_a_network_is_served_with_the_answers_that_it_gives_by_itself(table, tmp_path, task):
    """One row and many, alone and in a batch, and its own example at the start."""
    model = saved(table_of(table, task), tmp_path / "model")
    served = load(str(model.folder), "net")
    assert served.example is not None
    rows = model.table.rows.select([column.name for column in served.inputs]).head(40)
    expected = load_predictor(model.folder).predict(rows)
    given = served.check(Table.of(rows))
    together = served.predict(given)

    async def batched():
        predictor = BatchingPredictor(DirectPredictor(1, 60), 64, 1.0)
        return await asyncio.gather(*(predictor.predict(served, given.slice(row, 1)) for row in range(40)))

    for row, answer in enumerate(asyncio.run(batched())):
        for name in expected:
            for found in (answer.columns[name][0], together.columns[name][row]):
                wanted = expected[name][row]
                assert found == wanted or found == pytest.approx(wanted, rel=1e-4)
