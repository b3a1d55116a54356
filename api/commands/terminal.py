"""What the commands say and how: messages, tables, the progress of a training. Plain lines where no terminal is.

Whatever is printed goes through `say`, `say_lines` or `table`: control characters of names, paths and data are escaped on the way.
"""

import os
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, TextIO

import typer

from netc.dsl.diagnostics import MOST_ERRORS, Diagnostic, Fault
from netc.dsl.home import CacheWarning
from netc.dsl.quoting import escaped, escaped_lines

_MOST_CLASSES = 40  # of a matrix that is printed
_COLOURS = {"error": typer.colors.RED, "warning": typer.colors.YELLOW}  # where a terminal is, unless NO_COLOR is set

_MOST = 50  # messages of one go


def say(text: str = "", is_error: bool = False) -> None:
    """Print one line, on the error stream if `is_error`."""
    print(escaped(text), file=sys.stderr if is_error else sys.stdout, flush=True)


def say_lines(text: str) -> None:
    """Print a text of several lines, such as a graph or JSON."""
    print(escaped_lines(text), flush=True)


def show_fault(found: Fault) -> None:
    """All messages of a fault, on the error stream."""
    show_diagnostics(found.diagnostics)
    count = sum(one.is_error for one in found.diagnostics)
    if count > 1:
        say(is_error=True)
        rest = ", and the rest of the file was not looked at" if count >= MOST_ERRORS else ""
        say(f"{count} errors{rest}", is_error=True)


def show_diagnostics(diagnostics: Iterable[Diagnostic]) -> None:
    """Messages on the error stream, their first lines in colour; no more than somebody would read."""
    diagnostics = [*diagnostics]
    has_colours = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    for i, one in enumerate(diagnostics[:_MOST]):
        head, _, rest = one.render().partition("\n")
        if has_colours:
            head = typer.style(head, fg=_COLOURS["error" if one.is_error else "warning"], bold=True)
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
    """Takes the place of `warnings.showwarning`: a warning about the cache is one line for users; another one is for programmers, and looks as ever."""
    if issubclass(category, CacheWarning):
        say(f"warning: {message}", is_error=True)
    else:
        print(warnings.formatwarning(message, category, filename, lineno, line), end="", file=file or sys.stderr)


def number(value: float) -> str:
    """Four significant digits, whole numbers as they are."""
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def figures(row: Mapping[str, Any], skip: Sequence[str] = ()) -> str:
    """The numbers of a row by name; watched values are for the curves, matrices for a table of their own."""
    return "  ".join(
        f"{name} {number(value)}"
        for name, value in row.items()
        if name not in skip and not isinstance(value, list) and "watch." not in name
    )


def matrices(row: Mapping[str, Any]) -> None:
    """The matrices among figures (confusion: a row for each true label, a column for each predicted one)."""
    for name, value in row.items():
        if isinstance(value, list):
            say()
            if len(value[0]) > _MOST_CLASSES:
                say(
                    f"{name}: {len(value)} rows of {len(value[0])} numbers, too many to show; `netc eval RUN --json` prints them"
                )
                continue
            say(f"{name}: rows are true, columns predicted")
            heads = ["", *map(str, range(len(value[0])))]
            rows = [
                [str(i), *(number(int(cell) if cell == int(cell) else cell) for cell in line)]
                for i, line in enumerate(value)
            ]
            table([heads, *rows], right=range(len(heads)))


def table(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> None:
    """Columns under one another; those of `right` are set to the right."""
    shown = [[escaped(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in shown) for i in range(len(shown[0]))]
    for row in shown:
        cells = [
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        say("  ".join(cells).rstrip())


class Ticker:
    """The running epoch on one line: a rich progress bar on a terminal, nothing elsewhere."""

    def __init__(self) -> None:
        self._bar: Any = None
        if sys.stdout.isatty():
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("loss {task.fields[loss]:.4f}"),
                TextColumn("{task.fields[speed]:,.0f} samples/s"),
                TimeRemainingColumn(),
                transient=True,
            )
            self._task = self._bar.add_task("", total=None, loss=0.0, speed=0.0)

    def __enter__(self) -> "Ticker":
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            with suppress(OSError):  # the terminal is gone
                self._bar.stop()

    def update(self, epoch: int, epochs: int, done: int, samples: int, loss: float, speed: float) -> None:
        if self._bar is not None:
            self._bar.update(
                self._task,
                description=f"epoch {epoch}/{epochs}",
                completed=(epoch - 1) * samples + done,
                total=epochs * samples,
                loss=loss,
                speed=speed,
            )

    def line(self, text: str) -> None:
        if self._bar is not None:
            self._bar.console.print(escaped(text), highlight=False, markup=False)
        else:
            say(text)
