"""``kfp-lifecycle compile``."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kfp_lifecycle.scripts.completion import names as complete_names

if TYPE_CHECKING:
    from kfp_lifecycle.compiler.files import GeneratedFile
    from kfp_lifecycle.compiler.repository import Repository


class Form(StrEnum):
    """What is written: a file to upload, or objects to apply."""

    IR = "ir"
    KUBERNETES = "kubernetes"


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
    profile: Annotated[
        str, typer.Option(metavar="NAME|FILE", help="The environment: local, cpu, gpu, or one of your own.")
    ] = "local",
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write here, and not into compiled/.", show_default=False),
    ] = None,
    locked: Annotated[
        bool, typer.Option("--locked", help="Name images by their digests in images/images.lock.")
    ] = False,
    form: Annotated[
        Form, typer.Option("--format", help="A file to upload, or Pipeline and PipelineVersion objects.")
    ] = Form.IR,
    namespace: Annotated[
        str, typer.Option(help="Namespace of the objects of --format kubernetes.", show_default=False)
    ] = "",
) -> None:
    """Compile components and pipelines into `compiled/`, with a catalog of what is there.

    Works on the repository that you are in: `compiled/components/NAME/VERSION.yaml`,
    `compiled/pipelines/NAME/VERSION.yaml` and `compiled/catalog.json`. The same code gives the same bytes on
    every machine. Files of other versions stay as they are; a released one never changes (docs/versions.md).

    `compiled/` holds the profile local. What is compiled for another environment (docs/profiles.md), with
    digests, or as Kubernetes objects goes into a folder of its own.

    **Examples**

        kfp-lifecycle compile                     # everything
        kfp-lifecycle compile training prepare    # one pipeline and one component
        kfp-lifecycle compile --check             # in CI: is compiled/ what the code gives?
        kfp-lifecycle compile training --profile gpu --out build/gpu
        kfp-lifecycle compile --profile cpu --format kubernetes --namespace team --out build/objects
    """
    from kfp_lifecycle.compiler.compile import compiled_files
    from kfp_lifecycle.compiler.files import differences, write
    from kfp_lifecycle.compiler.repository import find_repository
    from kfp_lifecycle.scripts.process import collector_off
    from kfp_lifecycle.scripts.show import show_differences, show_written

    if out is None and (profile != "local" or locked or form is not Form.IR):
        raise typer.BadParameter(
            "compiled/ holds the profile local; say where else to write.", param_hint="--out"
        )
    if namespace and form is not Form.KUBERNETES:
        raise typer.BadParameter("Only --format kubernetes has one.", param_hint="--namespace")
    repository = find_repository()
    if out is not None and out.resolve() == repository.compiled:
        raise typer.BadParameter("compiled/ is written without it; say where else.", param_hint="--out")
    with collector_off():
        if out is None:
            files = compiled_files(repository, names or [])
        else:
            files = _elsewhere(repository, names or [], profile, locked, form, namespace)
    root = repository.root if out is None else out
    if check:
        show_differences(differences(root, files), "kfp-lifecycle compile")
    else:
        show_written(write(root, files))


def _elsewhere(
    repository: "Repository", names: list[str], profile: str, locked: bool, form: Form, namespace: str
) -> "list[GeneratedFile]":
    """What is written into a folder of its own."""
    from dataclasses import replace

    from kfp_lifecycle.compiler.compile import compile_repository
    from kfp_lifecycle.compiler.files import GeneratedFile
    from kfp_lifecycle.compiler.objects import kubernetes_file
    from kfp_lifecycle.compiler.profiles import find_profile

    chosen = find_profile(repository, profile)
    if locked:
        chosen = replace(chosen, images=replace(chosen.images, locked=True))
    compiled = compile_repository(repository, names, chosen)
    if form is Form.KUBERNETES:
        return [kubernetes_file(item, namespace) for item in compiled]
    return [GeneratedFile(item.path, item.text) for item in compiled]
