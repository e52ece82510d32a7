"""What MLflow knows of a run; a verb that shows it works without, too."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kfp_lifecycle.runner.cluster.metrics import Measured


def measured_or_not(run: Any) -> tuple["Measured", str]:
    """What a run of the API has measured, or why that is not known."""
    from kfp_lifecycle.components.shared.errors import TrackingError
    from kfp_lifecycle.runner.cluster.metrics import Measured, measured, tracking_there

    if not tracking_there():
        return Measured(), "Metrics are in MLflow: set MLFLOW_TRACKING_URI to see them."
    try:
        return measured(run), ""
    except ImportError:
        return (
            Measured(),
            "Metrics are in MLflow, which is not installed: pip install 'kfp-lifecycle[steps]'.",
        )
    except TrackingError as error:
        return Measured(), f"No metrics: {error}"
