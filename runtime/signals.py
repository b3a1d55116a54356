"""Holds back the signals that ask training to end until a step is complete."""

import inspect
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from netc.compiler.targets.target import Ranks

_ENDING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


@contextmanager
def signals_between_steps(ranks: Ranks | None) -> Iterator[Callable[[int], int]]:
    """Holds back the signals that ask to end, so that a checkpoint is always of a complete step.

    The function that is yielded takes the number of steps that are due, and returns how many all ranks take: rank 0
    has measured how long they last. It raises KeyboardInterrupt if a signal has come to one of them; at the end the
    signal is handled as it would have been. A signal that is ignored, such as SIGHUP under `nohup`, stays ignored.
    """
    received: list[int] = []
    before: dict[int, Any] = {}

    def pause(steps: int) -> int:
        asking = len(received)
        if ranks is not None:
            asking, steps = ranks.largest([asking, steps if ranks.rank == 0 else 0])
        if asking:
            raise KeyboardInterrupt
        return steps

    if threading.current_thread() is not threading.main_thread():
        yield pause
        return
    try:
        for number in _ENDING:
            if signal.getsignal(number) not in (signal.SIG_IGN, None):  # None: its handler is not Python's
                before[number] = signal.signal(number, lambda number, frame: received.append(number))
        yield pause
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if received:
            _handle(received[0])


def _handle(number: int) -> None:
    """Handles a signal with its current handler."""
    handler = signal.getsignal(number)
    if callable(handler):
        handler(number, inspect.currentframe())
    else:
        signal.raise_signal(number)
