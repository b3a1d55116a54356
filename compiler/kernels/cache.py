"""Object code on disk: a folder of the user's own, an entry a file, never unpickled and never run unless it is whole.

NETC_CACHE names the folder (default: netc in the user's cache folder). A folder that others can write to is refused, one that cannot be
written is read only; a damaged entry is a miss.
"""

import hashlib
import os
import tempfile
from functools import cache
from pathlib import Path

_DIGEST = 32


@cache
def toolchain() -> str:
    """What every key holds besides the kernel: versions, and a digest of the sources that kernels are made by."""
    from importlib.metadata import version
    from platform import python_version

    own = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        own.update(path.read_bytes())
    return " ".join(
        [
            python_version(),
            *(f"{name} {version(name)}" for name in ("netc", "numba", "llvmlite", "numpy")),
            own.hexdigest(),
        ]
    )


def key_of(text: str, cpu: str, features: str) -> str:
    """The name of a kernel: its text, all that compiles it (with versions), the CPU and its instruction sets. Leave one out and a stale kernel runs."""
    return hashlib.sha256("\n".join([text, toolchain(), cpu, features]).encode()).hexdigest()[:32]


def folder() -> Path | None:
    """The cache's folder, made if need be; None if there is none that is the user's own."""
    path = Path(
        os.environ.get("NETC_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "netc"
    )
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = path.stat()
    except OSError:
        return None
    return path if status.st_uid == os.getuid() and not status.st_mode & 0o022 else None


def read(key: str) -> bytes | None:
    """The object code of a key, or None if it is not there, or not whole."""
    path = folder()
    if path is None:
        return None
    try:
        stored = (path / f"{key}.o").read_bytes()
    except OSError:
        return None
    digest, code = stored[:_DIGEST], stored[_DIGEST:]
    return code if hashlib.sha256(code).digest() == digest else None


def write(key: str, code: bytes) -> None:
    """Keep object code; written beside and renamed, so that no reader ever sees half of it. A folder that cannot be written keeps nothing."""
    path = folder()
    if path is None:
        return
    try:
        with tempfile.NamedTemporaryFile(dir=path, prefix=key, delete=False) as beside:
            beside.write(hashlib.sha256(code).digest() + code)
        os.replace(beside.name, path / f"{key}.o")
    except OSError:
        return
