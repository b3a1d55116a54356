"""Writes files and folders under a temporary name and renames them, so that a file under its final name is complete.

A process that is killed may leave a temporary file behind. The file's name contains the process that wrote it, so the
next process that writes to the same folder can remove what dead processes left there, and nothing else. Every writer of
netc uses this: runs, reports, exports, the cache.
"""

import errno
import hashlib
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

from netc.dsl.storage.files import write_all

try:
    import fcntl
except ImportError:  # this system has no file locks
    fcntl = None  # type: ignore[assignment]

_NAME = re.compile(r"\.netc-(?P<host>[0-9a-f]{8})-(?P<pid>\d+)-(?P<start>\d+)-[0-9a-f]{8}\.tmp")
_UNKNOWN = "0" * 8  # the host of a process that cannot determine it
_UNTOUCHED = 600.0  # seconds without a change after which an unlocked file counts as left over
_swept: set[tuple[int, str]] = set()  # (process, folder): the folders that were swept


class _Process(NamedTuple):
    """Identifies a process even after its number was given to another one.

    `host` stands for the boot and the namespaces that `pid` and `start` belong to.
    """

    host: str
    pid: int
    start: int  # in ticks since the boot


def write(path: Path, content: bytes, is_durable: bool = False) -> None:
    """Writes a file completely or not at all. With `is_durable` it is on the disk before it has its name.

    Raises OSError, and ValueError for a path with a null character.
    """
    sweep_once(path.parent)
    beside = path.parent / _new_name()
    try:
        if not _write_nameless(beside, content, is_durable):
            with open(beside, "xb") as file:
                _lock(file.fileno())
                _fill(file.fileno(), content, is_durable)
        os.replace(beside, path)
    except BaseException:
        with suppress(OSError):
            beside.unlink()
        raise


def _write_nameless(beside: Path, content: bytes, is_durable: bool) -> bool:
    """Writes a file that has no name until it is complete, so that a process killed meanwhile leaves nothing behind.

    Returns False if the system cannot do this; Linux can.
    """
    try:
        handle = os.open(beside.parent, os.O_TMPFILE | os.O_WRONLY, 0o666)
    except (AttributeError, OSError):
        return False
    try:
        _lock(handle)
        _fill(handle, content, is_durable)
        try:
            # src_dir_fd only makes Python call linkat, which follows the link
            os.link(f"/proc/self/fd/{handle}", beside, src_dir_fd=handle, follow_symlinks=True)
        except (NotImplementedError, OSError):
            return False
    finally:
        os.close(handle)
    return True


def _fill(handle: int, content: bytes, is_durable: bool) -> None:
    write_all(handle, content)
    if is_durable:
        os.fsync(handle)


@contextmanager
def folder(parent: Path, mode: int = 0o700) -> Iterator[Path]:
    """Yields an empty folder with a temporary name, which the caller fills and renames.

    It is removed at the end if it is still there. Raises OSError.
    """
    sweep_once(parent)
    path = parent / _new_name()
    handle: int | None = None
    try:
        path.mkdir(mode)
        handle = os.open(path, os.O_RDONLY)
        _lock(handle)
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        if handle is not None:
            os.close(handle)


def name_folder(beside: Path, final: Path) -> None:
    """Renames a complete folder to its final name and replaces what was there.

    If another process does the same at the same time, either folder may be the one that stays. Raises OSError.
    """
    remove_folder(final)
    try:
        os.replace(beside, final)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
            raise


def remove_folder(folder: Path) -> None:
    """Removes a folder so that no process sees it incomplete. Files that a process has open stay usable."""
    beside = folder.with_name(_new_name())
    with suppress(OSError):  # another process was first
        os.replace(folder, beside)
        shutil.rmtree(beside, ignore_errors=True)


def sweep_once(folder: Path) -> None:
    """Sweeps a folder unless this process has done so before."""
    key = (os.getpid(), str(folder.absolute()))
    if key not in _swept:
        _swept.add(key)
        sweep(folder)


def sweep(folder: Path) -> None:
    """Removes what dead processes left in a folder: entries with a temporary name of netc whose process has ended."""
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if _NAME.fullmatch(entry.name)]
    except (OSError, ValueError):  # ValueError: a null character in the path
        return
    for name in names:
        with suppress(OSError):  # removed in the meantime, or owned by another user
            _remove_if_left(folder / name)


def is_temporary(name: str) -> bool:
    """Whether a name is one that netc gives to unfinished files and folders."""
    return _NAME.fullmatch(name) is not None


def _remove_if_left(path: Path) -> None:
    status = path.lstat()
    is_folder = stat.S_ISDIR(status.st_mode)
    if not (is_folder or stat.S_ISREG(status.st_mode)) or not _is_left(path, status.st_uid):
        return
    if is_folder:
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink()


def _is_left(path: Path, owner: int) -> bool:
    """Whether the process that wrote a temporary file has ended.

    A process may not be visible (another machine or container, an earlier boot, another user). Then a file counts as
    left over if it is unlocked and has not changed for a while.
    """
    match = _NAME.fullmatch(path.name)
    assert match is not None
    host, pid, start = match["host"], int(match["pid"]), int(match["start"])
    if host == _host() != _UNKNOWN and owner == os.geteuid():
        return _start_of(pid) != start
    paths = [path, *path.iterdir()] if path.is_dir() else [path]
    untouched = time.time() - max(entry.lstat().st_mtime for entry in paths)
    return untouched > _UNTOUCHED and not _is_locked(path)


def _lock(handle: int) -> None:
    """Locks an open file for as long as this process has it open."""
    if fcntl is not None:
        with suppress(OSError):  # the file system has no locks
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _is_locked(path: Path) -> bool:
    """Whether a process has locked a file. True also if this cannot be determined."""
    if fcntl is None:
        return True
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False


def _new_name() -> str:
    process = _process(os.getpid())
    return f".netc-{process.host}-{process.pid}-{process.start}-{secrets.token_hex(4)}.tmp"


@cache
def _process(pid: int) -> _Process:
    """Returns the identity of this process. `pid` is a parameter because a forked child inherits the cache."""
    start = _start_of(pid)
    return _Process(_UNKNOWN, pid, 0) if start is None else _Process(_host(), pid, start)


@cache
def _host() -> str:
    """A hash of the boot and of the PID and time namespaces of this process."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
        spaces = [os.readlink(f"/proc/self/ns/{kind}") for kind in ("pid", "time")]
    except (OSError, UnicodeDecodeError):
        return _UNKNOWN
    return hashlib.sha256("".join([boot, *spaces]).encode()).hexdigest()[:8]


def _start_of(pid: int) -> int | None:
    """The time when a process of this host started, in ticks since the boot; None if no such process is running."""
    try:
        content = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    state, *fields = content[content.rindex(b")") + 2 :].split()  # a program's name may contain spaces and brackets
    return None if state in b"ZX" else int(fields[18])
