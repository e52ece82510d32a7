"""What joins in at the server: metrics, prediction log, dynamic batching, gRPC, the page."""

import os
from dataclasses import dataclass, field
from typing import Protocol

from kfp_lifecycle.components.serve.server.batching import BatchingPredictor
from kfp_lifecycle.components.serve.server.host import Host
from kfp_lifecycle.components.serve.server.http import Routes
from kfp_lifecycle.components.serve.server.inference import Inference, Observer, Predictor
from kfp_lifecycle.components.serve.server.log_rows import log_columns
from kfp_lifecycle.components.serve.server.logs import AccessLog
from kfp_lifecycle.components.serve.server.metrics import Metrics
from kfp_lifecycle.components.serve.server.options import ServerOptions
from kfp_lifecycle.components.serve.server.page.routes import page_routes
from kfp_lifecycle.components.serve.server.prediction_log import PredictionLog


class Service(Protocol):
    """Something that runs beside REST, such as gRPC or the prediction log's writer."""

    async def start(self, inference: Inference) -> None:
        """Called once the model is loaded, before the server is ready."""

    async def stop(self, grace_s: float) -> None:
        """Called when the last REST request has been answered; has ``grace_s`` seconds."""


@dataclass
class Extensions:
    """What joins in.

    Args:
        predictor: What runs the model: the one given to :func:`extend`, or one around it.
        observers: Who is told of each call.
        routes: Further paths, answered without a look at the model.
        services: What runs beside REST, started in order and stopped in the opposite one.
    """

    predictor: Predictor
    observers: list[Observer] = field(default_factory=list)
    routes: Routes = field(default_factory=dict)
    services: list[Service] = field(default_factory=list)


def extend(options: ServerOptions, host: Host, predictor: Predictor) -> Extensions:
    """What the options turn on.

    Args:
        options: The server's settings.
        host: The models.
        predictor: Runs rows through a model, each call by itself.

    Raises:
        ParameterError: A column that the log is to leave out or to hash is none of the model's.
        StorageError: The log is in no storage that is known here.
    """
    metrics = Metrics(host)
    made = Extensions(
        predictor,
        observers=[metrics, AccessLog(answers=options.access_log)],
        routes={("GET", "/metrics"): metrics.expose, **page_routes(host)},
    )
    if options.batch_rows:
        made.predictor = BatchingPredictor(
            predictor, options.batch_rows, options.batch_wait_ms, metrics.batched
        )
    if options.log:
        columns = log_columns(options, host.stable, os.environ)
        log = PredictionLog(options, columns, metrics.dropped)
        made.observers.append(log)
        made.services.append(log)
    if options.grpc_port >= 0:
        # kserve takes a second to import, and most servers have no gRPC.
        from kfp_lifecycle.components.serve.server.grpc_server import GrpcServer

        made.services.append(GrpcServer(options, host))
    return made
