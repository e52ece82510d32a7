"""A connection to a Kubeflow Pipelines API server, and the way that all its requests go."""

import shlex
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from kfp_lifecycle.runner.cluster.answers import Answer, read_answer
from kfp_lifecycle.runner.cluster.choose import Chosen, choose
from kfp_lifecycle.runner.cluster.errors import (
    ContextError,
    NotFoundError,
    OldServerError,
    ServerError,
    UnreachableError,
)
from kfp_lifecycle.runner.cluster.retry import Patience, Waiting

if TYPE_CHECKING:
    from kfp import Client

T = TypeVar("T")

#: Told of each failure that is tried again: what was tried, and why it failed.
Notify = Callable[[str, str], None]


def connect(
    context: str = "",
    *,
    host: str = "",
    namespace: str = "",
    ca_cert: str = "",
    patience: Patience | None = None,
    notify: Notify | None = None,
) -> "Server":
    """Connects to the server that options, environment, contexts and surroundings name.

    Args:
        context: A context's name; empty for ``KFP_CONTEXT`` or the current one.
        host: Address of the server; it wins over the context's.
        namespace: Namespace on a server of many users.
        ca_cert: File with the authority that signed the server's certificate.
        patience: How long to go on when the server does not answer.
        notify: Told of each failure that is tried again.

    Raises:
        ContextError: What to connect to is not known, or not clear.
        ServerError: The server cannot be reached, or lets nobody in.
    """
    chosen = choose(context, host=host, namespace=namespace, ca_cert=ca_cert)
    server = Server(chosen, patience or Patience(chosen.context.patience_s), notify)
    given = {"context": context, "host": host, "namespace": namespace, "ca-cert": ca_cert}
    server.options = "".join(f" --{name} {shlex.quote(text)}" for name, text in given.items() if text)
    server.look()
    return server


