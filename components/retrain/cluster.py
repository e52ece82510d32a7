"""Training runs on a Kubeflow cluster, by ``kfp-lifecycle submit``."""

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from kfp_lifecycle.components.retrain.command import call
from kfp_lifecycle.components.retrain.starters import Started
from kfp_lifecycle.components.shared.errors import RetrainError

#: Among so many of the newest runs one is looked for.
_NEWEST = 1000
#: By which this machine's clock may differ from the server's.
_SKEW = timedelta(minutes=10)
_STATES = {"SUCCEEDED": "succeeded", "SKIPPED": "succeeded", "FAILED": "failed", "CANCELED": "failed"}


@dataclass(frozen=True)
class Cluster:
    """A Kubeflow cluster; in a pod its own, where nothing else is said.

    Args:
        experiment: The experiment of the runs.
        version: What the server calls the pipeline's version; empty is as the compiled file's name says.
        host: The server's address; empty is the pod's cluster, or the current context.
        namespace: Namespace of the runs; empty is the pod's own.
        service_account: Service account of the runs; empty is the server's default.
    """

    experiment: str = "retraining"
    version: str = ""
    host: str = ""
    namespace: str = ""
    service_account: str = ""

    def start(self, name: str, pipeline: str, parameters: Path) -> Started:
        """As :class:`~.starters.Starter` says."""
        command = ["submit", pipeline, f"--params={parameters}", f"--experiment={self.experiment}"]
        command += [f"--run-name={name}"]
        command += [f"--pipeline-version={self.version}"] if self.version else []
        # It prints the link, which ends with the id, or the id alone.
        link = self._call(command, "start the retraining").strip().splitlines()[-1]
        return Started(link.rpartition("/")[2], link)

    def find(self, name: str, since: datetime) -> Started | None:
        """As :class:`~.starters.Starter` says."""
        return next((_started(run) for run in self._runs(since) if run["name"] == name), None)

    def state(self, run: Started, since: datetime) -> str:
        """As :class:`~.starters.Starter` says; a run that the server no longer lists is over."""
        listed = [found for found in self._runs(since) if found["run_id"] == run.run_id]
        return _started(listed[0]).state if listed else "failed"

    def wait(self, run: Started) -> str:
        """As :class:`~.starters.Starter` says."""
        try:
            self._call(["watch", run.run_id], "follow the retraining")
        except RetrainError:
            # It says so too where the run has failed.
            if (state := self.state(run, datetime.now(UTC) - timedelta(days=30))) == "running":
                raise
            return state
        return "succeeded"

    def _runs(self, since: datetime) -> list[dict[str, Any]]:
        earliest = (since - _SKEW).astimezone(UTC).isoformat(timespec="seconds")
        command = ["runs", "list", "--json", f"--limit={_NEWEST}", f"--since={earliest}"]
        printed = self._call(command, "look for a retraining that is under way")
        return list(json.loads(printed)["runs"])

    def _call(self, arguments: list[str], doing: str) -> str:
        with self._context() as more:
            options = [] if self.service_account else self._options()
            return call([*arguments, *options], doing, more)

    def _options(self) -> list[str]:
        host = [f"--host={self.host}"] if self.host else []
        return [*host, *([f"--namespace={self.namespace}"] if self.namespace else [])]

    @contextmanager
    def _context(self) -> Iterator[Mapping[str, str]]:
        """The environment that names the runs' service account, which only a context does."""
        if not self.service_account:
            yield {}
            return
        own = {"host": self.host, "namespace": self.namespace, "service_account": self.service_account}
        context = {name: value for name, value in own.items() if value}
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "config.yaml"
            # JSON is YAML.
            file.write_text(json.dumps({"current": "retrain", "contexts": {"retrain": context}}), "utf-8")
            yield {"KFP_LIFECYCLE_CONFIG": str(file)}


def _started(run: Mapping[str, Any]) -> Started:
    return Started(run["run_id"], run["link"] or run["run_id"], _STATES.get(run["state"], "running"))
