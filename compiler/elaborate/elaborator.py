"""Elaboration: a file's syntax tree -> the checked Model with its graph. This file walks the file; the rooms beside it the rest.

Each statement of the model is tried on its own: what is wrong with it is noted, the names it would have assigned are Broken, and the
rest goes on, so that independent faults are told together.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from netc.compiler.elaborate.advice import advise
from netc.compiler.elaborate.application import apply_item
from netc.compiler.elaborate.bindings import (
    BlockFunction,
    Broken,
    LayerInstance,
    Namespace,
    Scope,
    UserOperation,
)
from netc.compiler.elaborate.context import BrokenName, Context, Exhausted
from netc.compiler.elaborate.expressions import constant
from netc.compiler.elaborate.library import library_scope
from netc.compiler.elaborate.scan import scan
from netc.compiler.elaborate.schedule import schedule_graph
from netc.compiler.elaborate.settings import train_settings
from netc.compiler.elaborate.special import FORMS
from netc.compiler.elaborate.statements import body, define_layer
from netc.compiler.ir.graph import needed_by
from netc.compiler.ir.roles import Role
from netc.compiler.ir.value import OPERATIONS, Whole
from netc.compiler.model import FITTED, Model, TrainSettings
from netc.dsl import syntax
from netc.dsl.diagnostics import Fault, Label, fault, nearest, nearest_or_all
from netc.dsl.files import real
from netc.dsl.limits import fits
from netc.dsl.parser import parse_file
from netc.dsl.source import Span

ClassCount = Callable[[str, Mapping[str, Any], int, Span], int]


def elaborate(
    file: syntax.File, overrides: dict[str, Any] | None = None, class_count: ClassCount | None = None
) -> Model:
    """The checked model of a file. `overrides` replace `let` values. Raises a Fault with all independent faults.

    `class_count(field, lets, seed, asked)` reads how many classes the data gives a field: what `class(auto)` stands for.
    """
    context, train = examine(file, overrides, class_count)
    context.diagnostics.raise_errors()
    return model_of(file, context, train)


def examine(
    file: syntax.File, overrides: dict[str, Any] | None = None, class_count: ClassCount | None = None
) -> tuple[Context, TrainSettings]:
    """All that a file comes to, and the faults on the way: for whoever wants to know what can be known of a file that is wrong. Raises Fault E0206 where
    that would take too long."""
    try:
        return _examined(file, overrides, class_count)
    except Exhausted as end:
        raise Fault([end.diagnostic]) from None


def _examined(
    file: syntax.File, overrides: dict[str, Any] | None, class_count: ClassCount | None
) -> tuple[Context, TrainSettings]:
    context = Context(apply_item, FORMS, Scope(library_scope()), scan)
    overrides = usable_overrides(context, file, overrides or {})
    define(context, file, context.globals, [file.source.path], overrides)
    sections = {
        kind: [item for item in file.items if isinstance(item, kind)]
        for kind in (syntax.Data, syntax.Model, syntax.Train)
    }
    for items in sections.values():
        for second in items[1:]:
            context.diagnostics.add(
                "E0202",
                f"a second `{second.span.text.split()[0]}` block",
                second.span,
                others=[Label(items[0].span, "the first one")],
            )
    blocks = [block for block in sections[syntax.Train] if isinstance(block, syntax.Train)]
    train = train_settings(
        blocks[0].settings if blocks else (),
        lambda node: constant(context, node, context.globals),
        lambda node: schedule_graph(context, node),
        context.diagnostics,
    )
    context.graph.precision, context.freeze = train.precision, train.freeze
    if class_count is not None:
        count, seed, lets = class_count, train.seed, _lets(context)
        context.class_count = lambda name, span: count(name, lets, seed, span)
    for model in sections[syntax.Model][:1]:
        assert isinstance(model, syntax.Model)
        body(context, model.body, Scope(context.globals), in_model=True)
    if not sections[syntax.Model]:
        context.diagnostics.add(
            "E0501",
            "the file has no `model` block",
            Span(file.source, 0, 0),
            hint="model { input x: float[4] ... }",
        )
    context.settings = {one.name.text: one.name.span for block in blocks for one in block.settings}
    check_reading(context, file)
    check_patterns(context, blocks[0].settings if blocks else ())
    if not context.diagnostics.errors:
        advise(context, train)
    return context, train


def model_of(file: syntax.File, context: Context, train: TrainSettings) -> Model:
    """The model of a file that was found right."""
    return Model(
        file.source,
        context.graph,
        context.inputs,
        context.targets,
        context.declared,
        context.parameters,
        context.states,
        train,
        next((item for item in file.items if isinstance(item, syntax.Data)), None),
        _lets(context),
        context.counted,
        context.named,
        context.bounds,
        tuple(context.equal),
        tuple(context.applications),
        tuple(context.diagnostics.warnings),
    )


def _lets(context: Context) -> dict[str, object]:
    """The constants that the file gives names to."""
    return {name: item for name, item in context.globals.names.items() if isinstance(item, int | float | str | tuple)}


def usable_overrides(context: Context, file: syntax.File, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """The overrides whose numbers 64 bits hold; what is wrong with the others, or has no `let`, is noted."""
    known = {item.name.text for item in file.items if isinstance(item, syntax.Let)}
    for unknown in sorted(set(overrides) - known):
        context.diagnostics.add(
            "E0201",
            f"`--set {unknown}`: the file has no `let {unknown}`",
            Span(file.source, 0, 0),
            hint=nearest(unknown, known),
        )
    usable = {name: value for name, value in overrides.items() if not isinstance(value, int | float) or fits(value)}
    for name in sorted(overrides.keys() - usable.keys()):
        context.diagnostics.add("E0107", f"`--set {name}`: 64 bits do not hold this number", Span(file.source, 0, 0))
    return usable


_DEEPEST_IMPORT = 50


def define(
    context: Context, file: syntax.File, scope: Scope, trail: list[Path | None], overrides: Mapping[str, Any]
) -> None:
    """The lets, blocks, layers, ops and imports of a file, into a scope. `trail` are the files whose imports led here."""
    for item in file.items:
        if isinstance(item, syntax.Let | syntax.Block | syntax.Op | syntax.Layer) and item.name.text in scope.names:
            context.diagnostics.add(
                "E0202",
                f"`{item.name.text}` is defined twice",
                item.name.span,
                others=[Label(scope.places[item.name.text], "first here")],
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
        except Fault as found:
            context.diagnostics.note(found)
        except BrokenName:
            pass


def import_file(context: Context, item: syntax.Import, scope: Scope, trail: list[Path | None]) -> None:
    """Bring in the definitions of another file: one `.net` file under the main file's folder, so that no text of a model shows what lies elsewhere."""
    path = real(item.span.source.folder / item.path.value)
    root = real(trail[0].parent if trail and trail[0] else item.span.source.folder)
    if path.suffix != ".net" or not path.is_relative_to(root):
        told = (
            "only `.net` files are imported"
            if path.suffix != ".net"
            else "it lies outside of the folder that the model's file is in"
        )
        fault("E0203", f"`{item.path.value}` cannot be imported", item.path.span, told)
    if path in [real(one) for one in trail if one]:
        fault(
            "E0203",
            f'`import "{item.path.value}"` goes round in a circle',
            item.path.span,
            "this file is being imported already",
        )
    if not os.path.isfile(path):  # unlike Path.is_file False also for a name that is too long
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
    if path not in context.imported:  # once, however many files import it
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
                    others=[Label(scope.places[name], "first here")],
                    hint=f'import "{item.path.value}" as ...',
                )
            scope.set(name, value, inner.places[name])


