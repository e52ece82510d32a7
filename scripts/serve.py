"""``kfp-lifecycle serve``."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from kfp_lifecycle.components.serve.laptop import HandServed


def serve_command(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A registered model (its champion), NAME@ALIAS, NAME/VERSION, a folder, or gs:// or s3://.",
            show_default=False,
        ),
    ],
    port: Annotated[
        int, typer.Option("--port", metavar="PORT", help="Port on this machine; else 8080, or a free one.")
    ] = 0,
    name: Annotated[
        str,
        typer.Option("--name", metavar="NAME", help="Name in URLs; else the registered name or folder's."),
    ] = "",
    flag: Annotated[
        list[str] | None,
        typer.Option(
            "--flag", metavar="FLAG", help="A flag of the server itself, such as --log=predictions."
        ),
    ] = None,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Leave it running, and give the shell back.")
    ] = False,
    stop: Annotated[bool, typer.Option("--stop", help="Stop the one that is running.")] = False,
) -> None:
    """Serve a model on this machine, by the protocols that KServe has.

    Shows where, and a `curl` line to try it; a page at the same address shows the model, with a form. A model
    named by an alias follows that: after `promote`, the new version answers within seconds, and no request
    fails. `deploy: true` in a training pipeline, and `kfp-lifecycle rollback`, roll out into this server.

    **Examples**

        kfp-lifecycle serve churn                     # the champion
        kfp-lifecycle serve churn@challenger --port 9000
        kfp-lifecycle serve runs/latest/artifacts/train/model --flag --log=predictions
        kfp-lifecycle serve churn --detach
        kfp-lifecycle serve churn --stop
    """
    from kfp_lifecycle.components.serve.laptop import serve_by_hand
    from kfp_lifecycle.components.serve.laptop import stop as end

    if stop:
        _stop(model, name)
        return
    served = serve_by_hand(model, name=name, port=port, arguments=flag or [], detach=detach)
    _show(served, detach or served.was_there)
    if detach or served.was_there:
        return
    from kfp_lifecycle.components.shared.cancel import Cancelled, cancellable

    try:
        with cancellable():
            raise typer.Exit(_wait(served))
    except Cancelled:
        typer.echo("Stopped.")
    finally:
        end(served)


def _stop(model: str, name: str) -> None:
    from kfp_lifecycle.components.serve.laptop import find_served
    from kfp_lifecycle.components.serve.laptop import stop as end

    served = find_served(model, name)
    if served is None:
        typer.echo(f"{model} is not served on this machine.")
        return
    end(served)
    typer.echo(f"Stopped {served.running.name} at {served.running.url}.")


def _wait(served: "HandServed") -> int:
    """Waits until the server ends by itself; its exit code."""
    from kfp_lifecycle.components.serve.rollout.local_process import wait

    return wait(served.running)


def _show(served: "HandServed", stays: bool) -> None:
    running = served.running
    title = typer.style(f"{running.name} version {running.version}", bold=True)
    typer.echo(f"{title} is served at {typer.style(running.url, fg=typer.colors.GREEN, bold=True)}\n")
    lines = {
        "Page": f"{running.url}/",
        "Metrics": f"{running.url}/metrics",
        "Log": running.log,
        "Stop": f"kfp-lifecycle serve {running.name} --stop" if stays else "Ctrl-C",
    }
    for name, line in lines.items():
        if line:
            typer.echo(f"  {name:<9}{line}")
    if served.curl:
        typer.echo(f"\nTry it:\n\n{served.curl}\n")
