"""``kfp-lifecycle lint``."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from kfp_lifecycle.compiler.lint import Finding

_COLORS = {"error": typer.colors.RED, "warning": typer.colors.YELLOW, "note": typer.colors.CYAN}


class Least(StrEnum):
    """What makes the command fail."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


def lint_command(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE", help="Compiled files, or folders of them.", show_default=False),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Write the findings as JSON.")] = False,
    as_sarif: Annotated[
        bool, typer.Option("--sarif", help="Write the findings as SARIF 2.1.0, for code-review tools.")
    ] = False,
    for_backend: Annotated[
        str,
        typer.Option(
            metavar="VERSION",
            help="The oldest API server the files must run on, such as 2.5.",
            show_default=False,
        ),
    ] = "",
    require_digests: Annotated[
        bool, typer.Option("--require-digests", help="An image without a digest is an error.")
    ] = False,
    fail_on: Annotated[
        Least, typer.Option(help="The least severity that makes the command fail.")
    ] = Least.ERROR,
) -> None:
    """Check compiled pipelines: what the API server refuses, what fails or surprises later, what leaks.

    Works on any file that KFP 2 compiled, and says what else a file is. docs/lint-rules.md has every rule;
    they are switched off, with a reason, in `[tool.kfp-lifecycle.lint]` of pyproject.toml. Exits with 1 if
    anything is as bad as --fail-on says, with 2 on wrong usage.

        kfp-lifecycle lint compiled
        kfp-lifecycle lint pipeline.yaml --for-backend 2.5
        kfp-lifecycle lint compiled --sarif > lint.sarif
    """
    from kfp_lifecycle.compiler.backends import parse_version
    from kfp_lifecycle.compiler.lint import RULES, Options, Severity, failing, find_settings, lint
    from kfp_lifecycle.components.shared.errors import ParameterError

    try:
        settings = find_settings(RULES)
        backend = parse_version(for_backend) if for_backend else settings.backend
    except ParameterError as error:
        typer.secho(f"{type(error).__name__}: {error}", fg=typer.colors.RED, err=True)
        raise typer.Exit(2) from None
    options = Options(backend, require_digests or settings.require_digests)
    found = [finding for file in _files(files) for finding in lint(file, options, settings)]
    if as_json or as_sarif:
        _write(found, as_sarif)
    else:
        _show(found)
    if failing(found, Severity(fail_on)):
        raise typer.Exit(1)


def _files(given: list[Path]) -> list[Path]:
    found: list[Path] = []
    for path in given:
        if path.is_dir():
            below = sorted(p for p in path.rglob("*") if p.suffix in (".yaml", ".yml") and p.is_file())
            if not below:
                raise typer.BadParameter(f"{path} holds no YAML file.", param_hint="FILE…")
            found += below
        else:
            found.append(path)
    return found


def _write(found: list["Finding"], as_sarif: bool) -> None:
    import json

    from kfp_lifecycle.compiler.lint.report import to_json, to_sarif

    report: dict[str, Any]
    if as_sarif:
        from importlib.metadata import version

        report = to_sarif(found, version("kfp-lifecycle"))
    else:
        report = to_json(found)
    typer.echo(json.dumps(report, indent=2))


def _show(found: list["Finding"]) -> None:
    shown = [finding for finding in found if finding.suppressed is None]
    for finding in shown:
        where = f"{finding.file}:{finding.line}" if finding.line else finding.file
        severity = typer.style(finding.severity, fg=_COLORS[finding.severity], bold=True)
        place = f" {typer.style(finding.place, bold=True)}:" if finding.place else ""
        typer.echo(f"{where}: {severity} {finding.rule}{place} {finding.message}")
        typer.secho(f"    {finding.fix}", dim=True)
    counts = [(s, sum(f.severity == s for f in shown)) for s in _COLORS]
    said = ", ".join(f"{n} {s}{'' if n == 1 else 's'}" for s, n in counts if n) or "Nothing found"
    silent = f"; {len(found) - len(shown)} switched off" if len(found) > len(shown) else ""
    typer.secho(f"{said}{silent}.", bold=True)
