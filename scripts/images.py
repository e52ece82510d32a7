"""``kfp-lifecycle images``."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from kfp_lifecycle.compiler.images.definitions import ImageSet

images = typer.Typer(no_args_is_help=True, help="Build, push and pin the images that components run in.")

Names = Annotated[
    list[str] | None, typer.Argument(metavar="[NAME]…", help="Images of images/images.yaml; all where none.")
]
EngineName = Annotated[
    str, typer.Option("--engine", help="docker, podman or buildah; the first that answers where not given.")
]
RegistryName = Annotated[
    str,
    typer.Option(
        "--registry",
        metavar="REGISTRY",
        help="Where images are pushed to, such as registry.example.com/team.",
    ),
]


@images.callback()
def _root() -> None:
    """Build, push and pin the images that components run in."""


@images.command("requirements")
def requirements_command(
    names: Names = None,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; fail where a file is not what would be written.")
    ] = False,
) -> None:
    """Lock what each image installs, with hashes, from the extras of pyproject.toml.

    Writes `images/NAME/requirements.txt`; versions are those of constraints.txt.
    """
    from kfp_lifecycle.compiler.files import GeneratedFile, differences, write
    from kfp_lifecycle.compiler.images import requirements
    from kfp_lifecycle.scripts.show import show_differences, show_written

    found = _images()
    files = [
        GeneratedFile(f"images/{name}/{file}", text)
        for name in found.chosen(names or [])
        for file, text in requirements.lock(found, name).items()
    ]
    tools = f"images/{requirements.TOOLS}/{requirements.FILE}"
    files.append(GeneratedFile(tools, requirements.lock_tools(found)))
    if check:
        show_differences(differences(found.root, files), "kfp-lifecycle images requirements")
    else:
        show_written(write(found.root, files))


@images.command("build")
def build_command(
    names: Names = None,
    base: Annotated[
        str, typer.Option("--base", metavar="IMAGE@sha256:…", help="The image to build on, best by digest.")
    ] = "",
    engine: EngineName = "",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only the last line of each image.")] = False,
) -> None:
    """Build images, each tagged as the compiled files name it.

    What pip is configured for on this machine, and its certificates, are passed as build secrets.

    **Examples**

        kfp-lifecycle images build
        kfp-lifecycle images build core --base python:3.11-slim-bookworm@sha256:…
        kfp-lifecycle images build --engine podman
    """
    from kfp_lifecycle.compiler.images.build import build, size
    from kfp_lifecycle.compiler.images.engine import find_engine

    found, program = _images(), find_engine(engine)
    for name in found.chosen(names or []):
        build(found, name, program, base=base, output=None if quiet else _dim)
        reference = found.references[name]
        _done(f"{reference} built, {size(program, reference) / 1e6:,.0f} MB")


@images.command("push")
def push_command(registry: RegistryName = "", names: Names = None, engine: EngineName = "") -> None:
    """Push built images to a registry.

    **Examples**

        kfp-lifecycle images push --registry registry.example.com/team
        kfp-lifecycle images push core --registry 127.0.0.1:5000
    """
    from kfp_lifecycle.compiler.images.build import push
    from kfp_lifecycle.compiler.images.engine import find_engine

    found, program = _images(), find_engine(engine)
    for name in found.chosen(names or []):
        _done(f"{push(found, name, program, registry)} pushed")


@images.command("lock")
def lock_command(
    registry: RegistryName = "",
    names: Names = None,
    check: Annotated[
        bool, typer.Option("--check", help="Ask whether the registries still have every digest of the lock.")
    ] = False,
) -> None:
    """Write the digest of each pushed image to `images/images.lock`.

    `kfp-lifecycle compile --locked` names images by these digests. All are found, or nothing is written.

    **Examples**

        kfp-lifecycle images lock --registry registry.example.com/team
        kfp-lifecycle images lock --check
    """
    from kfp_lifecycle.compiler.images import lock

    found = _images()
    digests = lock.check(found) if check else lock.lock(found, found.chosen(names or []), registry)
    for reference, digest in digests.items():
        _done(f"{reference} {digest}")


@images.command("sbom")
def sbom_command(
    names: Names = None,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where to write them.")] = Path(
        "dist/sbom"
    ),
    engine: EngineName = "",
) -> None:
    """Write what is in each image: a CycloneDX bill of materials, and a table of licences."""
    from kfp_lifecycle.compiler.images.engine import find_engine
    from kfp_lifecycle.compiler.images.inventory import write_inventory

    found, program = _images(), find_engine(engine)
    for name in found.chosen(names or []):
        packages = write_inventory(found, name, program, out / name)
        _done(f"{out / name}: {packages} packages")


@images.command("audit")
def audit_command(names: Names = None) -> None:
    """Ask a vulnerability service about every package that images install.

    Needs a service that can be reached (pip-audit's own, PyPI's or OSV's). Exits with 1 where one is known to
    be vulnerable.
    """
    from kfp_lifecycle.compiler.images.inventory import audit

    found = _images()
    vulnerable = [name for name in found.chosen(names or []) if not audit(found, name, typer.echo)]
    if vulnerable:
        raise typer.Exit(1)


def _images() -> "ImageSet":
    from kfp_lifecycle.compiler.images.definitions import find_images
    from kfp_lifecycle.compiler.repository import find_repository

    return find_images(find_repository())


_dim: Callable[[str], None] = lambda line: typer.secho(line, dim=True, err=True)  # noqa: E731


def _done(text: str) -> None:
    typer.echo(typer.style("✓ ", fg=typer.colors.GREEN) + text)
