"""The course of a rollout as Markdown, as the Kubeflow UI shows it."""

from kfp_lifecycle.components.serve.rollout.readings import Window
from kfp_lifecycle.components.serve.rollout.run import Step
from kfp_lifecycle.components.serve.serving import Served

_HEAD = "| Traffic | Requests | Of them recorded examples | Failed | Refused | p50 | p99 |"
_RULE = "| ---: | ---: | ---: | ---: | ---: | ---: | ---: |"


def rollout_page(served: Served) -> str:
    """What is served where, and each step with what the new version did, and the one before it."""
    outcome, release = served.outcome, served.release
    lines = [f"# {release.name}: version {outcome.version}", ""]
    if served.is_running:
        lines += [f"Served at <{outcome.url}>.", ""]
    else:
        lines += [f"It was tested at {outcome.url}, and its server stopped after that.", ""]
    if not outcome.steps:
        return "\n".join([*lines, "It had all traffic before, and still gives the recorded outputs.", ""])
    before = f"version {outcome.previous} before" if outcome.previous else "nothing before"
    lines += [f"It gives the recorded outputs. There was {before}.", "", _HEAD, _RULE]
    lines += [_row(f"{step.percent}%", step.candidate, str(step.replayed)) for step in outcome.steps]
    last: Step = outcome.steps[-1]
    if last.stable is not None and last.stable.requests:
        lines.append(_row(f"version {outcome.previous} meanwhile", last.stable, ""))
    return "\n".join([*lines, ""])


def _row(what: str, seen: Window, replayed: str) -> str:
    cells = [what, str(seen.requests), replayed, str(seen.errors), str(seen.rejected)]
    return f"| {' | '.join([*cells, _ms(seen.p50), _ms(seen.p99)])} |"


def _ms(seconds: float | None) -> str:
    return "—" if seconds is None else f"{1000 * seconds:.3g} ms"
