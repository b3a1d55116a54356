"""Elaboration: a file's syntax tree becomes a checked Model with its graph.

Each statement of the model is tried on its own. If it is at fault, the fault is noted, the names that it assigns are
Broken, and the next statement runs, so that one run reports all independent faults.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from netc.compiler.elaborate.advice.checks import check_results, check_settings
from netc.compiler.elaborate.advice.comparisons import comparisons_of
from netc.compiler.elaborate.advice.misnamed import check_names
from netc.compiler.elaborate.advice.model import advise
from netc.compiler.elaborate.application import apply_item
from netc.compiler.elaborate.bindings import (
    Scope,
)
from netc.compiler.elaborate.context import Context, Exhausted, Rules
from netc.compiler.elaborate.definitions import constants_of, define, usable_overrides
from netc.compiler.elaborate.expressions import constant
from netc.compiler.elaborate.forms.indexing import index
from netc.compiler.elaborate.forms.table import FORMS
from netc.compiler.elaborate.library import library_scope
from netc.compiler.elaborate.scans.scan import scan
from netc.compiler.elaborate.settings.replaced import SET, with_constants
from netc.compiler.elaborate.settings.schedule import schedule_graph
from netc.compiler.elaborate.settings.train_block import train_settings
from netc.compiler.elaborate.statements import body
from netc.compiler.model import Model, TrainSettings
from netc.dsl import syntax
from netc.dsl.diagnostics import Fault, Label, nearest
from netc.dsl.node import Node
from netc.dsl.source import Span
from netc.dsl.structs import replace

ClassCounter = Callable[[str, Mapping[str, Any], Span], int]


def elaborate(
    file: syntax.File,
    overrides: dict[str, Any] | None = None,
    class_count: ClassCounter | None = None,
    spelling: str = SET,
) -> Model:
    """The checked model of a file. `overrides` replace `let` values. Raises a Fault with all independent faults.

    `spelling` is how the caller writes a constant, for messages, with `{}` for its name.

    `class_count(field, lets, span)` reads from the data how many classes a field has, for the `class(auto)` at
    `span`.
    """
    context, train = examine(file, overrides, class_count, spelling)
    context.diagnostics.raise_errors()
    return replace(model_of(file, context, train), overrides=dict(overrides or {}))


def examine(
    file: syntax.File,
    overrides: dict[str, Any] | None = None,
    class_count: ClassCounter | None = None,
    spelling: str = SET,
) -> tuple[Context, TrainSettings]:
    """The context after a file was elaborated, faults included, and its `train` settings: for tools that also read
    wrong files.

    Raises Fault E0206 if the model is too large to be elaborated.
    """
    try:
        return _examined(file, overrides, class_count, spelling)
    except Exhausted as error:
        raise Fault([error.diagnostic]) from None


def _examined(
    file: syntax.File, overrides: dict[str, Any] | None, class_count: ClassCounter | None, spelling: str
) -> tuple[Context, TrainSettings]:
    context = Context.of(Rules(apply_item, index, scan, FORMS), Scope(library_scope()))
    file, overrides = with_constants(file, overrides or {}, spelling)
    overrides = usable_overrides(context, file, overrides, spelling)
    define(context, file, context.globals, [file.source.path], overrides)
    for kind in (syntax.Data, syntax.Model, syntax.Train, syntax.Study):
        _refuse_second(context, [item for item in file.items if isinstance(item, kind)])
    train = _read_training(context, file)
    if class_count is not None:
        count, lets = class_count, constants_of(context)
        context.class_count = lambda name, span: count(name, lets, span)
    context.fields = next((item.fields for item in file.items if isinstance(item, syntax.Data)), {})
    _elaborate_model(context, file)
    check_results(context, file)
    check_settings(context, context.train, train)
    if not context.diagnostics.errors:
        advise(context, train)
    return context, train


def _read_training(context: Context, file: syntax.File) -> TrainSettings:
    """Reads the settings of the first block `train`, on which the graph's precision depends."""
    blocks = [item for item in file.items if isinstance(item, syntax.Train)]
    context.train = blocks[0].settings if blocks else ()
    context.settings = {setting.name.text: setting.name.span for block in blocks for setting in block.settings}
    train = train_settings(
        context.train,
        lambda node: _constant_of_setting(context, node),
        lambda node: schedule_graph(context, node),
        context.diagnostics,
    )
    context.graph.precision, context.freeze = train.floats, train.freeze
    return train


def _elaborate_model(context: Context, file: syntax.File) -> None:
    """Adds the values of the first block `model` to the graph."""
    model = next((item for item in file.items if isinstance(item, syntax.Model)), None)
    if model is None:
        start, hint = Span(file.source, 0, 0), "model { input x: float[4] ... }"
        context.diagnostics.add("E0501", "the file has no `model` block", start, hint=hint)
        return
    context.statements = model.body
    body(context, model.body, Scope(context.globals, unknown=set()), in_model=True)
    check_names(context, model.body)


def _constant_of_setting(context: Context, node: syntax.Expression) -> Any:
    """The constant that a setting's value stands for. For an unknown name the hint is one of the file's constants."""
    try:
        return constant(context, node, context.globals)
    except Fault as error:
        first = error.diagnostics[0]
        if first.code != "E0201" or not isinstance(node, syntax.Name):
            raise
        raise Fault([replace(first, hint=nearest(node.text, constants_of(context)))]) from None


def _refuse_second(context: Context, blocks: Sequence[Node]) -> None:
    """Notes E0202 for each block of a kind but the first."""
    for second in blocks[1:]:
        context.diagnostics.add(
            "E0202",
            f"a second `{second.span.text.split()[0]}` block",
            second.span,
            others=[Label(blocks[0].span, "the first one")],
        )


def model_of(file: syntax.File, context: Context, train: TrainSettings) -> Model:
    """The model of a file that was examined without errors."""
    return Model(
        file.source,
        context.graph,
        context.inputs,
        context.targets,
        context.declared,
        context.parameters,
        context.states,
        train,
        context.train,
        next((item for item in file.items if isinstance(item, syntax.Data)), None),
        next((item for item in file.items if isinstance(item, syntax.Study)), None),
        constants_of(context),
        context.counted,
        context.named,
        context.dimensions.bounds,
        tuple(context.equal),
        tuple(context.applications),
        tuple(comparisons_of(context)),
        tuple(context.diagnostics.warnings),
    )
