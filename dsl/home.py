"""The user's own folder for what can be made again: compiled kernels, tables, the parser's tables. NETC_CACHE names another one."""

import os
from pathlib import Path


def folder() -> Path | None:
    """The folder, made if need be; None if there is none that is the user's own: whoever could write to it could choose what runs."""
    path = wanted_folder()
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = path.stat()
    except OSError:
        return None
    return path if status.st_uid == os.getuid() and not status.st_mode & 0o022 else None


def wanted_folder() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("NETC_CACHE") or Path(home) / "netc")
