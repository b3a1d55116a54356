"""Explains a prediction and a target that a loss or a metric of the library cannot compare: what to change, and where.

Only the types of both operands decide. The first parameter of such a block takes the prediction, `float[..., n]` for
scores of classes or `float[...]` for numbers; the second takes the target, `class(n)[...]` or `float[...]`.
"""

from collections.abc import Iterable

from msgspec import Struct

from netc.compiler.ir.types import Type, describe_sample
from netc.compiler.ir.value import Value
from netc.dsl import syntax
from netc.dsl.diagnostics import Fault, Label
from netc.dsl.source import Span
from netc.dsl.structs import replace


class Operand(Struct, frozen=True):
    """An argument of a loss or a metric: its value, and its span in the text."""

    value: Value
    span: Span

    @property
    def text(self) -> str:
        return self.span.text

    @property
    def type(self) -> Type:
        return self.value.type

    @property
    def label(self) -> Label:
        return Label(self.span, f"this is {describe_sample(self.type)}")


class _Misfit(Struct, frozen=True):
    """A fault of a comparison: the operand to change, how, and a title where the types say little."""

    operand: Operand
    hint: str
    title: str | None = None


# for numbers and for classes, by the file of the library
_FUNCTIONS = {"losses.net": ("mse", "cross_entropy"), "metrics.net": ("mae", "accuracy")}


def explained(error: Fault, block: syntax.Block, operands: Iterable[Operand]) -> Fault:
    """The fault of an application of a library's loss or metric, at the operand that has to change."""
    prediction, target = [*operands][:2]
    misfit = _misfit(block, prediction, target)
    if misfit is None:
        return error
    other = target if misfit.operand is prediction else prediction
    first = error.diagnostics[0]
    spans = (prediction.span, target.span)
    declared = [
        label for label in first.others if label.span not in spans and not label.span.source.is_library and label.text
    ]
    types = " with ".join(describe_sample(operand.type) for operand in (prediction, target))
    title = misfit.title or f"`{block.name.text}` cannot compare {types}"
    changed = replace(first, title=title, primary=misfit.operand.label, others=(other.label, *declared))
    return Fault([replace(changed, hint=misfit.hint), *error.diagnostics[1:]])


def compares(block: syntax.Block) -> bool:
    """Whether a block of the library compares a prediction with a target, of any dimensions both."""
    types = [parameter.type for parameter in block.parameters[:2]]
    return (
        block.span.source.is_library
        and len(types) == 2
        and all(type_ is not None and any(isinstance(d, syntax.Leading) for d in type_.dims) for type_ in types)
        and types[0] is not None
        and types[0].kind == "float"
        and types[0].dims[0].span.text == "..."
    )


def _misfit(block: syntax.Block, prediction: Operand, target: Operand) -> _Misfit | None:
    name = block.name.text
    if prediction.type.classes is not None and target.type.is_float:
        return _Misfit(prediction, f"the prediction comes first: {name}({target.text}, {prediction.text})")
    if not prediction.type.is_float:
        return None
    declared = block.parameters[1].type
    assert declared is not None
    is_of_classes = declared.kind == "class"
    of_numbers, of_classes = _FUNCTIONS.get(block.span.source.name.rpartition("/")[2], (None, None))
    if is_of_classes and target.type.is_float and of_numbers is not None:
        misfit = _numbers_as_labels(prediction, target, of_numbers)
        return replace(misfit, title=f"`{name}` compares scores with classes")
    if not is_of_classes and target.type.classes is not None and of_classes is not None:
        return _labels_as_numbers(prediction, target, of_classes)
    if is_of_classes and target.type.classes is not None:
        return _scores(name, prediction, target)
    first = block.parameters[0].type
    takes_any = first is not None and len(first.dims) == 1 and not is_of_classes
    return _numbers(prediction, target, takes_any) if target.type.is_float else None


def _numbers_as_labels(prediction: Operand, target: Operand, function: str) -> _Misfit:
    """A block for classes, whose target consists of numbers: of a category as a vector, or of measured numbers."""
    sizes = target.type.sample
    if sizes and sizes == prediction.type.sample and isinstance(sizes[-1], int) and sizes[-1] > 1:
        axes = describe_sample(target.type.with_dims(target.type.dims[:-1])).removeprefix("float")
        hint = f"target {target.text}: class({sizes[-1]}){axes}, with `-> classes` in `data` in place of `-> one_hot`"
        return _Misfit(target, hint)
    return _Misfit(target, f"for numbers there is {function}({prediction.text}, {target.text})")


def _labels_as_numbers(prediction: Operand, target: Operand, function: str) -> _Misfit:
    """A block for numbers, whose target is a label."""
    if prediction.type.sample[-1:] == (target.type.classes,):
        return _Misfit(target, f"for classes there is {function}({prediction.text}, {target.text})")
    if target.type.classes == 2:
        return _Misfit(target, f"target {target.text}: float, which holds 0 and 1")
    scores = f"-> dense(size({target.text})) as the last layer"
    return _Misfit(target, f"for classes there is {function}, with a score for each class: {scores}")


def _scores(name: str, prediction: Operand, target: Operand) -> _Misfit | None:
    """A block for classes whose prediction has too many or too few scores, or another shape."""
    sizes, rows, classes = prediction.type.sample, target.type.sample, target.type.classes
    if sizes[:-1] == rows and sizes:
        title = f"`{name}` gets {sizes[-1]} scores for {classes} classes"
        return _Misfit(prediction, f"-> dense(size({target.text})) as the last layer", title)
    if not sizes:
        hint = f"a score for each class: -> dense(size({target.text})) as the last layer"
        return _Misfit(prediction, hint)
    lead = sizes[:-1]
    if lead and not rows and isinstance(lead[0], str):
        return _Misfit(prediction, "`-> last` before the last `dense` takes the last step alone")
    if lead and not rows and sizes[-1] == classes:
        return _Misfit(prediction, "`-> flatten` before the first `dense` makes one vector of an image")
    if rows and not lead and isinstance(rows[0], str):
        hint = f"`{target.text}` has a label for each step: leave away what takes one step, such as `last`"
        return _Misfit(prediction, hint)
    return None


def _numbers(prediction: Operand, target: Operand, takes_any: bool) -> _Misfit | None:
    """A block for numbers, of any shape if it `takes_any`, one of whose operands has an axis that the other lacks."""
    if prediction.type.sample == (*target.type.sample, 1):
        return _Misfit(prediction, "`-> squeeze` after the last layer takes away the axis of size 1")
    sizes = prediction.type.sample
    if takes_any and sizes[:-1] == target.type.sample and sizes and isinstance(sizes[-1], int):
        title = f"the prediction has {sizes[-1]} numbers, and the target one"
        return _Misfit(prediction, "`-> dense(1) -> squeeze` as the last layers give one number", title)
    if target.type.sample == (*prediction.type.sample, 1):
        return _Misfit(target, f"squeeze({target.text})")
    return None
