"""Rows and freshness by feature view as one self-contained HTML page."""

import datetime as dt
from collections.abc import Sequence

from markupsafe import Markup
from matplotlib.ticker import NullLocator

from kfp_lifecycle.components.feature_store.materialize import ViewReport
from kfp_lifecycle.components.feature_store.repository import Repository
from kfp_lifecycle.components.shared.report import render
from kfp_lifecycle.components.shared.report.charts import ACCENT, MUTED, SECOND, chart, svg

#: Names longer than this are cut in the picture, not in the table.
_LONGEST = 26
#: Where the picture's axis has numbers, in hours.
_TICKS = (1, 6, 24, 168, 720, 8760, 87_600)
_UNITS = (("y", 31_536_000), ("d", 86_400), ("h", 3600), ("min", 60), ("s", 1))


def render_report(repository: Repository, reports: Sequence[ViewReport]) -> str:
    """The page.

    Args:
        repository: The feature store.
        reports: What became of each feature view.
    """
    ages = [report.age for report in reports if report.age is not None]
    return render(
        "feature_store_materialize/report.html",
        project=repository.project,
        uri=repository.uri,
        digest=repository.digest(),
        online=repository.store.config.online_store.type.rpartition(".")[2],
        reports=reports,
        rows=sum(report.rows or 0 for report in reports),
        oldest=_duration(max(ages)) if ages else "—",
        freshest=_duration(min(ages)) if ages else "—",
        failed=[report for report in reports if report.error],
        stale=[report for report in reports if report.is_stale],
        duration=_duration,
        moment=_moment,
        chart=freshness_chart(reports) if ages else "",
    )


def freshness_chart(reports: Sequence[ViewReport]) -> Markup:
    """The age of each view's newest value, on a logarithmic scale, beside the age at which it expires."""
    known = [report for report in reports if report.age is not None][::-1]
    places = range(len(known))
    with chart("Age of the newest value", "", unit=False) as (figure, axes):
        figure.set_size_inches(9.6, 1.3 + 0.42 * len(known))
        ages = [_hours(report.age) for report in known]
        axes.barh(places, ages, height=0.5, color=[SECOND if report.is_stale else ACCENT for report in known])
        limits = [
            (place, _hours(report.ttl)) for place, report in zip(places, known, strict=True) if report.ttl
        ]
        if limits:
            spots, ends = zip(*limits, strict=True)
            axes.scatter(ends, spots, marker="|", s=260, color=MUTED, label="TTL: the value expires")
            figure.legend(loc="outside upper right")
        axes.set_xscale("symlog", linthresh=1)
        longest = max([*ages, *(_hours(report.ttl) for report in known), 1])
        axes.set_xlim(0, longest * 1.6)
        axes.set_xticks([0, *(hours for hours in _TICKS if hours <= longest * 1.6)])
        axes.xaxis.set_major_formatter(lambda hours, _: _duration(dt.timedelta(hours=float(hours))))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_ylim(-0.7, len(known) - 0.3)
        axes.set_yticks(list(places), [_short(report.view) for report in known])
        axes.grid(visible=False, axis="y")
        return svg(figure, "Age of each feature view's newest value")


def _hours(age: dt.timedelta | None) -> float:
    return 0.0 if age is None else max(0.0, age.total_seconds() / 3600)


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else name[: _LONGEST - 1] + "…"


def _duration(span: dt.timedelta | None) -> str:
    """A span in its two largest units: ``2 d 4 h``."""
    if span is None:
        return "—"
    rest, parts = int(span.total_seconds()), []
    for unit, seconds in _UNITS:
        number, rest = divmod(rest, seconds)
        if number:
            parts.append(f"{number} {unit}")
    return " ".join(parts[:2]) or "0 s"


def _moment(time: dt.datetime | None) -> str:
    return "—" if time is None else f"{time:%Y-%m-%d %H:%M:%S}"
