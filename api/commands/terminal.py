"""Prints messages, tables and the progress of training. Without a terminal the output is plain lines.

All output goes through `say`, `say_lines` or `table`, which escape the control characters of names, paths and data.
"""

import math
import os
import shutil
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Literal, Self, TextIO

from netc.compiler.targets.compilation import listened_to
from netc.dsl.diagnostics import MOST_ERRORS, Diagnostic, Fault
from netc.dsl.home import CacheWarning
from netc.dsl.quoting import escaped, escaped_lines

if TYPE_CHECKING:
    from netc.runtime.metric_values import Interval, Intervals
    from netc.runtime.studies.rounds import Standing
    from netc.runtime.trainer import Report

_MOST_CLASSES = 40  # a matrix with more classes is not printed
_COLOURS = {"error": "red", "warning": "yellow"}  # on a terminal, unless NO_COLOR is set

_UNITS = ((1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "kB"))
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


def number(value: float) -> str:
    """A float with four significant digits, or an int with all of its digits."""
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def duration(seconds: float) -> str:
    """A time in seconds, minutes or hours."""
    if seconds < 100 or math.isnan(seconds):
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02} min"


def size(nbytes: int) -> str:
    """A size in bytes, or in the unit that suits it."""
    for unit, name in _UNITS:
        if nbytes >= unit:
            return f"{nbytes / unit:.1f} {name}"
    return f"{nbytes} B"


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


@contextmanager
def compilation_shown() -> Iterator[None]:
    """Shows on a terminal how many kernels are compiled, in a line of the error stream that goes away at the end."""
    is_shown = False

    def show(compiled: int, count: int) -> None:
        nonlocal is_shown
        is_shown = compiled < count
        text = f"compiling: {compiled} of {count} kernels" if is_shown else ""
        with suppress(OSError):  # the terminal is gone
            print(f"\r{text}\x1b[K", end="", file=sys.stderr, flush=True)

    if not sys.stderr.isatty():
        yield
        return
    with listened_to(show):
        try:
            yield
        finally:
            if is_shown:
                show(0, 0)


class Ticker:
    """Shows the running epoch as a progress bar on a terminal, and nothing elsewhere. While kernels are compiled, the
    bar shows these. Under a launcher of ranks there is none: it gives its processes a terminal even if it has none."""

    def __init__(self, is_launched: bool = False) -> None:
        self._bar: Any = None
        self._listening = ExitStack()
        if sys.stdout.isatty() and not is_launched:
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.fields[facts]}"),
                TimeRemainingColumn(),
                transient=True,
            )
            self._task = self._bar.add_task("", total=None, facts="")

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._listening.enter_context(listened_to(self.compiling))
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.close()
        if self._bar is not None:
            with suppress(OSError):  # the terminal is gone
                self._bar.stop()

    def update(self, report: "Report") -> None:
        """Shows the progress in an epoch."""
        if self._bar is not None:
            self._bar.update(
                self._task,
                description=f"epoch {report.epoch}/{report.epochs}",
                completed=(report.epoch - 1) * report.samples + report.done,
                total=report.epochs * report.samples,
                facts=f"loss {report.loss:.4f} {report.samples_per_second:,.0f} samples/s",
            )

    def compiling(self, compiled: int, count: int) -> None:
        """Shows how many kernels are compiled."""
        description = "compiling kernels" if compiled < count else ""
        self._bar.update(self._task, description=description, completed=compiled, total=count)

    def line(self, text: str) -> None:
        if self._bar is not None:
            self._bar.console.print(escaped(text), highlight=False, markup=False)
        else:
            say(text)


class StudyTicker(Ticker):
    """Shows on a terminal how far a study is, as a bar with the best value of its metric so far. Elsewhere a line is
    printed after each round."""

    def __init__(self, metric: str) -> None:
        super().__init__()
        self._metric, self._finished = metric, 0

    def study(self, standing: "Standing") -> None:
        """Shows where a study stands."""
        facts = [f"{standing.running} running"] if standing.running else []
        facts += [f"{standing.pruned} given up"] if standing.pruned else []
        if standing.best is not None:
            facts.append(f"best {self._metric} {number(standing.best_value)} (trial {standing.best})")
        total = f"/{standing.total}" if standing.total is not None else ""
        if self._bar is not None:
            self._bar.update(
                self._task,
                description=f"{standing.finished}{total} trials",
                completed=standing.finished,
                total=standing.total,
                facts=", ".join(facts),
            )
        elif standing.finished > self._finished:
            self._finished = standing.finished
            self.line("  ".join([f"{standing.finished}{total} trials", *facts]))
