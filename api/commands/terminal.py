"""Prints messages, metrics and tables. Without a terminal the output is plain lines.

All output goes through `say`, `say_lines` or `table`, which escape the control characters of names, paths and data.
While a command draws a region at the bottom of the terminal (`display.py`), it goes above that.
"""

import os
import re
import shutil
import sys
import textwrap
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Literal, TextIO

from netc.commands.quantities import number
from netc.dsl.diagnostics import MOST_ERRORS, Diagnostic, Fault
from netc.dsl.quoting import escaped, escaped_lines
from netc.dsl.storage.home import CacheWarning

if TYPE_CHECKING:
    from netc.runtime.metric_values import Interval, Intervals

_MOST_CLASSES = 40  # a matrix with more classes is not printed
_COLOURS = {"error": "red", "warning": "yellow"}  # on a terminal, unless NO_COLOR is set
_UNLIMITED = 1_000_000  # columns of an output that is not a terminal
_GAP = 2  # columns between those of a table
_LEAST_TEXT = 24  # columns for the text behind a mark
# the title of a message, or what stands in its margin before a label, a hint or a note
_MESSAGE = re.compile(r"(?P<margin> +(?:\| +(?:\^+|-+) |\| |= \w+: ))|(?:error|warning)\[")
_JOINT = "\N{NO-BREAK SPACE}"
_QUANTITY = re.compile(r"(?<=\d) (?=[kMGTP]?(?:B|FLOPs)\b)")  # the space between a number and its unit
_MOST = 50  # the most messages that are shown at a time


_region: Callable[[], AbstractContextManager[None]] | None = None  # takes the region away for a while
_is_quiet = False


def set_region(paused: Callable[[], AbstractContextManager[None]] | None) -> None:
    """Names what takes a region of the terminal away while something is printed; None if there is no region."""
    global _region
    _region = paused


@contextmanager
def quiet(is_quiet: bool = True) -> Iterator[None]:
    """Within this context only the error stream is written to."""
    global _is_quiet
    before, _is_quiet = _is_quiet, is_quiet
    try:
        yield
    finally:
        _is_quiet = before


def is_silent() -> bool:
    """Whether only the error stream is written to."""
    return _is_quiet


def _write(text: str, is_error: bool = False) -> None:
    """Prints lines whose characters are safe."""
    if _is_quiet and not is_error:
        return
    with nullcontext() if _region is None else _region():
        print(text, file=sys.stderr if is_error else sys.stdout, flush=True)


def say(text: str = "", is_error: bool = False) -> None:
    """Prints one line, on the error stream if `is_error`."""
    _write(escaped(text), is_error)


def say_wrapped(text: str) -> None:
    """Prints a sentence: on a terminal in lines that end between words, elsewhere as one line."""
    if not sys.stdout.isatty():
        say(text)
        return
    width = shutil.get_terminal_size().columns - 1
    joined = _QUANTITY.sub(_JOINT, escaped(text))  # a number and its unit stay on one line
    for line in textwrap.wrap(
        joined, max(width, 20), subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    ):
        _write(line.replace(_JOINT, " "))


def say_lines(text: str) -> None:
    """Prints a text of several lines, such as a graph or JSON."""
    _write(escaped_lines(text))


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
    is_terminal = sys.stderr.isatty()
    has_colours = is_terminal and not os.environ.get("NO_COLOR")
    for i, diagnostic in enumerate(diagnostics[:_MOST]):
        lines = diagnostic.render().split("\n")
        if is_terminal:
            width = shutil.get_terminal_size().columns - 1
            lines = [part for line in lines for part in _wrapped_message(line, width)]
        head, _, rest = "\n".join(lines).partition("\n")
        if has_colours:
            import typer

            head = typer.style(head, fg=_COLOURS["error" if diagnostic.is_error else "warning"], bold=True)
        _write(f"{chr(10) * (i > 0)}{head}\n{rest}", is_error=True)
    if len(diagnostics) > _MOST:
        say(is_error=True)
        say(f"... and {len(diagnostics) - _MOST:,} more", is_error=True)


def _wrapped_message(line: str, width: int) -> list[str]:
    """A line of a message in lines that end between words and keep its margin; a line of the user's file as it is."""
    match = _MESSAGE.match(line)
    if len(line) <= width or match is None:
        return [line]
    margin = match["margin"] or ""
    bar = margin.partition("|")[0] + "|" if "|" in margin else ""
    indent = bar.ljust(len(margin)) if margin else "  "
    if len(indent) > width - _LEAST_TEXT:
        indent = bar + "     "
    return textwrap.wrap(
        line[len(margin) :],
        width,
        initial_indent=margin,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
        drop_whitespace=True,
    )


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


def metrics_text(metrics: Mapping[str, Any], intervals: "Intervals | None" = None) -> str:
    """The metrics that are single numbers as one line, by name, with their intervals behind them."""
    from netc.runtime.metric_names import single_numbers

    return "  ".join(
        f"{name} {number(value)}{_interval_text((intervals or {}).get(name))}"
        for name, value in single_numbers(metrics).items()
    )


def _interval_text(interval: "Interval | None") -> str:
    return "" if interval is None else f" [{number(interval[0])}, {number(interval[1])}]"


def matrices(row: Mapping[str, Any]) -> None:
    """Prints the matrices among metrics, such as `confusion`: rows are true labels, columns predicted ones. Histograms
    of watched values are in the report."""
    from netc.runtime.metric_names import watched

    for name, value in row.items():
        if isinstance(value, list) and watched(name) is None:
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


def table(rows: Sequence[Sequence[str]], right: Sequence[int] = (), wraps: bool = False) -> None:
    """Prints rows of cells in columns. The columns whose numbers are in `right` are aligned to the right.

    On a terminal, or everywhere if it `wraps`, cells that do not fit are wrapped. Elsewhere each row is one line of any
    length.
    """
    cells = [[escaped(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    is_terminal = sys.stdout.isatty() or wraps
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
    width = shutil.get_terminal_size().columns if is_terminal else _UNLIMITED
    console = Console(color_system=None, width=width)
    with console.capture() as capture:
        console.print(grid)
    for line in capture.get().splitlines():
        say(line.rstrip())
