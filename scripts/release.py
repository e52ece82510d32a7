"""``kfp-lifecycle release``."""

from typing import Annotated

import typer

from kfp_lifecycle.scripts.completion import names as complete_names


def release_command(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME…",
            help="Components and pipelines whose current version is released.",
            autocompletion=complete_names,
            show_default=False,
        ),
    ],
) -> None:
    """Mark the current version of components and pipelines as released: its file never changes again.

    From then on `compile` refuses code that would change the file, and says which version number the change
    needs. The mark is in `compiled/catalog.json`; it is final once that is committed. docs/versions.md says
    more.

    **Examples**

        kfp-lifecycle release training
        kfp-lifecycle release prepare train
    """
    from kfp_lifecycle.compiler.files import write
    from kfp_lifecycle.compiler.mark import released_catalog
    from kfp_lifecycle.compiler.repository import find_repository
    from kfp_lifecycle.scripts.process import collector_off

    repository = find_repository()
    with collector_off():
        catalog, anew = released_catalog(repository, names)
    write(repository.root, [catalog])
    for path in anew:
        typer.echo(f"compiled/{path} is released.")
    typer.echo(f"Commit {catalog.path}." if anew else "All of them were released before.")
