"""What ``kfp-lifecycle runs list`` shows."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from kfp_lifecycle.scripts.times import duration, iso, short

if TYPE_CHECKING:
    from kfp_lifecycle.runner.cluster.connect import Server
    from kfp_lifecycle.runner.cluster.runs import Listed


def show_runs(found: Sequence["Listed"], now: datetime) -> None:
    """The runs as a table; what all have in common is not worth a column. ``now`` is the server's."""
    from rich.text import Text

    from kfp_lifecycle.scripts.tables import STATE_STYLES, new_table, show

    experiments = len({one.experiment for one in found}) > 1
    table = new_table("Run", "State", "Started", "Took", *["Experiment"] * experiments, "Name")
    for one in found:
        table.add_row(
            one.run_id[:8],
            Text(one.state, STATE_STYLES.get(one.state, "")),
            short(one.created, now),
            duration(one.seconds(now)),
            *[one.experiment] * experiments,
            Text(one.name, "bold").append(_beside(one), "not bold dim"),
        )
    show(table)


def _beside(one: "Listed") -> str:
    """What the name does not say."""
    title = " ".join(part for part in (one.pipeline, one.version) if part)
    schedule = " ⟳" if one.recurring_run_id else ""
    return f"{'' if not title or one.name.startswith(title) else f'  {title}'}{schedule}"


def runs_json(found: Sequence["Listed"], now: datetime, server: "Server") -> str:
    """The runs as JSON."""
    listed = [
        {
            "run_id": one.run_id,
            "name": one.name,
            "state": one.state,
            "created": iso(one.created),
            "finished": iso(one.finished),
            "seconds": round(one.seconds(now)),
            "experiment": one.experiment,
            "pipeline": one.pipeline,
            "version": one.version,
            "recurring_run_id": one.recurring_run_id,
            "error": one.error,
            "link": server.link(one.run_id),
        }
        for one in found
    ]
    return json.dumps({"format": 1, "runs": listed}, indent=2)
