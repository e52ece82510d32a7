"""The edge between a KFP step and the logic: errors become the last line, outputs are whole or absent."""

import functools
import gc
import inspect
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn, ParamSpec, TypeVar

from kfp_lifecycle.components.shared.errors import LifecycleError, StorageError, redact
from kfp_lifecycle.components.shared.outputs import remove, storage_problem

P = ParamSpec("P")
R = TypeVar("R")


def step(*, outputs: tuple[str, ...]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorates the one function that a component's body calls.

    In a pipeline step a declared error is printed as one line, without a traceback and without
    credentials, and ends the process with code 1; called from Python it is raised as it is. Whatever
    fails, the outputs that the call had begun are removed.

    Args:
        outputs: Names of the arguments that are output artifacts.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> R:
            _log_to_stderr()
            if os.environ.get("_KFP_RUNTIME") == "true":
                # Before scikit-learn loads OpenMP: its threads would otherwise spin while they wait for each
                # other, which takes boosting from 10 s to over 70 s where other processes share the cores.
                os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
            try:
                return function(*args, **kwargs)
            except BaseException as error:
                given = signature.bind(*args, **kwargs).arguments
                for name in outputs:
                    remove(given[name].path)
                return _fail(error)
            finally:
                if os.environ.get("_KFP_RUNTIME") == "true":
                    # The process ends now. Python would first look through all that was imported for garbage,
                    # which takes a second and more after MLflow and scikit-learn.
                    gc.freeze()

        return run

    return decorate


@contextmanager
def entry_point() -> Iterator[None]:
    """For the whole of a program that is started by itself (``python -m …``): it ends as a step does.

    A declared error is printed as one line, without a traceback and without credentials, and ends the
    process with code 1. All log lines go to standard error.
    """
    _log_to_stderr()
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        yield
    except BaseException as error:
        if (declared := _declared(error)) is None:
            raise
        _end(declared)


def _log_to_stderr() -> None:
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)


def _end(declared: BaseException) -> NoReturn:
    sys.stdout.flush()
    print(f"ERROR {type(declared).__name__}: {redact(str(declared))}", file=sys.stderr, flush=True)
    raise SystemExit(1) from None


def _fail(error: BaseException) -> R:  # type: ignore[type-var]
    """Raises ``error`` as its reader needs it: one line in a step's log, an exception in Python."""
    declared = _declared(error)
    if declared is None:
        raise error
    if os.environ.get("_KFP_RUNTIME") != "true":
        raise declared from (error if declared is not error else None)
    _end(declared)


def _declared(error: BaseException) -> BaseException | None:
    # By mark, not by class: a model carries its own copy of LifecycleError.
    if isinstance(error, LifecycleError) or getattr(error, "is_declared", False):
        return error
    if (said := storage_problem(error)) is not None:
        return StorageError(f"An output cannot be written: {said}.", "Free space there, or write elsewhere.")
    return None
