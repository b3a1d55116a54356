"""Analyses one text for an editor: its messages, its names, and the type and cost of each value.

A text with errors is analysed as far as possible.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from netc.compiler.elaborate.bindings import Applied, Assigned
from netc.compiler.elaborate.context import Context
from netc.compiler.elaborate.elaborator import examine, model_of
from netc.dsl import syntax
from netc.dsl.diagnostics import Diagnostic, Fault, fault
from netc.dsl.literals import unquoted
from netc.dsl.mistakes.scanning import TEXT
from netc.dsl.parser import parse
from netc.dsl.source import Source, Span
from netc.editor.names import Names, names_of
from netc.runtime.data.access import inside, is_below
from netc.runtime.data.block.spec import parse_data
from netc.runtime.data.classes import class_counter
from netc.runtime.studies.spec import parse_study

NOT_OPENED = "E0807"  # not an error in the text: an editor shows it as information


def _changed(path: Path) -> int | None:
    """The time of a file's last change; None if it does not exist, or no file can have this name."""
    try:
        return path.stat().st_mtime_ns
    except (OSError, ValueError):
        return None


class Counts:
    """Counts the classes of a field in the data, again only if the `data` block or a file changes.

    Opens only files below the text's own folder or one of `folders`, and no file unless `opens_data`.
    """

    def __init__(self, folders: Sequence[Path] = (), opens_data: bool = True) -> None:
        self.folders, self.opens_data = tuple(folders), opens_data
        self.cache: dict[tuple[Any, ...], int] = {}

    def counter(self, file: syntax.File) -> Any:
        count = class_counter(file)
        block = next((item.span.text for item in file.items if isinstance(item, syntax.Data)), "")
        folders = self._folders(file.source)
        paths = [file.source.folder / unquoted(literal) for literal in re.findall(TEXT, block)]
        times = tuple(_changed(path) for path in paths if is_below(path, folders))

        def counted(name: str, lets: Mapping[str, Any], asked: Span) -> int:
            key = (file.source.folder, folders, block, name, repr(sorted(lets.items())), times)
            if key not in self.cache:
                if len(self.cache) > 100:
                    self.cache.clear()
                with inside(folders, self._refuse):
                    self.cache[key] = count(name, lets, asked)
            return self.cache[key]

        return counted

    def _folders(self, source: Source) -> tuple[Path, ...]:
        """The folders where data may be opened. A text that is in no file has no folder of its own."""
        if not self.opens_data:
            return ()
        return (source.folder, *self.folders) if source.path is not None else self.folders

    def _refuse(self, path: Path, shown: str, span: Span) -> None:
        fault(
            NOT_OPENED,
            f"the editor does not open `{shown}`, and cannot count its classes",
            span,
            "it lies outside of this file's folder and of the workspace"
            if self.opens_data
            else "no data is opened in a workspace that is not trusted",
            hint="`class(10)` for `class(auto)`"
            + (", or its folder as a folder of the workspace, or `netc lsp --allow FOLDER`" if self.opens_data else ""),
        )


class Analysis:
    """One version of a text. Each part is computed when it is first used; names do not need values.

    `file` is None if the text does not follow the grammar. `assigned` has what could be elaborated despite errors.
    """

    def __init__(self, text: str, path: Path | None, counts: Counts) -> None:
        self.source, self.counts = Source(path.name if path else "model.net", text, path), counts

    @cached_property
    def _parsed(self) -> tuple[syntax.File | None, tuple[Diagnostic, ...]]:
        try:
            return parse(self.source), ()
        except Fault as error:
            return None, error.diagnostics

    @property
    def file(self) -> syntax.File | None:
        return self._parsed[0]

    @cached_property
    def names(self) -> Names:
        return names_of(self.file) if self.file is not None else Names()

    @cached_property
    def _examined(self) -> tuple[Context | None, tuple[Diagnostic, ...]]:
        if self.file is None:
            return None, self._parsed[1]
        if _is_library(self.file):
            return None, ()
        try:
            context, train = examine(self.file, {}, self.counts.counter(self.file))
        except Fault as error:
            return None, error.diagnostics
        wrong = [*context.diagnostics.errors, *context.diagnostics.warnings]
        if not context.diagnostics.errors:
            try:
                model = model_of(self.file, context, train)
                if model.data is not None:
                    parse_data(model)
                if model.study is not None:
                    parse_study(model)
            except Fault as error:
                wrong += error.diagnostics
        return context, tuple(wrong)

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """Errors and warnings."""
        return self._examined[1]

    @cached_property
    def assigned(self) -> dict[Span, tuple[Assigned, ...]]:
        """The values assigned to each name, by the name's span: several in a block that is applied several times."""
        by_span: dict[Span, list[Assigned]] = {}
        context = self._examined[0]
        for assigned in context.assigned if context is not None else ():
            by_span.setdefault(assigned.span, []).append(assigned)
        return {span: tuple(values) for span, values in by_span.items()}

    @property
    def applied(self) -> Sequence[Applied]:
        """The applications of operations and blocks, also those in the library."""
        context = self._examined[0]
        return context.applied if context is not None else ()

    @cached_property
    def parameters(self) -> dict[str, int]:
        """The number of elements of each parameter."""
        context = self._examined[0]
        return {name: info.type.size(1) for name, info in context.parameters.items()} if context is not None else {}


def _is_library(file: syntax.File) -> bool:
    """Whether a file is only for import: it has items, but neither a model nor settings."""
    kinds = (syntax.Block, syntax.Op, syntax.Let, syntax.Layer, syntax.Import)
    return bool(file.items) and all(isinstance(item, kinds) for item in file.items)
