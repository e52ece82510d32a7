"""One of the two feature steps as a process of its own.

Usage: one_step.py prepare|featurize TABLE.csv FOLDER
"""

import sys
from pathlib import Path

from steps import Artifact, component_defaults


def main(step: str, source: str, folder: str) -> None:
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)

    def artifacts(*names: str) -> dict[str, Artifact]:
        return {name: Artifact(str(place / name)) for name in names}

    if step == "prepare":
        from kfp_lifecycle.components.prepare.step import prepare_step

        made = artifacts("train", "test", "schema", "profile")
        prepare_step(**{**component_defaults(step), **made, "source": source, "target": "target"})
    else:
        from kfp_lifecycle.components.featurize.step import featurize_step

        made = artifacts("train", "test", "schema", "train_features", "test_features", "plan", "transform")
        made |= artifacts("train_rows", "test_rows", "rows_schema")
        featurize_step(**{**component_defaults(step), **made})


if __name__ == "__main__":
    main(*sys.argv[1:])
