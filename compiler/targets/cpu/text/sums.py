"""The sum of a block of floats in memory, in one fixed order, as built-ins of kernel text.

A kernel stores up to BLOCK elements into memory of its own (`block_f32()`) and asks for their sum (`sum_f32(address,
count)`), unless it adds them where it computes them (nests/sums_in_chunks.py). Of f32, with chunks of 8:

    running sums   s0 = chunk 0 + chunk 4 + ...   s1 = chunk 1 + chunk 5 + ...   s2, s3 likewise
    total          (s0 + s1) + (s2 + s3), then the chunks that do not fill a round of four
    lanes          halves are added until one lane is left, then the elements that fill no chunk, in order

The order depends only on the count, so a sum has the same bits in every kernel that computes it and for every vector
width.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from llvmlite import ir

from netc.compiler.program.nests import BLOCK
from netc.compiler.targets.cpu.text.values import Builtin, builtin

# No wider than LLVM's stores on any CPU: a wider load would have to wait until several stores have reached the cache.
_CHUNK_BYTES = 32
_ALIGNMENT = 64
_SIDE_BY_SIDE = 4  # running sums: an addition takes about four cycles, so as many are under way at once
_ELEMENTS = {"f32": ir.FloatType(), "f64": ir.DoubleType()}
_BYTES = {"f32": 4, "f64": 8}
_I64, _I32 = ir.IntType(64), ir.IntType(32)


def lanes_of(dtype: str) -> int:
    """Returns the elements of a chunk: 8 of f32, 4 of f64."""
    return _CHUNK_BYTES // _BYTES[dtype]


@cache
def builtins() -> dict[str, Builtin]:
    """Returns the built-ins `block_DTYPE` and `sum_DTYPE` of kernel text."""
    makers = (("block", _block), ("sum", _sum))
    return {f"{name}_{dtype}": make(dtype) for dtype in ("f32", "f64") for name, make in makers}


def _block(dtype: str) -> Builtin:
    """block(): the address of BLOCK elements on the stack."""

    @builtin((), "i64")
    def emit(builder: Any) -> Any:
        with builder.goto_entry_block():
            memory = builder.alloca(ir.ArrayType(_ELEMENTS[dtype], BLOCK))
        memory.align = _ALIGNMENT
        return builder.ptrtoint(memory, _I64)

    return emit


def _sum(dtype: str) -> Builtin:
    """sum(address, count): the sum of the first `count` elements of a block."""

    @builtin(("i64", "i64"), dtype)
    def emit(builder: Any, address: Any, count: Any) -> Any:
        return _emit(builder, dtype, builder.inttoptr(address, _ELEMENTS[dtype].as_pointer()), count)

    return emit


def _emit(builder: Any, dtype: str, base: Any, count: Any) -> Any:
    """Emits the sum of `count` elements from a pointer on."""
    lanes = lanes_of(dtype)
    chunk = ir.VectorType(_ELEMENTS[dtype], lanes)

    def chunk_at(index: Any) -> Any:
        element = builder.gep(base, [builder.mul(index, _number(lanes))])
        value = builder.load(builder.bitcast(element, chunk.as_pointer()))
        value.align = _BYTES[dtype]
        return value

    def element_at(index: Any) -> Any:
        return builder.load(builder.gep(base, [index]))

    chunks = builder.sdiv(count, _number(lanes))
    zeros = [ir.Constant(chunk, [0.0] * lanes)] * _SIDE_BY_SIDE
    left, sums = _add_items(builder, _number(0), chunks, zeros, chunk_at)
    while len(sums) > 1:
        sums = [builder.fadd(x, y) for x, y in zip(sums[::2], sums[1::2], strict=True)]
    _, (total,) = _add_items(builder, left, chunks, sums, chunk_at)
    first = sum_of_lanes(builder, total, lanes)
    rest = builder.mul(chunks, _number(lanes))
    _, (result,) = _add_items(builder, rest, count, [first], element_at)
    return result


def _number(value: int) -> Any:
    return ir.Constant(_I64, value)


def _add_items(builder: Any, start: Any, end: Any, totals: Sequence[Any], load: Any) -> tuple[Any, list[Any]]:
    """Emits a loop over items from `start` to `end` that adds one to each total, while there are enough for all totals.

    `load(index)` emits an item. Returns the index of the first item that was not added, and the totals.
    """
    before = builder.block
    head, body, after = (builder.function.append_basic_block(f"sum.{name}") for name in ("head", "body", "after"))
    builder.branch(head)
    builder.position_at_end(head)
    at = builder.phi(_I64)
    at.add_incoming(start, before)
    sums = []
    for total in totals:
        sums.append(builder.phi(total.type))
        sums[-1].add_incoming(total, before)
    following = builder.add(at, _number(len(sums)))
    builder.cbranch(builder.icmp_signed("<=", following, end), body, after)
    builder.position_at_end(body)
    for i, sum_so_far in enumerate(sums):
        sum_so_far.add_incoming(builder.fadd(sum_so_far, load(builder.add(at, _number(i)))), body)
    at.add_incoming(following, body)
    builder.branch(head)
    builder.position_at_end(after)
    return at, sums


def sum_of_lanes(builder: Any, total: Any, lanes: int) -> Any:
    """Emits the sum of a vector's lanes."""
    return folded_lanes(builder, total, lanes, builder.fadd)


def folded_lanes(builder: Any, total: Any, lanes: int, combine: Callable[[Any, Any], Any]) -> Any:
    """Emits a fold of a vector's lanes: the lower half is combined with the upper one until one lane is left."""
    width = lanes
    while width > 1:
        width //= 2
        halves = [
            builder.shuffle_vector(
                total,
                ir.Constant(total.type, ir.Undefined),
                ir.Constant(ir.VectorType(_I32, width), list(range(first, first + width))),
            )
            for first in (0, width)
        ]
        total = combine(*halves)
    return builder.extract_element(total, ir.Constant(_I32, 0))
