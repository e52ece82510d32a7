"""HTML reports: one self-contained page each, from Jinja templates extending ``shared/report/base.html``."""

import math
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

#: Templates are named from the components folder: ``evaluate/report.html`` lies in components/evaluate/.
TEMPLATES = Path(__file__).parents[2]


def render(template: str, **values: Any) -> str:
    """The page that ``template`` makes of ``values``; every value is escaped unless it is ``Markup``.

    Filters beside Jinja's own: ``number`` (four significant digits), ``count`` (thousands apart),
    ``percent`` (a share, 0 to 1).

    Args:
        template: Path of the template in the components folder, such as ``prepare/profile.html``.
        **values: What the template names; a name that is not given is an error, not a blank.

    Returns:
        One HTML document that asks for nothing outside itself.
    """
    return _environment().get_template(template).render(**values)


def number(value: float | None, digits: int = 4) -> str:
    """``value`` to ``digits`` significant digits, thousands apart; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return "—"
    if value == 0:
        return "0"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    if decimals > digits + 4:
        return f"{value:.{digits - 1}e}"
    return f"{value:,.{decimals}f}"


def count(value: float) -> str:
    """A whole number, thousands apart."""
    return f"{value:,.0f}"


def percent(share: float | None, decimals: int = 1) -> str:
    """A share of 0 to 1 as a percentage; a dash where there is none."""
    return "—" if share is None or not math.isfinite(share) else f"{100 * share:.{decimals}f}%"


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "count": count, "percent": percent}
    return environment
