"""Proves that a step of a graph does not depend on later steps, although it reads a value with all steps.

In such a value, an attention's scores for example, the elements of later steps must have no influence. The proof finds
out which number they are: a mask sets them to a very negative number, whose softmax is 0, and sums ignore zeros.
There are two kinds of these elements: those of later steps, and those beyond the end of the sequence, because the
length is unknown at the step too.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from msgspec import Struct

from netc.compiler.ir.attributes import Axis, Constant, Dims, Over
from netc.compiler.ir.forms import Scalar
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.index_tables import TableKind, table_of
from netc.compiler.ir.roles import Role
from netc.compiler.ir.value import OPERATIONS, Value
from netc.compiler.operations.attention import attend
from netc.compiler.operations.gathering import gather
from netc.compiler.operations.linear import Subscripts
from netc.compiler.operations.reduce import log_softmax, softmax
from netc.compiler.operations.running import RunningSum, cumsum
from netc.compiler.operations.shape import Order, Slice
from netc.compiler.passes.stepping.axes import EVERY, NONE, NeedsAll, is_along_steps, operand_axes, other_steps
from netc.compiler.passes.stepping.numbers import Counted, Number, Region, compared
from netc.dsl.structs import replace

VANISHING = -1e9  # the softmax of a number below this one is exactly 0 beside any ordinary number
_LENGTH = "it depends on the number of all steps"
_UNMASKED = "it reads all steps, and no mask hides the later ones", "in attention: causal = true"


class Elements(Struct, frozen=True):
    """The known facts about a value: its elements of `later` steps and `beyond` the end, None if they are unknown; and
    whether it is a step's `number`, or a constant."""

    later: float | None = None
    beyond: float | None = None
    number: Number | None = None
    is_constant: bool = False

    @property
    def kinds(self) -> tuple[float | None, float | None]:
        return self.later, self.beyond


_UNKNOWN = Elements()


def prove(graph: Graph, axes: Mapping[Value, Sequence[int]]) -> None:
    """Raises NeedsAll at the first value that may depend on later steps. `axes` are those of axes.py."""
    facts: dict[tuple[Value, int], Elements] = {}
    for value in graph.values():
        for axis in axes.get(value, ()):
            operands = [
                _UNKNOWN if of_operand is None else facts[operand, of_operand]
                for operand, of_operand in zip(value.operands, operand_axes(value, axis), strict=True)
            ]
            facts[value, axis] = _elements(value, axis, operands)


def _elements(value: Value, axis: int, operands: list[Elements]) -> Elements:
    """Finds out about a value from what is known about its operands. Raises NeedsAll."""
    if not value.operands:
        return _of_leaf(value, axis)
    if value.definition is attend:
        return _attended(value, axis)
    if len(other_steps(value, axis)) > 1:
        raise NeedsAll(value, "it compares all steps with all others at each step")
    if value.role is Role.SHAPE or isinstance(value.attributes, Order):
        return operands[0]
    if isinstance(value.lower, Scalar):
        return _pointwise(value, operands)
    _refuse_end(value, operands)
    table = table_of(value.operands[-1])
    match value.attributes:
        case Over(over):
            return _reduced(value, axis, over, operands[0])
        case Subscripts() as product:
            return _product(value, axis, product, operands)
        case _ if table is not None and table.kind is TableKind.PADDED:
            return _clamped(operands[0], axis)
        case Slice(axis=changed) | Axis(axis=changed) if changed not in other_steps(value, axis):
            return _UNKNOWN
    if other_steps(value, axis) and value.definition is not gather:
        raise NeedsAll(value)
    return _UNKNOWN


def _of_leaf(value: Value, axis: int) -> Elements:
    table = table_of(value)
    if value.role is Role.CONSTANT:
        number = float(value.attributes_as(Constant).value)
        return Elements(number, number, is_constant=True)
    if table is not None and table.kind is TableKind.STEP:
        return Elements(number=Number.of(Counted.OTHER if axis == EVERY else Counted.THIS))
    if table is not None and table.kind is TableKind.LENGTH:
        return Elements(number=Number.of(Counted.END))
    if value.role is Role.EXTENT and any(type(dim) is not int for dim in value.attributes_as(Dims).dims):
        raise NeedsAll(value, _LENGTH)
    if value.role is Role.RANGE and other_steps(value, NONE):
        return Elements(number=Number.of(Counted.OTHER if axis == NONE else Counted.THIS))
    return _UNKNOWN


def _clamped(rows: Elements, axis: int) -> Elements:
    """The steps of a packed value, side by side: at the current step, or at every step."""
    if rows.number is None:
        return _UNKNOWN
    return Elements(number=rows.number.as_other(Counted.CLAMPED) if axis == NONE else rows.number)


# ------------------------------------------------------------------ sums and products


