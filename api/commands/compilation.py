"""The progress of a compilation, for commands that show no other progress."""

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from netc.commands.status import Status, drawn
from netc.compiler.targets.compilation import listened_to


def compiling(compiled: int, count: int) -> Status:
    """How far a compilation is."""
    return Status("compiling", compiled / count, (f"{compiled} of {count} kernels",))


@contextmanager
def compilation_shown() -> Iterator[None]:
    """Shows on a terminal how many kernels are compiled, in a line of the error stream that goes away at the end."""
    is_shown = False

    def show(compiled: int, count: int) -> None:
        nonlocal is_shown
        is_shown = compiled < count
        text = compiling(compiled, count).text(shutil.get_terminal_size().columns) if is_shown else ""
        with suppress(OSError):  # the terminal is gone
            print(f"\r{drawn(text, sys.stderr.encoding)}\x1b[K", end="", file=sys.stderr, flush=True)

    if not sys.stderr.isatty():
        yield
        return
    with listened_to(show):
        try:
            yield
        finally:
            if is_shown:
                show(0, 0)
