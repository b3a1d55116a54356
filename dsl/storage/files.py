"""Reads regular files that a user names. Every failure is an OSError that says why.

A pipe or a device is refused before it is opened, so that netc never waits for one. `reason` turns an exception of the
system or of a decoder into a few words for a message.
"""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

from netc.dsl.quoting import bounded

_LONGEST_REASON = 200
# so that opening neither waits for the other end of a pipe nor makes a terminal the controlling one
_FLAGS = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_CLOEXEC", 0)


def opened(path: Path) -> BinaryIO:
    """Opens a regular file for reading. Raises OSError."""
    try:
        _refuse_irregular(os.stat(path).st_mode, path)  # some devices act when they are opened
        descriptor = os.open(path, os.O_RDONLY | _FLAGS)
    except ValueError as error:  # a null character, or half of a surrogate pair
        raise OSError(errno.EINVAL, "no file can have this name", str(path)) from error
    try:
        _refuse_irregular(os.fstat(descriptor).st_mode, path)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def content_of(path: Path) -> bytes:
    """Returns all bytes of a regular file. Raises OSError."""
    with opened(path) as file:
        return file.read()


def real(path: Path) -> Path:
    """Returns the absolute path with symbolic links resolved.

    A link in a cycle is kept, and so is a path with a null character: neither can be opened.
    """
    try:
        return Path(os.path.realpath(path))
    except ValueError:
        return Path(os.path.abspath(path))


def write_all(handle: int, content: bytes) -> None:
    """Writes all bytes to an open file; one call of the system may write only some of them. Raises OSError."""
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(handle, rest) :]


def is_device(path: Path) -> bool:
    """Whether a path leads to a pipe or a character device. netc writes into it and does not replace it by a file."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)


def write_to_device(path: Path, content: bytes) -> None:
    """Writes to a pipe or a device, for example for `-o /dev/stdout`. Raises OSError, also if no one reads the pipe."""
    descriptor = os.open(path, os.O_WRONLY | _FLAGS)
    os.set_blocking(descriptor, True)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def _refuse_irregular(mode: int, path: Path) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder", str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))


def reason(error: BaseException) -> str:
    """Describes an exception in a few words: the system's message about a file, or the first line of a decoder's."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.start} is not text"
    first = next(iter(str(error).splitlines()), "")
    return bounded(first, _LONGEST_REASON) if first else type(error).__name__
