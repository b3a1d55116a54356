"""How signals end a command: SIGTERM (a supervisor's) and SIGHUP (the terminal is gone) as Ctrl-C does, with an exit status of their own, and without a word."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_ENDING = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


@contextmanager
def exit_statuses() -> Iterator[None]:
    """Have these signals raise KeyboardInterrupt in the main thread, and end the process with 128 and the signal's number: 143, 129.

    A signal that is ignored from the start (SIGHUP under `nohup`) stays ignored.
    """
    if threading.current_thread() is not threading.main_thread():  # signals are none of its business
        yield
        return
    received: list[int] = []

    def end(number: int, frame: FrameType | None) -> None:
        received.append(number)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, end) for number in _ENDING if signal.getsignal(number) == signal.SIG_DFL}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if received:
            sys.exit(128 + received[0])


def end_at_once() -> None:
    """Let these signals end the process where it is, for a command that has nothing to keep and waits where an exception does not reach it."""
    for number in _ENDING:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