class Server:
    """A server that answers.

    Args:
        chosen: Where it is, and as whom it is spoken to.
        patience: How long to go on when it does not answer.
        notify: Told of each failure that is tried again.
    """

    def __init__(self, chosen: Chosen, patience: Patience, notify: Notify | None = None) -> None:
        from kfp_lifecycle.runner.cluster.transport import hiding

        self.context = chosen.context
        self.context_name = chosen.name
        self.patience = patience
        self.multi_user = False
        self.pipeline_store = ""
        #: The options that lead here, to be put behind a verb.
        self.options = ""
        self._credentials = chosen.credentials
        self._notify = notify
        self.hide = hiding(chosen.credentials)
        self.client, self.host = _client(chosen)

    @property
    def namespace(self) -> str:
        """The namespace of everything; empty on a server that has none."""
        return self.context.namespace if self.multi_user else ""

    @property
    def place(self) -> str:
        """The server as messages name it."""
        if self.context.host:
            return self.hide(self.host)
        return f"{self.context.kube_service} in {self.context.kube_namespace} (kube config)"

    def link(self, run_id: str) -> str:
        """Where the user interface shows a run; empty where that is not known."""
        base = self.context.ui_host or self.context.host
        return self.hide(f"{base.rstrip('/')}/#/runs/details/{run_id}") if base else ""

    def look(self) -> None:
        """Asks the server what it is.

        Raises:
            ServerError: It does not answer, or is no server of Kubeflow Pipelines 2.
            ContextError: It is one of many users, and no namespace is named.
        """
        try:
            found = self.call(self.client.healthzs.healthz_service_get_healthz, what="connect")
        except NotFoundError:
            self._say_why_not()
        self.multi_user = bool(found.multi_user)
        self.pipeline_store = found.pipeline_store or "database"
        if self.multi_user and not self.context.namespace:
            raise ContextError(
                f"{self.place} serves many users, each in a namespace.",
                "Name yours: --namespace, KFP_NAMESPACE, or namespace in the context.",
            )
        # Its own way to say this writes into the user's kfp settings, and reads them.
        self.client._context_setting["namespace"] = self.namespace

    def call(
        self,
        function: Callable[..., T],
        *args: Any,
        what: str = "",
        idempotent: bool = True,
        patience: Patience | None = None,
        notify: Notify | None = None,
        **kwargs: Any,
    ) -> T:
        """Calls a method of the client, again and again while the server is not well.

        Args:
            function: A method of ``client`` or of the generated API client.
            *args: Its arguments.
            what: What it does, for messages: ``list runs``.
            idempotent: Whether it may be done twice. Else it is tried again only where it was not done.
            patience: How long to go on, where not as usual.
            notify: Told of each failure that is tried again, instead of whom ``connect`` was given.
            **kwargs: Its arguments.

        Raises:
            ServerError: The server refuses, or has not answered in all that time.
        """
        waiting, renewed = (patience or self.patience).begin(), False
        while True:
            try:
                return function(*args, **kwargs)
            except Exception as error:
                answer = self._read(error)
                if answer.unauthorized and not renewed and self._credentials.renew():
                    renewed = True
                    continue
                again = answer.transient and (idempotent or answer.certainly_undone)
                self._wait_or_raise(answer, what, waiting, again, notify=notify)
                # A token that was renewed may end once more while one waits.
                renewed = False

    def create(
        self,
        look_up: Callable[[], T | None],
        make: Callable[[], T],
        what: str = "",
        patience: Patience | None = None,
    ) -> T:
        """Makes something once, whatever happens to the connection.

        After each failure that leaves open whether the server has done it, and where something of that name
        is there already, ``look_up`` decides: what it finds is the result. A request of which nobody knows
        whether it is still under way is given time to settle first.

        Args:
            look_up: Finds what ``make`` would make, by its unique name; None where it is not there.
            make: Makes it, with one request.
            what: What it does, for messages: ``start the run``.
            patience: How long to go on, where not as usual.

        Raises:
            ServerError: As :meth:`call`.
        """
        patience = patience or self.patience
        waiting, renewed = patience.begin(), False
        while True:
            try:
                return make()
            except Exception as error:
                answer = self._read(error)
                if answer.unauthorized and not renewed and self._credentials.renew():
                    renewed = True
                    continue
                if not answer.exists:
                    least = 0.0 if answer.certainly_undone else patience.settle_s
                    self._wait_or_raise(answer, what, waiting, answer.transient, least)
                if not answer.certainly_undone and (found := look_up()) is not None:
                    return found
                if answer.exists:
                    raise answer.error(what, self.place) from None
                renewed = False

    def _read(self, error: Exception) -> Answer:
        answer = read_answer(error, self.hide)
        if answer is None:
            raise error
        return answer

    def _wait_or_raise(
        self,
        answer: Answer,
        what: str,
        waiting: Waiting,
        again: bool,
        least_s: float = 0.0,
        notify: Notify | None = None,
    ) -> None:
        if not again:
            raise answer.error(what, self.place) from None
        notify = notify or self._notify
        if notify is not None:
            notify(what, answer.error(what, self.place).problem)
        if not waiting.pause(answer.wait_s, least_s):
            raise answer.error(what, self.place) from None

    def _say_why_not(self) -> NoReturn:
        """Why there is no health endpoint: an older server, or another address."""
        api = self.client.healthzs.healthz_service_get_healthz.__self__.api_client
        old = "/apis/v1beta1/healthz"
        try:
            self.call(api.call_api, old, "GET", response_type="object", _return_http_data_only=True)
        except ServerError:
            raise NotFoundError(
                f"There is no pipelines API at {self.place}.",
                "Look at the address: on Kubeflow it ends with /pipeline.",
            ) from None
        raise OldServerError(
            f"{self.place} serves Kubeflow Pipelines 1; these files need 2.", "Upgrade the server."
        )


def _client(chosen: Chosen) -> tuple["Client", str]:
    """Kfp's client, with our way for its requests; no request is sent."""
    import kfp.client
    from kfp_server_api import V2beta1GetHealthzResponse

    from kfp_lifecycle.runner.cluster.port_forward import ADDRESS, open_pool
    from kfp_lifecycle.runner.cluster.transport import Transport

    class Client(kfp.client.Client):  # type: ignore[misc] # no stubs
        def get_kfp_healthz(self, sleep_duration: int = 5) -> V2beta1GetHealthzResponse:
            # Its constructor asks five times, with a traceback each, and writes into the user's kfp settings.
            return V2beta1GetHealthzResponse(multi_user=False)

    context = chosen.context
    pool = None if chosen.host else open_pool(context)
    host = chosen.host or ADDRESS
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it wants a server of KFP 2
        client = Client(
            host=host,
            ssl_ca_cert=context.ca_cert or None,
            proxy=context.proxy or None,
            ui_host=context.ui_host or None,
            cookies="",
        )
    api = client.healthzs.healthz_service_get_healthz.__self__.api_client
    api.rest_client = Transport(api.configuration, chosen.credentials, pool)
    return client, host


__all__ = ["Notify", "Patience", "Server", "UnreachableError", "connect"]
