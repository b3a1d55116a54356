"""Simplifies a graph: folds constants, shares equal values, applies exact algebra and drops unread values."""

import math
from collections.abc import Callable, Collection, Sequence
from typing import Any

from msgspec import Struct

from netc.compiler.ir.attributes import Axis, Constant, Dims
from netc.compiler.ir.forms import Expansion
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.results import ResultKind
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import Type, fixed_size
from netc.compiler.ir.value import Operation, Value
from netc.compiler.operations.derivative import passes_by, variables
from netc.compiler.operations.elementwise import add
from netc.compiler.operations.shape import Pad
from netc.compiler.reference import evaluate
from netc.dsl.source import NOWHERE


def rebuild(graph: Graph, rule: Callable[[Graph, Value, list[Value]], Value]) -> Graph:
    """Returns a copy of what the results need; `rule(copy, value, new operands)` returns the new form of a value."""
    copy, copies, live = Graph(), dict[Value, Value](), graph.live()
    copy.precision = graph.precision
    for value in graph.values():
        if value in live:
            copy.span = value.span  # not by `at`, which takes as long as adding the value
            copies[value] = rule(copy, value, [copies[operand] for operand in value.operands])
    copy.span = NOWHERE
    copy.results = {result: copies[value] for result, value in graph.results.items()}
    return copy


def expand(graph: Graph, kept: Collection[Operation] = ()) -> Graph:
    """Replaces operations that are defined by others, such as softmax, by those; the operations in `kept` stay."""

    def rule(copy: Graph, value: Value, operands: list[Value]) -> Value:
        is_kept = not value.operands or value.definition in kept
        lower = None if is_kept else value.lower
        if isinstance(lower, Expansion):
            expansion: Value = lower.build(*operands, **value.keywords)
            return expansion
        return copy.add_copy(value, operands)

    return rebuild(graph, rule)


def simplify(graph: Graph) -> Graph:
    """Simplifies a graph in one walk from the leaves.

    Every rewrite is exact, or exact except for the sign of a zero, and keeps the values through which gradients flow,
    because `specialise` runs it before `differentiate` and before derivatives of the model are written out.
    """
    seen: dict[tuple[Any, ...], Value] = {}
    kept, copies_kept = variables(graph), set[Value]()

    def rule(copy: Graph, value: Value, operands: list[Value]) -> Value:
        if value in kept:
            copies_kept.add(unchanged := copy.add_copy(value, operands))
            return unchanged
        simpler = _algebra(copy, value.operation, operands, value.type)
        if simpler is not None and not passes_by(copies_kept, operands, simpler):
            return simpler
        key: tuple[Any, ...] = (
            value.operation,
            tuple(operand.number for operand in operands),
            value.attributes,
            value.type,
        )
        if value.role is Role.CONSTANT:  # 0.0, False and 0 are equal as keys, and -0.0 is equal to 0.0
            key = (*key, repr(value.attributes_as(Constant).value))
        if key not in seen:
            seen[key] = _fold(copy, value, operands)
        return seen[key]

    return _drop_dead(rebuild(graph, rule))


_FEW_PARTS = 16


class _Padded(Struct, frozen=True):
    """A value that is padded with zeros along one axis; `before` zeros come first."""

    inner: Value
    axis: int
    before: int

    @property
    def end(self) -> int:
        return self.before + fixed_size(self.inner.type.dims[self.axis])


def _padded(*values: Value) -> list[_Padded]:
    """Returns the padded values whose sum the values are; [] if a term is not padded, or if there are too many."""
    waiting, padded = list(values), list[_Padded]()
    while waiting and len(padded) + len(waiting) <= _FEW_PARTS:
        value = waiting.pop()
        match value.attributes:
            case _ if value.definition is add:
                waiting.extend(value.operands)
            case Pad(axes=(axis,), before=(before,), step=(1,), fill=0):
                padded.append(_Padded(value.operands[0], axis, before))
            case _:
                return []
    return [] if waiting else padded


