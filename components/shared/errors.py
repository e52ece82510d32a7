"""One family of errors for what a user can mend, and the helpers that make their messages useful."""

import re

from kfp_lifecycle.components.shared.inference.errors import (
    ExpressionError,
    LifecycleError,
    SchemaError,
    did_you_mean,
)

__all__ = [
    "CheckpointError",
    "ClusterError",
    "DeviceError",
    "EstimatorError",
    "ExpressionError",
    "FeatureStoreError",
    "LifecycleError",
    "MonitorError",
    "NotifyError",
    "ParameterError",
    "RegistryError",
    "RetrainError",
    "RolloutError",
    "RuleError",
    "SchemaError",
    "ServingError",
    "SourceError",
    "SplitError",
    "StorageError",
    "TargetError",
    "TrackingError",
    "TuningError",
    "did_you_mean",
    "redact",
]


class SourceError(LifecycleError):
    """The data source is missing, empty, unreadable or not of the format it was said to be."""


class RuleError(LifecycleError):
    """The data breaks a rule the parameters declare: minimum rows, null share, range, categories."""


class TargetError(LifecycleError):
    """The target column is missing, constant, all null, or does not fit the task."""


class SplitError(LifecycleError):
    """The table cannot be split as asked."""


class ParameterError(LifecycleError):
    """A parameter is unknown, of the wrong type, or out of range."""


class EstimatorError(LifecycleError):
    """The estimator cannot be imported, built or fitted with the parameters given."""


class TrackingError(LifecycleError):
    """MLflow's tracking store cannot be reached, or none is configured where one is needed."""


class RegistryError(LifecycleError):
    """The model registry refuses, or does not have, what was asked for."""


class StorageError(LifecycleError):
    """An output cannot be written, or a stored file cannot be read: disk full, permission, damage."""


class CheckpointError(LifecycleError):
    """A checkpoint is of another model or schema, or none of those there can be read."""


class DeviceError(LifecycleError):
    """The device that was asked for is not there, or has too little memory even for the smallest batch."""


class TuningError(LifecycleError):
    """A search space or its settings cannot be searched, or no trial gave a result."""


class ClusterError(LifecycleError):
    """Kubernetes cannot be reached, refuses, or has not installed what is asked of it."""


class ServingError(LifecycleError):
    """A model cannot be served: it is not whole, of another version, or nothing answers where it should."""


class RolloutError(LifecycleError):
    """A new version of a model did not pass its rollout; the one before has all traffic again."""


class MonitorError(LifecycleError):
    """Data cannot be compared with the reference, or what monitoring has kept cannot be read."""


class RetrainError(LifecycleError):
    """A retraining cannot be started, or the one that was waited for has failed."""


class NotifyError(LifecycleError):
    """A message cannot be sent; notify says so and goes on."""


class FeatureStoreError(LifecycleError):
    """The feature store cannot be opened or read, or does not have what was asked of it."""


_USER_INFO = re.compile(r"(?<=://)[^/@\s]*@")
_SECRET_QUERY = re.compile(
    r"([?&;](?:[^=&;\s]*(?:token|secret|password|passwd|signature|credential|key|sig))=)[^&;\s]+", re.I
)


def redact(text: str) -> str:
    """``text`` with the credentials of every URI in it replaced: user info and secret-looking queries."""
    return _SECRET_QUERY.sub(r"\1***", _USER_INFO.sub("***@", text))
