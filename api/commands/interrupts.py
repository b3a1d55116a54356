"""Ctrl-C in a terminal is answered at once, also while the main thread is in compiled code and cannot answer.

A thread reads of each signal from a pipe (`signal.set_wakeup_fd`). If the main thread has not ended the command after a
moment, it says what the command waits for; where nothing has to be saved, it ends the process. A second Ctrl-C ends the
process in any case: files of a run are written beside the old ones and renamed, so that nothing saved is lost.
"""

import os
import select
import signal
import sys
import threading
from contextlib import suppress
from typing import NoReturn, Self

from msgspec import Struct

from netc.commands import display
from netc.commands.frame import INTERRUPTED
from netc.commands.terminal import say

NOTHING = "nothing was kept"
_MOMENT = 0.3  # seconds that the main thread has for its own answer


class _Status(Struct, frozen=True):
    """A point in the work of a command, as `Interrupts.at` describes it."""

    name: str
    kept: str
    command: str | None = None
    finishing: str | None = None


class Interrupts:
    """Answers Ctrl-C while it is entered, on a terminal and in the main thread.

    The command says with `at` where it is, and what would be said if it were interrupted there.
    """

    def __init__(self) -> None:
        self._status = _Status("while starting", NOTHING)
        self._is_over = False
        self._thread: threading.Thread | None = None

    def at(self, progress: str, kept: str = NOTHING, command: str | None = None, finishing: str | None = None) -> None:
        """Says where the command is ("in epoch 3 of 60"), what is kept so far, and which command goes on from there.

        `finishing` is what has to be finished before the end; None if the process may end at any moment.
        """
        self._status = _Status(progress, kept, command, finishing)

    @property
    def are_answered(self) -> bool:
        """Whether there is a terminal on which an interruption is answered here."""
        return self._thread is not None

    def __enter__(self) -> Self:
        is_main = threading.current_thread() is threading.main_thread()
        if is_main and sys.stderr.isatty() and callable(signal.getsignal(signal.SIGINT)):
            self._reading, self._writing = os.pipe()
            os.set_blocking(self._writing, False)
            self._before = signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)
            self._thread = threading.Thread(target=self._watch, name="netc-interrupts", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._is_over = True
        if self._thread is not None:
            signal.set_wakeup_fd(self._before)
            os.close(self._writing)
            self._thread.join()
            os.close(self._reading)
        if kind is not None and issubclass(kind, KeyboardInterrupt) and self._thread is not None:
            self._say_interrupted()

    def _watch(self) -> None:
        """Reads the numbers of signals until the pipe is closed."""
        count = 0
        while signals := os.read(self._reading, 64):
            count += signals.count(signal.SIGINT)
            if count > 1:
                self._end()
            if count == 1 and not select.select([self._reading], [], [], _MOMENT)[0] and not self._is_over:
                if self._status.finishing is None:
                    self._end()
                with suppress(OSError):
                    say(f"interrupted; {self._status.finishing} (Ctrl-C again ends at once)", is_error=True)

    def _end(self) -> NoReturn:
        """Ends the process at once."""
        self._say_interrupted()
        display.show_cursor()
        os._exit(INTERRUPTED)

    def _say_interrupted(self) -> None:
        with suppress(OSError):  # the terminal is gone
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)  # over the ^C that the terminal shows
            say(f"interrupted {self._status.name}: {self._status.kept}", is_error=True)
            if self._status.command is not None:
                say(f"to go on: {self._status.command}", is_error=True)
