"""The sum of a block of floats in memory, in one fixed order, as Numba intrinsics.

Element i goes to lane i % LANES of chunk i // LANES. Every fourth chunk is added to the same one of four running sums; these four are added pairwise. The
chunks that are left are added to that, then its lanes are added pairwise, and last the elements that fill no chunk, in order. The order is a function of
the count alone, so a sum has the same bits in every kernel that computes it and for every vector width. A kernel writes up to BLOCK elements to memory of its own (`block_f32()`) and asks for their sum
(`sum_f32(address, count)`).
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

from netc.compiler.ir.types import DTYPES

BLOCK = 256  # elements: a kilobyte of f32, so that a block stays in the first cache
_CHUNK_BYTES = (
    32  # no more than LLVM stores at once on any CPU: a wider load would have to wait until several stores are done
)
_ALIGNMENT = 64
_SIDE_BY_SIDE = 4  # chunks: as many additions are under way at once as one addition takes cycles


def lanes_of(dtype: str) -> int:
    """The elements of a chunk: 8 of f32, 4 of f64."""
    return _CHUNK_BYTES // DTYPES[dtype].bytes


@cache
def words() -> dict[str, Any]:
    """The words `block_DTYPE` and `sum_DTYPE` of a kernel's text. Imports Numba."""
    return {
        f"{word}_{dtype}": make(dtype) for dtype in ("f32", "f64") for word, make in (("block", _block), ("sum", _sum))
    }


def _block(dtype: str) -> Any:
    """block(): the address of BLOCK elements on the stack."""
    from llvmlite import ir
    from numba import types
    from numba.extending import intrinsic

    element = ir.FloatType() if dtype == "f32" else ir.DoubleType()

    @intrinsic
    def block(typing):
        def codegen(context, builder, signature, arguments):
            with builder.goto_entry_block():  # not cgutils.alloca_once, which also writes zeros
                room = builder.alloca(ir.ArrayType(element, BLOCK))
            room.align = _ALIGNMENT
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
    align = DTYPES[dtype].bytes

    def number(value: int) -> Any:
        return ir.Constant(word, value)

    def loop(builder: Any, start: Any, end: Any, totals: Sequence[Any], load: Any) -> tuple[Any, list[Any]]:
        """While as many items are left as there are totals, add one to each. Returns the index of the first item that is left, and the totals."""
        before = builder.block
        head, body, after = (builder.function.append_basic_block(f"sum.{name}") for name in ("head", "body", "after"))
        builder.branch(head)
        builder.position_at_end(head)
        at = builder.phi(word)
        at.add_incoming(start, before)
        sums = []
        for total in totals:
            sums.append(builder.phi(total.type))
            sums[-1].add_incoming(total, before)
        following = builder.add(at, number(len(sums)))
        builder.cbranch(builder.icmp_signed("<=", following, end), body, after)
        builder.position_at_end(body)
        for i, sum_so_far in enumerate(sums):
            sum_so_far.add_incoming(builder.fadd(sum_so_far, load(builder.add(at, number(i)))), body)
        at.add_incoming(following, body)
        builder.branch(head)
        builder.position_at_end(after)
        return at, sums

    @intrinsic
    def sum_(typing, address, count):
        def codegen(context, builder, signature, arguments):
            address, count = arguments
            base = builder.inttoptr(address, element.as_pointer())

            def chunk_at(index: Any) -> Any:
                place = builder.gep(base, [builder.mul(index, number(lanes))])
                chunk_there = builder.load(builder.bitcast(place, chunk.as_pointer()))
                chunk_there.align = align
                return chunk_there

            zero = ir.Constant(chunk, [0.0] * lanes)
            chunks = builder.sdiv(count, number(lanes))
            at, sums = loop(builder, number(0), chunks, [zero] * _SIDE_BY_SIDE, chunk_at)
            while len(sums) > 1:
                sums = [builder.fadd(x, y) for x, y in zip(sums[::2], sums[1::2], strict=True)]
            _, (total,) = loop(builder, at, chunks, sums, chunk_at)
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
            first = builder.extract_element(total, ir.Constant(ir.IntType(32), 0))
            rest = builder.mul(chunks, number(lanes))
            _, (whole,) = loop(builder, rest, count, [first], lambda index: builder.load(builder.gep(base, [index])))
            return whole

        return (types.float32 if dtype == "f32" else types.float64)(types.int64, types.int64), codegen

    return sum_
