"""``kfp-lifecycle promote``."""

from typing import Annotated

import typer

from kfp_lifecycle.scripts.alias import MODEL, show_change


def promote(
    model: Annotated[str, MODEL],
    version: Annotated[
        str, typer.Option("--version", help="Version to promote; the challenger where it is not given.")
    ] = "",
    force: Annotated[bool, typer.Option("--force", help="Also a version that was not approved.")] = False,
) -> None:
    """Make a model version the champion, the one that is served.

    The version before is remembered: `kfp-lifecycle rollback MODEL` brings it back. The registry is the
    MLflow server that MLFLOW_TRACKING_URI names, or `mlflow.db` in this folder.

    **Examples**

        kfp-lifecycle promote churn                 # the newest version
        kfp-lifecycle promote churn --version 3
    """
    from kfp_lifecycle.components.register.registry import promote as make_champion
    from kfp_lifecycle.components.shared.tracking import connect

    show_change(make_champion(connect(), model, version, force=force))
