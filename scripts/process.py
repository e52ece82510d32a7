"""The process that a short verb runs in."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collector_off() -> Iterator[None]:
    """Keeps the garbage collector out of a verb's way, at the process's end too.

    Importing kfp makes a million objects that live until then. Looking through them again and again, and once
    more when the interpreter ends, takes a third of the time that compiling everything takes.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_on:
            gc.enable()
