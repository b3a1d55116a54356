"""The outermost frame of the commands: however one ends, there is a message and an exit status, and never a traceback.

`run(app)` ends the process. A fault of netc is written to a file for whoever reports it; what was printed is flushed here, so that an output that
cannot be written is noticed.
"""

import contextlib
import errno
import os
import shlex
import sys
import traceback
import warnings
from collections.abc import Callable
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup

from netc.commands.failures import failure_text, keep
from netc.commands.terminal import show_diagnostics, show_fault, show_warning
from netc.dsl.diagnostics import Diagnostic, Fault, Label
from netc.dsl.files import reason
from netc.dsl.quoting import escaped
from netc.dsl.source import Source, Span

DONE, WRONG, USAGE, FAILED, INTERRUPTED, NO_READER = 0, 1, 2, 70, 130, 141
STATUSES = {
    DONE: "done",
    WRONG: "the file, its data or the machine is at fault, and a message says how",
    USAGE: "wrong usage",
    FAILED: "a fault of netc: the message names a file to report it with",
    129: "ended by SIGHUP: the terminal is gone",
    INTERRUPTED: "interrupted",
    NO_READER: "whoever read the output is gone, as `head` is after its lines",
    143: "ended by SIGTERM",
}
_MACHINE = (
    frozenset(  # errors of a full disk, a place without permission and the like: no fault of netc, nor of the file
        getattr(errno, name)
        for name in (
            *(
                "ENOSPC",
                "EDQUOT",
                "EFBIG",
                "EROFS",
                "EACCES",
                "EPERM",
                "EMFILE",
                "ENFILE",
                "ENOMEM",
                "EIO",
                "ENAMETOOLONG",
            ),
            *("ELOOP", "ENOTDIR", "EISDIR", "ETXTBSY", "EBUSY", "ENODEV", "ENXIO", "ESTALE", "ENOLCK", "EAGAIN"),
        )
        if hasattr(errno, name)
    )
)


class _Passed(Exception):
    """Carries an exception past Click, which would end the command by itself: with a status that means something else here."""

    def __init__(self, error: BaseException) -> None:
        self.error = error
        super().__init__()


class Commands(TyperGroup):
    """The group of all commands; exceptions of a command reach `run`."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            error.message = escaped(error.message)
            raise
        except (OSError, EOFError, KeyboardInterrupt) as error:
            raise _Passed(error) from error


def run(app: Callable[[], object]) -> NoReturn:
    """Run a command and end the process with one of STATUSES."""
    _prepare_streams()
    warnings.showwarning = show_warning
    # matplotlib says this of every letter that it draws as a box
    warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
    status = _status_of(app)
    lost = _lost_output()
    if lost is not None and status in (DONE, WRONG):
        status = _of_lost_output(lost)
    sys.exit(status)


def _status_of(app: Callable[[], object]) -> int:
    try:
        app()
    except SystemExit as end:  # Click ends so, and both Click and rich where the reader of `--help` is gone
        if isinstance(end.__context__, BrokenPipeError):
            return NO_READER
        return end.code if isinstance(end.code, int) else WRONG if end.code else DONE
    except _Passed as passed:
        return _of(passed.error)
    except BaseException as error:
        return _of(error)
    return DONE


def _of(error: BaseException) -> int:
    """The exit status for an exception that ended a command, once its message is shown."""
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    if isinstance(error, Fault):
        with contextlib.suppress(OSError):
            show_fault(error)
        return WRONG
    if isinstance(error, BrokenPipeError):  # helpers of netc are read where they are started: it is the output
        return NO_READER
    if os.environ.get("NETC_DEBUG") == "1":
        with contextlib.suppress(OSError):
            traceback.print_exception(error)
    match error:
        case MemoryError():
            traceback.clear_frames(error.__traceback__)  # what they hold is free again
            _show("E1005", "the memory does not suffice", _command(), str(error), _LESS_MEMORY)
            return WRONG
        case RecursionError():
            place, text = _kept(error)
            _show("E1008", "something is nested too deeply for netc", place, text, _FLATTER)
            return WRONG
        case OSError() if error.errno in _MACHINE:
            place = str(error.filename) if error.filename else _command()
            _show("E1007", "the system refuses a file or a folder", place, reason(error))
            return WRONG
    place, text = _kept(error)
    title = f"netc failed: {type(error).__name__}" + (f": {reason(error)}" if str(error) else "")
    _show("E1302", title, place, text, "this is a fault of netc; please report it, with that text and your files")
    return FAILED


_LESS_MEMORY = "a smaller batch, or less data at once; `netc check` prints what a step takes"
_FLATTER = "brackets, blocks or JSON within one another; if there are not many, please report it with that text"


def _kept(error: BaseException) -> tuple[str, str]:
    """The file that says what happened, and what is to be said of it. Where no file can be written the text goes to the error stream."""
    text = failure_text(error, _command())
    path = keep(text)
    if path is None:
        with contextlib.suppress(OSError):
            sys.stderr.write(f"{text}\n")
        return _command(), "no file could be written: versions, command and traceback are printed above"
    return str(path), "versions, the command and the traceback are in this file"


def _show(code: str, title: str, place: str, text: str, hint: str | None = None) -> None:
    with contextlib.suppress(OSError):  # without an error stream there is the exit status
        show_diagnostics([Diagnostic(code, title, Label(Span(Source(place, ""), 0, 0), text), hint=hint)])


def _command() -> str:
    return escaped(shlex.join(["netc", *sys.argv[1:]]))


# ------------------------------------------------------------------ standard streams


def _prepare_streams() -> None:
    """A stream that was closed before netc started swallows what it is given; a character that a terminal's encoding lacks is escaped."""
    for descriptor, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(descriptor)
        except OSError:  # the next file to be opened would take its place, and its output
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115  it stays open
        stream = getattr(sys, name)
        if name != "stdin" and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _lost_output() -> OSError | None:
    """The error that keeps what was printed from being written, if there is one. From then on the stream leads nowhere."""
    found: OSError | None = None
    for stream, is_output in ((sys.stdout, True), (sys.__stdout__, True), (sys.stderr, False), (sys.__stderr__, False)):
        if stream is None or stream.closed:
            continue
        try:
            stream.flush()
        except OSError as error:
            found = error if is_output and found is None else found
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
                stream.flush()
    return found


def _of_lost_output(error: OSError) -> int:
    """The status where the output cannot be written: quietly, if whoever read it has had enough."""
    if error.errno == errno.EPIPE:
        return NO_READER
    _show("E1007", "the output cannot be written", _command(), reason(error))
    return WRONG
