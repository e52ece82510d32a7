"""``kfp-lifecycle new``."""

from typing import Annotated

import typer

new = typer.Typer(no_args_is_help=True, help="Begin something new that works from the first moment.")


@new.callback()
def _root() -> None:
    """Begin something new that works from the first moment."""


@new.command("component")
def new_component_command(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Folder and function of the component, such as clean_text.")
    ],
) -> None:
    """Write a small component that works, to be changed into the one you want.

    Makes `components/NAME/` with the KFP face, the step, the logic and a README, a test in
    `tests/components/NAME/`, and compiles it. What it writes passes lint, types, tests, `compile --check` and
    `docs --check` as it is.

    **Examples**

        kfp-lifecycle new component clean_text
        pytest tests/components/clean_text
    """
    from kfp_lifecycle.compiler.compile import compiled_files
    from kfp_lifecycle.compiler.docs import generated_docs
    from kfp_lifecycle.compiler.files import write
    from kfp_lifecycle.compiler.repository import find_repository
    from kfp_lifecycle.compiler.scaffold import new_component
    from kfp_lifecycle.scripts.process import collector_off
    from kfp_lifecycle.scripts.show import show_written

    repository = find_repository()
    with collector_off():
        done = write(repository.root, new_component(repository, name))
        done |= write(repository.root, compiled_files(repository, [name]))
        done |= write(repository.root, generated_docs(repository))
    show_written({path: what for path, what in done.items() if what != "unchanged"})
    typer.echo(f"Now change components/{name}/, and run kfp-lifecycle compile and kfp-lifecycle docs.")
