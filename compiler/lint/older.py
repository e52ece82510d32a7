"""KL8: what an older API server does not know; only where a server is named."""

from collections.abc import Iterator

from kfp_lifecycle.compiler.backends import show_version, too_new
from kfp_lifecycle.compiler.ir import Pipeline
from kfp_lifecycle.compiler.lint.rule import Hit, Options, Severity, rule


@rule(
    "KL801",
    "unknown-to-backend",
    Severity.ERROR,
    "An older API server refuses a field that it does not know, or drops it without a word.",
    "Upgrade the server, or compile without the feature.",
)
def _unknown(pipeline: Pipeline, options: Options) -> Iterator[Hit]:
    if options.backend is None:
        return
    for found in too_new(pipeline, options.backend):
        change = found.change
        yield Hit(
            found.line,
            f"API server {show_version(options.backend)} does not know {change.what}, which came with "
            f"{show_version(change.since)}: {found.effect} ({change.source}).",
        )
