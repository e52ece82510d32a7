"""Which context is used: what the command says, then the environment, the file, and where one is."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from kfp_lifecycle.runner.cluster import auth
from kfp_lifecycle.runner.cluster.contexts import Context, Contexts, check, load
from kfp_lifecycle.runner.cluster.errors import ContextError

#: What kfp itself, its command line and this one read, in this order.
_HOST = ("KFP_HOST", "KFP_ENDPOINT", "KF_PIPELINES_ENDPOINT")
_UI_HOST = ("KFP_UI_HOST", "KF_PIPELINES_UI_ENDPOINT")
_TOKEN = ("KFP_TOKEN", "KFP_EXISTING_TOKEN")

#: A service of the cluster that one is in.
_IN_CLUSTER = re.compile(r"https?://([\w-]+|[\w.-]+\.svc(\.cluster\.local)?)(:\d+)?(/|$)")

#: Where kfp looks for a pod's own token (kfp.client), and Kubernetes puts its namespace.
_TOKEN_VARIABLE = "KF_PIPELINES_SA_TOKEN_PATH"
TOKEN_PATH = Path("/var/run/secrets/kubeflow/pipelines/token")
NAMESPACE_PATH = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


@dataclass(frozen=True)
class Chosen:
    """What to connect to.

    Args:
        name: The context's name; empty where it is none of the file.
        context: Its settings, with those of the command and the environment.
        credentials: What to send along.
        host: The address; empty for a port-forward by the kube config.
    """

    name: str
    context: Context
    credentials: auth.Credentials
    host: str


def choose(
    name: str = "",
    *,
    host: str = "",
    namespace: str = "",
    ca_cert: str = "",
    environment: Mapping[str, str] = os.environ,
    contexts: Contexts | None = None,
) -> Chosen:
    """Decides where to connect to and with which credentials.

    Options win over the environment, the environment over the context. A context's credentials, and its
    certificate, go to that context's host alone.

    Raises:
        ContextError: The context is unknown, or what was said does not fit together.
    """
    contexts = contexts or load()
    name = name or environment.get("KFP_CONTEXT", "") or ("" if host else contexts.current)
    found = contexts.get(name) if name else Context()
    wanted = host or _first(environment, _HOST) or found.host
    if wanted and not wanted.startswith(("http://", "https://")):
        wanted = f"https://{wanted}"  # as kfp does
    wanted = wanted.rstrip("/")
    if wanted != found.host.rstrip("/"):
        found, name = found.without_credentials(), ""
    found = replace(
        found,
        host=wanted,
        ui_host=_first(environment, _UI_HOST) or found.ui_host,
        namespace=namespace or environment.get("KFP_NAMESPACE", "") or found.namespace,
        ca_cert=_path(ca_cert or environment.get("KFP_CA_CERT", "") or found.ca_cert),
    )
    check(found, f"Context {name!r}" if name else "The connection")
    if not wanted and "KUBERNETES_SERVICE_HOST" in environment:
        found = _inside(found)
    return Chosen(name, found, _credentials(found, environment), found.host)


def _path(text: str) -> str:
    return str(Path(text).expanduser()) if text else ""


def _first(environment: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((environment[name] for name in names if environment.get(name)), "")


def _inside(context: Context) -> Context:
    """In a pod, the server is the cluster's own."""
    service, _, port = context.kube_service.partition(":")
    address = f"http://{service}.{context.kube_namespace}.svc.cluster.local:{port or 8888}"
    namespace = context.namespace
    if not namespace and NAMESPACE_PATH.is_file():
        namespace = NAMESPACE_PATH.read_text(encoding="utf-8").strip()
    return replace(context, host=address, namespace=namespace)


def _credentials(context: Context, environment: Mapping[str, str]) -> auth.Credentials:
    for name in _TOKEN:
        if environment.get(name):
            return auth.Held("Authorization", auth.from_variable(name, environment), changes=False)
    if environment.get("KFP_COOKIES"):
        return auth.Held("Cookie", auth.from_variable("KFP_COOKIES", environment), changes=False)
    for kind, header in (("token", "Authorization"), ("cookies", "Cookie")):
        variable, file, command = (getattr(context, f"{kind}_{of}") for of in ("env", "file", "command"))
        if variable:
            return auth.Held(header, auth.from_variable(variable, environment), changes=False)
        if file:
            return auth.Held(header, auth.from_file(file), reread=True)
        if command:
            return auth.Held(header, auth.from_command(command))
    if context.oidc_url:
        return _oidc(context, environment)
    # A pod's own token is for the services of its cluster, and never for another host.
    if "KUBERNETES_SERVICE_HOST" not in environment or not _IN_CLUSTER.match(context.host):
        return auth.Anonymous()
    path = Path(environment.get(_TOKEN_VARIABLE) or TOKEN_PATH)
    if path.is_file():
        return auth.Held("Authorization", auth.from_file(str(path)), reread=True)
    if environment.get(_TOKEN_VARIABLE):
        raise ContextError(f"There is no token at {path} ({_TOKEN_VARIABLE}).", "Mount one there.")
    return auth.Anonymous()


def _oidc(context: Context, environment: Mapping[str, str]) -> auth.Credentials:
    secret = (
        auth.from_variable(context.oidc_secret_env, environment)
        if context.oidc_secret_env
        else auth.from_file(context.oidc_secret_file)
    )
    return auth.ClientCredentials(
        context.oidc_url,
        context.oidc_client_id,
        secret,
        context.oidc_scope,
        context.oidc_audience,
        context.ca_cert,
    )
