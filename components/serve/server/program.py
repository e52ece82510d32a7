"""The server as a program: loads the model, serves it until it is told to end, drains."""

import asyncio
import gc
import logging
import os
import signal
from collections.abc import Sequence

import uvloop

from kfp_lifecycle.components.serve.server.app import App
from kfp_lifecycle.components.serve.server.control import Control
from kfp_lifecycle.components.serve.server.direct import DirectPredictor, configure_estimators
from kfp_lifecycle.components.serve.server.extensions import Extensions, extend
from kfp_lifecycle.components.serve.server.host import Host
from kfp_lifecycle.components.serve.server.inference import Inference
from kfp_lifecycle.components.serve.server.listener import Listener
from kfp_lifecycle.components.serve.server.loading import load
from kfp_lifecycle.components.serve.server.logs import configure
from kfp_lifecycle.components.serve.server.models import ServedModel
from kfp_lifecycle.components.serve.server.options import ServerOptions, parse
from kfp_lifecycle.components.serve.server.reload import Watch
from kfp_lifecycle.components.serve.server.sources import patiently

log = logging.getLogger(__name__)


def start(words: Sequence[str]) -> None:
    """Serves as the flags say until SIGTERM or SIGINT.

    Raises:
        LifecycleError: The model cannot be served, or the address is taken.
    """
    options = parse(words)
    configure(options.log_format)
    served = patiently(lambda: first_model(options), options.start_timeout_s)
    uvloop.run(serve(options, served))


def first_model(options: ServerOptions) -> ServedModel:
    """The model that the options name. Raises as :func:`.loading.load`."""
    return load(options.model, options.name, options.log_columns, options.lookup, options.device)


async def serve(options: ServerOptions, served: ServedModel) -> None:
    """Serves a model until SIGTERM or SIGINT.

    Raises:
        ServingError: The address is taken.
    """
    configure_estimators()
    host = Host(served)
    direct = DirectPredictor(options.workers, options.timeout_s)
    extensions = extend(options, host, direct)
    inference = Inference(host, options, extensions.predictor, extensions.observers)
    control = Control(host, options)
    app = App(inference, options, {**extensions.routes, **control.routes()})
    listener = Listener(app, options)
    watch = Watch(host, options)
    ended = _signals()
    for service in extensions.services:
        await service.start(inference)
    await listener.start()
    watch.start()
    # What is loaded stays: the collector need not look through it again and again.
    gc.collect()
    gc.freeze()
    inference.ready = True
    log.info(
        "serving %s version %s at http://%s:%d", served.name, served.version, options.host, listener.port
    )
    await ended.wait()
    log.info("draining")
    watch.stop()
    await listener.drain()
    await _stop(extensions, options.drain_s)
    direct.close()
    log.info("ended")


async def _stop(extensions: Extensions, grace_s: float) -> None:
    for service in reversed(extensions.services):
        try:
            await asyncio.wait_for(service.stop(grace_s), grace_s + 1)
        except Exception:
            log.exception("%s did not stop as it should", type(service).__name__)


def _signals() -> asyncio.Event:
    """Set by the first SIGTERM or SIGINT; a second one ends the process at once."""
    ended, loop = asyncio.Event(), asyncio.get_running_loop()

    def end() -> None:
        if ended.is_set():
            os._exit(1)
        ended.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    return ended
