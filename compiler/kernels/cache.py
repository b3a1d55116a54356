"""Object code on disk: a folder of the user's own, an entry a file, never unpickled and never run unless it is whole.

`dsl/home.py` says which folder, `dsl/eviction.py` what goes when it is full, `dsl/temporary.py` how a file is written whole, so that many processes may
share the folder. A damaged entry is a miss. Its name is a hash of `Parts`, all that decides the code.
"""

import hashlib
import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path

from netc.dsl import eviction, home, temporary

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
    if found is None or found[0].parts != parts:
        return None
    eviction.use(found[0].path)
    return found[1]


def write(parts: Parts, why: str, code: bytes, lanes: int) -> None:
    """Keep object code, why it was compiled, and its lanes. A folder that cannot be written keeps nothing. After the last of several, call `eviction.enforce`."""
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
    """All kernels in the folder, whole or damaged."""
    path = home.folder()
    for kept in sorted(eviction.entries(path), key=lambda entry: entry.path) if path is not None else ():
        found = _open(kept.path) if kept.path.suffix == ".o" else None
        if found is not None:
            yield found[0]


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
