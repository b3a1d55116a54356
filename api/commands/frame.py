"""Runs a command so that it always ends with a message and an exit status, and never with a traceback.

`run(app)` ends the process. The details of a fault of netc are written to a file for a report. The output is flushed
here, so that an output that cannot be written is noticed.
"""

import atexit
import contextlib
import errno
import os
import shlex
import sys
import threading
import traceback
import warnings
from collections.abc import Callable
from typing import NoReturn

from netc.commands.compilation import compilation_shown
from netc.commands.terminal import show_diagnostics, show_fault, show_warning
from netc.dsl.diagnostics import Diagnostic, Fault, Label
from netc.dsl.quoting import escaped
from netc.dsl.source import Source, Span
from netc.dsl.storage.files import reason

DONE, WRONG, USAGE, FAILED, INTERRUPTED, NO_READER = 0, 1, 2, 70, 130, 141
STATUSES = {
    DONE: "done",
    WRONG: "something is wrong with the file, its data or the machine: a message says what",
    USAGE: "wrong usage",
    FAILED: "a bug in netc: the message names a file for the report",
    129: "ended by SIGHUP, because the terminal was closed",
    INTERRUPTED: "interrupted",
    NO_READER: "the program that reads the output has ended, such as `head`",
    143: "ended by SIGTERM",
}
# errors such as a full disk or a missing permission: a fault neither of netc nor of the file
_MACHINE_ERRORS = (
    "ENOSPC EDQUOT EFBIG EROFS EACCES EPERM EMFILE ENFILE ENOMEM EIO ENAMETOOLONG "
    "ELOOP ENOTDIR EISDIR ETXTBSY EBUSY ENODEV ENXIO ESTALE ENOLCK EAGAIN"
)
_MACHINE = frozenset(getattr(errno, name) for name in _MACHINE_ERRORS.split() if hasattr(errno, name))


class Passed(Exception):
    """Carries an exception past Click, which would end the command itself, with a status of another meaning here."""

    def __init__(self, error: BaseException) -> None:
        self.error = error
        super().__init__()


def run(app: Callable[[], object]) -> NoReturn:
    """Runs a command and ends the process with one of STATUSES."""
    _prepare_streams()
    warnings.showwarning = show_warning
    status = _status_of(app)
    lost = _lost_output()
    if lost is not None and status in (DONE, WRONG):
        status = _of_lost_output(lost)
    sys.exit(status)


def leave(status: int) -> NoReturn:
    """Ends the process after its threads and its exit functions, as the interpreter's own end does, but leaves the
    memory to the system: freeing every object of all imported packages takes as long as a small command.

    A plug-in may have files that are written only when they are freed, so with plug-ins the interpreter ends as usual.
    """
    plugins = sys.modules.get("netc.runtime.plugins")
    if plugins is not None and plugins.are_any():
        sys.exit(status)
    threading._shutdown()  # type: ignore[attr-defined]  # ends pools of threads first, which wait for work otherwise
    atexit._run_exitfuncs()
    _lost_output()
    os._exit(status)


def _status_of(app: Callable[[], object]) -> int:
    try:
        with compilation_shown():
            app()
    except SystemExit as end:  # raised by Click, and by Click and rich if the reader of `--help` has ended
        if isinstance(end.__context__, BrokenPipeError):
            return NO_READER
        return end.code if isinstance(end.code, int) else WRONG if end.code else DONE
    except Passed as passed:
        return status_of(passed.error)
    except BaseException as error:
        return status_of(error)
    return DONE


def status_of(error: BaseException) -> int:
    """Shows the message for an exception that ended a command, and returns the exit status."""
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    if isinstance(error, Fault):
        with contextlib.suppress(OSError):
            show_fault(error)
        return WRONG
    if isinstance(error, BrokenPipeError):  # this is the output: pipes to netc's own processes are handled elsewhere
        return NO_READER
    if os.environ.get("NETC_DEBUG") == "1":
        with contextlib.suppress(OSError):
            traceback.print_exception(error)
    match error:
        case MemoryError():
            traceback.clear_frames(error.__traceback__)  # frees the memory that their variables hold
            _show("E1005", "the memory does not suffice", _command(), str(error), _LESS_MEMORY)
            return WRONG
        case RecursionError():
            location, text = _kept(error)
            _show("E1008", "something is nested too deeply for netc", location, text, _FLATTER)
            return WRONG
        case OSError() if error.errno in _MACHINE:
            location = str(error.filename) if error.filename else _command()
            _show("E1007", "the system refuses a file or a folder", location, reason(error))
            return WRONG
    location, text = _kept(error)
    title = f"netc failed: {type(error).__name__}" + (f": {reason(error)}" if str(error) else "")
    _show("E1302", title, location, text, "this is a fault of netc; please report it, with that text and your files")
    return FAILED


_LESS_MEMORY = "use a smaller batch or less data at once; `netc check` prints the memory of a step"
_FLATTER = "nest brackets, blocks or JSON less deeply; if they are not deep, please report it with that text"


def _kept(error: BaseException) -> tuple[str, str]:
    """Writes the report of a failure. Returns its file and the text of the label.

    If no file can be written, the report goes to the error stream.
    """
    from netc.commands.failures import failure_text, keep

    text = failure_text(error, _command())
    path = keep(text)
    if path is None:
        with contextlib.suppress(OSError):
            sys.stderr.write(f"{text}\n")
        return _command(), "no file could be written: versions, command and traceback are printed above"
    return str(path), "versions, the command and the traceback are in this file"


def _show(code: str, title: str, location: str, text: str, hint: str | None = None) -> None:
    with contextlib.suppress(OSError):  # without an error stream, the exit status is all that remains
        show_diagnostics([Diagnostic(code, title, Label(Span(Source(location, ""), 0, 0), text), hint=hint)])


def _command() -> str:
    return escaped(shlex.join(["netc", *sys.argv[1:]]))


# ------------------------------------------------------------------ standard streams


def _prepare_streams() -> None:
    """Opens streams that were closed before netc started as /dev/null. Escapes characters that an encoding lacks."""
    for descriptor, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(descriptor)
        except OSError:  # else the next file to be opened would get this descriptor, and its output
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115  it stays open
        stream = getattr(sys, name)
        if name != "stdin" and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _lost_output() -> OSError | None:
    """Flushes the streams. Returns the error if the output cannot be written; that stream then goes to /dev/null."""
    lost: OSError | None = None
    for stream, is_output in ((sys.stdout, True), (sys.__stdout__, True), (sys.stderr, False), (sys.__stderr__, False)):
        if stream is None or stream.closed:
            continue
        try:
            stream.flush()
        except OSError as error:
            lost = error if is_output and lost is None else lost
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
                stream.flush()
    return lost


def _of_lost_output(error: OSError) -> int:
    """The exit status if the output cannot be written. Shows a message unless its reader has ended."""
    if error.errno == errno.EPIPE:
        return NO_READER
    _show("E1007", "the output cannot be written", _command(), reason(error))
    return WRONG
