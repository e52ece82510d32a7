"""What tests of schedules share: a pipeline on the double, definitions, a client that can be killed."""

import os
import signal
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from kfp_lifecycle.runner.cluster.connect import Server, connect
from kfp_lifecycle.runner.cluster.cron import parse_cron
from kfp_lifecycle.runner.cluster.retry import Patience
from kfp_lifecycle.runner.cluster.schedule_apply import Definition
from kfp_lifecycle.runner.cluster.trigger import Trigger
from tests.kfp_server import KfpServer
from tests.kfp_server.faults import Fault, Faults, Kind

QUICK = Patience(seconds=5.0, first_s=0.01, most_s=0.05, settle_s=0.01)

SPEC = {
    "pipelineInfo": {"name": "training"},
    "schemaVersion": "2.1.0",
    "sdkVersion": "kfp-2.17.0",
    "components": {"comp-train": {"executorLabel": "exec-train"}},
    "deploymentSpec": {"executors": {"exec-train": {"container": {"image": "none", "command": ["true"]}}}},
    "root": {
        "dag": {"tasks": {"train": {"componentRef": {"name": "comp-train"}, "taskInfo": {"name": "train"}}}},
        "inputDefinitions": {
            "parameters": {
                "source": {"parameterType": "STRING"},
                "folds": {"parameterType": "NUMBER_INTEGER", "defaultValue": 5},
            }
        },
    },
}


def add_version(double: KfpServer, name: str = "1.0.0", namespace: str = "") -> tuple[str, str]:
    """A version of the pipeline ``training`` on the double: ids of the pipeline and of the version."""
    with double.state.lock:
        found = [p for p in double.state.pipelines.values() if p["name"] == "training"]
        pipeline = (
            found[0] if found else double.state.add_pipeline({"name": "training", "namespace": namespace})
        )
        body = {"pipeline_id": pipeline["pipeline_id"], "name": name, "pipeline_spec": SPEC}
        return pipeline["pipeline_id"], double.state.add_version(body)["pipeline_version_id"]


def to(double: KfpServer, **options: Any) -> Server:
    """A connection to the double that gives up after seconds."""
    return connect(host=double.url, patience=QUICK, **options)


def daily(ids: tuple[str, str], cron: str = "0 0 2 * * *", **more: Any) -> Definition:
    """A schedule ``nightly``, at two every day."""
    trigger = more.pop("trigger", None) or Trigger(parse_cron(cron))
    given = {"parameters": {"source": "gs://b/churn.csv"}, **more}
    return Definition("nightly", "training 1.0.0", *ids, trigger=trigger, **given)


def no_wait(seconds: float, until: datetime) -> None:
    """In place of waiting for a time to pass."""


class KillAt(Faults):
    """Kills whoever sends the request of that number, before or after the server has done it."""

    def __init__(self, number: int, after: bool, pid: Callable[[], int]) -> None:
        super().__init__()
        self.number, self.after, self._pid, self.count = number, after, pid, 0

    def take(self, request: str) -> dict[Kind, Fault]:
        """The faults of this request: most have none."""
        self.count += 1
        return _Kill(self._pid, self.after) if self.count == self.number else {}


class _Kill(dict[Kind, Fault]):
    """Strikes when the server asks whether the connection goes down, before or after it acts."""

    def __init__(self, pid: Callable[[], int], after: bool) -> None:
        super().__init__()
        self._pid, self._kind = pid, Kind.DROP_AFTER if after else Kind.DROP_BEFORE

    def __contains__(self, kind: object) -> bool:
        if kind is not self._kind:
            return False
        os.kill(self._pid(), signal.SIGKILL)
        return True


def enabled(double: KfpServer, name: str = "nightly") -> list[str]:
    """Ids of what fires on the double."""
    return [
        id
        for id, item in double.state.recurring.items()  # noqa: A001
        if item["display_name"] == name and item["status"] == "ENABLED"
    ]


def now() -> datetime:
    """The time, whole seconds."""
    return datetime.now(UTC).replace(microsecond=0)
