"""The blocks that every file may use: of the `.net` files that come with netc, and of libraries that packages add
(runtime/plugins.py)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources

from netc.compiler.elaborate.bindings import BlockFunction, Scope
from netc.dsl import syntax
from netc.dsl.parser import parse
from netc.dsl.source import Source, Span


@dataclass(frozen=True, slots=True)
class Library:
    """Blocks as the text of a `.net` file.

    `kind` is what the reference calls them: "layer", "loss", "metric" or "schedule".
    """

    name: str
    kind: str
    text: str

    @property
    def source(self) -> Source:
        return Source(self.name, self.text, is_library=True)

    def blocks(self) -> Iterator[syntax.Block]:
        """Faults E01xx where the text is wrong."""
        return (item for item in parse(self.source).items if isinstance(item, syntax.Block))


_KINDS = {"losses.net": "loss", "metrics.net": "metric", "schedules.net": "schedule"}


def _own() -> dict[str, Library]:
    files = sorted(resources.files("netc.dsl.library").iterdir(), key=lambda one: one.name)
    made = [
        Library(f"netc/{file.name}", _KINDS.get(file.name, "layer"), file.read_bytes().decode())
        for file in files
        if file.name.endswith(".net")
    ]
    return {one.name: one for one in made}


LIBRARIES: dict[str, Library] = _own()


def register_library(one: Library) -> Library:
    """Make its blocks part of the language. Raises ValueError where the name of one is taken."""
    taken = next((block.name.text for block in one.blocks() if block.name.text in library_names()), None)
    if taken is not None or one.name in LIBRARIES:
        raise ValueError(f"`{taken or one.name}` is registered already")
    LIBRARIES[one.name] = one
    library_scope.cache_clear()
    return one


@cache
def library_scope() -> Scope:
    """All blocks by name; of several that take a first argument of another rank, the first one with the others beside
    it."""
    scope = Scope()
    for library in LIBRARIES.values():
        for block in library.blocks():
            known = scope.names.get(block.name.text)
            made = BlockFunction(block, scope)
            if isinstance(known, BlockFunction):
                made = replace(known, others=(*known.others, block))
            scope.set(block.name.text, made, block.name.span)
    return scope


def library_names() -> frozenset[str]:
    return frozenset(library_scope().names)


def library_places() -> Mapping[str, Span]:
    """Where each block of the library stands."""
    return library_scope().places
