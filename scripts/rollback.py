"""``kfp-lifecycle rollback``."""

from typing import Annotated

from kfp_lifecycle.scripts.alias import MODEL, show_change


def rollback(model: Annotated[str, MODEL]) -> None:
    """Bring the champion before the present one back.

    Said again, it brings back the one before that. The registry is the MLflow server that MLFLOW_TRACKING_URI
    names, or `mlflow.db` in this folder.

    **Example**

        kfp-lifecycle rollback churn
    """
    from kfp_lifecycle.components.register.registry import rollback as bring_back
    from kfp_lifecycle.components.shared.tracking import connect

    show_change(bring_back(connect(), model))
