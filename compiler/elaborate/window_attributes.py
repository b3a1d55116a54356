"""The attributes of windows over images and sequences, read from the arguments of an application: sizes and borders."""

from collections.abc import Sequence

from netc.compiler.elaborate import constants
from netc.compiler.elaborate.operation_call import OperationCall, Parameter
from netc.compiler.elaborate.option_words import BORDERS, refuse_unknown_word
from netc.compiler.ir.types import Dim
from netc.compiler.ir.value import Value
from netc.compiler.operations import sequence
from netc.dsl import syntax
from netc.dsl.diagnostics import fault, nearest_name
from netc.dsl.hints import Hint
from netc.dsl.source import Span


def read_pair(call: OperationCall, parameter: Parameter) -> None:
    first, argument, default = call.first, parameter.argument, parameter.default
    if argument is not None:
        pair = _pair(call, argument)
    elif default in call.pairs:  # the same as another parameter
        pair = call.pairs[default]
    else:
        pair = _on_axes_of(first, (int(default),) * 2)
    call.attributes[parameter.name] = call.pairs[parameter.name] = pair


def read_border(call: OperationCall, parameter: Parameter) -> None:
    """Reads the border of a transposed convolution, whose `same` follows from its weights. Raises E0303."""
    if parameter.argument is not None:
        refuse_unknown_word(parameter.argument, parameter.name, BORDERS, call.scope)
    word = call.constant(parameter.argument) if parameter.argument else parameter.default
    if word == "causal" and parameter.argument is not None:
        title = "a transposed convolution has no causal border"
        fault("E0303", title, parameter.argument.value.span, hint=Hint.assignment("pad", "same"))
    call.attributes[parameter.name] = word if word in ("same", "valid") else _pads(call, parameter)


def read_pads(call: OperationCall, parameter: Parameter) -> None:
    call.attributes[parameter.name] = _pads(call, parameter)


def _on_axes_of(x: Value, pair: tuple[int, int]) -> tuple[int, int]:
    """The pair for height and width; of a sequence x[t, c], which is an image one column wide, only its first number
    counts."""
    return (pair[0], 1) if len(x.type.sample) == 2 else pair


def _pair(call: OperationCall, argument: syntax.Argument) -> tuple[int, int]:
    """Reads `3`, or `(3, 5)` for height and width."""
    constant_ = call.constant(argument)
    numbers = constant_ if isinstance(constant_, tuple) else (constant_, constant_)
    span = argument.value.span
    if len(numbers) != 2:
        fault("E0303", "this is one number, or two: along the height and the width", span)
    first, second = (constants.integer(number, span, "a size or a step") for number in numbers)
    return _on_axes_of(call.first, (first, second))


def _pads(call: OperationCall, parameter: Parameter) -> tuple[int, int, int, int]:
    """Reads `same`, `valid`, `causal`, a number, or (top, bottom, left, right) as the four widths of a border.

    `same` gives as many positions as strides fit into the image; an odd row or column is added at the end. `causal` is
    for lines: a window ends at its own step.
    """
    x, argument = call.first, parameter.argument
    border = call.constant(argument) if argument else parameter.default
    if border == "valid":
        return (0, 0, 0, 0)
    if border == "same":
        return _same_pads(call)
    assert argument is not None
    span = argument.value.span
    if border == "causal":
        return _causal_pads(call, span)
    numbers = border if isinstance(border, tuple) else (border,) * (4 if len(x.type.sample) == 3 else 2)
    if len(numbers) == 2 and len(x.type.sample) == 2:
        numbers = (*numbers, 0, 0)
    if len(numbers) != 4 or isinstance(border, str):
        title = "a border is same, valid, causal, a number, or (top, bottom, left, right)"
        match = nearest_name(border, BORDERS) if isinstance(border, str) else None
        fault("E0303", title, span, hint=Hint.assignment("pad", match or "same"))
    top, bottom, left, right = (constants.integer(number, span, "a border", least=0) for number in numbers)
    return top, bottom, left, right


def _causal_pads(call: OperationCall, span: Span) -> tuple[int, int, int, int]:
    if len(call.first.type.sample) != 2:
        fault(
            "E0303",
            "an image has no direction in time",
            span,
            hint=Hint.assignment("pad", "same", "; `causal` is for float[t, c]"),
        )
    extent = int(next(iter(_extents(call)), 1))  # weights without axes are refused by the operation
    return (call.pairs.get("dilation", (1, 1))[0] * (extent - 1), 0, 0, 0)


def _extents(call: OperationCall) -> Sequence[Dim]:
    """The extents of a window along the axes of the image or line."""
    return call.pairs.get("size") or call.operands[1].type.dims[: len(call.first.type.sample) - 1]


def _same_pads(call: OperationCall) -> tuple[int, int, int, int]:
    x, kernel = call.first, _extents(call)
    strides, dilations = call.pairs["stride"], call.pairs.get("dilation", (1, 1))
    pads: list[int] = []
    for size, extent, stride, dilation in zip(x.type.sample[:-1], kernel, strides, dilations, strict=False):
        if isinstance(size, int):
            reach = dilation * (int(extent) - 1) + 1
            total = max((-(-size // stride) - 1) * stride + reach - size, 0)
            pads += [total // 2, total - total // 2]
        else:
            pads += [sequence.SAME, sequence.SAME]
    top, bottom, left, right = (*pads, 0, 0, 0, 0)[:4]  # a line has no left and right
    return top, bottom, left, right
