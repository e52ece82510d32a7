"""Small models with faults on purpose: their prediction is ``a + b + more``, where nothing goes wrong."""

import json
from dataclasses import dataclass
from pathlib import Path

import mlflow.pyfunc
import pandas as pd
from mlflow.models import infer_signature

_CODE = """
import os
import time


class Sum:
    def predict(self, rows, params=None):
        if (rows["a"] == -13).any():
            {fault}
        return (rows["a"] + rows["b"] + {more}).to_numpy()


def _load_pyfunc(path):
    time.sleep({seconds})
    return Sum()
"""
ROWS = [{"a": 1.0, "b": 2.0}, {"a": 0.5, "b": -4.0}, {"a": 20.0, "b": 0.0}]
#: A row at which a faulty model does its worst; recorded examples have none such.
WORST = {"a": -13.0, "b": 0.0}


@dataclass(frozen=True)
class Sum:
    """A model to be written.

    Args:
        more: What it adds.
        recorded: What its recorded outputs say that it adds; None is what it does.
        seconds: How long it takes to load.
        fault: What it does with :data:`WORST`, a line of Python.
    """

    more: float
    recorded: float | None = None
    seconds: float = 0.0
    fault: str = "pass"

    def write(self, folder: Path) -> Path:
        """An MLflow model in ``folder``, with recorded outputs as ours have them."""
        code = folder.parent / f"{folder.name}-code" / f"sum_{folder.name}.py"
        code.parent.mkdir(parents=True)
        code.write_text(_CODE.format(fault=self.fault, more=self.more, seconds=self.seconds))
        rows = pd.DataFrame(ROWS)
        mlflow.pyfunc.save_model(
            folder,
            loader_module=code.stem,
            code_paths=[str(code)],
            signature=infer_signature(rows, pd.DataFrame({"prediction": [0.0]})),
            pip_requirements=[],
        )
        more = self.more if self.recorded is None else self.recorded
        outputs = [{"prediction": row["a"] + row["b"] + more} for row in ROWS]
        data = folder / "data" / "lifecycle"
        data.mkdir(parents=True)
        (data / "example.json").write_text(json.dumps({"inputs": ROWS, "outputs": outputs}))
        return folder


#: By version, from 1.
VERSIONS = [
    Sum(0.0),
    Sum(1.0),
    Sum(2.0, recorded=99.0),
    Sum(3.0, seconds=4.0),
    Sum(4.0, fault="raise ValueError('unlucky')"),
    Sum(5.0, fault="os._exit(3)"),
]
GOOD, WRONG, SLOW, FAILING, DEADLY = "2", "3", "4", "5", "6"
