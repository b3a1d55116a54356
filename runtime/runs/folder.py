"""The folder of a new run: filled under a temporary name, then renamed to the first name that is free."""

import errno
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NoReturn

from netc.dsl.diagnostics import fault
from netc.dsl.storage import temporary
from netc.runtime.runs.checkpoint import path_span


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """An empty folder beside `path`, which the caller fills and then renames. Raises E1001 if it cannot be made."""
    require_creatable(path)
    with ExitStack() as stack:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            folder = stack.enter_context(temporary.folder(path.parent, 0o777))
        except (OSError, ValueError) as error:  # ValueError: a null character in the path
            _cannot_make(path, error)
        yield folder


def require_creatable(path: Path) -> None:
    """Raises E1001 if it is certain that no folder can be made at this path. Makes nothing."""
    if not path.name:
        fault("E1001", f"cannot make the folder `{path}`", path_span(path), "it exists")
    try:
        parent = next(folder for folder in path.absolute().parents if os.path.lexists(folder))
        if not os.path.isdir(parent):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if not os.access(parent, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        _cannot_make(path, error)


def with_free_name(folder: Path, path: Path) -> Path:
    """Renames a folder to the first of NAME, NAME-2, NAME-3, ... that is free: a run never overwrites another.

    Returns its new path.
    """
    number, free = 1, path
    while True:
        try:
            if not os.path.lexists(free):  # an empty folder would be replaced
                os.rename(folder, free)
                return free
        except (OSError, ValueError) as error:
            if not os.path.lexists(free):  # otherwise another process has just taken the name
                _cannot_make(free, error)
        number += 1
        free = path.with_name(f"{path.name}-{number}")


def _cannot_make(folder: Path, error: OSError | ValueError) -> NoReturn:
    reason = error.strerror if isinstance(error, OSError) else None
    fault("E1001", f"cannot make the folder `{folder}`", path_span(folder), reason or str(error))
