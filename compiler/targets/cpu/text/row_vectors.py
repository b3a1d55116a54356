"""Vectors of neighbouring elements of a row, as built-ins of kernel text.

The part of a row is a suffix of the element type. Stores have the same names as loads:

    load_f32v_0      a whole vector of the machine
    load_f32r19_0    the elements of a row of 19 behind its whole vectors, in the narrowest vector with room for them
    load_f32w_0      load_f32w_0(address, i, count): the first `count` elements, in a whole vector
    load_f32w4_0     the same in a vector of 4
    load_f32s_0      LANES elements, as many on every machine (nests/sums_in_lanes.py)
    load_f32m19_0    the elements of a row of 19 behind those, in a vector of LANES
    load_f32c32_0    32 elements, of any type (nests/sums_in_chunks.py, nests/extremes_*.py)

Lanes without an element are zero, and are neither read nor written in memory. Other built-ins make vectors
(`splat_f32w(x)`, `zeros_f32s()`, `range_i32c32(i)` with i, i + 1, ..., i + 31), halve them (`lower_f32c32`,
`upper_f32c32`) or reduce them (`true_boolc64(tests)`, the number of true tests). Functions of math/ take all of these
vectors.
"""

import re
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any

from llvmlite import ir

from netc.compiler.ir.types import DTYPES
from netc.compiler.program.nests import LANES
from netc.compiler.targets.cpu.text.memory import mark
from netc.compiler.targets.cpu.text.sums import folded_lanes, sum_of_lanes
from netc.compiler.targets.cpu.text.values import Builtin, Vector, builtin, splat, type_of
from netc.compiler.targets.machine import Machine

_ELEMENTS = {"f32": ir.FloatType(), "f64": ir.DoubleType()}
_I1, _I32, _I64, _BYTE = ir.IntType(1), ir.IntType(32), ir.IntType(64), ir.IntType(8)
_ROWS = re.compile(r"\b((load|store)_(f32|f64)([vrsm])(\d*)_(\d+))\b")
_NARROW = re.compile(r"\b(load|store|splat)_(f32|f64)w(\d*)(?:_(\d+))?\b")
_CHUNKS = re.compile(
    r"\b(load|store|range|zeros|quarters|lanes|lower|upper|largest|smallest|true)_(f32|f64|i32|bool)c(\d+)(?:_(\d+))?\b"
)


def builtins(text: str, machine: Machine) -> Iterator[tuple[str, Builtin]]:
    """Yields the built-ins over vectors that a kernel's text calls, with their names."""
    for name, verb, dtype, part, row, scope in _ROWS.findall(text):
        lanes = LANES[dtype] if part in "sm" else machine.lanes(dtype)
        count = int(row) % lanes if row else lanes
        kind = Vector(dtype, lanes) if part in "sm" else _vector_of(dtype, count)
        if verb == "load":
            yield name, _load(kind, count, int(scope))
        elif count == kind.lanes or machine.has_masks:
            yield name, _store(kind, count, int(scope))
        else:
            yield name, _store_in_pieces(kind, count, int(scope))
    for match in _NARROW.finditer(text):
        verb, dtype, elements, scope = match.groups()
        kind = Vector(dtype, int(elements or machine.lanes(dtype)))
        if verb == "splat":
            yield match.group(), _splat(kind)
        else:
            yield match.group(), (_load_first if verb == "load" else _store_first)(kind, int(scope))
    for match in _CHUNKS.finditer(text):
        verb, dtype, elements, scope = match.groups()
        kind = Vector(dtype, int(elements))
        if verb == "store":
            yield match.group(), _store(kind, kind.lanes, int(scope))
        else:
            yield match.group(), _load_chunks(kind, int(scope)) if verb == "load" else _CHUNK_BUILTINS[verb](kind)
    for dtype, lanes in LANES.items():
        yield f"zeros_{dtype}s", _zeros(Vector(dtype, lanes))
        yield f"added_{dtype}s", _added(Vector(dtype, lanes))


def _vector_of(dtype: str, count: int) -> Vector:
    """The narrowest vector with room for so many elements: its lanes are a power of two."""
    return Vector(dtype, 1 << max(count - 1, 0).bit_length())


def _mask(kind: Vector, count: int) -> Any:
    return ir.Constant(ir.VectorType(_I1, kind.lanes), [int(lane < count) for lane in range(kind.lanes)])


def _pointer(builder: Any, kind: Vector, base: Any, offset: Any) -> Any:
    element = builder.gep(builder.inttoptr(base, _ELEMENTS[kind.dtype].as_pointer()), [offset])
    return builder.bitcast(element, type_of(kind).as_pointer())


