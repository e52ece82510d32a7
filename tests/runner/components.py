"""Small components for the pipelines of these tests: each is run as a step, by the compiled file alone."""

# ruff: noqa: PTH102, PTH123 (what users write)

from typing import NamedTuple

from kfp import dsl

component = dsl.component(base_image="registry.test/steps:1", install_kfp_package=False)


@component
def say(text: str) -> str:
    print(f"SAID {text!r}")
    return text


@component
def pair(left: str, right: str) -> str:
    print(f"SAID {left!r} {right!r}")
    return f"{left}-{right}"


@component
def shown(numbers: list, mapping: dict, number: float = 1.0) -> str:
    print(f"SAID {numbers!r} {mapping!r} {number!r}")
    return repr((numbers, mapping, number))


@component
def optional(text: str = None, number: int = None) -> str:  # noqa: RUF013 - this is how users write it
    print(f"SAID {text!r} {number!r}")
    return repr((text, number))


@component
def several() -> NamedTuple("Outputs", [("names", list), ("flag", bool)]):
    return ["a", "b"], True


@component
def one_list() -> list:
    return ["a", "b"]


@component
def listed(items: list) -> str:
    print(f"SAID {items!r}")
    return repr(items)


@component
def make(text: str, data: dsl.Output[dsl.Dataset]):
    with open(data.path, "w") as file:
        file.write(text)
    data.metadata.update(rows=7043, share=0.5, nested={"numbers": [1, 2.5]})


@component
def take(data: dsl.Input[dsl.Dataset]) -> str:
    with open(data.path) as file:
        text = file.read()
    print(f"SAID {text!r}")
    return f"{text} {sorted(data.metadata.items())}"


@component
def take_with(data: dsl.Input[dsl.Dataset], text: str) -> str:
    with open(data.path) as file:
        return file.read() + text


@component
def report(page: dsl.Output[dsl.HTML], metrics: dsl.Output[dsl.Metrics]):
    with open(page.path, "w") as file:
        file.write("<p>A report</p>")
    metrics.log_metric("roc_auc", 0.5)


@component
def register() -> NamedTuple("Outputs", [("model_version", str), ("model_uri", str), ("aliases", str)]):
    return "3", "models:/churn/3", "challenger,champion"


@component
def environment() -> dict:
    import os

    return dict(os.environ)


@component
def fail(how: str):
    import os
    import signal
    import sys

    if how == "raise":
        raise ValueError("the first line\nand a second")
    if how == "declared":
        print("ERROR SourceError: data/none.csv does not exist. Correct the path.", file=sys.stderr)
        sys.exit(1)
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "flood":
        line = b"x" * 999 + b"\n"
        for _ in range(100_000):
            sys.stdout.buffer.write(line)
    if how == "bytes":
        sys.stdout.buffer.write(b"\xff\xfe no newline \xe4")
    sys.exit(3)


@component
def fail_until(attempt: int, folder: str) -> str:
    import pathlib

    mark = pathlib.Path(folder) / "attempts"
    count = len(mark.read_text()) + 1 if mark.exists() else 1
    mark.write_text("x" * count)
    if count < attempt:
        raise RuntimeError(f"attempt {count}")
    return f"attempt {count}"


@component
def untidy(folder: str, data: dsl.Output[dsl.Dataset]):
    import os
    import pathlib

    os.mkdir(data.path)  # fails where an earlier attempt has left it
    mark = pathlib.Path(folder) / "attempts"
    if not mark.exists():
        mark.write_text("x")
        raise RuntimeError("the first attempt")


@component
def wait(seconds: float, folder: str):
    import pathlib
    import subprocess
    import time

    child = subprocess.Popen(["sleep", str(seconds)])
    (pathlib.Path(folder) / f"pid-{child.pid}").touch()
    print("waiting", flush=True)
    time.sleep(seconds)


@component
def final(status: dsl.PipelineTaskFinalStatus) -> str:
    return status.state
