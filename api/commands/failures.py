"""The text that a fault of netc is reported with: versions, the command, the traceback.

It is written to the cache folder, or else to the folder for temporary files.
"""

import os
import platform
import sys
import tempfile
import time
import traceback
from pathlib import Path

from netc.commands.version import REPORTED, versions
from netc.dsl.quoting import escaped, escaped_lines
from netc.dsl.storage import home

FOLDER = "failures"
_MOST_KEPT = 20


def failure_text(error: BaseException, command: str) -> str:
    """The text of a report about the error.

    Of the user's own text it contains only the command, paths and the message of the exception, and no data.
    """
    settings = [f"{name}={escaped(value)}" for name, value in sorted(os.environ.items()) if name.startswith("NETC_")]
    return "\n".join(
        [
            f"command: {command}",
            f"settings: {' '.join(settings) or 'none'}",
            f"versions: {', '.join(f'{name} {number}' for name, number in versions(REPORTED).items())}",
            f"executable: {escaped(sys.executable or '?')}",
            f"system: {platform.platform()}, {os.cpu_count()} cores",
            f"time: {time.strftime('%Y-%m-%d %H:%M:%S %z')}",
            "",
            escaped_lines("".join(traceback.format_exception(error))),
        ]
    )


def keep(text: str) -> Path | None:
    """Writes the text to a new file that only the user can read. Returns None if no folder can be written to."""
    name = f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.txt"
    for folder in (_own_folder(), _temporary_folder()):
        if folder is None:
            continue
        path = folder / (name if folder.name == FOLDER else f"netc-failure-{name}")
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
                file.write(text)
            return path
        except OSError:
            continue
    return None


def _own_folder() -> Path | None:
    """The folder of these files in the cache. Old files are removed so that at most _MOST_KEPT are kept."""
    cache = home.folder()
    if cache is None:
        return None
    folder = cache / FOLDER
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        for old in sorted(folder.glob("*.txt"))[: -_MOST_KEPT + 1]:
            old.unlink(missing_ok=True)
    except OSError:
        return None
    return folder


def _temporary_folder() -> Path | None:
    try:
        return Path(tempfile.gettempdir())
    except OSError:  # no folder for temporary files exists
        return None
