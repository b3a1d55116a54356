"""A region at the bottom of the terminal that shows where a command is, and goes away at the end.

All that is printed meanwhile appears above it as plain lines, so that the transcript can be read. Rich has such regions
too (`rich.live`), but would send the error stream through the standard output, and wrap long lines on its way.
"""

import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Self

import typer

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

    While it is entered, a thread draws it several times a second, and all output of `terminal.py` goes above it.
    """

    def __init__(self, lines: Callable[[int, int], Sequence[Line]]) -> None:
        self._lines = lines
        self._has_colours = not os.environ.get("NO_COLOR")
        self._drawn = 0  # lines that the region has on the screen
        self._lock = threading.RLock()  # whoever writes to the terminal takes it
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._draw_often, name="netc-display", daemon=True)

    @property
    def width(self) -> int:
        """The columns of the terminal."""
        return shutil.get_terminal_size().columns

    def __enter__(self) -> Self:
        terminal.set_region(self._paused)
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
        """Draws the region anew."""
        with self._lock:
            self._write(self._erased() + self._region())

    def _draw_often(self) -> None:
        while not self._is_over.wait(_SECONDS):
            self.refresh()

    @contextmanager
    def _paused(self) -> Iterator[None]:
        """Within this context the region is gone."""
        with self._lock:
            self._write(self._erased() + _SHOW)
            yield
            self._write(self._region())

    def _erased(self) -> str:
        """The control sequence that erases the region, and leaves the cursor where its first line began."""
        count, self._drawn = self._drawn, 0
        return f"\r{_UP * (count - 1)}{_ERASE}" if count else ""

    def _region(self) -> str:
        """The lines of the region. The cursor stays at the end of the last one."""
        width, height = shutil.get_terminal_size()
        lines = [(text[: width - 1], style) for text, style in self._lines(width, height)][: height - 1]
        self._drawn = len(lines)
        return _HIDE + "\n".join(self._styled(line) for line in lines)

    def _styled(self, piece: Line) -> str:
        """The text in its style, without characters that the terminal's encoding lacks."""
        text, style = piece
        text = drawn(escaped(text), sys.stdout.encoding)
        return typer.style(text, **STYLES[style]) if style and self._has_colours else text  # type: ignore[arg-type]

    def _write(self, text: str) -> None:
        with suppress(OSError, ValueError):  # the terminal is gone
            sys.stdout.write(text)
            sys.stdout.flush()


def is_suited() -> bool:
    """Whether the standard output is a terminal that can draw a region."""
    return sys.stdout.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")


def show_cursor() -> None:
    """Shows the cursor: for a process that ends at once."""
    with suppress(OSError, ValueError):
        sys.stdout.write(_SHOW)
        sys.stdout.flush()
