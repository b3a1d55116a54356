"""Signals that end a command: SIGTERM (from a supervisor) and SIGHUP (the terminal is gone).

They end it as Ctrl-C does, but with an exit status of their own, and without a message.
"""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_ENDING = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


@contextmanager
def exit_statuses() -> Iterator[None]:
    """Within this context, the signals raise KeyboardInterrupt in the main thread.

    At its end the process ends with 128 plus the signal's number: 143 or 129.

    A signal that is ignored from the start (SIGHUP under `nohup`) stays ignored.
    """
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
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
    """Makes these signals end the process at once.

    For a command that has nothing to save, and that waits where an exception does not reach it.
    """
    for number in _ENDING:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
