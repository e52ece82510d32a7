"""``kfp-lifecycle docs``."""

from typing import Annotated

import typer


def docs(
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Write nothing; show what would change, and exit with 1 if anything does."
        ),
    ] = False,
) -> None:
    """Write the READMEs that are generated from the code.

    One for each component (`components/NAME/README.md`), one for the pipelines (`pipelines/README.md`), and
    the table in the top README between its two `components:` markers. All of it comes from signatures and
    docstrings.

    **Examples**

        kfp-lifecycle docs            # after changing a docstring or a parameter
        kfp-lifecycle docs --check    # in CI: are they what the code gives?
    """
    from kfp_lifecycle.compiler.docs import generated_docs
    from kfp_lifecycle.compiler.files import differences, write
    from kfp_lifecycle.compiler.repository import find_repository
    from kfp_lifecycle.scripts.process import collector_off
    from kfp_lifecycle.scripts.show import show_differences, show_written

    repository = find_repository()
    with collector_off():
        files = generated_docs(repository)
    if check:
        show_differences(differences(repository.root, files), "kfp-lifecycle docs")
    else:
        show_written(write(repository.root, files))
