"""Squares of 16 x 16 or 8 x 8 elements in a kernel's own memory, as built-ins of kernel text.

`transpose16_f32(square, address, i, stride)` reads 16 rows of 16 neighbours from element i of a buffer on, `stride`
elements apart, and stores the columns as rows of the square. `load_square16_f32(square, row, column)` loads an element
of it. The memory of a square is a block (sums.py); nests/transposes.py writes the loops.
"""

from functools import cache
from typing import Any

from llvmlite import ir

from netc.compiler.targets.cpu.llvm.vectors import transposed
from netc.compiler.targets.cpu.nests.nest_writer import SCOPES
from netc.compiler.targets.cpu.nests.transposed_loads import SIDES
from netc.compiler.targets.cpu.text.memory import mark
from netc.compiler.targets.cpu.text.values import Builtin, builtin

_ELEMENTS = {"f32": ir.FloatType(), "f64": ir.DoubleType()}
_BYTES = {"f32": 4, "f64": 8}
_I64 = ir.IntType(64)


@cache
def builtins(vector_bytes: int) -> dict[str, Builtin]:
    """Returns the built-ins `transposeSIDE_DTYPE` and `load_squareSIDE_DTYPE` of kernel text.

    Stores are as wide as the vectors that a loop loads afterwards: a wider load would have to wait until several stores
    have reached the cache.
    """
    kinds = [(side, dtype) for side in SIDES for dtype in _ELEMENTS]
    transposes = {f"transpose{side}_{dtype}": _transpose(side, dtype, vector_bytes) for side, dtype in kinds}
    return {**transposes, **{f"load_square{side}_{dtype}": _load(side, dtype) for side, dtype in kinds}}


def _transpose(side: int, dtype: str, vector_bytes: int) -> Builtin:
    lanes = min(side, vector_bytes // _BYTES[dtype])
    vector = ir.VectorType(_ELEMENTS[dtype], lanes)

    @builtin(("i64",) * 4, None)
    def emit(builder: Any, square: Any, address: Any, first: Any, stride: Any) -> None:
        target, source = (builder.inttoptr(memory, _ELEMENTS[dtype].as_pointer()) for memory in (square, address))

        def pointer(base: Any, index: Any) -> Any:
            return builder.bitcast(builder.gep(base, [index]), vector.as_pointer())

        for row in range(0, side, lanes):
            starts = [builder.add(first, builder.mul(stride, _I64(row + i))) for i in range(lanes)]
            for column in range(0, side, lanes):
                rows = [
                    builder.load(pointer(source, builder.add(start, _I64(column))), align=_BYTES[dtype])
                    for start in starts
                ]
                for i, result in enumerate(transposed(builder, rows, _BYTES[dtype])):
                    line = pointer(target, _I64((column + i) * side + row))
                    builder.store(result, line, align=lanes * _BYTES[dtype])

    return emit


def _load(side: int, dtype: str) -> Builtin:
    @builtin(("i64", "i64", "i64"), dtype)
    def emit(builder: Any, square: Any, row: Any, column: Any) -> Any:
        base = builder.inttoptr(square, _ELEMENTS[dtype].as_pointer())
        element = builder.load(builder.gep(base, [builder.add(builder.mul(row, _I64(side)), column)]))
        mark(builder, element, SCOPES - 1)  # the scope of blocks: no buffer overlaps them
        return element

    return emit
