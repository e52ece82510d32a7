"""Rows a second of train-gpu against the loop of the tutorials and against a bare loop, on the same network.

Usage: train_gpu.py [ROWS EPOCHS ROUNDS]    measures and publishes; other numbers are for trying it out
       train_gpu.py WAY FOLDER DEVICE BATCH EPOCHS    one of the processes that are measured

On a machine with a GPU its rows are measured too; elsewhere they say "not measured".
"""

import json
import statistics
import sys
import tempfile
from pathlib import Path

from measure import publish, run, table
from train_gpu_streaming import make, write_rows

#: 1 million to fit on, and a tenth held out.
ROWS, EPOCHS, ROUNDS = 1_111_111, 4, 2
BATCHES = (1024, 4096)
WAYS = {"tutorial": "the tutorial's loop", "bare": "bare loop over sliced tensors", "ours": "train-gpu"}


def main(rows: int, epochs: int, rounds: int) -> None:
    import torch

    devices = ["cpu", *["cuda"] * torch.cuda.is_available()]
    lines = []
    with tempfile.TemporaryDirectory() as place:
        run([sys.executable, __file__, "rows", place, "cpu", "0", str(rows)])
        for device in devices:
            for batch in BATCHES:
                found = [_round(place, device, batch, epochs) for _ in range(rounds + 1)]
                lines += _lines(device, batch, found[1:])  # the first round warms the file cache
    if "cuda" not in devices:
        lines += [
            ["GPU", f"{batch:,}", name, "not measured", "", "", ""]
            for batch in BATCHES
            for name in WAYS.values()
        ]
    headers = [
        "device",
        "batch",
        "way",
        "rows a second",
        "of the tutorial's",
        "of the bare loop's",
        "validation loss",
    ]
    text = table(headers, lines)
    if (rows, epochs, rounds) == (ROWS, EPOCHS, ROUNDS):
        publish("train_gpu", f"{text}\n\nMedian of {ROUNDS}, taking turns; {EPOCHS} epochs each.")
    else:
        print(text)


def _round(place: str, device: str, batch: int, epochs: int) -> dict[str, dict[str, float]]:
    """Every way once, each a process of its own: rows a second, and the loss that it ends with."""
    found = {}
    for way in WAYS:
        told = Path(place) / f"{way}.json"
        run([sys.executable, __file__, way, place, device, str(batch), str(epochs)], log=Path(place) / "log")
        found[way] = json.loads(told.read_text())
    return found


def _lines(device: str, batch: int, rounds: list[dict[str, dict[str, float]]]) -> list[list[str]]:
    speed = {way: statistics.median(found[way]["rows_per_second"] for found in rounds) for way in WAYS}
    lines = []
    for way, name in WAYS.items():
        loss = statistics.median(found[way]["validation_loss"] for found in rounds)
        ratios = [f"{speed[way] / speed[other]:.2f}" for other in ("tutorial", "bare")]
        lines.append([device, f"{batch:,}", name, f"{speed[way]:,.0f}", *ratios, f"{loss:.4f}"])
    return lines


# The processes that are measured


def one_way(way: str, folder: Path, device: str, batch: int, epochs: int) -> None:
    import train_gpu_loops as loops

    found = getattr(loops, way)(folder, device, batch, epochs)
    (folder / f"{way}.json").write_text(json.dumps(found))


def rows(folder: Path, count: int) -> None:
    write_rows(count, folder)
    make(folder)


if __name__ == "__main__":
    words = sys.argv[1:]
    if words and not words[0].isdigit():
        way, folder, device, batch, number = words
        if way == "rows":
            rows(Path(folder), int(number))
        else:
            one_way(way, Path(folder), device, int(batch), int(number))
    else:
        main(*map(int, words or (ROWS, EPOCHS, ROUNDS)))
