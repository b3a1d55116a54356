"""Says how far the compilation of a program's kernels is, to whoever listens: it may take seconds."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Listener = Callable[[int, int], None]  # called with the number of kernels that are compiled, and of those to compile
_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def listened_to(listener: Listener) -> Iterator[None]:
    """Calls the listener for every compilation that this thread starts inside the block, in place of another one.

    It is called with 0 first, and then after each kernel; not at all if no kernel must be compiled.
    """
    before = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(before)


def report(compiled: int, count: int) -> None:
    """Tells the listener, if there is one, how many of `count` kernels are compiled."""
    listener = _listener.get()
    if listener is not None and count:
        listener(compiled, count)
