"""From the name of a pipeline or component to its compiled file."""

import re
from collections.abc import Iterator
from pathlib import Path

from kfp_lifecycle.compiler.versions import VERSION, precedence
from kfp_lifecycle.components.shared.errors import did_you_mean
from kfp_lifecycle.runner.errors import PipelineFileError

KINDS = ("pipelines", "components")

#: The compiled files that come with this library: in a clone and in a wheel alike beside this package.
INSTALLED = Path(__file__).resolve().parents[1] / "compiled"

_NAME = re.compile(r"(?:(pipelines|components)/)?([A-Za-z0-9][\w-]*)(?:@(.+))?")


def find(name: str, start: Path | None = None) -> Path:
    """The compiled file of ``NAME``, ``NAME@VERSION``, ``pipelines/NAME``, or the file that ``name`` is.

    Looks for ``compiled/`` from ``start`` (default: the working directory) upwards, then into this
    library. Without a version, the newest one; a pre-release only where there is no other.

    Raises:
        PipelineFileError: There is no such file, name or version, or both a pipeline and a component have it.
    """
    path = Path(name).expanduser()
    matched = _NAME.fullmatch(name)
    if path.suffix in (".yaml", ".yml", ".json") or path.is_file() or matched is None:
        if not path.is_file():
            raise PipelineFileError(f"There is no file {name}.", _known_sentence(name, start))
        return path
    kind, base, version = matched[1], matched[2].replace("_", "-"), matched[3]
    for compiled in _roots(start):
        folders = [compiled / k / base for k in ([kind] if kind else KINDS) if _versions(compiled / k / base)]
        if len(folders) > 1:
            raise PipelineFileError(
                f"{base!r} is both a pipeline and a component.", f"Say pipelines/{base} or components/{base}."
            )
        if folders:
            return _file(folders[0], version)
    raise PipelineFileError(
        f"There is no compiled pipeline or component {name!r}.", _known_sentence(base, start)
    )


def names(start: Path | None = None) -> list[str]:
    """Every name that :func:`find` knows, pipelines first; for completion and for suggestions."""
    found = [
        folder.name
        for kind in KINDS
        for compiled in _roots(start)
        for folder in sorted(compiled.glob(f"{kind}/*"))
        if _versions(folder)
    ]
    return list(dict.fromkeys(found))


def _known_sentence(name: str, start: Path | None) -> str:
    return did_you_mean(name, names(start)) or "Compile it first: kfp-lifecycle compile."


def _roots(start: Path | None) -> Iterator[Path]:
    here = (start or Path.cwd()).resolve()
    yield from dict.fromkeys([*(folder / "compiled" for folder in (here, *here.parents)), INSTALLED])


def _versions(folder: Path) -> dict[str, Path]:
    """Version to file, oldest first."""
    found = {file.stem: file for file in folder.glob("*.yaml") if VERSION.fullmatch(file.stem)}
    return {version: found[version] for version in sorted(found, key=precedence)}


def _file(folder: Path, version: str | None) -> Path:
    versions = _versions(folder)
    if version is None:
        return versions[next((v for v in reversed(versions) if "-" not in v), list(versions)[-1])]
    if version not in versions:
        raise PipelineFileError(
            f"{folder.name!r} has no version {version!r}.", f"There is {', '.join(reversed(versions))}."
        )
    return versions[version]
