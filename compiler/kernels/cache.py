"""Object code on disk: a folder of the user's own, an entry a file, never unpickled and never run unless it is whole.

NETC_CACHE names the folder (default: netc in the user's cache folder). A folder that others can write to is refused, one that cannot be
written is read only; a damaged entry is a miss. An entry is written beside and renamed, so that many processes may share the folder, and
one that is killed leaves nothing but a file that nobody reads. Its name is a hash of `Parts`, all that decides the code.
"""

import hashlib
import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path

from netc.dsl import home, temporary

_DIGEST = 32


@dataclass(frozen=True, slots=True)
class Parts:
    """All that decides the object code of a kernel. Leave one out and a stale kernel runs."""

    kernel: str  # a hash of its text, form and arguments
    cpu: str
    features: str
    python: str
    netc: str
    numba: str
    llvmlite: str
    numpy: str
    sources: str  # a hash of the files that kernels are made by

    @property
    def name(self) -> str:
        return hashlib.sha256(json.dumps(asdict(self)).encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Entry:
    """What the cache knows of a kernel besides its code: when it was compiled (seconds since 1970), why then, and of how many lanes its
    vectors are. `parts` is None if it is damaged."""

    path: Path
    size: int
    parts: Parts | None = None
    made: float = 0.0
    why: str = ""
    lanes: int = 1


@cache
def _toolchain() -> dict[str, str]:
    from importlib.metadata import version
    from platform import python_version

    own = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        own.update(path.read_bytes())
    packages = ("netc", "numba", "llvmlite", "numpy")
    return {"python": python_version(), **{name: version(name) for name in packages}, "sources": own.hexdigest()[:16]}


def parts_of(text: str, cpu: str, features: str) -> Parts:
    """The parts of a kernel's key on a CPU, with this process's versions."""
    return Parts(hashlib.sha256(text.encode()).hexdigest()[:32], cpu, features, **_toolchain())


def read(parts: Parts) -> bytes | None:
    """The object code, or None if it is not there, or not whole."""
    path = home.folder()
    found = _open(path / f"{parts.name}.o") if path is not None else None
    return found[1] if found is not None and found[0].parts == parts else None


def write(parts: Parts, why: str, code: bytes, lanes: int) -> None:
    """Keep object code, why it was compiled, and its lanes. A folder that cannot be written keeps nothing."""
    path = home.folder()
    if path is None:
        return
    head = json.dumps({"parts": asdict(parts), "made": time.time(), "why": why, "lanes": lanes}).encode()
    body = head + b"\n" + code
    try:
        temporary.write(path / f"{parts.name}.o", hashlib.sha256(body).digest() + body)
    except OSError:
        return


def _open(path: Path) -> tuple[Entry, bytes] | None:
    """An entry and its code; one without parts if it is damaged, None if there is none."""
    try:
        stored = path.read_bytes()
    except OSError:
        return None
    digest, body = stored[:_DIGEST], stored[_DIGEST:]
    head, _, code = body.partition(b"\n")
    if hashlib.sha256(body).digest() != digest:
        return Entry(path, len(stored)), b""
    try:
        held = json.loads(head)
        return Entry(path, len(stored), Parts(**held["parts"]), held["made"], held["why"], held["lanes"]), code
    except (ValueError, KeyError, TypeError):  # of an older netc
        return Entry(path, len(stored)), b""


def entries() -> Iterator[Entry]:
    """All kernels in the folder, whole or damaged, and what killed processes left."""
    path = home.folder()
    for file in sorted(path.iterdir()) if path is not None else ():
        if file.name.startswith("parser-"):
            continue
        found = _open(file)
        if found is not None:
            yield found[0] if file.suffix == ".o" else Entry(file, found[0].size)


def entry(parts: Parts) -> Entry | None:
    """The whole entry of these parts, if there is one."""
    path = home.folder()
    found = _open(path / f"{parts.name}.o") if path is not None else None
    return found[0] if found is not None and found[0].parts == parts else None


def why_missing(parts: Parts, known: Iterable[Entry]) -> str:
    """In words, why there is no code for these parts: what differs from the known entry of the same kernel that was made last."""
    path = home.folder()
    if path is None:
        return f"there is no cache: {home.why_unusable()}"
    if (path / f"{parts.name}.o").exists():
        return "its entry is damaged"
    same = [one for one in known if one.parts is not None and one.parts.kernel == parts.kernel]
    if not same:
        return "it is new"
    before = max(same, key=lambda one: one.made).parts
    assert before is not None
    differing = [field.name for field in fields(Parts) if getattr(before, field.name) != getattr(parts, field.name)]
    told = {
        "features": "the CPU's instruction sets differ",
        "sources": "netc's kernels have changed",
    }
    return ", ".join(
        told.get(name, f"{name} was {getattr(before, name)}, is {getattr(parts, name)}") for name in differing
    )


def clear() -> int:
    """Remove every file from the folder; returns how many."""
    path, count = home.folder(), 0
    parsers = list(path.glob("parser-*")) if path is not None else []
    for file in [*(one.path for one in entries()), *parsers]:
        file.unlink(missing_ok=True)
        count += 1
    return count