def _masked(builder: Any, verb: str, kind: Vector, result: Any, operands: list[Any]) -> Any:
    """Emits a load or store of some lanes."""
    name = f"llvm.masked.{verb}.v{kind.lanes}{kind.dtype}.p0"
    declared = builder.module.globals.get(name)
    type_ = ir.FunctionType(result, [operand.type for operand in operands])
    return builder.call(declared or ir.Function(builder.module, type_, name), operands)


@cache
def _load(kind: Vector, count: int, scope: int) -> Builtin:
    """Returns the built-in `load(address, i)` of `count` elements from element i on."""
    size = DTYPES[kind.dtype].bytes

    @builtin(("i64", "i64"), kind)
    def emit(builder: Any, base: Any, offset: Any) -> Any:
        pointer = _pointer(builder, kind, base, offset)
        if count == kind.lanes:
            value = builder.load(pointer)
            value.align = size
        else:
            zeros = ir.Constant(type_of(kind), [0.0] * kind.lanes)
            align = ir.Constant(_I32, size)
            value = _masked(builder, "load", kind, type_of(kind), [pointer, align, _mask(kind, count), zeros])
        mark(builder, value, scope)
        return value

    return emit


@cache
def _store(kind: Vector, count: int, scope: int) -> Builtin:
    """Returns the built-in `store(address, i, vector)` of `count` elements."""
    size = DTYPES[kind.dtype].bytes

    @builtin(("i64", "i64", kind), None)
    def emit(builder: Any, base: Any, offset: Any, vector: Any) -> None:
        pointer = _pointer(builder, kind, base, offset)
        if count == kind.lanes:
            stored = builder.store(vector, pointer)
            stored.align = size
        else:
            align = ir.Constant(_I32, size)
            stored = _masked(builder, "store", kind, ir.VoidType(), [vector, pointer, align, _mask(kind, count)])
        mark(builder, stored, scope)

    return emit


@cache
def _store_in_pieces(kind: Vector, count: int, scope: int) -> Builtin:
    """Returns the built-in `store(address, i, vector)` of `count` elements, fewer than all: the longest piece first."""

    @builtin(("i64", "i64", kind), None)
    def emit(builder: Any, base: Any, offset: Any, vector: Any) -> None:
        first = 0
        while size := count - first and 1 << (count - first).bit_length() - 1:
            lanes = ir.Constant(ir.VectorType(_I32, size), list(range(first, first + size)))
            pointer = _pointer(builder, Vector(kind.dtype, size), base, builder.add(offset, ir.Constant(_I64, first)))
            stored = builder.store(builder.shuffle_vector(vector, vector, lanes), pointer)
            stored.align = DTYPES[kind.dtype].bytes
            mark(builder, stored, scope)
            first += size

    return emit


@cache
def _zeros(kind: Vector) -> Builtin:
    """Returns the built-in `zeros()`: a vector of zeros."""
    return builtin((), kind)(lambda builder: ir.Constant(type_of(kind), [0.0] * kind.lanes))


@cache
def _added(kind: Vector) -> Builtin:
    """Returns the built-in `added(vector, first)`: the sum of `first` and of the lanes (`sum_of_lanes`)."""

    @builtin((kind, kind.dtype), kind.dtype)
    def emit(builder: Any, total: Any, first: Any) -> Any:
        return builder.fadd(first, sum_of_lanes(builder, total, kind.lanes))

    return emit


# ------------------------------------------------------------------ rows whose length a call says


def _first(builder: Any, kind: Vector, count: Any) -> Any:
    """The mask of the first lanes."""
    lanes = ir.Constant(ir.VectorType(count.type, kind.lanes), list(range(kind.lanes)))
    return builder.icmp_signed("<", lanes, splat(builder, count, kind.lanes))


@cache
def _load_first(kind: Vector, scope: int) -> Builtin:
    """Returns the built-in `load(address, i, count)` of `count` elements from element i on; other lanes are zero."""

    @builtin(("i64", "i64", "i64"), kind)
    def emit(builder: Any, base: Any, offset: Any, count: Any) -> Any:
        align, zeros = ir.Constant(_I32, DTYPES[kind.dtype].bytes), ir.Constant(type_of(kind), [0.0] * kind.lanes)
        operands = [_pointer(builder, kind, base, offset), align, _first(builder, kind, count), zeros]
        value = _masked(builder, "load", kind, type_of(kind), operands)
        mark(builder, value, scope)
        return value

    return emit


