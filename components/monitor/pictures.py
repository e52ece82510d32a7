"""Evidently's interactive pictures of the columns that have moved most, drawn from a sample of the rows."""

import html
import threading
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module

import polars as pl

from kfp_lifecycle.components.monitor.findings import ColumnDrift, distance
from kfp_lifecycle.components.monitor.methods import METHODS
from kfp_lifecycle.components.shared.errors import MonitorError

#: Columns that are drawn.
MOST = 12


def begin_import() -> None:
    """Begins to import Evidently, which takes seconds, beside the pass over the rows."""
    threading.Thread(target=_import, daemon=True).start()


def _import() -> None:
    with suppress(ImportError):  # said where it is used
        import_module("evidently.metrics")


def evidently_page(
    columns: Sequence[ColumnDrift], reference: pl.DataFrame, current: pl.DataFrame
) -> tuple[str, list[str]]:
    """Evidently's report as the text of an ``iframe``'s ``srcdoc``, and the columns in it.

    Args:
        columns: The columns that were compared.
        reference: A sample of the reference.
        current: A sample of the current rows.

    Returns:
        The page, empty where no column can be drawn; and the columns, those that moved most first.

    Raises:
        MonitorError: Evidently is not installed.
    """
    chosen = [one for one in sorted(columns, key=lambda one: -distance(one)) if one.score is not None]
    chosen = [one for one in chosen if _has_values(one.name, reference) and _has_values(one.name, current)][
        :MOST
    ]
    if not chosen:
        return "", []
    try:
        from evidently import DataDefinition, Dataset, Report
        from evidently.metrics import ValueDrift
    except ImportError as error:
        raise MonitorError(
            f"The pictures need Evidently: {error}.",
            "pip install 'kfp-lifecycle[monitor]', or set pictures to false.",
        ) from error
    names = [one.name for one in chosen]
    definition = DataDefinition(
        numerical_columns=[one.name for one in chosen if one.kind == "number"],
        categorical_columns=[one.name for one in chosen if one.kind == "category"],
    )
    sides = [
        Dataset.from_pandas(_plain(rows, chosen).to_pandas(), data_definition=definition)
        for rows in (current, reference)
    ]
    drawn = [ValueDrift(column=one.name, method=_method(one), threshold=one.threshold) for one in chosen]
    page = Report(drawn).run(*sides).get_html_str(as_iframe=False)
    return html.escape(page, quote=True), names


def _has_values(name: str, rows: pl.DataFrame) -> bool:
    return name in rows.columns and rows[name].null_count() < rows.height


def _plain(rows: pl.DataFrame, chosen: Sequence[ColumnDrift]) -> pl.DataFrame:
    """The columns in the types that Evidently takes: it knows no nullable integers."""
    types = {"number": pl.Float64, "category": pl.String}
    return rows.select(pl.col(one.name).cast(types[one.kind]) for one in chosen)


def _method(column: ColumnDrift) -> str:
    """The name of a column's method in Evidently."""
    return next(method.name for method in METHODS.values() if column.method.startswith(method.label))
