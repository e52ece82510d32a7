"""Prometheus and its Pushgateway as real servers (Debian's packages of these names)."""

import contextlib
import json
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.servers import free_port, running


def program(name: str) -> str:
    """Where Debian puts it; without it the test is skipped."""
    found = shutil.which(name)
    if not found:
        pytest.skip(f"no {name} on this machine: apt-get install {name}")
    return found


@contextlib.contextmanager
def pushgateway(folder: Path, users: Mapping[str, str] | None = None) -> Iterator[str]:
    """A Pushgateway; gives its URL.

    Args:
        folder: For its log.
        users: Users that may log in, by bcrypt hash of their password; none lets everybody in.
    """
    port = free_port()
    command = [program("prometheus-pushgateway"), f"--web.listen-address=127.0.0.1:{port}"]
    # Debian's keeps what was pushed in a file of the machine, where nothing else is said.
    command += [f"--persistence.file={folder / 'pushgateway.data'}"]
    if users:
        (folder / "web.yaml").write_text(yaml.safe_dump({"basic_auth_users": dict(users)}))
        command += [f"--web.config.file={folder / 'web.yaml'}"]
    url = f"http://127.0.0.1:{port}"
    with running(command, f"{url}/-/ready", folder / "pushgateway.log"):
        yield url


class Prometheus:
    """A running Prometheus.

    Args:
        url: Where it is.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    def query(self, promql: str) -> list[dict[str, Any]]:
        """The query's samples now."""
        asked = urllib.parse.urlencode({"query": promql})
        with urllib.request.urlopen(f"{self.url}/api/v1/query?{asked}", timeout=10) as answer:
            return list(json.load(answer)["data"]["result"])

    def wait_until_ready(self, timeout_s: float = 30) -> None:
        """Waits until it answers queries, and no more that it is still starting."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            try:
                urllib.request.urlopen(f"{self.url}/-/ready", timeout=5).close()
                return
            except urllib.error.HTTPError:
                time.sleep(0.1)
        raise RuntimeError(f"{self.url} is not ready")

    def wait_for(self, promql: str, timeout_s: float = 30) -> list[dict[str, Any]]:
        """The query's samples, once there are any."""
        deadline = time.monotonic() + timeout_s
        while not (found := self.query(promql)) and time.monotonic() < deadline:
            time.sleep(0.2)
        return found


@contextlib.contextmanager
def prometheus(
    folder: Path, targets: Mapping[str, str], rules: Sequence[Path] = (), interval: str = "1s"
) -> Iterator[Prometheus]:
    """A Prometheus that scrapes ``targets`` (job to ``host:port``), what they push keeping its own labels."""
    jobs = [
        {"job_name": job, "honor_labels": True, "static_configs": [{"targets": [target]}]}
        for job, target in targets.items()
    ]
    settings = {
        "global": {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval},
        "scrape_configs": jobs,
        "rule_files": [str(file) for file in rules],
    }
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(settings))
    port = free_port()
    command = [program("prometheus"), f"--config.file={folder / 'prometheus.yaml'}"]
    command += [f"--web.listen-address=127.0.0.1:{port}", f"--storage.tsdb.path={folder / 'tsdb'}"]
    url = f"http://127.0.0.1:{port}"
    with running(command, f"{url}/-/ready", folder / "prometheus.log"):
        found = Prometheus(url)
        found.wait_until_ready()
        yield found
