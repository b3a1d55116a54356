"""Holds back the signals that ask training to end until a step is complete.

A rank whose step never is, because another rank has gone, ends by itself: no handler of Python runs while it waits.
"""

import inspect
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from msgspec import Struct

from netc.compiler.targets.target import Ranks

_PATIENCE = 2.0  # seconds, besides twice the longest time between two pauses
_LONGEST = 30.0  # seconds, before there were two
_STATUS = 128  # of a process that a signal ended, less the signal's number
_OVER = 0  # no signal has this number
_ENDING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


@contextmanager
def signals_between_steps(ranks: Ranks | None) -> Iterator[Callable[[int], int]]:
    """Holds back the signals that ask to end, so that a checkpoint is always of a complete step.

    The function that is yielded takes the number of steps that are due, and returns how many all ranks take: rank 0
    has measured how long they last. It raises KeyboardInterrupt if a signal has come to one of the ranks; at the end
    the signal is handled as it would have been. With 0 it only notes that no steps are under way until its next call.
    A signal that is ignored, such as SIGHUP under `nohup`, stays ignored.
    """
    received: list[int] = []
    before: dict[int, Any] = {}

    pace = _Pace()

    def pause(steps: int) -> int:
        pace.note(steps)
        if steps == 0:
            return 0
        asking = len(received)
        if ranks is not None:
            asking, steps = ranks.largest([asking, steps if ranks.rank == 0 else 0])
        if asking:
            pace.is_over = True
            raise KeyboardInterrupt
        return steps

    if threading.current_thread() is not threading.main_thread():
        yield pause
        return
    try:
        for number in _ENDING:
            if signal.getsignal(number) not in (signal.SIG_IGN, None):  # None: its handler is not Python's
                before[number] = signal.signal(number, lambda number, frame: received.append(number))
        with nullcontext() if ranks is None else _leaving_if_stuck(pace):
            yield pause
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if received:
            _handle(received[0])


class _Pace(Struct):
    """The longest time that steps took between two pauses so far, and the time of the last pause.

    Only between a pause and the next one may ranks be stuck: not while no steps are under way, because an evaluation
    takes as long as it needs, nor after a pause `is_over`, because a checkpoint does.
    """

    longest: float | None = None
    last: float | None = None
    are_under_way: bool = False
    is_over: bool = False

    def note(self, steps: int) -> None:
        """Notes a pause before some steps."""
        now = time.monotonic()
        if self.last is not None and self.are_under_way:
            self.longest = max(self.longest or 0.0, now - self.last)
        self.last, self.are_under_way = now, steps > 0

    @property
    def patience(self) -> float:
        """The seconds in which a rank that goes on reaches its next pause."""
        return _LONGEST if self.longest is None else _PATIENCE + 2 * self.longest


@contextmanager
def _leaving_if_stuck(pace: _Pace) -> Iterator[None]:
    """Ends the process if a signal asks for it inside, and this context does not end in good time.

    The system writes the numbers of signals to a pipe, also while machine code waits for a message of another rank.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    watch = threading.Thread(target=_watch, args=(reader, pace), daemon=True, name="netc signals")
    watch.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.write(writer, bytes([_OVER]))
        watch.join()
        os.close(reader)
        os.close(writer)


def _watch(reader: int, pace: _Pace) -> None:
    asked, end = _OVER, float("inf")
    while True:
        left = None if asked == _OVER else max(end - time.monotonic(), 0.0)
        if not select.select([reader], [], [], left)[0]:
            if pace.is_over:
                return
            if pace.are_under_way:
                os._exit(_STATUS + asked)
            end = time.monotonic() + pace.patience
            continue
        (number,) = os.read(reader, 1)
        if number == _OVER:
            return
        if number in _ENDING and asked == _OVER:
            asked, end = number, time.monotonic() + pace.patience


def _handle(number: int) -> None:
    """Handles a signal with its current handler."""
    handler = signal.getsignal(number)
    if callable(handler):
        handler(number, inspect.currentframe())
    else:
        signal.raise_signal(number)
