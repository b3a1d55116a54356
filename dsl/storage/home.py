"""The user's cache folder: where it is, whether it can be trusted, and how large it may become.

It holds what netc can make again: compiled kernels, copies of data tables, the parser's tables, saved predictions.
NETC_CACHE names another folder, NETC_CACHE_LIMIT another size. If the folder cannot be trusted or used, netc warns
once and works without a cache.
"""

import os
import re
import warnings
from pathlib import Path

import platformdirs

DEFAULT_LIMIT = "10G"
_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,15})?)\s*([KMGT]?)(?:I?B)?", re.IGNORECASE)
_warned: set[tuple[int, str]] = set()  # (process, message): the warnings that were given


class CacheWarning(UserWarning):
    """The cache is not used, or not in full. This costs time and changes nothing else."""


def folder() -> Path | None:
    """Returns the cache folder, created if necessary, or None if there is no folder that only the user can write to.

    Kernels are loaded from it, so whoever can write to it decides what is executed. Warns once if it is refused.
    """
    path, reason = _examine()
    if path is None and reason and limit():
        warn_once(f"the cache is not used: {reason}; netc goes on without it")
    return path


def why_unusable() -> str:
    """Returns the reason why `folder` returns None."""
    return _examine()[1]


def usable_folder() -> Path | None:
    """Returns the same as `folder`, without a warning."""
    return _examine()[0]


def preferred_folder() -> Path:
    """The path of the cache folder, whether or not it can be used.

    NETC_CACHE if it is set, else the system's folder for caches (on Linux $XDG_CACHE_HOME/netc or ~/.cache/netc).
    Raises RuntimeError for a user without a home directory.
    """
    if named := os.environ.get("NETC_CACHE"):
        return Path(named)
    # platformdirs before 4.14 leaves a `~` that it cannot resolve in the path; expanduser raises RuntimeError for it
    return platformdirs.user_cache_path("netc").expanduser()


def _examine() -> tuple[Path | None, str]:
    """Returns the folder, or None and the reason why there is none."""
    if not limit():
        return None, "NETC_CACHE_LIMIT is 0"
    try:
        path = preferred_folder()
    except RuntimeError:
        return None, "this user has no home directory, and NETC_CACHE names no folder"
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = path.stat()
    except FileExistsError:
        return None, f"{path} is not a folder"
    except OSError as error:
        return None, f"{path} cannot be created ({error.strerror})"
    if status.st_uid != os.getuid():
        return None, f"{path} belongs to another user"
    if status.st_mode & 0o022:
        return None, f"other users can write to {path} (chmod go-w prevents it)"
    return path, ""


def limit() -> int:
    """The number of bytes that the cache may hold; 0 keeps nothing. Warns once if NETC_CACHE_LIMIT is not a size."""
    text = os.environ.get("NETC_CACHE_LIMIT") or DEFAULT_LIMIT
    size = _bytes(text)
    if size is None:
        warn_once(f"NETC_CACHE_LIMIT={text} is not a size such as 2G or 500M; the cache holds up to {DEFAULT_LIMIT}")
        size = _bytes(DEFAULT_LIMIT)
        assert size is not None
    return size


def _bytes(text: str) -> int | None:
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        return None
    number, unit = match.groups()
    return int(float(number) * 1024 ** " KMGT".index(unit.upper() or " "))


def warn_cannot_write(error: OSError) -> None:
    """Warns once that the folder exists but nothing can be written to it."""
    reason = error.strerror or error
    warn_once(f"the cache cannot be written ({reason}); netc goes on and recomputes what is not in the cache")


def warn_once(message: str) -> None:
    """Gives a CacheWarning, unless this process has given the same one before."""
    if (key := (os.getpid(), message)) not in _warned:
        _warned.add(key)
        warnings.warn(message, CacheWarning, stacklevel=2)
