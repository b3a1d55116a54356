"""The cache of object code: one file for each kernel in a folder of the user. Nothing is unpickled, and damaged files
are not run.

`home.py` of dsl/storage/ chooses the folder, `eviction.py` removes entries when it is full, and `temporary.py` writes
files atomically, so that many processes may share the folder. A damaged entry is a miss. A file is named by a hash of
`Parts`, which hold all that decides the code.
"""

import hashlib
import json
import os
import re
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

from msgspec import Struct
from msgspec.structs import asdict

from netc.dsl.storage import eviction, home, temporary
from netc.dsl.storage.installed import version_of

_DIGEST = 32
_FAMILY = 12  # digits of an entry's name that a kernel has on every CPU and with every version
_NAME = re.compile(r"[0-9a-f]{32}\.o")  # as eviction.py knows it
# files of the compiler that decide object code
_SOURCES = ("targets/*.py", "targets/cpu/**/*.py", "program/*.py", "ir/types.py")
# parts of the paths of files that do not decide object code
_NOT_CODE = ("listing", "helper_processes", "parser", "verify", "bounds", "errors")


class Parts(Struct, frozen=True):
    """All that decides the object code of a kernel: if a part is left out, a stale kernel may run."""

    kernel: str  # a hash of its text, form and arguments
    cpu: str
    features: str
    python: str
    netc: str
    llvmlite: str
    numpy: str
    sources: str  # a hash of the files that write kernels

    @property
    def name(self) -> str:
        return self.family + hashlib.sha256(json.dumps(asdict(self)).encode()).hexdigest()[: 32 - _FAMILY]

    @property
    def family(self) -> str:
        """The beginning of the names of all entries of this kernel, by which they are found without reading others."""
        return hashlib.sha256(self.kernel.encode()).hexdigest()[:_FAMILY]


class Entry(Struct, frozen=True):
    """A kernel in the cache, without its code: when it was compiled (seconds since 1970) and why, and the lanes of its
    widest vectors. `parts` is None if the entry is damaged."""

    path: Path
    size: int
    parts: Parts | None = None
    compiled_at: float = 0.0
    why: str = ""
    lanes: int = 1


@cache
def _toolchain() -> dict[str, str]:
    from platform import python_version

    sources = hashlib.sha256()
    compiler = Path(__file__).parent.parent.parent
    for pattern in _SOURCES:
        for path in sorted(compiler.glob(pattern)):
            if not any(word in path.relative_to(compiler).as_posix() for word in _NOT_CODE):
                sources.update(path.read_bytes())
    versions = {name: version_of(name) for name in ("netc", "llvmlite", "numpy")}
    return {"python": python_version(), **versions, "sources": sources.hexdigest()[:16]}


def parts_of(text: str, cpu: str, features: str) -> Parts:
    """Returns the parts of a kernel's key on a CPU, with this process's versions."""
    return Parts(hashlib.sha256(text.encode()).hexdigest()[:32], cpu, features, **_toolchain())


def read(parts: Parts) -> bytes | None:
    """Returns the object code, or None if the cache has none or its entry is damaged."""
    stored = _stored(parts)
    if stored is None:
        return None
    stored_entry, code = stored
    eviction.use(stored_entry.path)
    return code


def read_named(name: str) -> bytes | None:
    """Returns the object code of a kernel by the name of its parts, or None if the cache has none or it is damaged."""
    path = home.folder()
    stored = _open(path / f"{name}.o") if path is not None else None
    if stored is None or stored[0].parts is None or stored[0].parts.name != name:
        return None
    eviction.use(stored[0].path)
    return stored[1]


def write(parts: Parts, why: str, code: bytes, lanes: int) -> None:
    """Stores object code, why it was compiled, and its lanes. Does nothing if the folder cannot be written.

    The caller calls `eviction.enforce` after the last of several.
    """
    path = home.folder()
    if path is None:
        return
    head = json.dumps({"parts": asdict(parts), "made": time.time(), "why": why, "lanes": lanes}).encode()
    body = head + b"\n" + code
    try:
        temporary.write(path / f"{parts.name}.o", hashlib.sha256(body).digest() + body)
    except OSError as error:
        home.warn_cannot_write(error)


def _open(path: Path) -> tuple[Entry, bytes] | None:
    """An entry and its code. A damaged one has no parts; None if there is no such file."""
    try:
        stored = path.read_bytes()
    except OSError:
        return None
    digest, body = stored[:_DIGEST], stored[_DIGEST:]
    head, _, code = body.partition(b"\n")
    if hashlib.sha256(body).digest() != digest:
        return Entry(path, len(stored)), b""
    try:
        header = json.loads(head)
        parts = Parts(**header["parts"])
        return Entry(path, len(stored), parts, header["made"], header["why"], header["lanes"]), code
    except (ValueError, KeyError, TypeError):  # an older netc wrote it
        return Entry(path, len(stored)), b""


def _stored(parts: Parts) -> tuple[Entry, bytes] | None:
    """The undamaged entry of these parts and its code, if there is one."""
    path = home.folder()
    stored = _open(path / f"{parts.name}.o") if path is not None else None
    return stored if stored is not None and stored[0].parts == parts else None


def entries(families: Collection[str] | None = None) -> Iterator[Entry]:
    """Yields all kernels in the folder, or those of some families; damaged ones too. Each is read and checked."""
    folder = home.folder()
    if folder is None:
        return
    with suppress(OSError):  # the folder was removed meanwhile
        for name in sorted(os.listdir(folder)):
            is_asked = families is None or name[:_FAMILY] in families
            stored = _open(folder / name) if is_asked and _NAME.fullmatch(name) else None
            if stored is not None:
                yield stored[0]


def entry(parts: Parts) -> Entry | None:
    """Returns the undamaged entry of these parts, if there is one."""
    stored = _stored(parts)
    return stored[0] if stored is not None else None


def why_missing(parts: Parts, entries: Iterable[Entry]) -> str:
    """Says why there is no code for these parts: what differs from the entry of the same kernel that was compiled
    last."""
    path = home.folder()
    if path is None:
        return f"there is no cache: {home.why_unusable()}"
    if (path / f"{parts.name}.o").exists():
        return "its entry is damaged"
    same = [(entry.compiled_at, entry.parts) for entry in entries if entry.parts and entry.parts.kernel == parts.kernel]
    if not same:
        return "it is new"
    _, before = max(same, key=lambda entry: entry[0])
    differing = [name for name in Parts.__struct_fields__ if getattr(before, name) != getattr(parts, name)]
    descriptions = {
        "features": "the CPU's instruction sets differ",
        "sources": "netc's kernels have changed",
    }
    return ", ".join(
        descriptions.get(name, f"{name} was {getattr(before, name)}, is {getattr(parts, name)}") for name in differing
    )
