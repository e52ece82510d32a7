"""What was found in a window as one self-contained HTML page."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from kfp_lifecycle.components.evaluate.gate import HIGHER_IS_BETTER
from kfp_lifecycle.components.monitor.findings import (
    ColumnDrift,
    ColumnQuality,
    Decision,
    Findings,
    Histogram,
    distance,
)
from kfp_lifecycle.components.monitor.monitoring import Samples
from kfp_lifecycle.components.monitor.options import Options
from kfp_lifecycle.components.shared.model_format import library_version
from kfp_lifecycle.components.shared.report import number, percent, render
from kfp_lifecycle.components.shared.scores import LABELS

#: By verdict: what it is called, and whether that is good news.
VERDICTS = {
    "steady": ("Steady", "good"),
    "drift": ("Drift", "bad"),
    "broken": ("The data is broken", "bad"),
    "unjudged": ("Not judged", "warn"),
}
#: The scale of the distance bars, in multiples of the threshold.
FULL = 3.0
#: The size of a picture, in its own units.
WIDTH, HEIGHT = 240.0, 56.0


@dataclass(frozen=True)
class DriftRow:
    """A line of the drift table: the column, its picture, its distance and where that lies on the scale."""

    column: ColumnDrift
    picture: Markup
    times: float
    share: float


def render_report(findings: Findings, decision: Decision, options: Options, samples: Samples | None) -> str:
    """The page.

    Args:
        findings: What was found.
        decision: What follows.
        options: What was asked for.
        samples: Rows of both sides for Evidently's pictures; None leaves them out.
    """
    title, tone = VERDICTS[decision.verdict]
    pictures, drawn = _pictures(findings, samples)
    return render(
        "monitor/report.html",
        f=findings,
        decision=decision,
        options=options,
        title=title,
        tone=tone,
        columns=_rows(findings.columns),
        predictions=_rows(findings.predictions),
        conspicuous=[one for one in findings.quality.columns if _conspicuous(one)],
        labels=LABELS,
        higher=HIGHER_IS_BETTER,
        pictures=Markup(pictures),
        drawn=drawn,
        sampled=min(samples.current.height, samples.reference.height) if samples else 0,
        footer=_footer(findings),
        full=FULL,
    )


def _rows(columns: Sequence[ColumnDrift]) -> list[DriftRow]:
    ordered = sorted(columns, key=lambda one: (not one.drifted, one.score is None, -distance(one)))
    return [
        DriftRow(one, draw(one.histogram, one.name), distance(one), min(1.0, distance(one) / FULL))
        for one in ordered
    ]


def _conspicuous(one: ColumnQuality) -> bool:
    return bool(one.missing or one.missing_reference or one.unfit or one.out_of_range or one.unseen)


def _pictures(findings: Findings, samples: Samples | None) -> tuple[str, list[str]]:
    if samples is None or not findings.compared:
        return "", []
    from kfp_lifecycle.components.monitor.pictures import evidently_page

    return evidently_page(findings.columns, samples.reference, samples.current)


def _footer(findings: Findings) -> dict[str, str]:
    model = findings.model
    made = f"{model.made:%Y-%m-%d %H:%M} UTC" if model.made else ""
    lines = {
        "Model": f"{model.name}, version {model.version}",
        "From": model.uri,
        "Made": made,
        "Current data": findings.current,
        "Compared with": findings.reference,
        "Looked at": f"{findings.looked:%Y-%m-%d %H:%M} UTC",
        "kfp-lifecycle": library_version(),
    }
    return {name: text for name, text in lines.items() if text}


def draw(histogram: Histogram | None, name: str) -> Markup:
    """A small picture of both sides: the reference as an outline, the current rows as bars.

    Numbers share one axis; categories stand side by side, the most frequent first.
    """
    if histogram is None or not histogram.labels:
        return Markup("")
    top = max(*histogram.reference, *histogram.current, 1e-9)
    step = WIDTH / len(histogram.labels)
    labels: list[Any] = list(histogram.labels)
    sides = list(zip(labels, histogram.reference, histogram.current, strict=True))
    gap = 0.0 if isinstance(histogram.labels[0], tuple) else min(4.0, 0.2 * step)
    bars = [
        Markup(
            '<rect class="now" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"><title>{}</title></rect>'
        ).format(
            index * step + gap / 2,
            HEIGHT * (1 - now / top),
            max(0.5, step - gap),
            HEIGHT * now / top,
            _tip(label, before, now),
        )
        for index, (label, before, now) in enumerate(sides)
    ]
    outline = " ".join(
        f"M{index * step + gap / 2:.1f} {HEIGHT * (1 - before / top):.1f}h{step - gap:.1f}"
        for index, (_, before, _) in enumerate(sides)
    )
    if not gap:
        heights = [HEIGHT * (1 - before / top) for _, before, _ in sides]
        outline = (
            f"M0 {HEIGHT:g}" + "".join(f"V{height:.1f}h{step:.2f}" for height in heights) + f"V{HEIGHT:g}"
        )
    return Markup(
        '<svg class="spread" viewBox="0 0 {:g} {:g}" role="img" aria-label="{}" preserveAspectRatio="none">{}'
        '<path class="before" d="{}"/></svg>'
    ).format(WIDTH, HEIGHT, f"How {name} is spread", Markup("").join(bars), outline)


def _tip(label: str | tuple[float, float], before: float, now: float) -> str:
    what = f"{number(label[0], 3)} to {number(label[1], 3)}" if isinstance(label, tuple) else label
    return f"{what}: {percent(now)} now, {percent(before)} in the reference"
