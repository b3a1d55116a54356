"""A fingerprint of what decides a program besides its text: netc's files, the installed packages, Python, the machine.

It is computed without importing the compiler, LLVM or the packages that it names.
"""

import os
import sys
from collections.abc import Iterator
from importlib.machinery import PathFinder
from pathlib import Path

from netc.compiler.targets.machine import cores
from netc.compiler.targets.processor import facts_of_linux
from netc.dsl.storage.records import key_of

_SOURCES = (".py", ".net", ".lark")
_PACKAGES = (".dist-info", ".egg-info", ".egg-link", ".pth")
_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_VARIABLES = ("NETC_TARGET", "NETC_DEBUG")
_OWN_PACKAGES = ("netc", "netc.dsl", "netc.compiler", "netc.runtime")  # an editable install has a folder for each


def fingerprint() -> str | None:
    """Returns a text that differs where a program may differ.

    Returns None if the machine does not say what it is, or if netc's files are not in folders, as in an archive.
    A file of netc is compared by its size and the time of its last change, as Python does before it imports one.
    """
    try:
        variables = [f"{name}={os.environ.get(name, '')}" for name in _VARIABLES]
        facts = (*facts_of_linux(), *_cache_sizes(), str(cores()), *variables, sys.version, *_packages())
        return key_of(*facts, *(line for folder in _own_folders() for line in _files(str(folder))))
    except OSError:
        return None


def _cache_sizes() -> Iterator[str]:
    """The level, type and size of each cache of the first processor, as Linux describes them."""
    try:
        names = sorted(entry for entry in os.listdir(_CACHES) if entry.startswith("index"))
        for name in names:
            yield " ".join((_CACHES / name / fact).read_text().strip() for fact in ("level", "type", "size"))
    except OSError:
        return


def _packages() -> Iterator[str]:
    """The installed packages with their versions, as the names of their folders say, and their entry points."""
    for folder in sys.path:
        yield folder
        try:
            with os.scandir(folder or ".") as scan:
                names = sorted(entry.name for entry in scan if entry.name.endswith(_PACKAGES))
        except NotADirectoryError:
            yield _stamp(folder)
            continue
        except OSError:
            continue
        for name in names:
            yield name
            yield _stamp(os.path.join(folder, name, "entry_points.txt"))


def may_have_entry_points(prefix: str) -> bool:
    """Whether an installed package may have entry points of a group that begins with a text.

    It looks into the files that list them. To import importlib.metadata takes longer than all these files together, but
    it knows other kinds of installation too: the answer is True if the path has one of those.
    """
    if any(hasattr(finder, "find_distributions") and finder is not PathFinder for finder in sys.meta_path):
        return True
    for entry in sys.path:
        try:
            names = os.listdir(entry or ".")
        except NotADirectoryError:
            return True
        except OSError:
            continue
        folders = [os.path.join(entry, name) for name in names if name.lower().endswith((".dist-info", ".egg-info"))]
        if entry.endswith(".egg") or any(_has_group(folder, prefix) for folder in folders):
            return True
    return False


def _has_group(folder: str, prefix: str) -> bool:
    """Whether the entry points of a package have a group that begins with a text."""
    try:
        with open(os.path.join(folder, "entry_points.txt"), "rb") as file:
            return f"[{prefix}".encode() in file.read()
    except OSError:
        return False


def _own_folders() -> list[Path]:
    """The folders of netc's packages without those that are in another one of them."""
    folders = []
    for name in _OWN_PACKAGES:
        file = getattr(sys.modules[name], "__file__", None)
        if file is None:
            raise OSError(f"{name} has no file")
        folders.append(Path(file).resolve().parent)
    return [folder for folder in folders if not set(folder.parents) & set(folders)]


def _files(folder: str) -> Iterator[str]:
    """The files of netc below a folder."""
    with os.scandir(folder) as scan:
        entries = sorted(scan, key=lambda entry: entry.name)
    for entry in entries:
        if entry.name.endswith(_SOURCES):
            status = entry.stat()
            yield f"{entry.path} {status.st_size} {status.st_mtime_ns}"
        elif entry.name != "__pycache__" and os.path.isdir(entry.path):
            yield from _files(entry.path)


def _stamp(path: str) -> str:
    """The size of a file and the time of its last change; empty if it is not there."""
    try:
        status = os.stat(path)
    except OSError:
        return ""
    return f"{status.st_size} {status.st_mtime_ns}"
