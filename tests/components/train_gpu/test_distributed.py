"""Two processes that train together (gloo, on the CPU), and what becomes of all when one fails."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from kfp_lifecycle.components.shared.errors import DeviceError, TargetError
from kfp_lifecycle.components.train_gpu.distributed import Group, all_agree, join
from kfp_lifecycle.components.train_gpu.launch import RankFailed, launch
from tests.components.train_gpu import ranks
from tests.components.train_gpu.feature_tables import feature_table
from tests.components.train_gpu.learnable import write_tables
from tests.conftest import ROOT

MODULE = "tests.components.train_gpu.ranks"
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)


def together(what: str, folder: Path, *more: str) -> list[Any]:
    """What the ranks have told, in their order."""
    launch([what, str(folder), *more], 2, module=MODULE)
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]


def test_ranks_exchange_what_they_have(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = dict(os.environ)
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    told = together("talk", tmp_path)
    assert {key: told[0][key] for key in ("made", "sum", "any", "agree", "broadcast")} == {
        "made": "0 ",
        "sum": [3.0, 4.0],
        "any": [False, True, True],
        "agree": [True, False],
        "broadcast": {"position": [0, "step"]},
    }
    assert told[0] == told[1]
    said = capfd.readouterr().out
    assert "rank 0 says hello" in said
    assert "rank 1" not in said
    assert int(told[0]["threads"]) == max(1, len(os.sched_getaffinity(0)) // 2)
    # What a rank leaves in its temporary folder is gone, and all is as it was here.
    assert not Path(told[0]["tmp"]).exists()
    assert Path(told[0]["tmp"]).parent == Path(tempfile.gettempdir())
    assert dict(os.environ) == before
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == handlers


def test_alone_there_is_nothing_to_exchange() -> None:
    made = []
    with join(CPU) as group:
        assert group == Group()
        assert group.is_main
        assert group.sum_(torch.ones(2)).tolist() == [1, 1]
        assert [group.any(True), group.any(False)] == [True, False]
        assert group.broadcast("position") == "position"
        group.barrier()
        group.once_per_node(lambda: made.append(1))
        assert group.scale(64) == 1 / 64
        network = torch.nn.Linear(2, 1)
        assert group.wrap(network) is network
    assert made == [1]
    assert all_agree(True)
    assert not all_agree(False)


def test_two_ranks_train_as_one(tmp_path: Path) -> None:
    """The table leaves a last batch of 5 rows, which is 2 for one rank and 3 for the other."""
    feature_table(tmp_path / "table", 96 * 10 + 5, group_rows=50)
    ranks.train(tmp_path, Group())
    alone = json.loads((tmp_path / "0.json").read_text())
    first, second = together("train", tmp_path)
    assert first == second
    ours, theirs = first["device"], alone["device"]
    assert theirs["losses"][-1] < 0.9 * theirs["losses"][0]
    # The sums of a batch are added in another order, and nothing else is different.
    assert ours["losses"] == pytest.approx(theirs["losses"], rel=1e-4)
    for one, other in zip(ours["weights"], theirs["weights"], strict=True):
        assert torch.allclose(torch.tensor(one), torch.tensor(other), rtol=1e-3, atol=1e-4)
    # Each rank streams row groups of its own, so the batches are others; the curve is near.
    assert first["stream"]["losses"] != alone["stream"]["losses"]
    assert first["stream"]["losses"] == pytest.approx(alone["stream"]["losses"], rel=0.05)


def test_a_training_of_two_ranks_is_killed_and_taken_up(tmp_path: Path) -> None:
    """Its losses and metrics are those of one process, and a kill changes not a bit of them."""
    store, chosen = tmp_path / "checkpoints", {"dropout": 0.0, "epochs": 4}
    write_tables(tmp_path, "binary", rows=605)
    (tmp_path / "options.json").write_text(json.dumps(chosen))
    ranks.learn(tmp_path)
    alone = json.loads((tmp_path / "0.json").read_text())
    first, second = together("learn", tmp_path)
    assert first == second
    assert np.array(first["history"]) == pytest.approx(np.array(alone["history"]), rel=1e-4)
    assert first["metrics"] == pytest.approx(alone["metrics"], rel=1e-3)
    kept = {**chosen, "checkpoint_uri": str(store), "checkpoint_epochs": 1}
    (tmp_path / "options.json").write_text(json.dumps({**kept, "killed_after": 3}))
    with pytest.raises(DeviceError, match="Rank 0 was killed"):
        together("learn", tmp_path)
    assert list(store.iterdir())
    (tmp_path / "options.json").write_text(json.dumps(kept))
    again, other = together("learn", tmp_path)
    assert again == other
    assert again.pop("resumed").startswith("epoch ")
    first.pop("resumed")
    assert again == first


def test_a_declared_error_of_one_rank_is_the_error(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(TargetError, match=r"^The target 'y' is wrong\. Mend it\.$"):
        together("table", tmp_path)
    assert "Traceback" not in capfd.readouterr().err


def test_a_bug_in_one_rank_is_shown(tmp_path: Path) -> None:
    with pytest.raises(RankFailed, match=r"(?s)in bug\n.*nobody thought of this"):
        together("bug", tmp_path)


def test_a_rank_that_is_killed_ends_the_others(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"Rank 1 was killed \(SIGKILL\), most likely .* memory"):
        together("killed", tmp_path)


def test_a_rank_that_says_nothing_is_named(tmp_path: Path) -> None:
    with pytest.raises(RankFailed, match=r"(?s)Rank 1 ended with code 7.*the last words of rank 1"):
        together("silent", tmp_path)


def test_a_rank_that_does_not_come_is_not_waited_for(tmp_path: Path) -> None:
    """With a timeout of two seconds in place of minutes."""
    with pytest.raises(RankFailed, match=r"Timed out waiting 2000ms"):
        together("deaf", tmp_path, "2")


def test_others_that_cannot_be_reached_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MASTER_PORT", "1")
    with (
        pytest.raises(DeviceError, match="Rank 1 cannot join the other 1 processes"),
        join(CPU, timedelta(seconds=1)),
    ):
        pass


def started(folder: Path) -> tuple[subprocess.Popen[bytes], list[int]]:
    """A program that launches two ranks which go on until SIGTERM, and their process ids."""
    program = (
        "from kfp_lifecycle.components.train_gpu.launch import launch\n"
        f"launch(['stopped', {str(folder)!r}], 2, module={MODULE!r})"
    )
    process = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT)
    files = [folder / f"{rank}.pid" for rank in range(2)]
    deadline = time.monotonic() + 120
    while not all(file.exists() and file.read_text() for file in files):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return process, [int(file.read_text()) for file in files]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize("to", ["launcher", "rank"])
def test_sigterm_lets_every_rank_finish(tmp_path: Path, to: str) -> None:
    process, pids = started(tmp_path)
    os.kill(process.pid if to == "launcher" else pids[1], signal.SIGTERM)
    assert process.wait(60) == 143
    assert [(tmp_path / f"{rank}.json").read_text() for rank in range(2)] == ['"checkpoint"'] * 2


def test_ranks_do_not_outlive_who_started_them(tmp_path: Path) -> None:
    process, pids = started(tmp_path)
    process.kill()
    process.wait()
    deadline = time.monotonic() + 60
    while any(alive(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.05)
