"""The input example that a model carries, and what the model made of it when it was saved.

It lies in the model as ``data/lifecycle/example.json``: rows as a server gets them in JSON, and the columns
of their predictions. A server that gives other outputs for them does not serve what was trained.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kfp_lifecycle.components.shared.errors import ServingError

if TYPE_CHECKING:
    import pandas as pd

#: The file's name, and the folder that it is in within a model.
EXAMPLE = "example.json"
DATA = Path("data") / "lifecycle"


@dataclass(frozen=True)
class Example:
    """Rows, and what a model made of them.

    Args:
        inputs: Each row by column: JSON values, None where a value is missing.
        outputs: Each row's prediction by column, likewise.
    """

    inputs: list[dict[str, Any]]
    outputs: list[dict[str, Any]]

    def save(self, path: Path) -> None:
        """Writes it as JSON, readable and in a stable order."""
        found = {"inputs": self.inputs, "outputs": self.outputs}
        path.write_text(json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False) + "\n", "utf-8")


def record(model: Any, rows: "pd.DataFrame") -> Example:
    """What ``model`` makes of rows after they went through JSON, as those of a request do.

    Args:
        model: Has ``predict`` for a pandas frame; gives a frame.
        rows: Rows as they are in the source.
    """
    import pandas as pd

    inputs = as_json(rows)
    names = [str(name) for name in rows.columns]
    frame = pd.DataFrame({name: pd.Series([row[name] for row in inputs], dtype=object) for name in names})
    return Example(inputs, as_json(model.predict(frame)))


def as_json(frame: "pd.DataFrame") -> list[dict[str, Any]]:
    """The rows of a frame as JSON values; None where a value is missing or not finite."""
    text = frame.to_json(orient="records", double_precision=15, date_format="iso")
    rows: list[dict[str, Any]] = json.loads(text)
    return rows


def read_example(folder: str | Path) -> Example | None:
    """The recorded example of a model's folder; None where it has none.

    Raises:
        ServingError: The file is damaged.
    """
    path = Path(folder) / DATA / EXAMPLE
    if not path.exists():
        return None
    try:
        found: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return Example(list(found["inputs"]), list(found["outputs"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ServingError(f"{path} is damaged: {error}.", "Get the model's files again.") from error
