"""The model server as a program: ``python -m kfp_lifecycle.components.serve --model URI --port 8080 …``.

What the serving image starts on a cluster, the ``serve`` component on a laptop, and anyone by hand.
SIGTERM ends it once the requests under way are answered.
"""

import os
import sys

from kfp_lifecycle.components.shared.step import entry_point


def main(words: list[str]) -> None:
    """Serves until told to end. Declared errors end the process with one line and code 1."""
    with entry_point():
        # Before scikit-learn and Polars are loaded: requests are what runs side by side here, and threads
        # that share one small prediction out among themselves only get in each other's way.
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        from kfp_lifecycle.components.serve.server.program import start

        start(words)


if __name__ == "__main__":
    main(sys.argv[1:])
