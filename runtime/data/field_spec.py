"""The fields of a `data` block and their steps, checked."""

from collections.abc import Callable, Sequence
from typing import Any

from netc.dsl import syntax
from netc.dsl.diagnostics import fault, nearest, nearest_or_all
from netc.runtime.data.augment import AUGMENTATIONS
from netc.runtime.data.augment import Spec as Augmenting
from netc.runtime.data.declarations import Constants, FieldSpec, StepSpec
from netc.runtime.data.literals import call_of, plain
from netc.runtime.data.steps import STEPS


def parse_field(name: str, node: syntax.Expression, constants: Constants) -> FieldSpec:
    steps: list[StepSpec] = []
    head = node
    while isinstance(head, syntax.Pipe):
        steps.append(_step(head.into, constants))
        head = head.value
    steps.reverse()
    kind, arguments = call_of(head)
    if kind not in _HEADS:
        fault(
            "E0701",
            "a field begins with the columns that it is made of",
            head.span,
            hint=nearest(kind, _HEADS) or f'{name} = column("{name}")',
        )
    columns, is_rest = _HEADS[kind](head, arguments, constants)
    return FieldSpec(name, columns, kind != "columns", tuple(steps), head.span, is_rest)


def _one_column(
    head: syntax.Expression, arguments: Sequence[syntax.Argument], constants: Constants
) -> tuple[tuple[str, ...], bool]:
    columns = tuple(plain(argument.value, constants) for argument in arguments if argument.name is None)
    if len(columns) != 1 or len(arguments) != 1 or not isinstance(columns[0], str):
        fault("E0301", f"`{call_of(head)[0]}` takes one name in quotes", head.span)
    return columns, False


def _columns(
    head: syntax.Expression, arguments: Sequence[syntax.Argument], constants: Constants
) -> tuple[tuple[str, ...], bool]:
    """`columns("a", "b")`, `columns(all)`, `columns(all, except = ["a", "b"])`."""
    first = arguments[0].value if arguments and arguments[0].name is None else None
    is_rest = isinstance(first, syntax.Name) and first.text == "all"
    columns: list[Any] = []
    for argument in arguments[int(is_rest) :]:
        key = argument.name.text if isinstance(argument.name, syntax.Name) else None
        if key != ("except" if is_rest else None) or (is_rest and len(arguments) > 2):
            fault(
                "E0302",
                f"`columns` has no argument `{key}`" if key else "`all` takes in every column",
                argument.span,
                hint='columns(all, except = ["name"])',
            )
        value = argument.value
        entries = [entry.value for entry in value.entries] if isinstance(value, syntax.Tuple) else [value]
        for entry in entries:
            given = plain(entry, constants)
            columns += given if is_rest and isinstance(given, tuple) else [given]
    if not (columns or is_rest) or not all(isinstance(column, str) for column in columns):
        fault("E0301", "`columns` takes names in quotes", head.span)
    return tuple(columns), is_rest


_HEADS: dict[str, Callable[[syntax.Expression, Sequence[syntax.Argument], Constants], tuple[tuple[str, ...], bool]]] = {
    "field": _one_column,
    "column": _one_column,
    "columns": _columns,
}


def _step(node: syntax.Expression, constants: Constants) -> StepSpec:
    name, arguments = call_of(node)
    if name not in STEPS:
        fault(
            "E0701",
            f"there is no step `{name or node.span.text}`",
            node.span,
            hint=nearest_or_all(name, STEPS),
        )
    if name == "train_only":
        return _augmentations(node, arguments, constants)
    step = STEPS[name]
    least, most = step.arguments
    if not least <= len(arguments) <= most:
        fault(
            "E0301",
            f"`{name}` takes {(least or 'no') if least == most else f'{least} to {most}'} argument{'s' if most != 1 else ''}",
            node.span,
        )
    values = []
    for argument in arguments:
        if argument.name is not None:
            fault("E0302", f"`{name}` takes its arguments without names", argument.span)
        if isinstance(argument.value, syntax.Name) and argument.value.text in step.words:
            values.append(argument.value.text)
        else:
            values.append(plain(argument.value, constants))
    if step.check is not None and (wrong := step.check(values)):
        fault("E0303", f"`{name}` takes {wrong}", node.span)
    return StepSpec(name, tuple(values), node.span)


def _augmentations(node: syntax.Expression, arguments: Sequence[syntax.Argument], constants: Constants) -> StepSpec:
    """`train_only(flip(horizontal) -> shift(2))`: a pipe that begins with its first step."""
    found: list[Augmenting] = []
    rest = arguments[0].value if len(arguments) == 1 else None
    if rest is None or arguments[0].name is not None:
        fault("E0301", "`train_only` takes one pipe", node.span, hint="train_only(flip(horizontal) -> shift(2))")
    while isinstance(rest, syntax.Pipe):
        found.append(_augmentation(rest.into, constants))
        rest = rest.value
    found.append(_augmentation(rest, constants))
    found.reverse()
    return StepSpec("train_only", tuple(found), node.span)


def _augmentation(node: syntax.Expression, constants: Constants) -> Augmenting:
    name, arguments = call_of(node)
    if name not in AUGMENTATIONS:
        fault(
            "E0701",
            f"`train_only` knows no `{name or node.span.text}`",
            node.span,
            hint=nearest_or_all(name, AUGMENTATIONS),
        )
    one = AUGMENTATIONS[name]
    values = [
        argument.value.text
        if isinstance(argument.value, syntax.Name) and argument.value.text in one.words
        else plain(argument.value, constants)
        for argument in arguments
    ]
    if wrong := one.check(values):
        fault("E0303", f"`{name}` takes {wrong}", node.span)
    return name, tuple(values)
