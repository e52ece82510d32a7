"""`prepare` + `featurize` against the tutorial way on 1 million rows, and alone on 10 million."""

import sys
import tempfile
from pathlib import Path

from measure import Measured, median, publish, run, table

ROUNDS = 5
HERE = Path(__file__).parent


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        small, large = folder / "1m.csv", folder / "10m.csv"
        for rows, file in ((1_000_000, small), (10_000_000, large)):
            run([sys.executable, str(HERE / "make_table.py"), str(rows), str(file)])
        ours, tutorial = [], []
        for round_ in range(ROUNDS):
            ours.append(both(small, folder / f"ours{round_}"))
            tutorial.append(tutorial_way(small, folder / f"tutorial{round_}"))
        o, t = median(ours), median(tutorial)
        ten = both(large, folder / "large")
    rows = [
        ["1 million, the tutorial way", f"{t.seconds:.1f} s", f"{t.peak_mb:,.0f} MB", "1", "1"],
        [
            "1 million, prepare + featurize",
            f"{o.seconds:.1f} s",
            f"{o.peak_mb:,.0f} MB",
            f"{t.seconds / o.seconds:.1f} times as fast",
            f"{o.peak_mb / t.peak_mb:.2f}",
        ],
        [
            "10 million, prepare + featurize",
            f"{ten.seconds:.1f} s",
            f"{ten.peak_mb:,.0f} MB",
            f"{ten.seconds / o.seconds:.1f} times the time of 1 million",
            "",
        ],
    ]
    text = table(["rows", "time", "peak memory", "speed", "memory"], rows)
    publish(
        "prepare_featurize",
        f"{text}\n\nMedian of {ROUNDS} for 1 million rows, taking turns; once for 10 million.",
    )


def both(source: Path, folder: Path) -> Measured:
    """Both steps, each a process of its own as in a pipeline: times added, the larger peak."""
    steps = []
    for step in ("prepare", "featurize"):
        steps.append(run([sys.executable, str(HERE / "one_step.py"), step, str(source), str(folder)]))
    return Measured(sum(s.seconds for s in steps), max(s.peak_mb for s in steps))


def tutorial_way(source: Path, folder: Path) -> Measured:
    return run([sys.executable, str(HERE / "tutorial_features.py"), str(source), str(folder)])


if __name__ == "__main__":
    main()
