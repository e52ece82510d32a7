"""Named contexts: which server, in which namespace, with whose credentials. One file holds them.

It is ``~/.config/kfp-lifecycle/config.yaml`` (``KFP_LIFECYCLE_CONFIG`` names another), and holds no
credential: it says where one is.
"""

import os
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, get_type_hints

import yaml

from kfp_lifecycle.components.shared.errors import did_you_mean
from kfp_lifecycle.components.shared.outputs import whole_file
from kfp_lifecycle.runner.cluster.errors import ContextError

_VARIABLE = "KFP_LIFECYCLE_CONFIG"
#: Of these, a context has one at most.
_CREDENTIALS = (
    "token_env",
    "token_file",
    "token_command",
    "cookies_env",
    "cookies_file",
    "cookies_command",
    "oidc_url",
)


@dataclass(frozen=True)
class Context:
    """Where a server is, and as whom it is spoken to.

    Args:
        host: Its address; empty for the pod's own cluster, or a port-forward by the kube config.
        ui_host: Address of the user interface, for links; empty where it is the host's.
        namespace: Namespace of the runs on a server of many users.
        ca_cert: File with the authority that signed the server's certificate.
        proxy: Address of an HTTP proxy.
        token_env: Variable with a bearer token.
        token_file: File with one; read again before each request.
        token_command: Command that prints one.
        cookies_env: Variable with cookies, ``name=value; …``.
        cookies_file: File with them.
        cookies_command: Command that prints them.
        oidc_url: Issuer or token endpoint of an OpenID Connect provider, for client credentials.
        oidc_client_id: The client.
        oidc_secret_env: Variable with its secret.
        oidc_secret_file: File with it.
        oidc_scope: Scope to ask for.
        oidc_audience: Audience to ask for.
        kube_context: Context of the kube config to reach the server by; empty for its current one.
        kube_namespace: Namespace that Kubeflow Pipelines runs in.
        kube_service: Its service there, ``NAME:PORT``.
        service_account: Service account of the runs; empty for the server's default.
        patience_s: How long to go on when the server does not answer.
    """

    host: str = ""
    ui_host: str = ""
    namespace: str = ""
    ca_cert: str = ""
    proxy: str = ""
    token_env: str = ""
    token_file: str = ""
    token_command: str = ""
    cookies_env: str = ""
    cookies_file: str = ""
    cookies_command: str = ""
    oidc_url: str = ""
    oidc_client_id: str = ""
    oidc_secret_env: str = ""
    oidc_secret_file: str = ""
    oidc_scope: str = "openid"
    oidc_audience: str = ""
    kube_context: str = ""
    kube_namespace: str = "kubeflow"
    kube_service: str = "ml-pipeline:8888"
    service_account: str = ""
    patience_s: float = 60.0

    def settings(self) -> dict[str, Any]:
        """What is not as it is by default."""
        given = asdict(self)
        return {f.name: given[f.name] for f in fields(self) if given[f.name] != f.default}

    def without_credentials(self) -> "Context":
        """The same for another host: what is secret is not for it."""
        empty = {
            f.name: f.default for f in fields(self) if f.name.startswith(("token_", "cookies_", "oidc_"))
        }
        return replace(self, **empty, ui_host="", ca_cert="", proxy="")  # type: ignore[arg-type]


@dataclass
class Contexts:
    """The file of contexts.

    Args:
        path: Where it is.
        current: The context in use; empty for none.
        named: All of them.
    """

    path: Path
    current: str = ""
    named: dict[str, Context] = field(default_factory=dict)

    def get(self, name: str) -> Context:
        """A context by name.

        Raises:
            ContextError: There is none of that name.
        """
        if name not in self.named:
            fix = did_you_mean(name, self.named) or "Make one: kfp-lifecycle context set NAME --host URL."
            raise ContextError(f"{self.path} has no context {name!r}.", fix)
        return self.named[name]

    def save(self) -> None:
        """Writes the file; whoever reads it finds a whole one at any time."""
        held = {name: context.settings() for name, context in sorted(self.named.items())}
        text = yaml.safe_dump({"current": self.current, "contexts": held}, sort_keys=False)
        with whole_file(self.path) as partial:
            partial.write_text(text, encoding="utf-8")
            partial.chmod(0o600)