def _reduced(value: Value, axis: int, over: tuple[int, ...], operand: Elements) -> Elements:
    """A reduction, or a softmax: along other steps it must ignore the later ones."""
    (axis_of_operand,) = operand_axes(value, axis)
    assert axis_of_operand is not None
    if not set(over) & set(other_steps(value.operands[0], axis_of_operand)):
        return _UNKNOWN
    if value.definition is cumsum and not value.attributes_as(RunningSum).is_reversed:
        return _UNKNOWN  # a running sum ends before the later steps
    ignored: dict[str, Callable[[float], bool]] = {
        "sum": lambda element: element == 0,
        **dict.fromkeys(("max", "argmax", "logsumexp", "softmax", "log_softmax"), _vanishes),
    }
    is_ignored = ignored.get(value.operation)
    if is_ignored is None or any(element is None or not is_ignored(element) for element in operand.kinds):
        raise NeedsAll(value, *_UNMASKED)
    if value.definition is softmax:
        return Elements(0.0, 0.0)
    return replace(operand, number=None) if value.definition is log_softmax else _UNKNOWN


def _attended(value: Value, axis: int) -> Elements:
    """Attention: the current step's query must see only the keys of steps up to its own."""
    keys = value.operands[1]
    if is_along_steps(keys, 1) and (axis != 1 or not value.keywords["causal"]):
        raise NeedsAll(value, *_UNMASKED)
    return _UNKNOWN


def _vanishes(element: float | None) -> bool:
    return element is not None and element <= VANISHING


def _product(value: Value, axis: int, product: Subscripts, operands: list[Elements]) -> Elements:
    """A sum of products: a sum along other steps must have a factor 0 for each later one."""
    both = product.inputs.split(",")
    along = [
        {letters[other] for other in other_steps(operand, NONE if of_operand is None else of_operand)}
        for letters, operand, of_operand in zip(both, value.operands, operand_axes(value, axis), strict=True)
    ]
    zeros = [
        any(bool(along[number]) and operand.kinds[kind] == 0 for number, operand in enumerate(operands))
        for kind in range(2)
    ]
    if set().union(*along) - set(product.out) and not all(zeros):
        raise NeedsAll(value, *_UNMASKED)
    later, beyond = (0.0 if is_zero else None for is_zero in zeros)
    return Elements(later, beyond)


# ------------------------------------------------------------------ element-wise operations


def _pointwise(value: Value, operands: list[Elements]) -> Elements:
    if any(operand.number is not None for operand in operands):
        counted = _of_numbers(value, operands)
        if counted is not None:
            return counted
        _refuse_end(value, operands)
    later, beyond = (_element(value, [operand.kinds[kind] for operand in operands]) for kind in range(2))
    return Elements(later, beyond, is_constant=all(operand.is_constant for operand in operands))


def _element(value: Value, elements: list[float | None]) -> float | None:
    """An element of a value from those of its operands, where it is known."""
    if None not in elements:
        keywords = value.keywords
        with np.errstate(all="ignore"):
            return float(OPERATIONS[value.operation].reference(*map(np.asarray, elements), **keywords))
    match value.operation, elements:
        case "where", [bool() | float() as chosen, x, y]:
            return x if chosen else y
        case "where", [None, float() as x, float() as y] if x == y or (_vanishes(x) and _vanishes(y)):
            return max(x, y)
        case "multiply" | "logical_and", _ if 0.0 in elements:
            return 0.0
        case "divide", [0.0, None]:
            return 0.0
        case "logical_or", _ if 1.0 in elements:
            return 1.0
        case "add", [x, y] if _vanishes(x) or _vanishes(y):  # what an ordinary number does not change
            return x if y is None else y
        case "subtract", [x, None] if _vanishes(x):
            return x
        case "subtract", [None, float() as y] if _vanishes(-y):
            return -y
    return None


def _of_numbers(value: Value, operands: list[Elements]) -> Elements | None:
    """Sums and comparisons of the numbers of steps; None where nothing is known. Raises NeedsAll."""
    numbers = [_as_number(operand) for operand in operands]
    match value.operation, numbers:
        case "cast", [Number()]:
            return operands[0]
        case "neg", [Number() as x]:
            return Elements(number=x.scaled(-1))
        case "add", [Number() as x, Number() as y]:
            return Elements(number=x.added(y))
        case "subtract", [Number() as x, Number() as y]:
            return Elements(number=x.added(y.scaled(-1)))
        case "multiply", [Number(terms=()) as x, Number() as y]:
            return Elements(number=y.scaled(x.plus))
        case "multiply", [Number() as x, Number(terms=()) as y]:
            return Elements(number=x.scaled(y.plus))
        case "greater" | "greater_equal" | "less" | "less_equal" | "equal", [Number() as x, Number() as y]:
            return _compared(value, x.added(y.scaled(-1)))
    return None


def _as_number(operand: Elements) -> Number | None:
    """A number of steps, or a constant as one."""
    if operand.is_constant and operand.later is not None:
        return Number((), operand.later)
    return operand.number


def _compared(value: Value, difference: Number) -> Elements:
    earlier, later, beyond = (compared(value.operation, difference, region) for region in Region)
    if difference.depends_on_end and earlier is None:
        raise NeedsAll(value, _LENGTH)
    return Elements(None if later is None else float(later), None if beyond is None else float(beyond))


def _refuse_end(value: Value, operands: list[Elements]) -> None:
    """Raises NeedsAll if the number of all steps enters a value."""
    if any(operand.number is not None and operand.number.depends_on_end for operand in operands):
        raise NeedsAll(value, _LENGTH)
