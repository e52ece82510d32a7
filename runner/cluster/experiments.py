"""Experiments on the server: what runs are kept together in."""

import os
from collections.abc import Mapping
from typing import Any

from kfp_lifecycle.runner.cluster.connect import Server
from kfp_lifecycle.runner.cluster.errors import RefusedError
from kfp_lifecycle.runner.cluster.versions import equals

#: As kfp has them (kfp.client.Client.create_run_from_pipeline_package).
_DEFAULT, _OVERRIDE = "KF_PIPELINES_DEFAULT_EXPERIMENT_NAME", "KF_PIPELINES_OVERRIDE_EXPERIMENT_NAME"


def experiment_name(given: str = "", environment: Mapping[str, str] = os.environ) -> str:
    """The experiment's name: as kfp decides it."""
    return environment.get(_OVERRIDE) or given or environment.get(_DEFAULT) or "Default"


def find_experiment(server: Server, name: str) -> Any:
    """The experiment of that name; None where there is none."""
    found = server.call(
        server.client.experiments.experiment_service_list_experiments,
        namespace=server.namespace or None,
        filter=equals("display_name", name),
        what=f"look for the experiment {name}",
    )
    several = [e for e in found.experiments or () if e.display_name == name]
    return several[0] if several else None


def ensure_experiment(server: Server, name: str) -> str:
    """The id of the experiment of that name, which is made if it is missing.

    Raises:
        RefusedError: It is archived.
        ServerError: The server refuses, or does not answer.
    """
    from kfp_server_api import V2beta1Experiment

    found = find_experiment(server, name)
    if found is None:
        body = V2beta1Experiment(display_name=name, namespace=server.namespace or None)
        found = server.create(
            lambda: find_experiment(server, name),
            lambda: server.client.experiments.experiment_service_create_experiment(body),
            what=f"make the experiment {name}",
        )
    if found.storage_state == "ARCHIVED":
        raise RefusedError(
            f"The experiment {name!r} is archived.", "Restore it, or choose another with --experiment."
        )
    return str(found.experiment_id)