@cache
def _store_first(kind: Vector, scope: int) -> Builtin:
    """Returns the built-in `store(address, i, vector, count)` of a vector's first `count` elements."""

    @builtin(("i64", "i64", kind, "i64"), None)
    def emit(builder: Any, base: Any, offset: Any, vector: Any, count: Any) -> None:
        align, pointer = ir.Constant(_I32, DTYPES[kind.dtype].bytes), _pointer(builder, kind, base, offset)
        operands = [vector, pointer, align, _first(builder, kind, count)]
        mark(builder, _masked(builder, "store", kind, ir.VoidType(), operands), scope)

    return emit


@cache
def _splat(kind: Vector) -> Builtin:
    """Returns the built-in `splat(x)`: a vector of one number."""
    return builtin((kind.dtype,), kind)(lambda builder, number: splat(builder, number, kind.lanes))


# ------------------------------------------------------------------ sums in chunks


@cache
def _load_chunks(kind: Vector, scope: int) -> Builtin:
    """Returns the built-in `load(address, i)` of the elements from element i on, of any type but bf16."""
    element = _BYTE if kind.dtype == "bool" else type_of(kind).element  # as memory has it

    @builtin(("i64", "i64"), kind)
    def emit(builder: Any, base: Any, offset: Any) -> Any:
        pointer = builder.gep(builder.inttoptr(base, element.as_pointer()), [offset])
        value = builder.load(builder.bitcast(pointer, ir.VectorType(element, kind.lanes).as_pointer()))
        value.align = DTYPES[kind.dtype].bytes
        mark(builder, value, scope)
        return builder.icmp_signed("!=", value, ir.Constant(value.type, None)) if kind.dtype == "bool" else value

    return emit


@cache
def _range(kind: Vector) -> Builtin:
    """Returns the built-in `range(i)`: the numbers from i on."""

    @builtin(("i32",), kind)
    def emit(builder: Any, first: Any) -> Any:
        steps = ir.Constant(type_of(kind), list(range(kind.lanes)))
        return builder.add(splat(builder, first, kind.lanes), steps)

    return emit


@cache
def _quarters(kind: Vector) -> Builtin:
    """Returns the built-in `quarters(vector)`: the sum of its four quarters, (first + second) + (third + fourth)."""

    @builtin((kind,), Vector(kind.dtype, kind.lanes // 4))
    def emit(builder: Any, total: Any) -> Any:
        size = kind.lanes // 4
        lanes = [ir.Constant(ir.VectorType(_I32, size), list(range(i * size, (i + 1) * size))) for i in range(4)]
        first, second, third, fourth = (builder.shuffle_vector(total, total, each) for each in lanes)
        return builder.fadd(builder.fadd(first, second), builder.fadd(third, fourth))

    return emit


@cache
def _half(kind: Vector, number: int) -> Builtin:
    """Returns the built-in `lower(vector)` or `upper(vector)`: a half of its lanes, the first (0) or the second (1)."""

    @builtin((kind,), Vector(kind.dtype, kind.lanes // 2))
    def emit(builder: Any, vector: Any) -> Any:
        size = kind.lanes // 2
        lanes = ir.Constant(ir.VectorType(_I32, size), list(range(number * size, (number + 1) * size)))
        return builder.shuffle_vector(vector, vector, lanes)

    return emit


@cache
def _lanes(kind: Vector) -> Builtin:
    """Returns the built-in `lanes(vector)`: the sum of its lanes, whose halves are added until one is left."""
    return builtin((kind,), kind.dtype)(lambda builder, total: sum_of_lanes(builder, total, kind.lanes))


@cache
def _extreme(kind: Vector, sign: str) -> Builtin:
    """Returns the built-in `largest(vector)` or `smallest(vector)`: its halves are compared until one lane is left."""

    @builtin((kind,), kind.dtype)
    def emit(builder: Any, best: Any) -> Any:
        def beyond(lower: Any, upper: Any) -> Any:
            return builder.select(builder.fcmp_ordered(sign, upper, lower), upper, lower)

        return folded_lanes(builder, best, kind.lanes, beyond)

    return emit


@cache
def _true(kind: Vector) -> Builtin:
    """Returns the built-in `true(tests)`: the number of tests that are true."""

    @builtin((kind,), "i64")
    def emit(builder: Any, tests: Any) -> Any:
        bits = ir.IntType(kind.lanes)
        number = builder.ctpop(builder.bitcast(tests, bits))
        return number if kind.lanes == _I64.width else builder.zext(number, _I64)

    return emit


_CHUNK_BUILTINS: dict[str, Callable[[Vector], Builtin]] = {
    "range": _range,
    "zeros": _zeros,
    "quarters": _quarters,
    "lanes": _lanes,
    "lower": partial(_half, number=0),
    "upper": partial(_half, number=1),
    "true": _true,
    "largest": partial(_extreme, sign=">"),
    "smallest": partial(_extreme, sign="<"),
}
