"""Squares of SIDE x SIDE elements in a kernel's own memory, as built-ins of kernel text.

`transpose_f32(square, address, i, stride)` reads SIDE rows of SIDE neighbours from element i of a buffer on, `stride`
elements apart, and stores the columns as rows of the square. `load_square_f32(square, row, column)` loads an element of
it. The memory of a square is a block (sums.py); transposes.py writes the loops.
"""

from functools import cache
from typing import Any

from llvmlite import ir

from netc.compiler.targets.cpu.transposed_loads import SIDE
from netc.compiler.targets.cpu.values import Builtin, builtin
from netc.compiler.targets.cpu.vectors import transposed

_ELEMENTS = {"f32": ir.FloatType(), "f64": ir.DoubleType()}
_BYTES = {"f32": 4, "f64": 8}
_I64 = ir.IntType(64)


@cache
def builtins(vector_bytes: int) -> dict[str, Builtin]:
    """Returns the built-ins `transpose_DTYPE` and `load_square_DTYPE` of kernel text.

    Stores are as wide as the vectors that a loop loads afterwards: a wider load would have to wait until several stores
    have reached the cache.
    """
    transposes = {f"transpose_{dtype}": _transpose(dtype, vector_bytes) for dtype in _ELEMENTS}
    return {**transposes, **{f"load_square_{dtype}": _load(dtype) for dtype in _ELEMENTS}}


def _transpose(dtype: str, vector_bytes: int) -> Builtin:
    lanes = vector_bytes // _BYTES[dtype]
    vector = ir.VectorType(_ELEMENTS[dtype], lanes)

    @builtin(("i64",) * 4, None)
    def emit(builder: Any, square: Any, address: Any, first: Any, stride: Any) -> None:
        target, source = (builder.inttoptr(memory, _ELEMENTS[dtype].as_pointer()) for memory in (square, address))

        def pointer(base: Any, index: Any) -> Any:
            return builder.bitcast(builder.gep(base, [index]), vector.as_pointer())

        for row in range(0, SIDE, lanes):
            starts = [builder.add(first, builder.mul(stride, _I64(row + i))) for i in range(lanes)]
            for column in range(0, SIDE, lanes):
                rows = [
                    builder.load(pointer(source, builder.add(start, _I64(column))), align=_BYTES[dtype])
                    for start in starts
                ]
                for i, result in enumerate(transposed(builder, rows, _BYTES[dtype])):
                    line = pointer(target, _I64((column + i) * SIDE + row))
                    builder.store(result, line, align=vector_bytes)

    return emit


def _load(dtype: str) -> Builtin:
    @builtin(("i64", "i64", "i64"), dtype)
    def emit(builder: Any, square: Any, row: Any, column: Any) -> Any:
        base = builder.inttoptr(square, _ELEMENTS[dtype].as_pointer())
        return builder.load(builder.gep(base, [builder.add(builder.mul(row, _I64(SIDE)), column)]))

    return emit
