"""Statements that declare what a model has: inputs, targets, parameters, states and shared layers.

A parameter or a state is made by the first application that declares it. A shared layer's later applications take it
from there.
"""

from netc.compiler.elaborate import samples
from netc.compiler.elaborate.bindings import BlockFunction, LayerInstance, Scope
from netc.compiler.elaborate.context import BrokenName, Context
from netc.compiler.elaborate.expressions import evaluate
from netc.compiler.elaborate.initialisers import initialiser
from netc.compiler.elaborate.signatures import type_of
from netc.compiler.ir.results import ResultKind
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import BATCH, Type, describe_sample
from netc.compiler.ir.value import OPERATIONS, Value
from netc.compiler.model import ParameterInfo
from netc.dsl import syntax
from netc.dsl.diagnostics import Label, fault
from netc.dsl.printer import expression


def declare(context: Context, statement: syntax.Input | syntax.Target, scope: Scope) -> None:
    """Adds an input or a target to the model. Raises E0202 if there is one of this name."""
    name, role = statement.name, Role.INPUT if isinstance(statement, syntax.Input) else Role.TARGET
    if name.text in context.declared:
        fault(
            "E0202",
            f"`{name.text}` is declared twice",
            name.span,
            others=[Label(context.declared[name.text], "first here")],
        )
    context.declared[name.text] = name.span
    type_ = type_of(context, statement.type, scope, name.text)
    batched = type_ if type_.is_varying else Type(type_.dtype, (BATCH, *type_.dims), type_.classes)
    with context.graph.at(name.span):
        scope.set(name.text, context.graph.leaf(role, name.text, batched), name.span)
    (context.inputs if role is Role.INPUT else context.targets)[name.text] = batched


def define_layer(context: Context, item: syntax.Layer, scope: Scope) -> None:
    """Defines a shared layer: `layer f = dense(64)`. Raises E0205 if its value is not a block."""
    function = evaluate(context, item.value, scope)
    if not isinstance(function, BlockFunction):
        fault(
            "E0205",
            "a layer is an application of a block that lacks its first argument",
            item.value.span,
            hint="layer f = dense(64)",
        )
    scope.set(item.name.text, LayerInstance(".".join((*context.path.prefix, item.name.text)), function), item.name.span)


def parameter(context: Context, statement: syntax.Param, scope: Scope) -> None:
    """Makes a parameter, or takes a shared layer's own. Raises E0503 where it may not stand, E0202 for a second one."""
    name, layer = ".".join((*context.path.prefix, statement.name.text)), context.layer
    if context.frames and layer is None:
        fault(
            "E0503",
            "parameters stand outside of a scan",
            statement.span,
            f"`{name}` would be made anew at each step",
            hint="layer f = dense(64) before the scan, and f(x) in it",
        )
    type_ = type_of(context, statement.type, scope)
    value = _shared_parameter(context, statement, name, type_)
    if value is None:
        value = _new_parameter(context, statement, name, type_, scope)
        if layer is not None:
            layer.parameters[name.removeprefix(f"{layer.name}.")] = value
    scope.set(statement.name.text, value, statement.name.span)


def _shared_parameter(context: Context, statement: syntax.Param, name: str, type_: Type) -> Value | None:
    """The parameter of this name that a shared layer has already, or None if there is none of this name.

    Raises E0401 if its shape is another, E0202 if the name is taken by a parameter that is not shared.
    """
    if name not in context.parameters:
        return None
    layer = context.layer
    shared = layer.parameters.get(name.removeprefix(f"{layer.name}.")) if layer is not None else None
    if shared is not None:
        if shared.type != type_:
            fault(
                "E0401",
                f"`{name}` is shared, and its shape is {describe_sample(shared.type)}",
                statement.span,
                f"here it would be {describe_sample(type_)}",
            )
        return shared
    leaves = context.outermost.values(Role.PARAMETER)
    leaf = next((value for value in leaves if value.name == name), None)
    if layer is None or leaf is None or leaf.type != type_:
        fault(
            "E0202",
            f"there is a parameter `{name}` already",
            statement.span,
            others=[Label(context.parameters[name].span, "the first one")],
        )
    return leaf


def _new_parameter(context: Context, statement: syntax.Param, name: str, type_: Type, scope: Scope) -> Value:
    if not context.may_own:
        if context.layer is not None and context.diagnostics.errors:
            raise BrokenName  # a faulty statement would have applied the layer first
        fault(
            "E0503",
            "a loss or metric may not own parameters",
            statement.span,
            f"`{name}` would be one",
            hint="assign the value first, then give it to the loss",
        )
    initial, numbers = initialiser(context, statement, type_, scope)
    decay = _has_decay(statement)
    span = context.user_span(statement.name.span)
    context.parameters[name] = ParameterInfo(name, type_, initial, numbers, decay, span)
    with context.outermost.at(span):
        return context.outermost.leaf(Role.PARAMETER, name, type_)


def _has_decay(statement: syntax.Param) -> bool:
    """Whether weight decay applies to a parameter: unless it is declared with `decay = no`."""
    decay = True
    for option in statement.options:
        key = option.name.text if isinstance(option.name, syntax.Name) else ""
        if key != "decay" or not isinstance(option.value, syntax.Name) or option.value.text not in ("yes", "no"):
            fault(
                "E0302",
                f"a parameter has no option `{expression(option.value) if key == 'decay' else key}`",
                option.span,
                hint="decay = no",
            )
        decay = option.value.text == "yes"
    return decay


def _left_by_last_application(context: Context, shared: Value) -> Value:
    """Returns the value that a further application of a shared layer reads as its state.

    In training, this is the next value that the application before it has computed, so that applications update a state
    one after another. Otherwise it is the state.
    """
    update = ResultKind.UPDATE.named(shared.name)
    if update not in context.graph.results:
        return shared
    pending = context.graph.results[update]
    context.replaceable[update] = pending
    if context.is_frozen:
        return shared
    is_training = context.graph.add("training", (), {}, Type("bool"))
    latest = samples.apply_elementwise(OPERATIONS["where"], [is_training, pending, shared])
    context.states_of[latest] = shared
    return latest


def state(context: Context, statement: syntax.State, scope: Scope) -> None:
    """Makes a state, or takes a shared layer's own. Raises E0503 where none may stand, E0202 if the name is taken."""
    name = ".".join((*context.path.prefix, statement.name.text))
    type_ = type_of(context, statement.type, scope)
    shared = None
    if name in context.states:
        shared = next((value for value in context.graph.values(Role.STATE) if value.name == name), None)
    if context.frames:
        fault("E0503", "a scan may not own states", statement.span, hint="scan ... with h = ... carries a value")
    if context.layer is not None and shared is not None and shared.type == type_:
        scope.set(statement.name.text, _left_by_last_application(context, shared), statement.name.span)
        return
    if not context.may_own or name in context.states or name in context.parameters:
        fault(
            "E0202" if context.may_own else "E0503",
            f"there is a value `{name}` already" if context.may_own else "a loss or metric may not own states",
            statement.span,
        )
    initial, numbers = initialiser(context, statement, type_, scope)
    span = context.user_span(statement.name.span)
    context.states[name] = ParameterInfo(name, type_, initial, numbers, False, span)
    with context.graph.at(span):
        scope.set(statement.name.text, context.graph.leaf(Role.STATE, name, type_), statement.name.span)
