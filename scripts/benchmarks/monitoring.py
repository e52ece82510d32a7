"""`monitor` against Evidently's drift preset on whole tables of 1 million rows, and alone on 10 million."""

import json
import os
import sys
import tempfile
from pathlib import Path

from measure import Measured, median, publish, run, table

#: Rows of the smaller tables; fewer for a quick try, which is not published.
ROWS = int(os.environ.get("ROWS", "1000000"))
ROUNDS = 3
PARTS = str(Path(__file__).parent / "monitoring_parts.py")


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        sizes = {"small": ROWS, "large": 10 * ROWS}
        for name, rows in sizes.items():
            part("table", rows, 0, 1, folder / f"{name}-reference.parquet")
            part("table", rows, 0.3, 2, folder / f"{name}-current.parquet")
        part("model", folder / "small-reference.parquet", folder / "model")
        ours, theirs = [], []
        for _ in range(ROUNDS):
            ours.append(monitor(folder, "small"))
            theirs.append(part("evidently", *sides(folder, "small"), folder))
        differ = differences(folder)
        large = monitor(folder, "large")
    text = results(median(ours), median(theirs), large, differ)
    if ROWS == 1_000_000:
        publish("monitoring", text)
    else:
        print(text)


def part(name: str, *arguments: object) -> Measured:
    return run([sys.executable, PARTS, name, *map(str, arguments)], log=Path(f"/tmp/monitoring-{name}.log"))


def sides(folder: Path, name: str) -> list[Path]:
    return [folder / f"{name}-reference.parquet", folder / f"{name}-current.parquet"]


def monitor(folder: Path, name: str) -> Measured:
    return part("monitor", folder / "model", *sides(folder, name), folder)


def differences(folder: Path) -> str:
    """In how many columns the verdicts differ, and how far the scores are apart."""
    ours, theirs = (json.loads((folder / name).read_text()) for name in ("verdicts.json", "evidently.json"))
    same = sum(ours[name][1] == theirs[name][1] for name in theirs)
    apart = max(abs(ours[name][0] - theirs[name][0]) for name in theirs)
    said = max(ours[name][2] for name in theirs)
    drifted = sum(one[1] for one in theirs.values())
    return (
        f"The same verdict in {same} of {len(theirs)} columns, {drifted} of them drifted. Scores are "
        f"{apart:.1g} apart at most; the error that the report states is {said:.1g}."
    )


def results(ours: Measured, theirs: Measured, large: Measured, differ: str) -> str:
    rows = [
        ["1 million, Evidently's preset", *shown(theirs), "1", "1"],
        [
            "1 million, monitor",
            *shown(ours),
            f"1/{theirs.seconds / ours.seconds:.1f}",
            f"{ours.peak_mb / theirs.peak_mb:.2f}",
        ],
        ["10 million, monitor", *shown(large), f"{large.seconds / ours.seconds:.1f} times 1 million", ""],
    ]
    text = table(["rows a side", "time", "peak memory", "time", "memory"], rows)
    return f"{text}\n\n{differ}\n\nMedian of {ROUNDS} at 1 million, taking turns; once for 10 million."


def shown(measured: Measured) -> list[str]:
    return [f"{measured.seconds:.1f} s", f"{measured.peak_mb:,.0f} MB"]


if __name__ == "__main__":
    main()
