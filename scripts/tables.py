"""Tables for terminals, narrow ones too, and for pipes, where nothing is cut off or coloured."""

from collections.abc import Iterable

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

#: Styles of the API's states.
STATE_STYLES = {
    "SUCCEEDED": "green",
    "FAILED": "bold red",
    "CANCELED": "yellow",
    "CANCELING": "yellow",
    "RUNNING": "cyan",
    "PENDING": "dim",
    "PAUSED": "yellow",
    "SKIPPED": "dim",
}
#: As wide as any table, where no terminal bounds it.
_NO_TERMINAL = 2000


def new_table(*columns: str) -> Table:
    """A table without lines between its rows; on a narrow terminal, its cells are folded."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="dim")
    for number, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=False, min_width=4 if number == 0 else None)
    return table


def show_facts(facts: Iterable[tuple[str, str]]) -> None:
    """Prints facts, each after its label; what is long is wrapped beside it."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True, min_width=10)
    table.add_column(overflow="fold")
    for label, text in facts:
        table.add_row(label, Text(text))
    if table.rows:
        show(table)


def say(text: Text) -> None:
    """Prints a line; a terminal wraps it itself, and copies it whole."""
    Console(highlight=False).print(text, soft_wrap=True)


def show(table: Table) -> None:
    """Prints a table on standard output."""
    console = Console(highlight=False)
    if console.is_terminal:
        console.print(table)
        return
    console = Console(highlight=False, width=_NO_TERMINAL, no_color=True)
    with console.capture() as captured:
        console.print(table)
    # Rich fills the columns of a table with blanks.
    print("\n".join(line.rstrip() for line in captured.get().splitlines() if line.strip()))
