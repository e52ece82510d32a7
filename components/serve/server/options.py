"""Every setting of the server, and how it is written on the command line."""

import argparse
import os
from collections.abc import Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any, get_type_hints

from kfp_lifecycle.components.serve.server.lookup_settings import LookupSettings
from kfp_lifecycle.components.shared.errors import ParameterError
from kfp_lifecycle.components.shared.parameters import json_object


def _setting(default: Any, metavar: str, text: str) -> Any:
    """A field with the text of its flag."""
    return field(default=default, metadata={"metavar": metavar, "help": text})


@dataclass(frozen=True)
class ServerOptions:
    """The server's settings; the flag of ``max_rows`` is ``--max-rows``.

    Args:
        model: A Model artifact or an MLflow model: folder, ``file://``, ``gs://``, ``s3://``,
            ``models:/name/version`` or ``models:/name@alias``.
    """

    model: str = field(
        metadata={
            "metavar": "URI",
            "help": "the model: a folder, gs://, s3://, models:/NAME/VERSION or models:/NAME@ALIAS",
        }
    )
    name: str = _setting("", "NAME", "its name in URLs; default the registered name, else the folder's")
    host: str = _setting("0.0.0.0", "ADDRESS", "address to listen on")
    port: int = _setting(8080, "PORT", "port of REST; 0 takes a free one and prints it")
    grpc_port: int = _setting(-1, "PORT", "port of gRPC; 0 takes a free one; off without")
    device: str = _setting("auto", "DEVICE", "where a network runs: auto (a GPU that is there), cpu, cuda:0")
    threads: int = _setting(0, "N", "threads for predictions that take long; default one a core")
    max_body_mb: float = _setting(32.0, "MB", "largest body of a request")
    max_rows: int = _setting(100_000, "N", "most rows of a request")
    max_in_flight: int = _setting(1_000, "N", "requests under way at once; more are answered 503")
    timeout_s: float = _setting(60.0, "S", "seconds for an answer; later it is 504")
    read_timeout_s: float = _setting(30.0, "S", "seconds for a client to send its request")
    keep_alive_s: float = _setting(75.0, "S", "seconds that an idle connection stays open")
    drain_s: float = _setting(30.0, "S", "seconds after SIGTERM for requests under way")
    drain_delay_s: float = _setting(1.0, "S", "seconds after SIGTERM in which new requests still come in")
    start_timeout_s: float = _setting(300.0, "S", "seconds to try a registry or bucket that does not answer")
    watch: float = _setting(0.0, "S", "seconds between looks at the alias for a new version; 0 never looks")
    control: bool = _setting(False, "", "take rollout commands; the token is in KFP_LIFECYCLE_SERVE_TOKEN")
    batch_rows: int = _setting(0, "N", "dynamic batching: most rows that are predicted together; 0 is off")
    batch_wait_ms: float = _setting(2.0, "MS", "dynamic batching: how long a request waits for others")
    log: str = _setting("", "URI", "folder or bucket of the prediction log")
    log_columns: tuple[str, ...] = _setting((), "COL,…", "columns to log that are no input, such as a key")
    log_exclude: tuple[str, ...] = _setting((), "COL,…", "input columns that are not logged")
    log_hash: tuple[str, ...] = _setting((), "COL,…", "columns that are logged as their salted hash")
    log_flush_s: float = _setting(60.0, "S", "seconds after which the log is written")
    log_rows: int = _setting(100_000, "N", "rows that wait to be written; more are dropped and counted")
    feature_store: str = _setting("", "URI", "Feast repository of the features; default the one of training")
    feature_timeout_ms: float = _setting(100.0, "MS", "how long a request waits for the feature store")
    feature_missing: str = _setting("null", "null|error", "a feature without value: left missing, or 503")
    feature_stale: str = _setting("missing", "missing|use|error", "a feature older than its time to live")
    feature_fallback: str = _setting("", "JSON", 'values for missing features, as {"column": value}')
    access_log: bool = _setting(False, "", "write a log line for each request, not only for those that fail")
    log_format: str = _setting("text", "text|json", "how the server's own log lines are written")

    def __post_init__(self) -> None:
        for name in ("port", "max_rows", "max_in_flight", "log_rows", "threads", "batch_rows", "watch"):
            if getattr(self, name) < (1 if name in ("max_rows", "max_in_flight", "log_rows") else 0):
                raise ParameterError(f"--{flag(name)} is {getattr(self, name)}.", "Give a larger number.")
        for name in ("max_body_mb", "timeout_s", "read_timeout_s", "keep_alive_s", "log_flush_s"):
            if not getattr(self, name) > 0:
                raise ParameterError(f"--{flag(name)} is {getattr(self, name)}.", "Give more than 0.")
        if self.log_format not in ("text", "json"):
            raise ParameterError(f"--log-format is {self.log_format!r}.", "It is text or json.")
        self.lookup  # noqa: B018 it checks its settings
        if not self.model:
            raise ParameterError("--model is empty.", "Name a folder, a bucket or a registered model.")

    @property
    def max_body(self) -> int:
        """The largest body in bytes."""
        return int(self.max_body_mb * 1_000_000)

    @property
    def lookup(self) -> LookupSettings:
        """How features are looked up."""
        return LookupSettings(
            self.feature_store,
            self.feature_timeout_ms / 1000,
            self.feature_missing,
            self.feature_stale,
            json_object(self.feature_fallback, "--feature-fallback"),
        )

    @property
    def workers(self) -> int:
        """Threads for predictions."""
        return self.threads or os.cpu_count() or 1


def flag(name: str) -> str:
    """A field's name on the command line, without the dashes before it."""
    return name.replace("_", "-")


def parse(words: Sequence[str]) -> ServerOptions:
    """The settings of a command line.

    Raises:
        ParameterError: A value is out of range.
    """
    return ServerOptions(**vars(parser().parse_args(words)))


def parser() -> argparse.ArgumentParser:
    """The parser of the command line, from the fields of :class:`ServerOptions`."""
    made = argparse.ArgumentParser(
        prog="python -m kfp_lifecycle.components.serve",
        description="Serves a model over the KServe V1 and V2 protocols.",
        allow_abbrev=False,
    )
    types = get_type_hints(ServerOptions)
    for each in fields(ServerOptions):
        made.add_argument(f"--{flag(each.name)}", **_argument(each, types[each.name]))
    return made


def _argument(each: "Field[Any]", kind: Any) -> dict[str, Any]:
    text = str(each.metadata["help"])
    if kind is bool:
        return {"action": "store_true", "help": text}
    convert = kind if kind in (int, float, str) else _names
    if each.default is MISSING:
        return {"type": convert, "required": True, "metavar": each.metadata["metavar"], "help": text}
    shown = f"{text} (default {each.default})" if each.default else text
    return {"type": convert, "default": each.default, "metavar": each.metadata["metavar"], "help": shown}


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for part in text.split(",") if (name := part.strip()))
