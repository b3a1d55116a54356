"""Chooses what products and convolutions prefetch, so that later calls of their group find it in a cache.

    group, row block by row block:   product, loop that reads a buffer of an earlier phase, ...
                                     ^ prefetches the rows that the loop will read

A group is done row block by row block. Rows that no earlier call of the block has touched are far away: other phases
have passed since they were written. A loop waits for memory, which products leave idle. So the nearest product before
the loop that takes long enough prefetches these rows; if there is none before it, a product behind the loop prefetches
those of the next row block. (The rows behind the last block are prefetched in vain.)
"""

import math
from collections.abc import Iterator, Sequence

from msgspec import Struct

from netc.compiler.ir.strides import elements_of_row
from netc.compiler.ir.types import BATCH, Sizes, size_of
from netc.compiler.planning.phases import TaskGroup, rowwise
from netc.compiler.planning.row_blocks import row_bytes
from netc.compiler.program import prefetched, winograd
from netc.compiler.program.kernels import Contraction, WinogradKernel
from netc.compiler.program.product import Product
from netc.compiler.program.schedule import Count
from netc.compiler.program.tasks import SHARDS, Buffer, Pointer, Task
from netc.dsl.structs import replace

_HIDDEN = 8  # operations of a product that hide the prefetch of a byte, measured on Zen 4 in f32


class _Product(Struct):
    """A task that computes long enough: its number in the group, the bytes that it may still prefetch, and the rows
    that it prefetches."""

    number: int
    left: int
    pointers: list[Pointer] = []


def prefetch_rows(group: TaskGroup, row_block: int, sizes: Sizes, near: int, private: set[Buffer]) -> None:
    """Changes the products of a group for blocks of `row_block` rows. What they prefetch in a block takes at most
    `near` bytes. A worker's own memory, to which the buffers `private` belong, is always in its cache."""
    if group.axis not in (BATCH, SHARDS) or group.kind not in ("samples", "shards"):
        return
    rows = size_of(BATCH, sizes)
    products = [
        _Product(number, operations // _HIDDEN)
        for number, task in enumerate(group.tasks)
        if (operations := _operations(task, row_block, sizes))
    ]
    for number, buffer in _far(group, private) if products else ():
        nbytes = row_block * row_bytes(buffer)
        before = [product for product in reversed(products) if product.number < number]
        behind = [product for product in reversed(products) if product.number >= number] if row_block < rows else []
        for product in [*before, *behind]:
            if min(product.left, near) >= nbytes and len(product.pointers) < prefetched.MOST:
                next_block = 0 if product in before else row_block
                row = elements_of_row(buffer.type.dims)
                product.pointers.append(Pointer(buffer, next_block * row, row))
                product.left -= nbytes
                near -= nbytes
                break
    for product in products:
        group.tasks[product.number] = _with(group.tasks[product.number], product.pointers)


def _far(group: TaskGroup, private: set[Buffer]) -> Iterator[tuple[int, Buffer]]:
    """Yields the buffers whose rows are far away, and the number of the first task that touches each: first those that
    it reads, which a loop waits for, then those that it writes."""
    seen: set[Buffer] = set()
    written: list[tuple[int, Buffer]] = []
    for number, task in enumerate(group.tasks):
        for buffer in dict.fromkeys(pointer.buffer for pointer in task.pointers):
            is_first = buffer not in seen and buffer.kind == "temporary" and buffer not in private
            seen.add(buffer)
            if is_first and rowwise(group, buffer, elements_of_row(buffer.type.dims)):
                if buffer in task.writes:
                    written.append((number, buffer))
                else:
                    yield number, buffer
    yield from written


def _operations(task: Task, row_block: int, sizes: Sizes) -> int:
    """The floating-point operations of a product or convolution in a row block; 0 for other tasks."""
    counts = [count.value(row_block, sizes) for count in task.counts]
    match task.kernel:
        case WinogradKernel(part="convolve" | "gradient" as part):
            return winograd.flops(part, dict(zip(winograd.numbers(part), counts, strict=True)))
        case Contraction(of_pairs=False):
            return 2 * math.prod(loop.count for loop in Product.of(task.pointers, counts, int).loops)
    return 0


def _with(task: Task, pointers: Sequence[Pointer]) -> Task:
    """Returns a task that prefetches rows: its last arguments say so."""
    nbytes = [Count(row_bytes(pointer.buffer), "rows") for pointer in pointers]
    first, unchanged = len(task.pointers) - prefetched.MOST, len(task.counts) - prefetched.MOST
    unused, number = task.pointers[first:], len(pointers)
    return replace(
        task,
        pointers=(*task.pointers[:first], *pointers, *unused[number:]),
        counts=(*task.counts[:unchanged], *nbytes, *task.counts[unchanged + number :]),
    )
