"""Keeps the panics of polars off the error stream, where Rust prints them before Python sees an exception.

While polars reads, the error stream is a pipe. A thread of ours forwards at once whatever arrives, such as messages of
other threads, until a panic arrives; from there on it keeps the text, and forwards it without the panics at the end.
All calls at the same time share one pipe. A program that was started meanwhile keeps it, so the thread reads on.
"""

import atexit
import os
import re
import secrets
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

try:
    import fcntl
except ImportError:  # this system has no such calls
    fcntl = None  # type: ignore[assignment]

_STREAM = 2  # the error stream's number
_PIPE_BYTES = 1 << 20  # what Rust may write while it has Python's lock, so that our thread cannot run
_HEADER = rb"(?:\A|(?<=\n))\n?thread '[^\n]*' (?:\(\d+\) )?panicked at [^\n]+:\d+:\d+:\n"
_BACKTRACE = rb"(?:stack backtrace:\n(?:[^\n]*\n)*?(?=note: |\Z))?(?:note: [^\n]*RUST_BACKTRACE=[^\n]*\n)?"
_VALUES = rb"(?: {1,2}(?:left|right): [^\n]*\n)*"  # those that an assertion compared
_OPEN_END = re.compile(rb"(?:(?:\A|(?<=\n))\n?(?:thread '[^\n]*)?|\0[0-9a-f]*)\Z")  # a panic or the mark may follow


class _Filter:
    """The pipe that stands for the error stream, from the first of the calls that overlap to the end of the last.

    Raises OSError if the process has no error stream, and RuntimeError if no thread can start.
    """

    def __init__(self) -> None:
        self._plain = os.dup(_STREAM)
        try:
            self._source, self._target = os.pipe()
        except OSError:
            os.close(self._plain)
            raise
        if fcntl is not None and hasattr(fcntl, "F_SETPIPE_SZ"):
            with suppress(OSError):
                fcntl.fcntl(self._target, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        self._mark = b"\0" + secrets.token_hex(16).encode()  # written at the end: what follows is not ours to filter
        self._is_drained = threading.Event()
        self.panics: list[str] = []
        try:  # before the stream is replaced, which would be lost without a thread that reads from the pipe
            threading.Thread(target=self._forward_all, daemon=True, name="netc error stream").start()
        except RuntimeError:
            for descriptor in (self._source, self._target, self._plain):
                os.close(descriptor)
            raise
        os.dup2(self._target, _STREAM)

    def restore(self) -> None:
        """Puts the error stream back. All that was written to it before has been forwarded then."""
        self._put_back()
        os.write(self._target, self._mark)
        os.close(self._target)
        self._is_drained.wait()

    def restore_in_child(self) -> None:
        """Puts the error stream back in a process that was forked, which does not have our thread."""
        self._put_back()
        for descriptor in (self._source, self._target, self._plain):
            os.close(descriptor)

    def _put_back(self) -> None:
        """Makes the error stream what it was, unless somebody else has redirected or closed it meanwhile."""
        with suppress(OSError):
            if os.path.samestat(os.fstat(_STREAM), os.fstat(self._target)):
                os.dup2(self._plain, _STREAM)

    def _forward_all(self) -> None:
        pending = b""
        while (piece := os.read(self._source, 1 << 16)) and self._mark not in (pending := pending + piece):
            if not re.search(_HEADER, pending):
                end = match.start() if (match := _OPEN_END.search(pending)) is not None else len(pending)
                self._forward(pending[:end])
                pending = pending[end:]
        before, _, after = pending.partition(self._mark)
        self._forward(without_panics(before, self.panics) + after)
        self._is_drained.set()
        while piece := os.read(self._source, 1 << 16):
            self._forward(piece)
        os.close(self._source)
        os.close(self._plain)

    def _forward(self, text: bytes) -> None:
        rest = memoryview(text)
        with suppress(OSError):  # the error stream is closed
            while rest:
                rest = rest[os.write(self._plain, rest) :]


def without_panics(text: bytes, messages: list[str]) -> bytes:
    """A text of the error stream without the panics in it.

    `messages` are those that Python received. Others are taken to have one line, and the values of an assertion.
    """
    received = sorted((message.encode() for message in messages), key=len, reverse=True)
    lines = b"|".join([*(re.escape(message) + rb"\n" for message in received), rb"[^\n]*\n"])
    return re.sub(_HEADER + rb"(?:" + lines + rb")" + _VALUES + _BACKTRACE, b"", text)


class _Calls:
    """The calls of polars that are in progress, and their filter."""

    def __init__(self) -> None:
        self._lock, self._count = threading.Lock(), 0
        self._filter: _Filter | None = None

    def begin(self) -> None:
        with self._lock:
            if not self._count:
                with suppress(AttributeError, OSError, ValueError):
                    sys.stderr.flush()
                try:
                    self._filter = _Filter()
                except (OSError, RuntimeError):  # the process has no error stream, or no thread can start
                    self._filter = None
            self._count += 1

    def end(self, panic: BaseException | None) -> None:
        with self._lock:
            if self._filter is not None and panic is not None:
                self._filter.panics.append(str(panic))
            self._count -= 1
            if not self._count:
                self._restore()

    def at_exit(self) -> None:
        """Lets nothing be lost of what was written while a thread that still reads held the error stream."""
        with self._lock:
            self._restore()

    def _restore(self) -> None:
        if self._filter is not None:
            with suppress(AttributeError, OSError, ValueError):
                sys.stderr.flush()
            stream_filter, self._filter = self._filter, None  # a process forked from now on must not close its files
            stream_filter.restore()

    def after_fork(self) -> None:
        """Starts again in a process that was forked. The calls in progress belong to threads that it does not have."""
        if self._filter is not None:
            self._filter.restore_in_child()
        self._lock, self._count, self._filter = threading.Lock(), 0, None


_CALLS = _Calls()
atexit.register(_CALLS.at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_CALLS.after_fork)


@contextmanager
def quiet_panics() -> Iterator[None]:
    """Within this context, around a call of polars, a panic raises an exception and prints nothing."""
    _CALLS.begin()
    panic = None
    try:
        yield
    except BaseException as error:
        panic = error
        raise
    finally:
        _CALLS.end(panic)
