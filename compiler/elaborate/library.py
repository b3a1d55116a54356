"""The blocks that every file may use: those of netc's own `.net` files, and those that packages add
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

    `kind` is their kind in the reference: "layer", "loss", "metric" or "schedule".
    """

    name: str
    kind: str
    text: str

    @property
    def source(self) -> Source:
        """The text as a source, whose places messages leave out."""
        return Source(self.name, self.text, is_library=True)

    def blocks(self) -> Iterator[syntax.Block]:
        """The blocks of the text. Faults E01xx if it does not parse."""
        return (item for item in parse(self.source).items if isinstance(item, syntax.Block))


_KINDS = {"losses.net": "loss", "metrics.net": "metric", "schedules.net": "schedule"}


def _bundled() -> dict[str, Library]:
    files = sorted(resources.files("netc.dsl.library").iterdir(), key=lambda file: file.name)
    libraries = [
        Library(f"netc/{file.name}", _KINDS.get(file.name, "layer"), file.read_bytes().decode())
        for file in files
        if file.name.endswith(".net")
    ]
    return {library.name: library for library in libraries}


LIBRARIES: dict[str, Library] = _bundled()


def register_library(library: Library) -> Library:
    """Makes the blocks of a library part of the language. Raises ValueError if its name or a block's is taken."""
    taken = next((block.name.text for block in library.blocks() if block.name.text in library_names()), None)
    if taken is not None or library.name in LIBRARIES:
        raise ValueError(f"`{taken or library.name}` is registered already")
    LIBRARIES[library.name] = library
    library_scope.cache_clear()
    return library


@cache
def library_scope() -> Scope:
    """All blocks by name. Blocks of one name, for first arguments of different ranks, are one BlockFunction."""
    scope = Scope()
    for library in LIBRARIES.values():
        for block in library.blocks():
            earlier = scope.names.get(block.name.text)
            function = BlockFunction(block, scope)
            if isinstance(earlier, BlockFunction):
                function = replace(earlier, others=(*earlier.others, block))
            scope.set(block.name.text, function, block.name.span)
    return scope


def library_names() -> frozenset[str]:
    """The names of the library's blocks."""
    return frozenset(library_scope().names)


def library_places() -> Mapping[str, Span]:
    """The places of the library's blocks, by name."""
    return library_scope().places
