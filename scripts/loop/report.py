"""The loop as one page: accuracy before and after, and month by month."""

import calendar
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from kfp_lifecycle.components.shared.report import TEMPLATES, count, number
from kfp_lifecycle.components.shared.scores import LABELS
from kfp_lifecycle.scripts.loop.loop import MODEL, Course


def render_report(course: Course) -> str:
    """The page; it links the reports of monitor and evaluate."""
    environment = Environment(
        loader=FileSystemLoader([Path(__file__).parent, TEMPLATES]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "count": count, "month": lambda n: calendar.month_name[n]}
    retrainings = [month for month in course.months if month.retrained is not None]
    return environment.get_template("report.html").render(
        c=course,
        model=MODEL,
        labels=LABELS,
        alarms=sum(month.verdict == "drift" for month in course.months),
        retrainings=retrainings,
        rolled_out=sum(bool(month.retrained and month.retrained.served) for month in retrainings),
        sent=course.replayed.sent + course.meanwhile.sent,
        failed=[*course.replayed.failed, *course.meanwhile.failed],
    )
