"""Records in the cache: bytes by name, with a digest. A record that is missing or damaged is a miss.

`home.py` says which folder, `eviction.py` which records go when it is full.
"""

import hashlib

from netc.dsl.storage import eviction, home, temporary

_DIGEST = 32


def key_of(*parts: str | bytes) -> str:
    """Returns the part of a record's name that stands for all that decides its content."""
    digest = hashlib.sha256()
    for part in parts:
        content = part.encode(errors="surrogatepass") if isinstance(part, str) else part
        digest.update(len(content).to_bytes(8, "little") + content)
    return digest.hexdigest()[:_DIGEST]


def read(name: str) -> bytes | None:
    """Returns a record, or None if the cache has none of this name or it is damaged."""
    folder = home.folder()
    if folder is None:
        return None
    try:
        stored = (folder / name).read_bytes()
    except OSError:
        return None
    content = stored[_DIGEST:]
    if hashlib.sha256(content).digest() != stored[:_DIGEST]:
        return None
    eviction.use(folder / name)
    return content


def write(name: str, content: bytes) -> None:
    """Stores a record under a name that eviction.py knows. Does nothing if the folder cannot be written."""
    folder = home.folder()
    if folder is None:
        return
    try:
        temporary.write(folder / name, hashlib.sha256(content).digest() + content)
    except OSError as error:
        home.warn_cannot_write(error)
    eviction.enforce(len(content))
