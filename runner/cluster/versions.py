"""Pipelines and their versions on the server: found, compared, uploaded once."""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kfp_lifecycle.compiler.digest import spec_digest
from kfp_lifecycle.compiler.limits import MAX_VERSION_LENGTH
from kfp_lifecycle.compiler.reader import read_bytes
from kfp_lifecycle.components.shared.errors import LifecycleError
from kfp_lifecycle.runner.cluster.connect import Server
from kfp_lifecycle.runner.cluster.errors import NotFoundError, RefusedError, VersionConflictError
from kfp_lifecycle.runner.load import RunnableFile

#: No pipeline has more versions of one name; a filter that a server does not know gives all of them.
_PAGE = 200


@dataclass(frozen=True)
class Version:
    """A version of a pipeline that the server has.

    Args:
        pipeline_id: The pipeline.
        version_id: The version.
        pipeline: The pipeline's name.
        name: The version's.
        digest: Digest of its spec, ``sha256:…``.
        uploaded: Whether this call has brought it there.
    """

    pipeline_id: str
    version_id: str
    pipeline: str
    name: str
    digest: str
    uploaded: bool


def equals(key: str, value: str) -> str:
    """A filter of the API: ``key`` is ``value``."""
    return json.dumps({"predicates": [{"operation": "EQUALS", "key": key, "stringValue": value}]})


def version_name(file: RunnableFile) -> str:
    """What a file's version is called: as its name says, or else by its content."""
    return file.version or f"sha256-{_identity(file.spec, file.platform)[:12]}"


def ensure_version(server: Server, file: RunnableFile, name: str = "") -> Version:
    """The version of a compiled file on the server, uploaded if it is not there.

    A version of the same name and content is taken as it is; so one may call this any number of times, and
    from several places at once.

    Args:
        server: Where to.
        file: The compiled file.
        name: The version's name; empty for that of :func:`version_name`.

    Raises:
        VersionConflictError: The server has that version with another content.
        OldServerError: The server does not know a field of the file.
        ServerError: The server refuses the file, or does not answer.
    """
    name = name or version_name(file)
    if len(name) > MAX_VERSION_LENGTH:
        raise RefusedError(f"A version's name has at most {MAX_VERSION_LENGTH} characters.", "Shorten it.")
    pipeline_id = _ensure_pipeline(server, file)
    found = _find_version(server, pipeline_id, file.name, name)
    made = ""
    if found is None:

        def upload() -> Any:
            nonlocal made
            answer = _upload(server, file, pipeline_id, name)
            made = answer.pipeline_version_id
            return answer

        found = server.create(
            lambda: _find_version(server, pipeline_id, file.name, name),
            upload,
            what=f"upload {file.name} {name}",
        )
    uploaded = found.pipeline_version_id == made
    digest = spec_digest(file.spec)
    if not uploaded:
        _check_same(server, file, name, found)
    return Version(pipeline_id, found.pipeline_version_id, file.name, name, digest, uploaded)


def _ensure_pipeline(server: Server, file: RunnableFile) -> str:
    from kfp_server_api import V2beta1Pipeline

    pipelines = server.client.pipelines

    def look_up() -> Any:
        try:
            return server.call(
                pipelines.pipeline_service_get_pipeline_by_name,
                file.name,
                namespace=server.namespace or None,
                what=f"look for the pipeline {file.name}",
            )
        except NotFoundError:
            return None

    found = look_up()
    if found is None:
        # Every server makes it the name too; those before 2.5 know no field of that name.
        body = V2beta1Pipeline(
            display_name=file.name,
            description=_description(file) or None,
            namespace=server.namespace or None,
        )
        found = server.create(
            look_up,
            lambda: pipelines.pipeline_service_create_pipeline(body),
            what=f"make the pipeline {file.name}",
        )
    return str(found.pipeline_id)


def _find_version(server: Server, pipeline_id: str, pipeline: str, name: str) -> Any:
    """The version of that name, with its spec; None where there is none."""
    found = server.call(
        server.client.pipelines.pipeline_service_list_pipeline_versions,
        pipeline_id,
        filter=equals("display_name", name),
        page_size=_PAGE,
        what=f"look for {pipeline} {name}",
    )
    several = [v for v in found.pipeline_versions or () if v.display_name == name]
    return several[0] if several else None


def _upload(server: Server, file: RunnableFile, pipeline_id: str, name: str) -> Any:
    arguments = {"name": name}
    if server.pipeline_store == "kubernetes":
        # There a version is an object of the cluster, beside those of all other pipelines.
        arguments = {"name": f"{file.name}-{name}", "display_name": name}
    with tempfile.TemporaryDirectory() as folder:
        # What was checked is what is sent, whatever becomes of the file; and servers go by its suffix.
        path = Path(folder) / f"{file.name}.yaml"
        path.write_bytes(_content(file))
        return server.client.pipeline_uploads.upload_pipeline_version(
            str(path), pipelineid=pipeline_id, description=_description(file) or None, **arguments
        )


def _content(file: RunnableFile) -> bytes:
    import hashlib

    data = file.path.read_bytes()
    if hashlib.sha256(data).hexdigest() != file.sha256:
        raise RefusedError(f"{file.path} has changed just now.", "Try again once nothing writes it.")
    return data


def _description(file: RunnableFile) -> str:
    from kfp_lifecycle.compiler.catalog import description_in

    return description_in(_content(file).decode("utf-8", "replace"))


def _check_same(server: Server, file: RunnableFile, name: str, found: Any) -> None:
    """Refuses a version that has the same name and another content."""
    there = _specs(server, found)
    ours, theirs = spec_digest(file.spec), spec_digest(there[0]) if there else "unknown"
    title = f"{file.name} {name}"
    fix = "Give yours a new version, or name another with --pipeline-version."
    if ours != theirs:
        raise VersionConflictError(
            f"{server.place} has another {title}: its digest is {theirs}, that of {file.path} is {ours}.", fix
        )
    if there and _identity({}, file.platform) != _identity({}, there[1]):
        raise VersionConflictError(
            f"{server.place} has {title} ({ours}) with other Kubernetes settings than {file.path}.", fix
        )


def _specs(server: Server, found: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Pipeline and platform spec of a version; None where it holds none of KFP 2."""
    held = found.pipeline_spec
    if not held:
        whole = server.call(
            server.client.pipelines.pipeline_service_get_pipeline_version,
            found.pipeline_id,
            found.pipeline_version_id,
            what="read the version",
        )
        held = whole.pipeline_spec
    if not isinstance(held, dict):
        return None
    documents = [held.get("pipeline_spec", held), held.get("platform_spec")]
    data = "\n---\n".join(json.dumps(document) for document in documents if document)
    try:
        # Through the reader, as our file has gone: one form of each field, nothing foreign.
        read = read_bytes(data.encode(), server.place)
    except LifecycleError:
        return None
    return read.spec, read.platform


def _identity(spec: dict[str, Any], platform: dict[str, Any]) -> str:
    """A digest of both specs, in hexadecimal."""
    return spec_digest({"spec": spec_digest(spec) if spec else "", "platform": platform}).partition(":")[2]
