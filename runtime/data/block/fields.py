"""Checks the fields of a `data` block: `x = columns("a", "b") -> standardize` becomes a FieldSpec."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from netc.compiler.elaborate.library import LIBRARIES
from netc.compiler.ir.value import OPERATIONS
from netc.dsl import syntax
from netc.dsl.diagnostics import Diagnostics, Fault, fault, nearest, nearest_or_all
from netc.dsl.hints import Change, Hint
from netc.dsl.mistakes.foreign_words import PATTERN
from netc.dsl.mistakes.synonyms import Kind, synonym
from netc.dsl.printer import expression
from netc.dsl.word import Section
from netc.dsl.words import settings_of
from netc.runtime.data.block.constant_values import call_of, constant_value
from netc.runtime.data.block.declarations import Constants, FieldSpec, StepSpec
from netc.runtime.data.pictures.augment import AUGMENTATIONS, AugmentationSpec
from netc.runtime.data.readers.readers import READERS
from netc.runtime.data.steps.steps import STEPS


class _Columns(Struct, frozen=True):
    """The head of a field: the names of its columns, or with `is_rest` of those that it leaves out.

    `is_single` loses the axis of columns.
    """

    names: tuple[str, ...]
    is_single: bool
    is_rest: bool = False


def parse_field(name: str, node: syntax.Expression, constants: Constants, block: syntax.Data) -> FieldSpec:
    """A field with its steps. `block` has the other fields and the source, for a hint.

    Raises E0303 and E0701 for anything that is not a field or a step, or for an argument that a step does not take.
    """
    steps: list[StepSpec] = []
    faults = Diagnostics()
    head = node
    while isinstance(head, syntax.Pipe):
        try:
            steps.append(_step(head.into, constants))
        except Fault as error:
            faults.note(error)
        head = head.value
    steps.reverse()
    steps = _dates_first(steps)
    try:
        columns = _columns(name, node, head, constants, block)
    except Fault as error:
        faults.note(error)
    faults.raise_errors()
    return FieldSpec(name, columns.names, columns.is_single, tuple(steps), head.span, columns.is_rest)


def _columns(
    name: str,
    node: syntax.Expression,
    head: syntax.Expression,
    constants: Constants,
    block: syntax.Data,
) -> _Columns:
    """The columns that a field begins with. Raises E0701 if it begins with something else."""
    kind, arguments = call_of(head)
    others = block.fields
    if isinstance(head, syntax.Name) and head.text in others and head.text != name:
        fault(
            "E0701",
            f"a field is not made of another one, such as `{head.text}`",
            head.span,
            "it begins with the columns again",
            hint=f"{name} = {_written_out(node, others[head.text], _likely_columns(head.text, block))}",
        )
    if kind not in _HEADS:
        fault(
            "E0701",
            "a field begins with the columns that it is made of",
            head.span,
            hint=_hint_for_head(name, kind, node, head, _likely_columns(name, block)),
        )
    return _HEADS[kind](head, arguments, constants)


def _likely_columns(name: str, block: syntax.Data) -> str:
    """The columns that a field is likely to be made of: the text of a source that is one, or the column of its name."""
    source = next((setting.value for setting in block.settings if setting.name.text == "source"), None)
    return 'field("text")' if source is not None and call_of(source)[0] == "text" else f'column("{name}")'


def _written_out(node: syntax.Expression, other: syntax.Expression, columns: str) -> str:
    """A field that begins with the field `other`, with the columns and steps of that one in place of its name.

    If that one begins with a step, `columns` stand before it. Windows are cut last: a step such as `next` moves the
    whole series.
    """
    parts: list[str] = []
    for pipe in (node, other):
        while isinstance(pipe, syntax.Pipe):
            parts.append(expression(pipe.into))
            pipe = pipe.value
    parts.append(expression(pipe))
    if call_of(pipe)[0] in STEPS:
        parts.append(columns)
    windows = [part for part in parts if part.startswith("window")]
    return " -> ".join([*(part for part in reversed(parts) if part not in windows), *windows[:1]])


def _hint_for_head(name: str, kind: str, node: syntax.Expression, head: syntax.Expression, columns: str) -> str:
    """The hint for a field that begins with a reader, a step, or anything else. `columns` are its likely ones."""
    match head:
        case syntax.Index(indices=(syntax.Text() as column,)):
            return Hint(f"{name} = column({column.span.text})", Change(f"column({column.span.text})"))
        case syntax.Binary(operator="/" | "*", left=left, right=syntax.Number() as factor) if (
            call_of(left)[0] in _HEADS
        ):
            size = factor.span.text if head.operator == "*" else f"1 / {factor.span.text}"
            scaled = f"{left.span.text} -> scale({size})"
            return Hint(f"{name} = {scaled}", Change(scaled))
        case syntax.Binary(operator="-", left=left, right=right) if call_of(left)[0] == "columns":
            names = [argument.span.text for argument in call_of(right)[1]]
            left_out = f"({', '.join(names)})" if len(names) > 1 else "".join(names) or right.span.text
            return Hint.code(f"columns(all, except = {left_out})")
        case syntax.Index(value=syntax.Name(text="columns" | "column")):
            return 'columns("width", "height"): the names of the columns, in quotes'
        case syntax.Call(arguments=(syntax.Argument(name=None, value=syntax.Text() as column),)) if (
            kind not in (*READERS, *_HEADS) and synonym(kind, Kind.COLUMNS, _HEADS) is None
        ):
            return Hint(f"{name} = column({column.span.text})", Change(f"column({column.span.text})"))
    if kind in READERS:
        return f"source = {head.span.text}"
    if kind in STEPS:
        return Hint(f"{name} = {columns} -> {expression(node)}", Change(f"{columns} -> {head.span.text}"))
    if name in settings_of(Section.TRAIN):
        return f"`{name}` is a setting of the block `train`"
    return nearest(kind, _HEADS, Kind.COLUMNS) or f"{name} = {columns}"


def _dates_first(steps: Sequence[StepSpec]) -> list[StepSpec]:
    """The steps, where an `impute` by a mean or a median that stands before `date` comes right after it instead: both
    are statistics of numbers, and `date` leaves missing cells missing.
    """
    names = [step.name for step in steps]
    date = names.index("date") if "date" in names else 0
    early = [step for step in steps[:date] if step.name == "impute" and step.arguments[0] in ("mean", "median")]
    return [*(step for step in steps[: date + 1] if step not in early), *early, *steps[date + 1 :]]


def _one_column(head: syntax.Expression, arguments: Sequence[syntax.Argument], constants: Constants) -> _Columns:
    """`column("a")` or `field("a")`."""
    names = tuple(_column_name(argument.value, constants) for argument in arguments if argument.name is None)
    if len(names) != 1 or len(arguments) != 1 or not isinstance(names[0], str):
        hint = f"columns({', '.join(argument.span.text for argument in arguments)})" if len(names) > 1 else None
        hint = hint or _NUMBERED
        fault("E0301", f"`{call_of(head)[0]}` takes one name in quotes", head.span, hint=hint)
    return _Columns(names, is_single=True)


def _column_name(node: syntax.Expression, constants: Constants) -> Any:
    """The name of a column. Raises E0303 for a word without quotes."""
    if isinstance(node, syntax.Name) and node.text not in constants:
        fault("E0303", "the name of a column stands in quotes", node.span, hint=f'"{node.text}"')
    return constant_value(node, constants)


def _several_columns(head: syntax.Expression, arguments: Sequence[syntax.Argument], constants: Constants) -> _Columns:
    """`columns("a", "b")`, `columns(all)`, `columns(all, except = ["a", "b"])`."""
    first = arguments[0].value if arguments and arguments[0].name is None else None
    is_rest = isinstance(first, syntax.Name) and first.text == "all"
    names: list[Any] = []
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
        if isinstance(value, syntax.Leading):
            fault("E0303", "every column has its name", value.span, hint=PATTERN)
        if isinstance(value, syntax.ListOf) and not is_rest:
            fault("E0303", "`columns` takes names, no list", value.span, hint=f"columns({value.span.text.strip('[]')})")
        entries = [entry.value for entry in value.entries] if isinstance(value, syntax.Tuple) else [value]
        for entry in entries:
            name = _column_name(entry, constants)
            names += name if is_rest and isinstance(name, tuple) else [name]
    if not (names or is_rest) or not all(isinstance(name, str) for name in names):
        fault("E0301", "`columns` takes names in quotes", head.span, hint=_NUMBERED)
    return _Columns(tuple(names), is_single=False, is_rest=is_rest)


_NUMBERED = 'columns have the names of the header, in quotes; with `header = false` they are "1", "2", ...'
_HEADS: Mapping[str, Callable[[syntax.Expression, Sequence[syntax.Argument], Constants], _Columns]] = {
    "field": _one_column,
    "column": _one_column,
    "columns": _several_columns,
}


def _step(node: syntax.Expression, constants: Constants) -> StepSpec:
    name, arguments = call_of(node)
    if name not in STEPS:
        fact = f"there is no step `{name or node.span.text}`"
        fault("E0701", fact, node.span, hint=_of_model(name) or nearest_or_all(name, STEPS, Kind.STEP))
    if name == "train_only":
        return _train_only(node, arguments, constants)
    step = STEPS[name]
    least, most = step.arguments
    if not least <= len(arguments) <= most:
        count = (least or "no") if least == most else f"{least} to {most}"
        fact = f"`{name}` takes {count} argument{'s' if most != 1 else ''}"
        fault("E0301", fact, node.span, hint=f"`netc ops {name}` shows how it is written")
    values = []
    for argument in arguments:
        if argument.name is not None:
            fault("E0302", f"`{name}` takes its arguments without names", argument.span)
        values.append(_argument(argument, step.words, constants))
    if step.check is not None and (expected := step.check(values)):
        fault("E0303", f"`{name}` takes {expected}", node.span)
    return StepSpec(name, tuple(values), node.span)


def _of_model(name: str) -> str | None:
    """The hint for a layer, loss, metric or operation among the steps of a field; None for what no model has either,
    and for what has a synonym among the steps."""
    is_of_model = (name in OPERATIONS and OPERATIONS[name].is_callable) or any(
        name in library.names() for library in LIBRARIES.values()
    )
    if not is_of_model or synonym(name, Kind.STEP, STEPS) is not None:
        return None
    return f"`{name}` belongs to the block `model`: `y = x -> {name}`; `netc ops {name}` explains it"


def _argument(argument: syntax.Argument, words: Sequence[str], constants: Constants) -> Any:
    """The value of an argument: one of `words`, or a constant."""
    if isinstance(argument.value, syntax.Name) and argument.value.text in words:
        return argument.value.text
    if words and isinstance(argument.value, syntax.Name) and argument.value.text not in constants:
        fact = f"this must be {', '.join(words)}, or a number or a text"
        fault("E0303", fact, argument.value.span, hint=nearest(argument.value.text, words))
    return constant_value(argument.value, constants)


def _train_only(node: syntax.Expression, arguments: Sequence[syntax.Argument], constants: Constants) -> StepSpec:
    """`train_only(flip(horizontal) -> shift(2))`: a pipe that begins with its first augmentation."""
    rest = arguments[0].value if len(arguments) == 1 else None
    if rest is None or arguments[0].name is not None:
        fault("E0301", "`train_only` takes one pipe", node.span, hint="train_only(flip(horizontal) -> shift(2))")
    augmentations: list[AugmentationSpec] = []
    while isinstance(rest, syntax.Pipe):
        augmentations.append(_augmentation(rest.into, constants))
        rest = rest.value
    augmentations.append(_augmentation(rest, constants))
    augmentations.reverse()
    return StepSpec("train_only", tuple(augmentations), node.span)


def _augmentation(node: syntax.Expression, constants: Constants) -> AugmentationSpec:
    name, arguments = call_of(node)
    if name not in AUGMENTATIONS:
        fact = f"`train_only` knows no `{name or node.span.text}`"
        fault("E0701", fact, node.span, hint=nearest_or_all(name, AUGMENTATIONS))
    augmentation = AUGMENTATIONS[name]
    values = [_argument(argument, augmentation.words, constants) for argument in arguments]
    if expected := augmentation.check(values):
        fault("E0303", f"`{name}` takes {expected}", node.span)
    return AugmentationSpec(name, tuple(values), node.span)
