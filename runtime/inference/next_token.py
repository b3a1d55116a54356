"""Finds models that predict the next token of a text, and whether `netc generate` can step them from token to token.

Knows a model and its `data` block, but neither data nor parameters.
"""

from typing import NoReturn

from netc.compiler.ir.graph import Graph
from netc.compiler.ir.results import Result, ResultKind
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import describe_sample
from netc.compiler.model import Model
from netc.compiler.passes.stepping.step import stepping
from netc.compiler.pipeline import steppable_graph
from netc.dsl.diagnostics import Diagnostic, Fault, fault
from netc.dsl.structs import replace
from netc.runtime.data.block.declarations import DataSpec


def generation_warnings(model: Model, spec: DataSpec) -> list[Diagnostic]:
    """W0514 if a model learns the next token of a text that it reads, and `netc generate` would refuse it (E0506).

    A model means to generate if a target consists of the same labels as its only input, moved by `next`.
    """
    if not _predicts_next_tokens(model, spec):
        return []
    try:
        graph = steppable_graph(model)
        name, output = token_names(graph)
        dim = str(model.inputs[name].rows)
        stepping(graph.only(output), dim)
    except Fault as refusal:
        reason = refusal.diagnostics[0]
        title = "this model learns what comes next, but `netc generate` cannot use it"
        label = replace(reason.primary, text=reason.primary.text or reason.title)
        warning = Diagnostic("W0514", title, label, reason.others, reason.hint)
        return [] if warning.is_silenced else [warning]
    return []


def _predicts_next_tokens(model: Model, spec: DataSpec) -> bool:
    if len(model.inputs) != 1:
        return False
    ((name, type_),) = model.inputs.items()
    columns = spec.fields[name].columns
    moved = [
        spec.fields[target]
        for target, of in model.targets.items()
        if type_.classes is not None and of.classes == type_.classes and type_.sample and of.sample
    ]
    return any(field.columns == columns and "next" in {step.name for step in field.steps} for field in moved)


def token_names(graph: Graph) -> tuple[str, Result]:
    """The input that a text is, class(n)[t], and the output of the scores of its next tokens, float[t, n].

    Raises E0506 if the graph has not one of each.
    """
    inputs = list(graph.values(Role.INPUT))
    outputs = {
        result: value
        for result, value in graph.results.items()
        if value.type.is_varying and value.type.is_float and value.type.rank == 2
    }
    is_text = len(inputs) == 1 and inputs[0].type.is_varying and inputs[0].type.classes is not None
    if not is_text or len(outputs) != 1:
        _refuse(graph)
    ((output, value),) = outputs.items()
    classes = inputs[0].type.classes
    if value.type.dims[1] != classes:
        label = f"the input has {classes} tokens, the output {value.type.dims[1]}"
        fault("E0506", "the output is not of the input's tokens", value.span, label)
    return inputs[0].name, output


def _refuse(graph: Graph) -> NoReturn:
    """Raises the fault E0506, with the first thing that a model lacks to generate, where it is declared."""
    title = "this model does not generate"
    inputs = list(graph.values(Role.INPUT))
    outputs = graph.results_of(ResultKind.OUTPUT)
    tokens = [leaf for leaf in inputs if leaf.type.classes is not None]
    if len(inputs) != 1 or not tokens:
        at, label = inputs[0].span, f"`{inputs[0].name}` is {describe_sample(inputs[0].type)}"
        if len(inputs) > 1:
            at, label = inputs[1].span, f"it has {len(inputs)} inputs"
        fault("E0506", title, at, label, hint="it needs one input that is a text: `input letters: class(82)[t]`")
    (text,) = inputs
    classes, name = text.type.classes, text.name
    if not text.type.is_varying:
        sizes = text.type.sample
        label = f"`{name}` has the fixed length {sizes[0]}" if sizes else f"`{name}` is a single label"
        hint = f"write `input {name}: class({classes})[t]`, and `[t]` in the target: t stands for any length"
        fault("E0506", title, text.span, label, hint=hint)
    length = text.type.rows
    scores = f"float[{length}, {classes}]"
    hint = f"it needs one output {scores}, the scores of the next token at each step: `output next_token = softmax(z)`"
    if len(outputs) > 1:
        fault("E0506", title, list(outputs.values())[1].span, f"it has {len(outputs)} outputs", hint=hint)
    for output, value in outputs.items():
        fault("E0506", title, value.span, f"the output `{output}` is {describe_sample(value.type)}", hint=hint)
    fault("E0506", title, text.span, f"there is no output {scores}", hint=hint)