def check_reading(context: Context, file: syntax.File) -> None:
    """What nobody reads, what gives nothing, what cannot learn or predict."""
    if context.diagnostics.errors:
        return
    if not context.graph.results and any(isinstance(item, syntax.Model) for item in file.items):
        context.diagnostics.add(
            "E0501",
            "the model gives nothing",
            Span(file.source, 0, 0),
            "it has no output and no loss",
            hint="output y = ...",
        )
    live = context.graph.live()
    for value in context.graph.values():
        if value not in live and value.name and value.role is not Role.GIVEN:
            context.diagnostics.add("W0501", f"nobody reads the {value.operation} `{value.name}`", value.span)
    for name, value in context.graph.results.items():
        needs = {leaf.operation for leaf in needed_by([value])}
        if name.startswith("output.") and "target" in needs:
            context.diagnostics.add(
                "E0505", f"the output `{name[7:]}` needs a target", value.span, "a prediction has no target to read"
            )
        whole = [
            one for one in needed_by([value]) if one.operands and isinstance(OPERATIONS[one.operation].lower, Whole)
        ]
        if whole and not name.startswith(("metric.", FITTED)):
            told, hint = "only a metric may use it", "fitted(...) keeps a figure of the training split"
            context.diagnostics.add("E0503", "this is a figure of a whole split", whole[0].span, told, hint=hint)
        if name.startswith("loss.") and "parameter" not in needs:
            context.diagnostics.add(
                "E0502", "this loss depends on no parameter", value.span, "nothing can learn from it"
            )


def check_patterns(context: Context, settings: Sequence[syntax.Setting]) -> None:
    """A pattern of `freeze` or `lr_scale` that no parameter's name matches, a loss to scale or a dimension to cut that is not there."""
    if context.diagnostics.errors:
        return
    for setting in settings:
        if setting.name.text == "truncate" and isinstance(setting.value, syntax.Tuple):
            name = setting.value.entries[0].name
            if isinstance(name, syntax.Name) and name.text not in context.lengths:
                hint = nearest(name.text, context.lengths) or "input x: float[time, 3] has the dimension time"
                context.diagnostics.add("E0602", f"no input has the dimension `{name.text}`", name.span, hint=hint)
        if setting.name.text == "loss_scale" and isinstance(setting.value, syntax.Tuple):
            losses = [one.removeprefix("loss.") for one in context.graph.results if one.startswith("loss.")]
            for name in (entry.name for entry in setting.value.entries):
                if isinstance(name, syntax.Name) and name.text not in losses:
                    hint = nearest_or_all(name.text, losses)
                    context.diagnostics.add("E0602", f"there is no loss `{name.text}`", name.span, hint=hint)
    for setting in settings:
        nodes: Sequence[syntax.Expression] = ()
        if setting.name.text == "freeze":
            nodes = setting.value.items if isinstance(setting.value, syntax.ListOf) else (setting.value,)
        elif setting.name.text == "lr_scale" and isinstance(setting.value, syntax.Tuple):
            nodes = [entry.name for entry in setting.value.entries if entry.name is not None]
        for node in nodes:
            pattern = constant(context, node, context.globals)
            if not any(fnmatchcase(name, pattern) for name in (*context.parameters, *context.states)):
                context.diagnostics.add(
                    "E0602",
                    f'no parameter is called "{pattern}"',
                    node.span,
                    hint=nearest(pattern, context.parameters) or f"there are {', '.join(list(context.parameters)[:6])}",
                )
