"""Prints messages, metrics and tables. Without a terminal the output is plain lines.

All output goes through `say`, `say_lines` or `table`, which escape the control characters of names, paths and data.
"""

import os
import shutil
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TextIO

from netc.commands.quantities import number
from netc.dsl.diagnostics import MOST_ERRORS, Diagnostic, Fault
from netc.dsl.home import CacheWarning
from netc.dsl.quoting import escaped, escaped_lines

if TYPE_CHECKING:
    from netc.runtime.metric_values import Interval, Intervals

_MOST_CLASSES = 40  # a matrix with more classes is not printed
_COLOURS = {"error": "red", "warning": "yellow"}  # on a terminal, unless NO_COLOR is set
_UNLIMITED = 1_000_000  # columns of an output that is not a terminal
_GAP = 2  # columns between those of a table
_MOST = 50  # the most messages that are shown at a time


def say(text: str = "", is_error: bool = False) -> None:
    """Prints one line, on the error stream if `is_error`."""
    print(escaped(text), file=sys.stderr if is_error else sys.stdout, flush=True)


def say_lines(text: str) -> None:
    """Prints a text of several lines, such as a graph or JSON."""
    print(escaped_lines(text), flush=True)


def show_fault(fault: Fault) -> None:
    """Prints all messages of a fault on the error stream."""
    show_diagnostics(fault.diagnostics)
    count = sum(diagnostic.is_error for diagnostic in fault.diagnostics)
    if count > 1:
        say(is_error=True)
        rest = ", and the rest of the file was not checked" if count >= MOST_ERRORS else ""
        say(f"{count} errors{rest}", is_error=True)


def show_diagnostics(diagnostics: Iterable[Diagnostic]) -> None:
    """Prints messages on the error stream, at most _MOST of them, with their first lines in colour on a terminal."""
    diagnostics = [*diagnostics]
    has_colours = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    for i, diagnostic in enumerate(diagnostics[:_MOST]):
        head, _, rest = diagnostic.render().partition("\n")
        if has_colours:
            import typer

            head = typer.style(head, fg=_COLOURS["error" if diagnostic.is_error else "warning"], bold=True)
        print(f"{chr(10) * (i > 0)}{head}\n{rest}", file=sys.stderr, flush=True)
    if len(diagnostics) > _MOST:
        say(is_error=True)
        say(f"... and {len(diagnostics) - _MOST:,} more", is_error=True)


def show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Replaces `warnings.showwarning`: a warning about the cache is one line for users, any other looks as usual."""
    if issubclass(category, CacheWarning):
        say(f"warning: {message}", is_error=True)
    else:
        print(warnings.formatwarning(message, category, filename, lineno, line), end="", file=file or sys.stderr)


def metrics_text(row: Mapping[str, Any], skip: Sequence[str] = (), intervals: "Intervals | None" = None) -> str:
    """The metrics of a row as one line, by name, with their intervals behind them. Without watched values, which are
    for curves, and without matrices."""
    from netc.runtime.metric_names import watched

    return "  ".join(
        f"{name} {number(value)}{_interval_text((intervals or {}).get(name))}"
        for name, value in row.items()
        if name not in skip and not isinstance(value, list) and watched(name) is None
    )


def _interval_text(interval: "Interval | None") -> str:
    return "" if interval is None else f" [{number(interval[0])}, {number(interval[1])}]"


def matrices(row: Mapping[str, Any]) -> None:
    """Prints the matrices among metrics, such as `confusion`: rows are true labels, columns predicted ones."""
    for name, value in row.items():
        if isinstance(value, list):
            say()
            if len(value[0]) > _MOST_CLASSES:
                size = f"{len(value)} rows of {len(value[0])} numbers"
                say(f"{name}: {size}, too many to show; `netc eval RUN --json` prints them")
                continue
            say(f"{name}: rows are true, columns predicted")
            heads = ["", *map(str, range(len(value[0])))]
            rows = [
                [str(i), *(number(int(cell) if cell == int(cell) else cell) for cell in line)]
                for i, line in enumerate(value)
            ]
            table([heads, *rows], right=range(len(heads)))


def table(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> None:
    """Prints rows of cells in columns. The columns whose numbers are in `right` are aligned to the right.

    On a terminal, cells that do not fit are wrapped. Elsewhere each row is one line of any length.
    """
    cells = [[escaped(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    is_terminal = sys.stdout.isatty()
    fits = not is_terminal or sum(widths) + _GAP * (len(widths) - 1) <= shutil.get_terminal_size().columns
    if not fits or not all(cell.isascii() for row in cells for cell in row):
        _laid_out_by_rich(cells, right, is_terminal)
        return
    for row in cells:
        padded = [
            cell.rstrip().rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        say((" " * _GAP).join(padded).rstrip())


def _laid_out_by_rich(cells: Sequence[Sequence[str]], right: Sequence[int], is_terminal: bool) -> None:
    """Prints a table as `table` does. Rich knows how to wrap cells, and how wide a character is. To import it takes
    longer than to check a small file, so other tables do without."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, _GAP, 0, 0))
    for column in range(len(cells[0])):
        justify: Literal["left", "right"] = "right" if column in right else "left"
        grid.add_column(justify=justify, no_wrap=not is_terminal, overflow="fold")
    for row in cells:
        grid.add_row(*map(Text, row))
    console = Console(color_system=None, width=None if is_terminal else _UNLIMITED)
    with console.capture() as capture:
        console.print(grid)
    for line in capture.get().splitlines():
        say(line.rstrip())
