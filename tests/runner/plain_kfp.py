"""Runs compiled files by kfp.local as it comes, each in turn: what traps are held against.

Called as a program with the files as arguments; prints one line of JSON per file: name, and the error.
What the steps themselves print comes before it.
"""

import json
import sys
import tempfile
import warnings

from kfp import components, local


def main(files: list[str]) -> None:
    """Runs ``files``."""
    warnings.simplefilter("ignore")
    for file in files:
        # The outputs go far from the files: a name with "python3" in it would be changed.
        local.init(local.SubprocessRunner(use_venv=False), pipeline_root=tempfile.mkdtemp(prefix="plain-"))
        error = ""
        try:
            components.load_component_from_file(file)()
        except Exception as raised:
            error = f"{type(raised).__name__}: {raised}"
        print(f"\nDONE {json.dumps([file, error])}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
