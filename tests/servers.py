"""Real servers for tests, each a child process on a free loopback port."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest


def free_port() -> int:
    """A TCP port on loopback that nothing listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(
    command: Sequence[str],
    ready: str,
    log: Path,
    env: Mapping[str, str] | None = None,
    timeout_s: float = 60,
) -> Iterator[subprocess.Popen[bytes]]:
    """Runs ``command`` until the block ends; enters it once ``ready`` (a URL) answers with any status."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            list(command), stdout=out, stderr=subprocess.STDOUT, env=env, start_new_session=True
        )
        try:
            _wait(process, ready, log, timeout_s)
            yield process
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextlib.contextmanager
def mlflow_server(folder: Path) -> Iterator[str]:
    """A real MLflow server with its database and artifacts in ``folder``; gives its URI."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    uri = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--port", str(port)]
    command += ["--backend-store-uri", f"sqlite:///{folder / 'server.db'}"]
    command += ["--artifacts-destination", str(folder / "server-artifacts")]
    env = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with running(command, f"{uri}/health", folder / "server.log", env=env):
        yield uri


@contextlib.contextmanager
def gcs_server(folder: Path, bucket: str = "data") -> Iterator[dict[str, str]]:
    """A Cloud Storage emulator with one bucket; gives the environment that leads clients to it."""
    port = free_port()
    emulator = Path(sys.executable).with_name("gcp-storage-emulator")
    command = [str(emulator), "start", "--port", str(port), "--in-memory", "--default-bucket", bucket]
    with running(command, f"http://localhost:{port}/", folder / "gcs.log"):
        # A project, because without an account no client finds one.
        yield {"STORAGE_EMULATOR_HOST": f"http://localhost:{port}", "GOOGLE_CLOUD_PROJECT": "test"}


@contextlib.contextmanager
def s3_server(folder: Path, port: int = 0) -> Iterator[dict[str, str]]:
    """An S3 server without buckets; gives the environment that leads clients to it."""
    port = port or free_port()
    command = [str(Path(sys.executable).with_name("moto_server")), "-H", "127.0.0.1", "-p", str(port)]
    with running(command, f"http://127.0.0.1:{port}/", folder / "s3.log"):
        yield {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_ACCESS_KEY_ID": "someone",
            "AWS_SECRET_ACCESS_KEY": "hush-hush",
            "AWS_DEFAULT_REGION": "us-east-1",
        }


@contextlib.contextmanager
def postgres_server(password: str) -> Iterator[int]:
    """A PostgreSQL cluster of its own, whose superuser is ``owner``; gives its port."""
    if _postgres("initdb") is None:
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    # Not below pytest's own folder, which other users may not enter.
    with tempfile.TemporaryDirectory(prefix="postgres-") as name:
        folder, port = Path(name), free_port()
        secret, data = folder / "secret", folder / "data"
        secret.write_text(password)
        for path in (folder, secret) if os.getuid() == 0 else ():
            shutil.chown(path, "nobody")
        _as_postgres(
            "initdb", "-D", str(data), "-U", "owner", "-A", "scram-sha-256", f"--pwfile={secret}", "-N"
        )
        options = f"-p {port} -k '' -c listen_addresses=127.0.0.1 -c fsync=off"
        _as_postgres("pg_ctl", "-D", str(data), "-o", options, "-l", str(folder / "log"), "-w", "start")
        try:
            yield port
        finally:
            _as_postgres("pg_ctl", "-D", str(data), "-m", "immediate", "stop")


@contextlib.contextmanager
def redis_server(folder: Path, port: int = 0) -> Iterator["RedisServer"]:
    """A Redis server that keeps nothing, on a port of its own or on the given one."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("Redis is not installed (Debian: apt-get install redis-server)")
    server = RedisServer([program, "--save", "", "--dir", str(folder)], port or free_port())
    server.start()
    try:
        yield server
    finally:
        server.stop()


class RedisServer:
    """A Redis server that can be stopped and started again where it was, and held up."""

    def __init__(self, command: Sequence[str], port: int) -> None:
        self.command, self.port = [*command, "--bind", "127.0.0.1", "--port", str(port)], port
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL, start_new_session=True)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as probe:
                probe.sendall(b"PING\r\n")
                if probe.recv(16).startswith(b"+PONG"):
                    return
            time.sleep(0.02)
        raise RuntimeError(f"{self.command} does not answer")

    def hold(self) -> None:
        """Lets it answer nothing until :meth:`go_on`."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()


def _postgres(name: str) -> str | None:
    """A program of PostgreSQL's, which Debian keeps off the PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(found[-1]) if found else shutil.which(name)


def _as_postgres(name: str, *arguments: str) -> None:
    """Runs a program of PostgreSQL's as a user that it accepts: it refuses to run as root."""
    user = ["runuser", "-u", "nobody", "--"] if os.getuid() == 0 else []
    subprocess.run([*user, str(_postgres(name)), *arguments], check=True, stdout=subprocess.DEVNULL)


def _wait(process: "subprocess.Popen[bytes]", ready: str, log: Path, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args} ended with {process.returncode}: {log.read_text()[-2000:]}")
        try:
            urllib.request.urlopen(ready, timeout=1).close()
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"{process.args} did not answer at {ready}: {log.read_text()[-2000:]}")
