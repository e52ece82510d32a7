"""``kfp-lifecycle catalog``."""

from pathlib import Path
from typing import Annotated

import typer


def catalog_command(
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="The folder to write the site into.")
    ] = Path("site"),
) -> None:
    """Write a web site of every component and pipeline, to read and to search.

    A page for each with all its versions in `compiled/`: inputs, outputs, images, the graph, examples,
    changes between versions and the file itself; an index with search. This library's are beside your own.
    Open `index.html` as a file or put the folder on any web server: no page asks for anything from
    elsewhere. The same files give the same bytes.

    **Examples**

        kfp-lifecycle catalog                  # into site/
        kfp-lifecycle catalog --out public     # for GitLab Pages
    """
    from kfp_lifecycle.compiler.files import write
    from kfp_lifecycle.compiler.repository import Repository, find_repository
    from kfp_lifecycle.compiler.site import outdated, site
    from kfp_lifecycle.runner.resolve import INSTALLED
    from kfp_lifecycle.scripts.process import collector_off
    from kfp_lifecycle.scripts.show import show_written

    with collector_off():
        files = site([find_repository(), Repository(INSTALLED.parent, "kfp_lifecycle")])
    done = write(out, files)
    for path in outdated(out, files):
        path.unlink()
        done[path.relative_to(out).as_posix()] = "removed"
    show_written(done)
    typer.echo(f"Open {out / 'index.html'} in a browser.")
