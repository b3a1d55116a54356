"""The cache: the user's own folder for what can be made again (compiled kernels, copies of data tables, the parser's tables), and how large it may be.

NETC_CACHE names another folder, NETC_CACHE_LIMIT another size. A folder that cannot be trusted or used is refused with one warning, and netc goes on without.
"""

import os
import re
import warnings
from pathlib import Path

DEFAULT_LIMIT = "10G"
_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,15})?)\s*([KMGT]?)(?:I?B)?", re.IGNORECASE)
_warned: set[tuple[int, str]] = set()  # what each process has warned of


class CacheWarning(UserWarning):
    """The cache is not used, or not in full. Nothing else depends on it but time."""


def folder() -> Path | None:
    """The folder, made if need be; None if there is none that is the user's own: whoever could write to it could choose what runs. Warns once if it is refused."""
    path, reason = _examine()
    if path is None and reason and limit():
        warn_once(f"the cache is not used: {reason}; netc goes on without it")
    return path


def why_unusable() -> str:
    """Says why there is no folder, where `folder` is None."""
    return _examine()[1]


def usable_folder() -> Path | None:
    """As `folder`, without a warning."""
    return _examine()[0]


def wanted_folder() -> Path:
    """The path of that folder, whether or not it can be used. Raises RuntimeError for a user without a home directory."""
    if named := os.environ.get("NETC_CACHE"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "netc"


def _examine() -> tuple[Path | None, str]:
    """The folder, or why there is none."""
    if not limit():
        return None, "NETC_CACHE_LIMIT is 0"
    try:
        path = wanted_folder()
    except RuntimeError:
        return None, "this user has no home directory, and NETC_CACHE names no folder"
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = path.stat()
    except FileExistsError:
        return None, f"{path} is no folder"
    except OSError as error:
        return None, f"{path} cannot be made ({error.strerror})"
    if status.st_uid != os.getuid():
        return None, f"{path} belongs to another user"
    if status.st_mode & 0o022:
        return None, f"others can write to {path} (chmod go-w makes it yours alone)"
    return path, ""


def limit() -> int:
    """How many bytes the cache may hold; 0 keeps nothing. Warns once if NETC_CACHE_LIMIT is no size."""
    text = os.environ.get("NETC_CACHE_LIMIT") or DEFAULT_LIMIT
    size = _bytes(text)
    if size is None:
        warn_once(f"NETC_CACHE_LIMIT={text} is no size such as 2G or 500M; the cache holds up to {DEFAULT_LIMIT}")
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
    """Say once that the folder is there, but takes nothing new."""
    warn_once(
        f"the cache cannot be written ({error.strerror or error}); netc goes on, and what is not in it is made anew each time"
    )


def warn_once(message: str) -> None:
    """A CacheWarning, unless this process has given the same one before."""
    if (key := (os.getpid(), message)) not in _warned:
        _warned.add(key)
        warnings.warn(message, CacheWarning, stacklevel=2)
