"""The options of verbs that work with a cluster, and what they connect to."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from kfp_lifecycle.runner.cluster.connect import Server


def _contexts(incomplete: str) -> list[str]:
    from kfp_lifecycle.runner.cluster.contexts import load

    return [name for name in load().named if name.startswith(incomplete)]


ContextOption = Annotated[
    str,
    typer.Option(
        "--context",
        metavar="NAME",
        help="Context to use; else KFP_CONTEXT, or the current one.",
        autocompletion=_contexts,
        show_default=False,
        rich_help_panel="Connection",
    ),
]
HostOption = Annotated[
    str,
    typer.Option(
        "--host",
        metavar="URL",
        help="Address of the API server; else KFP_HOST, the context's, the pod's cluster or the kube config.",
        show_default=False,
        rich_help_panel="Connection",
    ),
]
NamespaceOption = Annotated[
    str,
    typer.Option(
        "--namespace",
        "-n",
        metavar="NAME",
        help="Namespace on a Kubeflow of many users; else KFP_NAMESPACE or the context's.",
        show_default=False,
        rich_help_panel="Connection",
    ),
]
CaCertOption = Annotated[
    str,
    typer.Option(
        "--ca-cert",
        metavar="FILE",
        help="Authority that signed the server's certificate, as PEM; else KFP_CA_CERT or the context's.",
        show_default=False,
        rich_help_panel="Connection",
    ),
]


def connected(context: str, host: str, namespace: str, ca_cert: str) -> "Server":
    """Connects as the options say; what is tried again is told on standard error."""
    import os

    from kfp_lifecycle.runner.cluster.connect import connect
    from kfp_lifecycle.scripts.process import collector_off

    # A step may start a run, but KFP does not load in a process that takes itself for a step.
    os.environ.pop("_KFP_RUNTIME", None)
    with collector_off():
        import kfp.client  # noqa: F401 - what the connection needs first
    return connect(context, host=host, namespace=namespace, ca_cert=ca_cert, notify=_Teller())


class _Teller:
    """Tells of each failure that is tried again; of the same one after the other, once."""

    def __init__(self) -> None:
        self._told = ""

    def __call__(self, what: str, why: str) -> None:
        if why != self._told:
            self._told = why
            typer.secho(f"{why} Trying again.", fg=typer.colors.YELLOW, err=True)
