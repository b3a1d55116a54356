"""The user's own folder for what can be made again: compiled kernels, tables, the parser's tables. NETC_CACHE names another one."""

import os
from pathlib import Path


def folder() -> Path | None:
    """The folder, made if need be; None if there is none that is the user's own: whoever could write to it could choose what runs."""
    try:
        path = wanted_folder()
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = path.stat()
    except (OSError, RuntimeError):
        return None
    return path if status.st_uid == os.getuid() and not status.st_mode & 0o022 else None


def wanted_folder() -> Path:
    """The path of that folder, whether or not it can be used. Raises RuntimeError for a user without a home directory."""
    if named := os.environ.get("NETC_CACHE"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "netc"


def why_unusable() -> str:
    """Says why there is no folder, where `folder` is None."""
    try:
        return f"{wanted_folder()} is not a folder of your own that nobody else can write to"
    except RuntimeError:
        return "this user has no home directory, and NETC_CACHE names no folder"