def config_path(environment: Mapping[str, str] = os.environ) -> Path:
    """Where the file is to be."""
    if environment.get(_VARIABLE):
        return Path(environment[_VARIABLE]).expanduser()
    base = environment.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(base).expanduser() / "kfp-lifecycle" / "config.yaml"


def load(path: Path | None = None) -> Contexts:
    """Reads the file; a missing one holds no context.

    Raises:
        ContextError: It is damaged, or says something that cannot be.
    """
    path = path or config_path()
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
        data = {} if data is None else data
    except FileNotFoundError:
        return Contexts(path)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        why = " ".join(str(getattr(error, "problem", None) or error).split())
        raise ContextError(f"{path} cannot be read: {why}.", "Mend it, or delete it.") from None
    if not isinstance(data, dict) or not isinstance(data.get("contexts") or {}, dict):
        raise ContextError(
            f"{path} is no file of contexts.", "It has current: NAME and contexts: {NAME: {…}}."
        )
    if unknown := sorted(map(str, data.keys() - {"current", "contexts"})):
        fix = did_you_mean(unknown[0], ("current", "contexts"))
        raise ContextError(f"{path} has an unknown entry {unknown[0]!r}.", fix)
    named = {
        str(name): parse(str(name), held or {}, str(path))
        for name, held in (data.get("contexts") or {}).items()
    }
    found = Contexts(path, str(data.get("current") or ""), named)
    if found.current:
        found.get(found.current)
    return found


def parse(name: str, held: Any, where: str) -> Context:
    """One context, checked.

    Raises:
        ContextError: A setting is unknown, of the wrong kind, or at odds with another.
    """
    place = f"Context {name!r} in {where}"
    if not isinstance(held, dict):
        raise ContextError(f"{place} is no mapping.", "It has a line for each setting, such as host: URL.")
    kinds = get_type_hints(Context)
    for key, value in held.items():
        if key not in kinds:
            # A credential that was written here is not repeated.
            raise ContextError(f"{place} has an unknown setting {key!r}.", _hint(str(key), kinds))
        if not isinstance(value, (int, float) if kinds[key] is float else str) or isinstance(value, bool):
            wanted = "a number" if kinds[key] is float else "a text"
            raise ContextError(f"{place}: {key} is to be {wanted}.")
    context = Context(**held)
    check(context, place)
    return context


def check(context: Context, place: str) -> None:
    """Refuses settings that do not go together."""
    given = [name for name in _CREDENTIALS if getattr(context, name)]
    if len(given) > 1:
        raise ContextError(f"{place} has {' and '.join(given)}.", "Keep one of them.")
    if context.oidc_url and not context.oidc_client_id:
        raise ContextError(f"{place} has oidc_url without oidc_client_id.", "Add it.")
    if context.oidc_url and bool(context.oidc_secret_env) == bool(context.oidc_secret_file):
        raise ContextError(f"{place} needs oidc_secret_env or oidc_secret_file, one of them.")
    for name in ("host", "ui_host", "proxy", "oidc_url"):
        _check_address(getattr(context, name), name, place)
    for name in ("token_command", "cookies_command"):
        try:
            shlex.split(getattr(context, name))
        except ValueError as error:
            raise ContextError(f"{place}: {name} is no command: {error}.") from None
    if context.ca_cert and not Path(context.ca_cert).expanduser().is_file():
        raise ContextError(f"{place}: there is no file {context.ca_cert} (ca_cert).", "Name a PEM file.")
    if context.patience_s <= 0:
        raise ContextError(f"{place}: patience_s is to be above 0.")


def _check_address(url: str, name: str, place: str) -> None:
    from urllib.parse import urlsplit

    if not url:
        return
    try:
        parts = urlsplit(url)
        bad = parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0
    except ValueError:
        bad = True
    if bad:
        raise ContextError(f"{place}: {name} is no address.", "It begins with https:// or http://.")
    if parts.username or parts.password:
        raise ContextError(
            f"{place}: {name} holds a credential.", "Use token_env, token_file or token_command."
        )


def _hint(key: str, known: Mapping[str, Any]) -> str:
    if key in ("token", "cookies", "password", "client_secret"):
        return "Credentials are not kept here: say where one is with token_env, token_file or token_command."
    return did_you_mean(key, known)
