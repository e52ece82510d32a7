"""``kfp-lifecycle context``."""

from typing import Annotated

import typer

context = typer.Typer(no_args_is_help=True, help="Name the servers that runs are submitted to.")


@context.callback()
def _root() -> None:
    """Name the servers that runs are submitted to."""


def _names(incomplete: str) -> list[str]:
    from kfp_lifecycle.runner.cluster.contexts import load

    return [name for name in load().named if name.startswith(incomplete)]


Name = Annotated[
    str,
    typer.Argument(metavar="NAME", help="The context.", autocompletion=_names, show_default=False),
]


@context.command("list")
def list_command() -> None:
    """Show the contexts; the current one has a star."""
    from kfp_lifecycle.runner.cluster.contexts import load

    found = load()
    if not found.named:
        typer.echo(f"{found.path} has no context yet. Make one: kfp-lifecycle context set NAME --host URL")
        return
    width = max(map(len, found.named))
    for name, one in sorted(found.named.items()):
        where = one.host or f"kube config: {one.kube_service} in {one.kube_namespace}"
        star = "*" if name == found.current else " "
        typer.echo(f"{star} {name:<{width}}  {where}{f'  {one.namespace}' if one.namespace else ''}")


@context.command("use")
def use_command(name: Name) -> None:
    """Make a context the current one."""
    from kfp_lifecycle.runner.cluster.contexts import load

    found = load()
    found.get(name)
    found.current = name
    found.save()
    typer.echo(f"Current context: {name}.")


@context.command("show")
def show_command(
    name: Annotated[
        str,
        typer.Argument(
            metavar="[NAME]", help="The context; else what would be used now.", autocompletion=_names
        ),
    ] = "",
) -> None:
    """Show what a context says, or what would be used now: environment and surroundings included.

    Shows where credentials are, never one itself.
    """
    from kfp_lifecycle.components.shared.errors import redact
    from kfp_lifecycle.runner.cluster.choose import choose
    from kfp_lifecycle.runner.cluster.contexts import load

    if name:
        found, title = load().get(name), name
    else:
        chosen = choose()
        found, title = chosen.context, chosen.name or "(no context)"
    typer.echo(title)
    for key, value in found.settings().items():
        typer.echo(f"  {key}: {redact(str(value))}")
    if not found.host:
        typer.echo(f"  by the kube config, to {found.kube_service} in {found.kube_namespace}")


@context.command("delete")
def delete_command(name: Name) -> None:
    """Forget a context."""
    from kfp_lifecycle.runner.cluster.contexts import load

    found = load()
    found.get(name)
    del found.named[name]
    found.current = "" if found.current == name else found.current
    found.save()
    typer.echo(f"Forgot {name}.")


NewName = Annotated[
    str,
    typer.Argument(metavar="NAME", help="The context, a new one or one to change.", show_default=False),
]
Host = Annotated[str | None, typer.Option(metavar="URL", help="Address of the API server.")]
UiHost = Annotated[str | None, typer.Option(metavar="URL", help="Address of the user interface, for links.")]
Namespace = Annotated[
    str | None, typer.Option("--namespace", "-n", metavar="NAME", help="Namespace of the runs.")
]
CaCert = Annotated[
    str | None, typer.Option(metavar="FILE", help="Authority that signed the server's certificate.")
]
Proxy = Annotated[str | None, typer.Option(metavar="URL", help="HTTP proxy.")]
TokenEnv = Annotated[str | None, typer.Option(metavar="NAME", help="Variable with a bearer token.")]
TokenFile = Annotated[str | None, typer.Option(metavar="FILE", help="File with a bearer token.")]
TokenCommand = Annotated[
    str | None, typer.Option(metavar="COMMAND", help="Command that prints a bearer token.")
]
CookiesEnv = Annotated[str | None, typer.Option(metavar="NAME", help="Variable with cookies.")]
CookiesFile = Annotated[str | None, typer.Option(metavar="FILE", help="File with cookies.")]
CookiesCommand = Annotated[str | None, typer.Option(metavar="COMMAND", help="Command that prints cookies.")]
OidcUrl = Annotated[str | None, typer.Option(metavar="URL", help="OpenID Connect issuer or token endpoint.")]
OidcClientId = Annotated[str | None, typer.Option(metavar="ID", help="Its client.")]
OidcSecretEnv = Annotated[str | None, typer.Option(metavar="NAME", help="Variable with the client's secret.")]
OidcSecretFile = Annotated[str | None, typer.Option(metavar="FILE", help="File with the client's secret.")]
OidcScope = Annotated[str | None, typer.Option(metavar="TEXT", help="Scope to ask for.")]
OidcAudience = Annotated[str | None, typer.Option(metavar="TEXT", help="Audience to ask for.")]
KubeContext = Annotated[
    str | None, typer.Option(metavar="NAME", help="Context of the kube config, without --host.")
]
KubeNamespace = Annotated[
    str | None, typer.Option(metavar="NAME", help="Namespace of Kubeflow Pipelines itself.")
]
KubeService = Annotated[str | None, typer.Option(metavar="NAME:PORT", help="Its service there.")]
ServiceAccount = Annotated[str | None, typer.Option(metavar="NAME", help="Service account of the runs.")]
PatienceS = Annotated[
    float | None, typer.Option(metavar="SECONDS", help="How long to go on when the server is away.")
]


@context.command("set")
def set_command(
    name: NewName,
    host: Host = None,
    ui_host: UiHost = None,
    namespace: Namespace = None,
    ca_cert: CaCert = None,
    proxy: Proxy = None,
    token_env: TokenEnv = None,
    token_file: TokenFile = None,
    token_command: TokenCommand = None,
    cookies_env: CookiesEnv = None,
    cookies_file: CookiesFile = None,
    cookies_command: CookiesCommand = None,
    oidc_url: OidcUrl = None,
    oidc_client_id: OidcClientId = None,
    oidc_secret_env: OidcSecretEnv = None,
    oidc_secret_file: OidcSecretFile = None,
    oidc_scope: OidcScope = None,
    oidc_audience: OidcAudience = None,
    kube_context: KubeContext = None,
    kube_namespace: KubeNamespace = None,
    kube_service: KubeService = None,
    service_account: ServiceAccount = None,
    patience_s: PatienceS = None,
) -> None:
    r"""Write a context: where a server is, and where its credentials are.

    What is not named stays as it is; an empty text takes a setting away. No credential is written: name the
    variable, file or command that has one.

    **Examples**

        kfp-lifecycle context set laptop --host http://localhost:8080
        kfp-lifecycle context set kind --kube-context kind-kind
        kfp-lifecycle context set team --host https://kubeflow.example.com/pipeline -n team-a \
            --token-command "kubectl create token default-editor -n team-a --audience pipelines.kubeflow.org"
        kfp-lifecycle context set ci --host https://kubeflow.example.com/pipeline -n team-a \
            --oidc-url https://dex.example.com --oidc-client-id ci --oidc-secret-env CI_SECRET
    """
    given = {key: value for key, value in locals().items() if key != "name" and value is not None}
    from kfp_lifecycle.runner.cluster.contexts import Context, load, parse

    found = load()
    kept = found.named.get(name, Context()).settings() | given
    kept = {key: value for key, value in kept.items() if value != ""}
    found.named[name] = parse(name, kept, str(found.path))
    found.current = found.current or name
    found.save()
    current = " It is the current one." if found.current == name else ""
    typer.echo(f"Wrote the context {name} to {found.path}.{current}")
