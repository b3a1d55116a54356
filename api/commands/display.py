"""A region at the bottom of the terminal that shows where a command is, and goes away at the end.

All that is printed meanwhile appears above it as plain lines, so that the transcript can be read. Rich has such regions
too (`rich.live`), but would send the error stream through the standard output, and wrap long lines on its way.
"""

import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from typing import Any, Self, TextIO

from netc.commands import terminal
from netc.commands.status import drawn
from netc.dsl.quoting import escaped

Line = tuple[str, str]  # a text, and its style: one of STYLES
STYLES: dict[str, dict[str, object]] = {
    "": {},
    "head": {"bold": True},
    "aside": {"dim": True},
    "best": {"fg": "green", "bold": True},
    "status": {"fg": "cyan"},
}
_SECONDS = 0.125  # until the region is drawn anew
_UP, _ERASE, _HIDE, _SHOW = "\x1b[A", "\x1b[J", "\x1b[?25l", "\x1b[?25h"


class Display:
    """The region of a terminal. `lines` returns its lines for the columns and rows of the terminal.

    While it is entered, a thread draws it several times a second, and all output of `terminal.py` goes above it. It is
    on the standard output, or on the error stream if `is_error`.
    """

    def __init__(self, lines: Callable[[int, int], Sequence[Line]], is_error: bool = False) -> None:
        self._lines = lines
        self._stream: TextIO = sys.stderr if is_error else sys.stdout
        self._has_colours = not os.environ.get("NO_COLOR")
        self._shown: list[Line] = []  # the lines that the region has on the screen
        self._lock = threading.RLock()  # whoever writes to the terminal takes it
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._draw_often, name="netc-display", daemon=True)

    @property
    def width(self) -> int:
        """The columns of the terminal."""
        return shutil.get_terminal_size().columns

    def __enter__(self) -> Self:
        terminal.set_region(self.paused)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        terminal.set_region(None)
        self._is_over.set()
        self._thread.join()
        self._write(self._erased() + _SHOW)

    def line(self, *pieces: Line) -> None:
        """Prints a line above the region."""
        text = "".join(self._styled(piece) for piece in pieces)
        with self._lock:
            self._write(f"{self._erased()}{text}\n{self._region()}")

    def refresh(self) -> None:
        """Draws the region anew if it has changed."""
        with self._lock:
            lines = self._current()
            if lines != self._shown:
                self._write(self._erased() + self._region(lines))

    def _draw_often(self) -> None:
        while not self._is_over.wait(_SECONDS):
            self.refresh()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Within this context the region is gone."""
        with self._lock:
            self._write(self._erased() + _SHOW)
            yield
            self._write(self._region())

    def _erased(self) -> str:
        """The control sequence that erases the region, and leaves the cursor where its first line began."""
        count, self._shown = len(self._shown), []
        return f"\r{_UP * (count - 1)}{_ERASE}" if count else ""

    def _current(self) -> list[Line]:
        """The lines for the terminal as it is now."""
        width, height = shutil.get_terminal_size()
        return [(text[: width - 1], style) for text, style in self._lines(width, height)][: height - 1]

    def _region(self, lines: list[Line] | None = None) -> str:
        """The lines of the region. The cursor stays at the end of the last one."""
        self._shown = self._current() if lines is None else lines
        return _HIDE + "\n".join(self._styled(line) for line in self._shown)

    def _styled(self, piece: Line) -> str:
        """The text in its style, without characters that the terminal's encoding lacks."""
        text, style = piece
        text = drawn(escaped(text), self._stream.encoding)
        if not style or not self._has_colours:
            return text
        import typer  # here, because a prediction does without

        return typer.style(text, **STYLES[style])  # type: ignore[arg-type]

    def _write(self, text: str) -> None:
        with suppress(OSError, ValueError):  # the terminal is gone
            self._stream.write(text)
            self._stream.flush()


class _Above:
    """A stream whose whole lines go above the region of a display."""

    def __init__(self, stream: TextIO, display: Display) -> None:
        self._stream, self._display = stream, display
        self._begun = ""  # a line that has no end yet

    def write(self, text: str) -> int:
        """Writes the lines that are whole by now."""
        lines, end, self._begun = (self._begun + text).rpartition("\n")
        if end:
            with self._display.paused():
                self._stream.write(lines + end)
                self._stream.flush()
        return len(text)

    def flush(self) -> None:
        """A line that has only begun stays back: the region would erase it."""

    def close_line(self) -> None:
        """Writes what has no end."""
        self._stream.write(self._begun)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def printed_above(display: Display) -> Iterator[None]:
    """Shows a display while code prints that does not know of it, as functions of a user do: `print` goes above it."""
    out, error = (_Above(stream, display) for stream in (sys.stdout, sys.stderr))
    try:
        with display, redirect_stdout(out), redirect_stderr(error):
            yield
    finally:
        out.close_line()
        error.close_line()


def is_suited(is_error: bool = False) -> bool:
    """Whether the standard output, or the error stream, is a terminal that can draw a region."""
    stream = sys.stderr if is_error else sys.stdout
    return stream.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")


def show_cursor() -> None:
    """Shows the cursor: for a process that ends at once."""
    with suppress(OSError, ValueError):
        sys.stdout.write(_SHOW)
        sys.stdout.flush()