def _side_by_side(copy: Graph, parts: list[_Padded], type_: Type) -> Value | None:
    """Returns the sum of padded values as their `concat` if they lie side by side and fill an axis, else None.

    Such sums are the gradients of a value that is read by slices.
    """
    parts = sorted(parts, key=lambda part: part.before)
    axis = parts[0].axis
    ends = [0, *(part.end for part in parts)]
    is_whole = [part.before for part in parts] == ends[:-1] and ends[-1] == type_.dims[axis]
    if not is_whole or any(part.axis != axis for part in parts):
        return None
    return copy.add("concat", [part.inner for part in parts], Axis(axis), type_)


def _drop_dead(graph: Graph) -> Graph:
    return rebuild(graph, lambda copy, value, operands: copy.add_copy(value, operands))


def is_constant(value: Value, number: float) -> bool:
    """Whether every element of a value is known to be the number."""
    if value.role is Role.SHAPE:
        return is_constant(value.operands[0], number)
    return value.role is Role.CONSTANT and value.attributes_as(Constant).value == number


def _fold(copy: Graph, value: Value, operands: Sequence[Value]) -> Value:
    """Returns a value in the copy; numbers computed from constants, and extents of fixed sizes, become constants."""
    if value.role is Role.EXTENT:
        sizes = [dim for dim in value.attributes_as(Dims).dims if isinstance(dim, int)]
        if len(sizes) == len(value.attributes_as(Dims).dims):
            return copy.add("constant", (), Constant(float(math.prod(sizes))), value.type)
    if operands and not value.type.dims and all(operand.role is Role.CONSTANT for operand in operands):
        small = Graph()
        result = ResultKind.VALUE.named("x")
        small.results[result] = small.add_copy(value, [small.add_copy(operand, ()) for operand in operands])
        return copy.add("constant", (), Constant(evaluate(small, {}, 1)[str(result)].item()), value.type)
    return copy.add_copy(value, operands)


def _algebra(  # noqa: C901  a case for each rule
    copy: Graph, operation: str, operands: list[Value], type_: Type
) -> Value | None:
    """Returns a simpler value that equals the operation on these operands, or None if no rule applies."""

    def fits(value: Value) -> Value | None:
        if value.type.dtype != type_.dtype:
            return None
        if value.type.dims == type_.dims:
            return value
        return copy.add("broadcast", (value,), Dims(type_.dims), type_)

    match operation, operands:
        case "add", [x, y] if is_constant(x, 0.0):
            return fits(y)
        case "add" | "subtract", [x, y] if is_constant(y, 0.0):
            return fits(x)
        case "multiply", [x, y] if is_constant(x, 1.0):
            return fits(y)
        case "multiply" | "divide" | "power", [x, y] if is_constant(y, 1.0):
            return fits(x)
        case "power", [x, y] if is_constant(y, 2.0):
            base = fits(x)
            return None if base is None else copy.add("multiply", (base, base), {}, type_)
        case "where", [c, x, y] if is_constant(c, True) or is_constant(c, False):
            return fits(x if is_constant(c, True) else y)
        case "equal", [Value(operation="cast", operands=[x]), y] | [y, Value(operation="cast", operands=[x])] if (
            x.type.dtype == "bool" and is_constant(y, 1.0)
        ):
            return fits(x)
        case "add", [x, y]:
            parts = _padded(x, y)
            return _side_by_side(copy, parts, type_) if parts else None
        case "neg", [Value(operation="neg", operands=[x])]:
            return x
        case "reshape" | "broadcast" | "cast", [x] if x.type.dims == type_.dims and x.type.dtype == type_.dtype:
            return x
        case "reshape", [Value(operation="reshape", operands=[x])]:
            return x if x.type.dims == type_.dims else copy.add("reshape", (x,), Dims(type_.dims), type_)
        case "sum", [x] if x.type.dims == type_.dims:
            return x
    return None
