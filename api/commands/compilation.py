"""The progress of a compilation, for commands that show no other progress."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from netc.compiler.targets.compilation import listened_to


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
