"""`kfp-lifecycle compile` of everything, cold, against a process that only imports kfp."""

import sys
from pathlib import Path

from measure import median, publish, run, table

ROUNDS = 9
BIN = Path(sys.executable).parent


def main() -> None:
    imports = [sys.executable, "-c", "import kfp, kfp.dsl, kfp.compiler"]
    compiles = [str(BIN / "kfp-lifecycle"), "compile"]
    run(imports), run(compiles)
    rounds = [(run(imports), run(compiles)) for _ in range(ROUNDS)]
    bare, ours = median([r[0] for r in rounds]), median([r[1] for r in rounds])
    rows = [
        ["import kfp, kfp.dsl, kfp.compiler", f"{bare.seconds:.2f} s", "1"],
        ["kfp-lifecycle compile", f"{ours.seconds:.2f} s", f"{ours.seconds / bare.seconds:.2f}"],
    ]
    publish(
        "compile_all",
        table(["process", "time", "ratio"], rows) + f"\n\nMedian of {ROUNDS}, one after the other.",
    )


if __name__ == "__main__":
    main()
