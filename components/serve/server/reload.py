"""Watches an alias and puts the version that it moves to in the place of the one that is served."""

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor

from kfp_lifecycle.components.serve.server.host import Host
from kfp_lifecycle.components.serve.server.loading import load
from kfp_lifecycle.components.serve.server.models import ServedModel
from kfp_lifecycle.components.serve.server.options import ServerOptions
from kfp_lifecycle.components.serve.server.sources import resolve
from kfp_lifecycle.components.shared.errors import LifecycleError, redact

log = logging.getLogger(__name__)


class Watch:
    """Looks at the model's URI every few seconds, while requests are answered.

    A new version is loaded beside the present one, must answer its example as recorded, and then takes the
    requests from one to the next. What cannot be reached or loaded changes nothing, and is said once.

    Args:
        host: The models.
        options: The server's settings; ``watch`` is the seconds between looks.
    """

    def __init__(self, host: Host, options: ServerOptions) -> None:
        self._host, self._options = host, options
        self._thread = ThreadPoolExecutor(1, "watch")
        self._task: asyncio.Task[None] | None = None
        self._said = ""

    def start(self) -> None:
        """Begins to look, where the options say so."""
        if self._options.watch:
            self._task = asyncio.create_task(self._run())

    def stop(self) -> None:
        """Looks no more."""
        if self._task is not None:
            self._task.cancel()
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._options.watch)
            # A version that is being rolled out by hand is not to be overtaken.
            if self._host.candidate is not None:
                continue
            served = self._host.stable
            try:
                newer = await loop.run_in_executor(self._thread, self._newer, served)
            except Exception as error:
                self._say(error)
                continue
            if newer is not None and self._host.stable is served and self._host.candidate is None:
                self._host.replace(newer)
                log.info(
                    "version %s of %s is served now, after %s", newer.version, newer.name, served.version
                )
            self._said = ""

    def _newer(self, served: ServedModel) -> ServedModel | None:
        """The model that the URI names now; None where that is served already."""
        source = resolve(self._options.model)
        if source.uri == served.uri:
            return None
        options = self._options
        return load(source, options.name, options.log_columns, options.lookup, options.device)

    def _say(self, error: Exception) -> None:
        """A line for the first of several failures of one kind."""
        said = redact(str(error)) if isinstance(error, LifecycleError) else repr(error)
        if said != self._said:
            log.warning("%s version %s is still served: %s", self._host.name, self._host.stable.version, said)
        self._said = said
