"""Starts a run of a compiled file on a cluster, once."""

import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version as installed
from typing import Any

from kfp_lifecycle.compiler.lint import RULES, Finding, failing, find_settings, lint
from kfp_lifecycle.components.shared.errors import ParameterError
from kfp_lifecycle.runner.cluster.connect import Server
from kfp_lifecycle.runner.cluster.errors import RefusedError
from kfp_lifecycle.runner.cluster.experiments import ensure_experiment
from kfp_lifecycle.runner.cluster.versions import Version, ensure_version, equals
from kfp_lifecycle.runner.load import RunnableFile

#: What the API server takes.
MAX_PARAMETERS_BYTES = 100_000
MAX_NAME = 191

#: Rules of ``lint`` about what the server refuses, and about secrets.
_SERVER_RULES = ("KL0", "KL1", "KL2", "KL4")


@dataclass(frozen=True)
class Submission:
    """A run that was started.

    Args:
        run_id: Its id.
        name: Its name.
        link: Where the user interface shows it; empty where that is not known.
        version: What it runs.
        experiment: Name of the experiment that it is in.
    """

    run_id: str
    name: str
    link: str
    version: Version
    experiment: str


def check_file(file: RunnableFile) -> list[str]:
    """Refuses a file that the server would refuse, or that carries a secret.

    Returns:
        What else ``kfp-lifecycle lint`` calls an error, such as an image that may change.

    Raises:
        RefusedError: It breaks a rule of the server's.
    """
    found = failing(lint(file.path, settings=find_settings(RULES)))
    refused = [finding for finding in found if finding.rule.startswith(_SERVER_RULES)]
    if refused:
        more = f" ({len(refused) - 1} more: kfp-lifecycle lint {file.path})" if len(refused) > 1 else ""
        raise RefusedError(_said(refused[0]) + more, refused[0].fix)
    return [_said(finding) for finding in found]


def _said(finding: Finding) -> str:
    place = f"{finding.place}: " if finding.place else ""
    return f"{finding.file}:{finding.line}: {finding.rule} {place}{finding.message}"


def check_parameters(parameters: Mapping[str, Any]) -> None:
    """Refuses parameters that are too long for the server.

    Raises:
        ParameterError: Names the longest.
    """
    sizes = {name: len(json.dumps(value).encode()) for name, value in parameters.items()}
    if sum(sizes.values()) > MAX_PARAMETERS_BYTES:
        longest = max(sizes, key=lambda name: sizes[name])
        raise ParameterError(
            f"The parameters are {sum(sizes.values()):,} bytes long, {longest!r} alone {sizes[longest]:,}; "
            f"the server takes {MAX_PARAMETERS_BYTES:,}.",
            "Put long values into a file, and pass its URI.",
        )


def submit(
    server: Server,
    file: RunnableFile,
    parameters: Mapping[str, Any],
    *,
    experiment: str,
    run_name: str = "",
    version: str = "",
    tell: Callable[[str], None] = lambda text: None,
) -> Submission:
    """Uploads what is missing, and starts a run.

    Args:
        server: Where to.
        file: What to run, checked by :func:`check_file`.
        parameters: Values as :func:`~kfp_lifecycle.runner.parameters.read_parameters` gives them.
        experiment: The experiment's name; it is made if it is missing.
        run_name: The run's name; empty for one that says what and when.
        version: The version's name, where not as the file's name says.
        tell: Told of each thing done.

    Raises:
        ParameterError: The parameters are too long.
        VersionConflictError: The server has that version with another content.
        ServerError: The server refuses, or does not answer.
    """
    check_parameters(parameters)
    if len(run_name) > MAX_NAME:
        raise RefusedError(f"A run's name has at most {MAX_NAME} characters.", "Shorten it.")
    found = ensure_version(server, file, version)
    title = f"{found.pipeline} {found.name}"
    tell(f"Uploaded {title}." if found.uploaded else f"The server has {title} already.")
    experiment_id = ensure_experiment(server, experiment)
    token = uuid.uuid4().hex
    name = run_name or f"{title} {datetime.now():%Y-%m-%d %H-%M-%S} {token[:6]}"
    run = _start(server, found, experiment_id, name, token, parameters)
    return Submission(run.run_id, name, server.link(run.run_id), found, experiment)


def _start(
    server: Server,
    version: Version,
    experiment_id: str,
    name: str,
    token: str,
    parameters: Mapping[str, Any],
) -> Any:
    """Starts the run; its description carries ``token``, by which it is known again.

    The API has no other way to ask for a run once: names of runs need not be unique.
    """
    from kfp_server_api import V2beta1PipelineVersionReference, V2beta1Run, V2beta1RuntimeConfig

    mark = f"submission {token}"
    body = V2beta1Run(
        display_name=name,
        description=f"Started by kfp-lifecycle {installed('kfp-lifecycle')}, {mark}.",
        experiment_id=experiment_id,
        pipeline_version_reference=V2beta1PipelineVersionReference(
            pipeline_id=version.pipeline_id, pipeline_version_id=version.version_id
        ),
        runtime_config=V2beta1RuntimeConfig(parameters=dict(parameters)),
        service_account=server.context.service_account or None,
    )

    def look_up() -> Any:
        found = server.call(
            server.client.runs.run_service_list_runs,
            experiment_id=experiment_id,
            filter=equals("display_name", name),
            sort_by="created_at desc",
            page_size=100,
            what="look for the run",
        )
        return next((run for run in found.runs or () if mark in (run.description or "")), None)

    return server.create(
        look_up, lambda: server.client.runs.run_service_create_run(body), what="start the run"
    )
