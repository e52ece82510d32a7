"""A DVC-tracked file or folder at a revision of its repository."""

from pathlib import Path, PurePosixPath
from typing import Any

from kfp_lifecycle.components.prepare.files import Fetched, table_files
from kfp_lifecycle.components.shared.errors import SourceError, did_you_mean, redact


def fetch_tracked(uri: str, revision: str, file_format: str, folder: Path) -> Fetched:
    """Copies what DVC tracks at a path from the repository's remote (or cache) into ``folder``.

    Args:
        uri: ``dvc://repository/path``. The repository is a local folder, or a Git address of which the path
            starts after ``.git/`` or after a double slash (``dvc://github.com/org/repo//data/x.csv``).
        revision: Commit, tag or branch; empty is the working tree of a local repository, else its HEAD.
        file_format: ``csv``, ``parquet`` or ``auto``.
        folder: Where to put the files.

    Raises:
        SourceError: No such repository, revision or path, or its data is not in the remote.
    """
    from dvc.api import DVCFileSystem
    from dvc.exceptions import DvcException
    from scmrepo.exceptions import SCMError

    repository, path = _parts(uri)
    try:
        tracked = DVCFileSystem(url=repository, rev=revision or None)
        if not tracked.exists(path):
            raise _missing(tracked, uri, path, revision)
        names = _names(tracked, path, file_format, uri)
        files = [folder / f"{index:05d}-{PurePosixPath(name).name}" for index, name in enumerate(names)]
        for name, file in zip(names, files, strict=True):
            tracked.get_file(name, str(file))
        digest = _digest(tracked.info(path))
    except (DvcException, SCMError, OSError) as error:
        said = redact(" ".join(str(error).split()))[:300].rstrip(".")
        where = f"{redact(uri)} at {revision!r}" if revision else redact(uri)
        raise SourceError(
            f"{where} cannot be read: {said}.",
            "Check repository, revision and path, and that 'dvc push' has put the data into the remote.",
        ) from error
    return Fetched(files, redact(uri) + (f"@{revision}" if revision else ""), lambda: digest)


def _parts(uri: str) -> tuple[str, str]:
    """Repository and path of a ``dvc://`` address."""
    rest = uri.partition("://")[2]
    protocol, divided, address = rest.rpartition("://")
    start = protocol + divided
    if "//" in address.lstrip("/"):
        head, _, path = address.rpartition("//")
        return _repository(start + head), path
    if ".git/" in address:
        head, _, path = address.partition(".git/")
        return _repository(f"{start}{head}.git"), path
    for parent in Path(address).expanduser().parents:
        if (parent / ".dvc").is_dir():
            return str(parent), Path(address).expanduser().relative_to(parent).as_posix()
    raise SourceError(
        f"{redact(uri)} lies in no DVC repository.",
        "Name a path inside a folder where 'dvc init' was run, or a Git address and a path divided by //.",
    )


def _repository(address: str) -> str:
    """A Git address as Git takes it: one that is no local folder and names no protocol is behind https."""
    return address if "://" in address or Path(address).exists() else f"https://{address}"


def _names(tracked: Any, path: str, file_format: str, uri: str) -> list[str]:
    if not tracked.isdir(path):
        return [path]
    below = {name.removeprefix(path).lstrip("/"): name for name in tracked.find(path)}
    return [below[name] for name in table_files(below, file_format, redact(uri))]


def _missing(tracked: Any, uri: str, path: str, revision: str) -> SourceError:
    parent = str(PurePosixPath(path).parent)
    names = (
        [PurePosixPath(name).name for name in tracked.ls(parent, detail=False)]
        if tracked.isdir(parent)
        else []
    )
    where = f" at {revision!r}" if revision else ""
    return SourceError(f"{redact(uri)} does not exist{where}.", did_you_mean(PurePosixPath(path).name, names))


def _digest(info: dict[str, Any]) -> str:
    """DVC's own hash of the data, or Git's object where Git holds the file."""
    entry = info.get("dvc_info", {}).get("entry")
    found = getattr(entry, "hash_info", None)
    return f"{found.name}:{found.value}" if found else f"git:{info.get('sha', '')}"
