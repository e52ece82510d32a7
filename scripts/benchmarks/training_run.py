"""`kfp-lifecycle run training` on the Telco table against the same work in one process.

The runs take turns, so that a slow minute of the machine falls on all of them.
"""

import json
import sys
import tempfile
from pathlib import Path

from measure import ROOT, Measured, median, publish, run, table

ROUNDS = 3
OURS = "kfp-lifecycle run training"
BIN = Path(sys.executable).parent
HERE = Path(__file__).parent
DATA, PARAMETERS = ROOT / "data" / "churn.csv", ROOT / "pipelines" / "params" / "churn.yaml"


def main() -> None:
    if not DATA.exists():
        run([str(BIN / "kfp-lifecycle"), "demo-data", "churn"])
    with tempfile.TemporaryDirectory() as place:
        ways: dict[str, list[Measured]] = {}
        for round_ in range(ROUNDS + 1):
            for name, command in _commands(Path(place) / str(round_)).items():
                # Every way waits for threads as a step does; only ours says where it tracks from outside.
                env = {"OMP_WAIT_POLICY": "PASSIVE"}
                if name == OURS:
                    env["MLFLOW_TRACKING_URI"] = f"sqlite:///{place}/{round_}.db"
                measured = run(command, env=env, log=Path(place) / "log")
                if round_:  # the first round warms the file cache
                    ways.setdefault(name, []).append(measured)
        steps = _steps(Path(place) / str(ROUNDS) / "run" / "run.json")
    ours = median(ways[OURS])
    rows = []
    for name, measured in ways.items():
        m = median(measured)
        rows.append([name, f"{m.seconds:.1f} s", f"{ours.seconds / m.seconds:.2f}"])
    text = table(["way", "time", "our run takes … times that"], rows)
    where = table(["step", "time"], [[name, f"{seconds:.1f} s"] for name, seconds in steps])
    rest = ours.seconds - sum(seconds for _, seconds in steps)
    publish(
        "training_run",
        f"{text}\n\nMedian of {ROUNDS}, taking turns. In the last run the time went to:\n\n{where}\n\n"
        f"and {rest:.1f} s to the command itself: importing kfp, checking, the table at the end.",
    )


def _commands(folder: Path) -> dict[str, list[str]]:
    python = sys.executable
    plain = [python, str(HERE / "plain_training.py"), str(DATA)]
    return {
        OURS: [
            str(BIN / "kfp-lifecycle"),
            *("run", "training", "--params", str(PARAMETERS), "--output-dir", str(folder / "run")),
        ],
        "the same functions in one process": [
            python,
            str(HERE / "one_process.py"),
            str(PARAMETERS),
            str(folder / "one"),
        ],
        "plain script, all the work": [*plain, str(folder / "plain"), "1000"],
        "plain script without confidence intervals": [*plain, str(folder / "bare"), "0"],
    }


def _steps(record: Path) -> list[tuple[str, float]]:
    return [(step["name"], step["seconds"]) for step in json.loads(record.read_text())["steps"]]


if __name__ == "__main__":
    main()
