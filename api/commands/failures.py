"""A fault of netc as a text to report it with: versions, the command, the traceback. It is kept in the cache folder, or else among temporary files."""

import os
import platform
import sys
import tempfile
import time
import traceback
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from netc.dsl import home
from netc.dsl.quoting import escaped, escaped_lines

FOLDER = "failures"
_MOST_KEPT = 20
_PACKAGES = ("netc", "numpy", "numba", "llvmlite", "polars", "lark", "typer", "msgspec", "safetensors", "matplotlib")


def failure_text(error: BaseException, command: str) -> str:
    """What a report of the error should say. It holds no data and no text of the user's but the command, paths, and what the exception says."""
    settings = [f"{name}={escaped(value)}" for name, value in sorted(os.environ.items()) if name.startswith("NETC_")]
    return "\n".join(
        [
            f"command: {command}",
            f"settings: {' '.join(settings) or 'none'}",
            f"versions: {', '.join(f'{name} {_version(name)}' for name in _PACKAGES)}",
            f"Python: {platform.python_version()}, {escaped(sys.executable or '?')}",
            f"system: {platform.platform()}, {os.cpu_count()} cores",
            f"time: {time.strftime('%Y-%m-%d %H:%M:%S %z')}",
            "",
            escaped_lines("".join(traceback.format_exception(error))),
        ]
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"


def keep(text: str) -> Path | None:
    """Write the text to a new file that is the user's alone; None where no folder takes it."""
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
    """The folder of such files in the cache, with room for one more."""
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
    except OSError:  # there is no folder for temporary files
        return None
