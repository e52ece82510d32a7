"""``kfp-lifecycle compile``."""

from typing import Annotated

import typer

from kfp_lifecycle.scripts.completion import names as complete_names


def compile_command(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME",
            help="Components and pipelines to compile; all where none is named.",
            autocompletion=complete_names,
            show_default=False,
        ),
    ] = None,
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Write nothing; show what would change, and exit with 1 if anything does."
        ),
    ] = False,
) -> None:
    """Compile components and pipelines into `compiled/`, with a catalog of what is there.

    Works on the repository that you are in: `compiled/components/NAME/VERSION.yaml`,
    `compiled/pipelines/NAME/VERSION.yaml` and `compiled/catalog.json`. The same code gives the same bytes on
    every machine. Files of other versions stay as they are.

    **Examples**

        kfp-lifecycle compile                     # everything
        kfp-lifecycle compile training prepare    # one pipeline and one component
        kfp-lifecycle compile --check             # in CI: is compiled/ what the code gives?
    """
    from kfp_lifecycle.compiler.compile import compiled_files
    from kfp_lifecycle.compiler.files import differences, write
    from kfp_lifecycle.compiler.repository import find_repository
    from kfp_lifecycle.scripts.process import collector_off
    from kfp_lifecycle.scripts.show import show_differences, show_written

    repository = find_repository()
    with collector_off():
        files = compiled_files(repository, names or [])
    if check:
        show_differences(differences(repository.root, files), "kfp-lifecycle compile")
    else:
        show_written(write(repository.root, files))
