"""A training as a program: ``python -m kfp_lifecycle.components.train_gpu --train URI --schema URI …``.

What torchrun starts on the nodes of a TrainJob, Katib for a trial, and what a plain Kubernetes Job or anyone
by hand can start. Options are flags of their own names; metrics go to standard output as ``name=value``
after each epoch, all else to standard error; exit code 1 is failure.
"""

import sys

from kfp_lifecycle.components.shared.step import entry_point


def main(words: list[str]) -> None:
    """Runs the training. Declared errors end the process with one line and code 1."""
    with entry_point():
        from kfp_lifecycle.components.train_gpu.program import start

        start(words)


if __name__ == "__main__":
    main(sys.argv[1:])
