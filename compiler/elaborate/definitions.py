"""Definitions outside of the model (`let`, `block`, `layer`, `op`, `import`), and the values that `--set` replaces."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from netc.compiler.elaborate.bindings import (
    BlockFunction,
    Broken,
    LayerInstance,
    Namespace,
    Scope,
    UserOperation,
)
from netc.compiler.elaborate.context import BrokenName, Context
from netc.compiler.elaborate.declarations import define_layer
from netc.compiler.elaborate.expressions import constant
from netc.compiler.elaborate.settings.replaced import (
    TRAIN_SETTINGS,
    arguments_of,
    names_of_lets,
    names_of_values,
    optimizer_of,
)
from netc.dsl import syntax
from netc.dsl.diagnostics import Fault, Label, fault, nearest
from netc.dsl.limits import fits
from netc.dsl.parser import parse_file
from netc.dsl.source import Source, Span
from netc.dsl.storage.files import real

_DEEPEST_IMPORT = 50


def constants_of(context: Context) -> dict[str, object]:
    """The constants that the file gives names to."""
    return {name: item for name, item in context.globals.names.items() if isinstance(item, int | float | str | tuple)}


def usable_overrides(
    context: Context, file: syntax.File, overrides: Mapping[str, Any], spelling: str
) -> dict[str, Any]:
    """The overrides whose numbers fit into 64 bits; notes E0107 for the others, and E0201 for one without a `let`."""
    names = names_of_values(file)
    for unknown in sorted(set(overrides) - names):
        lets, arguments = sorted(names_of_lets(file)), arguments_of(optimizer := optimizer_of(file))
        written = spelling.format(unknown)
        context.diagnostics.add(
            "E0201",
            f"`{written}`: the file has no `let {unknown}`, and `train` has no such setting",
            _named(written),
            f"the file's `let`s: {', '.join(lets)}" if lets else "the file has no `let`",
            others=[
                Label(_named("train"), f"its settings: {', '.join(TRAIN_SETTINGS)}"),
                *([Label(_named(optimizer), f"its arguments: {', '.join(arguments)}")] if arguments else []),
            ],
            hint=nearest(unknown, names),
        )
    usable = {name: value for name, value in overrides.items() if not isinstance(value, int | float) or fits(value)}
    for name in sorted(overrides.keys() - usable.keys()):
        title = f"`{spelling.format(name)}`: 64 bits do not hold this number"
        context.diagnostics.add("E0107", title, Span(file.source, 0, 0))
    return usable


def _named(name: str) -> Span:
    """The span of a message about something that is in no file."""
    return Span(Source(name, ""), 0, 0)


def define(
    context: Context, file: syntax.File, scope: Scope, trail: list[Path | None], overrides: Mapping[str, Any]
) -> None:
    """Puts a file's definitions and imports into a scope. `trail` are the files whose imports led to this one."""
    for item in file.items:
        if isinstance(item, syntax.Let | syntax.Block | syntax.Op | syntax.Layer) and item.name.text in scope.names:
            context.diagnostics.add(
                "E0202",
                f"`{item.name.text}` is defined twice",
                item.name.span,
                others=[Label(scope.spans[item.name.text], "first here")],
            )
            continue
        try:
            match item:
                case syntax.Let(name=name, value=value):
                    override = overrides.get(name.text)
                    scope.set(name.text, Broken(), name.span)
                    scope.set(name.text, constant(context, value, scope) if override is None else override, name.span)
                case syntax.Block(name=name):
                    scope.set(name.text, BlockFunction(item, scope), name.span)
                case syntax.Op(name=name):
                    scope.set(name.text, UserOperation(item, scope), name.span)
                case syntax.Layer():
                    define_layer(context, item, scope)
                case syntax.Import():
                    import_file(context, item, scope, trail)
        except Fault as error:
            context.diagnostics.note(error)
        except BrokenName:  # there is a message for it already
            pass


def import_file(context: Context, item: syntax.Import, scope: Scope, trail: list[Path | None]) -> None:
    """Brings in the definitions of another file, once however many files import it. Raises E0203 and E0202."""
    path = real(item.span.source.folder / item.path.value)
    _check_import(item, path, trail)
    if path not in context.imported:
        context.imported[path] = Scope(context.globals.around)
        define(context, parse_file(path, item.path.value), context.imported[path], [*trail, path], {})
    inner = context.imported[path]
    if item.alias:
        scope.set(item.alias.text, Namespace(inner), item.alias.span)
        return
    for name, value in inner.names.items():
        if isinstance(value, BlockFunction | LayerInstance | UserOperation):
            if name in scope.names:
                fault(
                    "E0202",
                    f"`{name}` is defined twice",
                    item.path.span,
                    "this file defines it too",
                    others=[Label(scope.spans[name], "first here")],
                    hint=f'import "{item.path.value}" as ...',
                )
            scope.set(name, value, inner.spans[name])


def _check_import(item: syntax.Import, path: Path, trail: list[Path | None]) -> None:
    """Raises E0203 unless the path is a `.net` file in the main file's folder, so that no model's text shows other
    files."""
    root = real(trail[0].parent if trail and trail[0] else item.span.source.folder)
    if path.suffix != ".net" or not path.is_relative_to(root):
        note = (
            "only `.net` files are imported"
            if path.suffix != ".net"
            else "it lies outside of the folder that the model's file is in"
        )
        fault("E0203", f"`{item.path.value}` cannot be imported", item.path.span, note)
    if path in [real(file) for file in trail if file]:
        fault(
            "E0203",
            f'`import "{item.path.value}"` goes round in a circle',
            item.path.span,
            "this file is being imported already",
        )
    if not os.path.isfile(path):  # unlike Path.is_file, this is also False for a name that is too long
        fault(
            "E0203",
            f"there is no file `{item.path.value}`",
            item.path.span,
            f"looked in {item.span.source.folder}"
            if item.span.source.path is None
            else "paths start from this file's folder",
        )
    if len(trail) > _DEEPEST_IMPORT:
        fault("E0203", f"imports lead through more than {_DEEPEST_IMPORT} files", item.path.span)
