"""The sum of a block of floats in memory, in one fixed order, as Numba intrinsics.

Element i goes to lane i % LANES of chunk i // LANES; four chunks are summed side by side, then these, then the lanes pairwise. The order is a
function of the count alone, so a sum has the same bits in every kernel that computes it and for every vector width. A kernel writes up to BLOCK elements to
memory of its own (`block_f32()`) and asks for their sum (`sum_f32(address, count)`).
"""

from functools import cache
from typing import Any

BLOCK = 256  # elements: a kilobyte of f32, so that a block stays in the first cache
_CHUNK_BYTES = 64
_SIDE_BY_SIDE = 4  # chunks: as many additions are under way at once as one addition takes cycles


def lanes_of(dtype: str) -> int:
    """The elements of a chunk: 16 of f32, 8 of f64."""
    return _CHUNK_BYTES // {"f32": 4, "f64": 8}[dtype]


@cache
def words() -> dict[str, Any]:
    """The words `block_DTYPE` and `sum_DTYPE` of a kernel's text. Imports Numba."""
    return {
        f"{word}_{dtype}": make(dtype) for dtype in ("f32", "f64") for word, make in (("block", _block), ("sum", _sum))
    }


def _block(dtype: str) -> Any:
    """block(): the address of BLOCK elements on the stack, with a chunk behind them that `sum` fills with zeros."""
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils
    from numba.extending import intrinsic

    element = ir.FloatType() if dtype == "f32" else ir.DoubleType()
    size = BLOCK + lanes_of(dtype)

    @intrinsic
    def block(typing):
        def codegen(context, builder, signature, arguments):
            room = cgutils.alloca_once(builder, ir.ArrayType(element, size))
            room.align = _CHUNK_BYTES
            return builder.ptrtoint(room, ir.IntType(64))

        return types.int64(), codegen

    return block


def _sum(dtype: str) -> Any:
    """sum(address, count): the sum of the first `count` elements of a block."""
    from llvmlite import ir
    from numba import types
    from numba.extending import intrinsic

    element, lanes = (ir.FloatType() if dtype == "f32" else ir.DoubleType()), lanes_of(dtype)
    chunk, word = ir.VectorType(element, lanes), ir.IntType(64)
    align = 4 if dtype == "f32" else 8

    def number(value: int) -> Any:
        return ir.Constant(word, value)

    def loop(builder: Any, low: Any, high: Any, step: int, sums: list[Any], load: Any) -> tuple[Any, list[Any]]:
        """While low + step <= high: add the next `step` chunks, one to each of the sums; returns where it ended and the sums."""
        before = builder.block
        head, body, end = (builder.function.append_basic_block(f"sum.{name}") for name in ("head", "body", "end"))
        builder.branch(head)
        builder.position_at_end(head)
        at = builder.phi(word)
        at.add_incoming(low, before)
        totals = []
        for start in sums:
            totals.append(builder.phi(chunk))
            totals[-1].add_incoming(start, before)
        following = builder.add(at, number(step))
        builder.cbranch(builder.icmp_signed("<=", following, high), body, end)
        builder.position_at_end(body)
        for i, total in enumerate(totals):
            total.add_incoming(builder.fadd(total, load(builder.add(at, number(i)))), body)
        at.add_incoming(following, body)
        builder.branch(head)
        builder.position_at_end(end)
        return at, totals

    @intrinsic
    def sum_(typing, address, count):
        def codegen(context, builder, signature, arguments):
            address, count = arguments
            base = builder.inttoptr(address, element.as_pointer())

            def chunk_at(index: Any) -> Any:
                return builder.bitcast(builder.gep(base, [index]), chunk.as_pointer())

            def load(index: Any) -> Any:
                loaded = builder.load(chunk_at(builder.mul(index, number(lanes))))
                loaded.align = align
                return loaded

            zero = ir.Constant(chunk, [0.0] * lanes)
            builder.store(zero, chunk_at(count)).align = align  # so that the last chunk is whole
            chunks = builder.sdiv(builder.add(count, number(lanes - 1)), number(lanes))
            at, sums = loop(builder, number(0), chunks, _SIDE_BY_SIDE, [zero] * _SIDE_BY_SIDE, load)
            while len(sums) > 1:
                sums = [builder.fadd(x, y) for x, y in zip(sums[::2], sums[1::2], strict=True)]
            _, (total,) = loop(builder, at, chunks, 1, sums, load)
            width = lanes
            while width > 1:
                width //= 2
                halves = [
                    builder.shuffle_vector(
                        total,
                        ir.Constant(total.type, ir.Undefined),
                        ir.Constant(ir.VectorType(ir.IntType(32), width), list(range(first, first + width))),
                    )
                    for first in (0, width)
                ]
                total = builder.fadd(*halves)
            return builder.extract_element(total, ir.Constant(ir.IntType(32), 0))

        return (types.float32 if dtype == "f32" else types.float64)(types.int64, types.int64), codegen

    return sum_
