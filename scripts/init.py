"""``kfp-lifecycle init``."""

from pathlib import Path
from typing import Annotated

import typer


def init_command(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Where; made where it is missing.", show_default=False)
    ] = Path(),
) -> None:
    """Begin a repository of your own components and pipelines, beside those of this library.

    Writes `components/` with one small component, `pipelines/` with one that has it run beside prepare,
    train and the others, its parameters and a small table, `profiles/`, `compiled/`, tests, the settings of
    ruff, mypy and pytest, a Dockerfile, and a GitHub Actions workflow: lint, test, compile --check, train and
    gate, image, submit. Overwrites nothing.

    **Examples**

        kfp-lifecycle init my-models
        cd my-models && kfp-lifecycle run penguins --params pipelines/params/penguins.yaml
    """
    from kfp_lifecycle.compiler.files import write
    from kfp_lifecycle.compiler.init import new_repository, refuse_existing
    from kfp_lifecycle.scripts.process import collector_off
    from kfp_lifecycle.scripts.show import show_written

    root = folder.resolve()
    with collector_off():
        files = new_repository(root.name)
    refuse_existing(root, files)
    show_written(write(root, files))
    typer.echo("Now read README.md: it says how to run this, and how to make it yours.")
