"""A double of the Kubeflow Pipelines API server, for tests: ``with KfpServer() as server:``."""

from tests.kfp_server.server import KfpServer

__all__ = ["KfpServer"]
