"""The blocks that every file may use: those of netc's own `.net` files, and those that packages add
(runtime/plugins.py)."""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources

from msgspec import Struct, field

from netc.compiler.elaborate.bindings import BlockFunction, Item, Scope
from netc.dsl import syntax
from netc.dsl.parser import parse
from netc.dsl.source import Source, Span


class Library(Struct, frozen=True):
    """Blocks as the text of a `.net` file.

    `kind` is their kind in the reference: "layer", "loss", "metric" or "schedule".
    """

    name: str
    kind: str
    text: str

    @property
    def source(self) -> Source:
        """The text as a source, whose spans messages leave out."""
        return _source(self.name, self.text)

    @cache  # noqa: B019  there are few libraries, and all of them stay
    def blocks(self) -> tuple[syntax.Block, ...]:
        """The blocks of the text. Raises E01xx if it does not parse."""
        return tuple(item for item in parse(self.source).items if isinstance(item, syntax.Block))

    @cache  # noqa: B019  as above
    def blocks_of(self, name: str) -> tuple[syntax.Block, ...]:
        """The blocks of a name. Of netc's own files nothing else is parsed: a model uses a few blocks of several."""
        if self.name not in _BUNDLED:
            return tuple(block for block in self.blocks() if block.name.text == name)
        text, end = "", 0
        for match in _BLOCK.finditer(self.text):
            if match[1] == name:
                text, end = text + _blank(self.text[end : match.start()]) + match[0], match.end()
        items = parse(self.source, text + _blank(self.text[end:])).items
        return tuple(item for item in items if isinstance(item, syntax.Block))

    def names(self) -> Iterator[str]:
        """The names of the blocks. Those of netc's own files are found without parsing the text."""
        if self.name in _BUNDLED:
            return iter(_BLOCK.findall(self.text))
        return (block.name.text for block in self.blocks())


@cache
def _source(name: str, text: str) -> Source:
    """One source for each library: spans of different ones are never equal."""
    return Source(name, text, is_library=True)


_KINDS = {"losses.net": "loss", "metrics.net": "metric", "schedules.net": "schedule"}


def _bundled() -> dict[str, Library]:
    files = sorted(resources.files("netc.dsl.library").iterdir(), key=lambda file: file.name)
    libraries = [
        Library(f"netc/{file.name}", _KINDS.get(file.name, "layer"), file.read_bytes().decode())
        for file in files
        if file.name.endswith(".net")
    ]
    return {library.name: library for library in libraries}


_BUNDLED = _bundled()
_BLOCK = re.compile(r"^block (\w+).*?^}", re.MULTILINE | re.DOTALL)  # in netc's own files
LIBRARIES: dict[str, Library] = dict(_BUNDLED)


def register_library(library: Library) -> Library:
    """Makes the blocks of a library part of the language. Raises ValueError if its name or a block's is taken."""
    taken = next((name for name in library.names() if name in library_names()), None)
    if taken is not None or library.name in LIBRARIES:
        raise ValueError(f"`{taken or library.name}` is registered already")
    LIBRARIES[library.name] = library
    library_scope.cache_clear()
    return library


def _blank(text: str) -> str:
    """Spaces in place of a text, with its ends of lines."""
    return re.sub(r"[^\n]", " ", text)


class _LibraryScope(Scope):
    """The blocks of all libraries. Parsing all of them takes longer than most models, so a block is parsed when
    it is first looked up. `libraries` are those that define a name."""

    libraries: dict[str, list[Library]] = field(default_factory=dict)

    def bound_here(self, name: str) -> Item | None:
        """The blocks of a name. Those for first arguments of different ranks are one BlockFunction."""
        if name not in self.names and name in self.libraries:
            blocks = [block for library in self.libraries[name] for block in library.blocks_of(name)]
            self.set(name, BlockFunction(blocks[0], self, tuple(blocks[1:])), blocks[-1].name.span)
        return self.names.get(name)

    def all_names(self) -> Iterator[str]:
        """The names of all libraries."""
        yield from self.libraries


@cache
def library_scope() -> Scope:
    """The blocks of all libraries, by name."""
    libraries: dict[str, list[Library]] = {}
    for library in LIBRARIES.values():
        for name in dict.fromkeys(library.names()):
            libraries.setdefault(name, []).append(library)
    return _LibraryScope(libraries=libraries)


def library_names() -> frozenset[str]:
    """The names of the library's blocks."""
    return frozenset(library_scope().all_names())


def library_spans() -> Mapping[str, Span]:
    """The spans of the library's blocks, by name."""
    scope = library_scope()
    for name in library_names():
        scope.bound_here(name)
    return scope.spans
