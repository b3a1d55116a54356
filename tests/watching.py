"""Fails a test if Python executes or opens something that the test does not expect.

`nothing_else_runs()` watches code, processes and connections, and `nothing_outside_opens()` watches files. An audit
hook cannot be removed, so there is one for the whole process, which is active only while a test watches.
"""

import os
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import netc

# events that no reader or writer of netc causes
_FORBIDDEN = (
    *(
        "os.system",
        "os.exec",
        "os.posix_spawn",
        "os.spawn",
        "os.fork",
        "os.forkpty",
        "os.startfile",
        "subprocess.Popen",
        "pty.spawn",
    ),
    *("socket.__new__", "socket.connect", "socket.bind", "socket.getaddrinfo", "webbrowser.open", "urllib.Request"),
    *("ctypes.dlopen", "code.__new__", "marshal.loads", "pickle.find_class"),
)
_INSTALLED = (sys.prefix, sys.base_prefix, sys.exec_prefix, str(Path(netc.__file__).resolve().parent.parent))
_FILE_NAMES = (
    "<unknown>",
    "<frozen ",
    "<lark",
    "<__array_function__",
    "<attrs generated",
    "<class 'networkx.utils.decorators.argmap'>",
)  # the file names that `ast.parse` and packages give to their texts


class Executed(Exception):
    """Raised to stop code that would have run."""


_watching: list[list[str]] = []  # the events that each watching test has seen
_allowed: list[tuple[str, ...]] = []
_opened: list[set[str]] = []  # the paths that each watching test has seen opened or listed


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if (
        _opened
        and event in ("open", "os.listdir", "os.scandir")
        and isinstance(arguments[0], str | bytes | os.PathLike)
    ):
        _opened[-1].add(os.path.realpath(os.fsdecode(arguments[0])))
    if not _watching:
        return
    if event in _FORBIDDEN and not (event == "marshal.loads" and _importing()):
        _stop(f"{event} {arguments!r}")
    if event == "exec" and isinstance(arguments[0], types.CodeType):
        _check(event, arguments[0].co_filename)
    if event == "compile":
        _check(event, str(arguments[1]))


def _importing() -> bool:
    """Whether a module is being imported: its code is read from a cache by `marshal`."""
    frame = sys._getframe()
    while frame is not None and frame.f_back is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _check(event: str, file: str) -> None:
    is_known = file.startswith((*_INSTALLED, *_FILE_NAMES, *_allowed[-1])) or (file == "<string>" and _importing())
    if not is_known:
        _stop(f"{event} of {file!r}")


def _stop(what: str) -> None:
    _watching[-1].append(what)
    raise Executed(what)


sys.addaudithook(_hook)


@contextmanager
def nothing_else_runs(*allowed: str) -> Iterator[None]:
    """Fails if anything is executed except installed modules and texts whose file name begins with one of `allowed`."""
    seen: list[str] = []
    _watching.append(seen)
    _allowed.append(allowed)
    try:
        yield
    finally:
        _watching.pop()
        _allowed.pop()
    assert not seen, f"executed: {seen}"


@contextmanager
def nothing_outside_opens(*folders: Path) -> Iterator[None]:
    """Fails if a file is opened, or a folder listed, outside of these folders, installed packages and netc's cache.

    Links are followed.
    """
    seen: set[str] = set()
    _opened.append(seen)
    try:
        yield
    finally:
        _opened.pop()
    installed = [*_INSTALLED, *filter(None, sys.path)]
    expected = [os.path.realpath(folder) for folder in (*folders, *installed, os.environ["NETC_CACHE"])]
    outside = {path for path in seen if not any(Path(path).is_relative_to(folder) for folder in expected)}
    assert not outside, f"opened: {sorted(outside)}"
