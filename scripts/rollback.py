"""``kfp-lifecycle rollback``."""

from typing import Annotated

import typer

from kfp_lifecycle.scripts.alias import MODEL, show_change


def rollback(
    model: Annotated[str, MODEL],
    registry_only: Annotated[
        bool, typer.Option("--registry-only", help="Leave what is served alone.")
    ] = False,
) -> None:
    """Bring the champion before the present one back, in the registry and wherever it is served.

    What is served comes first: the server on this machine, and the InferenceService that `serve` has made. It
    must give the recorded outputs of the version before, then that has all traffic. Where that fails, nothing
    is changed. Said again, it brings back the one before that. The registry is the MLflow server that
    MLFLOW_TRACKING_URI names, or `mlflow.db` in this folder.

    **Examples**

        kfp-lifecycle rollback churn
        kfp-lifecycle rollback churn --registry-only
    """
    from kfp_lifecycle.components.shared.tracking import connect

    if registry_only:
        from kfp_lifecycle.components.register.registry import rollback as bring_back

        show_change(bring_back(connect(), model))
        return
    from kfp_lifecycle.components.serve.rolling_back import roll_back

    done = roll_back(connect(), model)
    show_change(done.change)
    for url in done.urls:
        typer.echo(f"Version {done.change.after} is served at {url}.")
    if not done.urls:
        typer.echo("It is served nowhere that is known here.")
