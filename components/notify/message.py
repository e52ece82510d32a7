"""What is said: a title, a few facts, reasons and links, for people and for programs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kfp_lifecycle.components.monitor.message import Summary
from kfp_lifecycle.components.shared.errors import redact

#: Drifted columns that a message names.
TOP_COLUMNS = 5


@dataclass(frozen=True)
class Message:
    """A message.

    Args:
        event: ``retraining``, ``drift``, ``broken``, ``unjudged``, ``steady`` or ``failure``.
        title: What has happened, in one line.
        facts: Names to short texts.
        reasons: Why, a sentence each.
        links: What it is to be looked at by: words to URL.
        data: The same for programs.
    """

    event: str
    title: str
    facts: Mapping[str, str] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)
    links: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """All of it as plain text."""
        parts = [
            self.title,
            "\n".join(f"{name}: {fact}" for name, fact in self.facts.items()),
            "\n".join(f"- {reason}" for reason in self.reasons),
            "\n".join(f"{words}: {url}" for words, url in self.links.items()),
        ]
        return "\n\n".join(part for part in parts if part)


@dataclass(frozen=True)
class Retrained:
    """The retraining that was begun or found; all empty where there is none."""

    run_id: str = ""
    link: str = ""
    started: bool = False


_TITLES = {
    "drift": "{model} has drifted; it is not retrained yet",
    "broken": "The data of {model} is broken",
    "unjudged": "{model} cannot be judged: too little data",
    "steady": "{model} is steady",
}


def window_message(summary: Summary, retrained: Retrained, run_link: str = "") -> Message:
    """What a look at a window has led to.

    Args:
        summary: What monitor found.
        retrained: The retraining.
        run_link: Where the run that looked is shown; empty where that is not known.
    """
    event = "retraining" if summary.retrain else summary.verdict
    links = {
        "Report": report_link(summary.report),
        "Retraining": retrained.link or retrained.run_id,
        "Run": run_link,
    }
    return Message(
        event=event,
        title=_title(event, summary, retrained),
        facts={name: fact for name, fact in _facts(summary).items() if fact},
        reasons=list(summary.reasons),
        links={words: url for words, url in links.items() if url},
        data={
            "model": summary.model,
            "version": summary.version,
            "window": {"start": summary.start.isoformat(), "end": summary.end.isoformat()},
            "rows": summary.rows,
            "verdict": summary.verdict,
            "retrain": summary.retrain,
            "drift_share": summary.drift_share,
            "drifted": summary.drifted,
            "accuracy": summary.accuracy,
            "accuracy_reference": summary.accuracy_reference,
            "retraining": {
                "run_id": retrained.run_id,
                "link": retrained.link,
                "started": retrained.started,
            },
        },
    )


def failure_message(model: str, pipeline: str, error: str, run_link: str = "", task: str = "") -> Message:
    """A run has failed.

    Args:
        model: The model that it was about.
        pipeline: The pipeline's name.
        error: What is known of why.
        run_link: Where the run is shown.
        task: The task that failed, where known.
    """
    facts = {"Model": model, "Task": task}
    said = redact(error.strip())
    return Message(
        event="failure",
        title=f"{pipeline} of {model} has failed" if model else f"{pipeline} has failed",
        facts={name: fact for name, fact in facts.items() if fact},
        reasons=[said] if said else [],
        links={"Run": run_link} if run_link else {},
        data={"model": model, "pipeline": pipeline, "task": task, "error": said},
    )


def report_link(uri: str) -> str:
    """What a browser opens for an artifact's URI: of a bucket at Google its console, of a file its URL."""
    if uri.startswith("gs://"):
        return f"https://storage.cloud.google.com/{uri.removeprefix('gs://')}"
    return f"file://{uri}" if uri.startswith("/") else uri


def run_link(ui_host: str, run_id: str) -> str:
    """Where Kubeflow's user interface shows a run; empty where its address is not known."""
    return f"{ui_host.rstrip('/')}/#/runs/details/{run_id}" if ui_host and run_id else ""


def _title(event: str, summary: Summary, retrained: Retrained) -> str:
    named = f"{summary.model} version {summary.version}"
    if event != "retraining":
        return _TITLES[event].format(model=named)
    if retrained.run_id and not retrained.started:
        return f"{named} has drifted; a retraining is under way already"
    return f"{named} has drifted and is being retrained"


def _facts(summary: Summary) -> dict[str, str]:
    more = len(summary.drifted) - TOP_COLUMNS
    columns = ", ".join(summary.drifted[:TOP_COLUMNS]) + (f" and {more} more" if more > 0 else "")
    share = "" if summary.drift_share is None else f"{100 * summary.drift_share:.0f}%"
    return {
        "Model": f"{summary.model}, version {summary.version}",
        "Window": f"{summary.window}, {summary.rows:,} rows",
        "Drifted columns": f"{share}: {columns}" if share and columns else share,
        "Accuracy": _accuracy(summary),
    }


def _accuracy(summary: Summary) -> str:
    if summary.accuracy is None:
        return ""
    before = summary.accuracy_reference
    return f"{summary.accuracy:.3f}" + ("" if before is None else f" (at registration {before:.3f})")
