"""A `data` block, checked: the source, the fields with their steps, the split. Knows nothing of rows, and of models only their inputs and targets.

Faults for unknown readers, steps and settings, and for inputs that the block does not give.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from netc.compiler.elaborate.constants import compute
from netc.compiler.model import Model
from netc.dsl import syntax
from netc.dsl.diagnostics import Label, fault, nearest, nearest_or_all
from netc.dsl.source import NOWHERE, Source, Span
from netc.runtime.data.augment import AUGMENTATIONS
from netc.runtime.data.augment import Spec as Augmenting
from netc.runtime.data.readers import READERS
from netc.runtime.data.steps import STEPS

PARTS = ("train", "valid", "test")
Constants = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """`csv("data/cars.csv")`: a reader and a path as written; of pictures, how they are read."""

    reader: str
    path: str
    span: Span
    options: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class StepSpec:
    name: str
    arguments: tuple[Any, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """A field of the data: the columns that it is made of (all of the table but `columns`, if `is_rest`), and its steps. `is_single` fields lose the axis of columns."""

    name: str
    columns: tuple[str, ...]
    is_single: bool
    steps: tuple[StepSpec, ...]
    span: Span
    is_rest: bool = False
    is_sequence: bool = False  # in the model, each sample has a length of its own


@dataclass(frozen=True, slots=True)
class SplitSpec:
    """How rows become parts: `fractions` of the source by `way` (random, ordered, by a group's column), by what a `column` says, or `sources` of their own."""

    way: str = "random"
    fractions: tuple[tuple[str, float], ...] = (("train", 0.8), ("valid", 0.1), ("test", 0.1))
    column: str | None = None
    sources: tuple[tuple[str, SourceSpec], ...] = ()
    span: Span = NOWHERE


@dataclass(frozen=True, slots=True)
class DataSpec:
    """`source` is what fractions are taken of: the block's own, or the training part's."""

    source: SourceSpec
    fields: dict[str, FieldSpec]
    split: SplitSpec
    span: Span


def parse_data(model: Model) -> DataSpec:
    """The meaning of a model's `data` block. Faults E0701 and E0702 where model and data do not fit together."""
    spec = parse_block(model.source, model.data, model.constants)
    for name in (*model.inputs, *model.targets):
        if name not in spec.fields:
            kind = "input" if name in model.inputs else "target"
            fault(
                "E0702",
                f"the data does not give the {kind} `{name}`",
                model.declared[name],
                hint=nearest(name, spec.fields) or f'{name} = column("{name}")',
            )
    for name in model.targets:
        for step in spec.fields[name].steps:
            if STEPS[step.name].undo is None:
                fault(
                    "E0701",
                    f"`{step.name}` on a target cannot be undone in predictions",
                    step.span,
                    hint="classes" if step.name == "one_hot" else None,
                )
    return spec


def array_spec(model: Model) -> DataSpec:
    """What stands for the `data` block of a model that was trained on arrays: its fields as they are."""
    fields = {name: FieldSpec(name, (name,), True, (), NOWHERE) for name in (*model.inputs, *model.targets)}
    return DataSpec(SourceSpec("npz", "", NOWHERE), fields, SplitSpec(fractions=(("train", 1.0),)), NOWHERE)


def parse_block(source: Source, data: syntax.Data | None, constants: Constants) -> DataSpec:
    """The block by itself, without a model."""
    if data is None:
        fault(
            "E0501",
            "the file has no `data` block",
            Span(source, 0, 0),
            hint='data { source = csv("data.csv") ... }',
        )
    origin: SourceSpec | None = None
    fields: dict[str, FieldSpec] = {}
    split = SplitSpec(span=data.span)
    seen: dict[str, Span] = {}
    for setting in data.settings:
        name = setting.name.text
        if name in seen:
            fault("E0601", f"`{name}` is set twice", setting.name.span, others=[Label(seen[name], "first here")])
        seen[name] = setting.name.span
        if name == "source":
            origin = _source(setting.value, constants)
        elif name == "split":
            split = _split(setting.value, constants)
        else:
            fields[name] = _field(name, setting.value, constants)
    training = dict(split.sources).get("train")
    if origin is None and training is None:
        fault(
            "E0701",
            "the `data` block has no source",
            Span(source, data.span.start, data.span.start + 4),
            hint='source = csv("data.csv")',
        )
    if origin is not None and "train" not in (*dict(split.fractions), *dict(split.sources)) and split.way != "column":
        fault("E0602", "a split needs a part `train`", split.span)
    return DataSpec(origin or training, fields, split, data.span)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class _Apply:
    """What is made of the last values that were computed: a list of `count` ones, or the result of an operator."""

    node: syntax.ListOf | syntax.Unary | syntax.Binary

    def to(self, values: list[Any]) -> None:
        match self.node:
            case syntax.ListOf(items=items):
                values[len(values) - len(items) :] = [tuple(values[len(values) - len(items) :])]
            case syntax.Unary():
                values[-1] = compute("-", 0, values[-1], self.node.span)
            case syntax.Binary(operator=operator):
                right = values.pop()
                values[-1] = compute(operator, values[-1], right, self.node.span)


def plain(node: syntax.Expression, constants: Constants) -> Any:
    """A constant of the data block: a number, a text, a name's `let` value. Faults E0303 for anything else."""
    values: list[Any] = []
    pending: list[syntax.Expression | _Apply] = [node]
    while pending:  # a loop, as a long chain is a deep tree
        match part := pending.pop():
            case _Apply():
                part.to(values)
            case syntax.Number() | syntax.Text():
                values.append(part.value)
            case syntax.Group(value=inner):
                pending.append(inner)
            case syntax.ListOf(items=items):
                pending += [_Apply(part), *reversed(items)]
            case syntax.Unary(operator="-", operand=operand):
                pending += [_Apply(part), operand]
            case syntax.Binary(left=left, right=right):
                pending += [_Apply(part), right, left]
            case syntax.Name(text=text) if text in constants:
                values.append(constants[text])
            case _:
                fault("E0303", "this must be a number or a text", part.span)
    return values[0]


def call_of(node: syntax.Expression) -> tuple[str, Sequence[syntax.Argument]]:
    """The name and arguments of `name(arguments)` or `name`; an empty name for anything else."""
    if isinstance(node, syntax.Call) and isinstance(node.function, syntax.Name):
        return node.function.text, node.arguments
    if isinstance(node, syntax.Name):
        return node.text, ()
    return "", ()


def _source(node: syntax.Expression, constants: Constants) -> SourceSpec:
    name, arguments = call_of(node)
    if name not in READERS:
        fault(
            "E0701",
            f"there is no reader `{name or node.span.text}`",
            node.span,
            hint=nearest_or_all(name, READERS),
        )
    paths = [argument for argument in arguments if argument.name is None]
    if len(paths) != 1 or not isinstance(path := plain(paths[0].value, constants), str):
        fault("E0301", f"`{name}` takes one path in quotes", node.span, hint=f'{name}("data/...")')
    options = {}
    for argument in arguments:
        if argument.name is not None:
            key = argument.name.text if isinstance(argument.name, syntax.Name) else ""
            if name != "images" or key not in _IMAGE_OPTIONS:
                known = _IMAGE_OPTIONS if name == "images" else ()
                fault("E0302", f"`{name}` has no argument `{key}`", argument.span, hint=nearest(key, known))
            options[key] = _IMAGE_OPTIONS[key](argument.value, constants)
    return SourceSpec(name, path, paths[0].span, tuple(options.items()))


def _size(node: syntax.Expression, constants: Constants) -> tuple[int, int]:
    entries = [entry.value for entry in node.entries] if isinstance(node, syntax.Tuple) else []
    numbers = [plain(entry, constants) for entry in entries]
    if len(numbers) != 2 or not all(isinstance(one, int) and one >= 1 for one in numbers):
        fault("E0303", "`size` is the height and the width in pixels", node.span, hint="size = (32, 32)")
    return numbers[0], numbers[1]


def _channels(node: syntax.Expression, constants: Constants) -> int:
    number = plain(node, constants)
    if number not in (1, 3):
        fault("E0303", "`channels` is 1 (grey) or 3 (red, green, blue)", node.span)
    return int(number)


def _broken(node: syntax.Expression, constants: Constants) -> str:
    if not isinstance(node, syntax.Name) or node.text not in ("skip", "refuse"):
        fault("E0303", "`broken` is skip or refuse", node.span)
    return node.text


_IMAGE_OPTIONS: dict[str, Callable[[syntax.Expression, Constants], Any]] = {
    "size": _size,
    "channels": _channels,
    "broken": _broken,
}


# ------------------------------------------------------------------ split


def _split(node: syntax.Expression, constants: Constants) -> SplitSpec:
    way, arguments = call_of(node)
    if isinstance(node, syntax.Tuple):
        way, arguments = "random", node.entries
    elif way not in ("ordered", "by", "column"):
        fault(
            "E0602",
            f"there is no split `{way}`" if way else "a split names its parts",
            node.span,
            hint=nearest(way, ("ordered", "by", "column")) or "split = (train = 0.8, valid = 0.1, test = 0.1)",
        )
    column: str | None = None
    if way in ("by", "column"):
        first = arguments[0] if arguments else None
        name = plain(first.value, constants) if first is not None and first.name is None else None
        if not isinstance(name, str) or (way == "column" and len(arguments) > 1):
            example = 'by("patient", train = 0.8, test = 0.2)' if way == "by" else 'column("part")'
            fault("E0301", f"`{way}` takes the name of a column in quotes", node.span, hint=f"split = {example}")
        column, arguments = name, arguments[1:]
    if way == "column":
        return SplitSpec(way, (), column, (), node.span)
    fractions: dict[str, float] = {}
    sources: dict[str, SourceSpec] = {}
    for entry in arguments:
        part = entry.name.text if isinstance(entry.name, syntax.Name) else ""
        if part not in PARTS or part in fractions or part in sources:
            fault(
                "E0602",
                f"there is no part `{part or entry.span.text}`"
                if part not in PARTS
                else f"the part `{part}` is given twice",
                entry.span,
                hint=nearest(part, PARTS) or "train, valid and test",
            )
        if isinstance(entry.value, syntax.Call):
            sources[part] = _source(entry.value, constants)
            continue
        fraction = plain(entry.value, constants)
        if isinstance(fraction, bool) or not isinstance(fraction, int | float) or not 0 < fraction <= 1:
            fault("E0602", "a fraction is above 0 and at most 1", entry.value.span)
        fractions[part] = float(fraction)
    total = sum(fractions.values())
    if total > 1 + 1e-9 or ("train" in sources and total >= 1):
        fault("E0602", "the fractions add up to more than 1", node.span, f"they add up to {total:g}")
    if "train" not in fractions and "train" not in sources:
        fault("E0602", "a split needs a part `train`", node.span)
    if sources and way != "random":
        fault("E0602", f"`{way}` takes fractions of one source", node.span)
    return SplitSpec(way, tuple(fractions.items()), column, tuple(sources.items()), node.span)


# ------------------------------------------------------------------ fields and their steps


def _field(name: str, node: syntax.Expression, constants: Constants) -> FieldSpec:
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
