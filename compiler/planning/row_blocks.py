"""Chooses how many rows a worker takes through a group at once, so that its second cache still has what it needs.

Knows groups of tasks and the sizes of their buffers, no addresses.
"""

import math
from collections.abc import Iterator, Sequence

from msgspec import Struct

from netc.compiler.ir.strides import elements_of_row
from netc.compiler.ir.types import BATCH, Sizes, size_of
from netc.compiler.planning.phases import TaskGroup, rowwise
from netc.compiler.program.kernels import Contraction
from netc.compiler.program.product import Product
from netc.compiler.program.schedule import Count
from netc.compiler.program.tasks import Buffer, Task
from netc.compiler.targets.machine import LINE, Machine

# The cost of a byte that a product reads again from the second cache, and may copy, beside that of one from beyond it.
# Measured on Zen 4: blocks of 18 and 30 rows with AVX2 take longer than all rows at once, of 60 with AVX-512 do not.
_NEAR_COST = 0.7


def row_block(group: TaskGroup, sizes: Sizes, machine: Machine) -> int:
    """Returns the rows that a worker takes through a group at once.

    They are few enough that what the tasks pass on stays in the machine's second cache, and many enough that weights,
    and the operands of a weight's gradient, are not read too often.
    """
    second = machine.second_cache
    match group.kind:
        case "shards":
            return -(-size_of(BATCH, sizes) // group.shards)
        case "steps":
            return size_of(BATCH, sizes)  # at each step no more samples run
        case "samples":
            return _samples_at_once(group, sizes, second)
    return _pieces_at_once(group, sizes, machine)


def _samples_at_once(group: TaskGroup, sizes: Sizes, second: int) -> int:
    """Returns the row block of a group over a named dimension: the one with which the fewest bytes move."""
    assert group.axis is not None, "samples without a dimension"
    extent, grain, moving = size_of(group.axis, sizes), _grain(group), _moving(group)
    row = sum(map(row_bytes, moving))
    fitting = min(extent, second // row + 1) if row else 0
    fewest = 4 * grain
    if row and not any(isinstance(task.kernel, Contraction) for task in group.tasks):
        # A product reads its weights again for each block; loops alone, such as padding and windows, may have fewer
        # rows, at least one.
        fewest = min(fewest, max(second // row // grain, 1) * grain)
        fitting = max(fitting, min(fewest + 1, extent))
    choices: list[int] = [extent, *range(fewest, fitting, 2 * grain)]
    reuses, copied = list(_reuses(group, moving)), _copied_by_each_block(group, sizes)

    def moved(rows: int) -> int:
        return _read_again(reuses, rows, extent, second) + (-(-extent // rows) - 1) * copied

    best = min(choices, key=lambda rows: (moved(rows), -rows))
    # in a dimension that a scan walks, several workers take the rows of a step at once
    return best if group.axis == BATCH else max(best, size_of(BATCH, sizes))


def _pieces_at_once(group: TaskGroup, sizes: Sizes, machine: Machine) -> int:
    """Returns the row block of a group over the rows of a parameter, or of one that is not shared out: all rows, unless
    its tasks pass on too much for the second cache.

    If a gradient is computed too fast to prefetch what its update reads, the second cache need not have room for that.
    """
    second = machine.second_cache
    extent = size_of(group.axis, sizes) if group.kind == "pieces" and group.axis is not None else 1
    grain, moving = _grain(group), _moving(group)
    passed_on = {buffer for task in group.tasks for buffer in task.writes & moving if buffer.kind == "temporary"}
    if not passed_on:
        return extent
    is_shallow = any(_is_shallow(task, moving, sizes, machine) for task in group.tasks)
    bound = second * 3 // 4 if is_shallow else second // 2
    row = sum(map(row_bytes, passed_on if is_shallow else moving))
    fitting = max(grain, min(extent, bound // row // grain * grain))
    most = fitting * 9 // 8  # a few rows more are better than a last block of a few rows
    again = _read_by_each_block(group, sizes)
    saved = again * (-(-extent // most) - 1) * (1 if again > second // 2 else _NEAR_COST)
    if saved > 2 * extent * sum(map(row_bytes, passed_on)):
        return extent
    even = min(extent, -(-extent // -(-extent // most) // grain) * grain)
    return even if even <= most else fitting


def _is_shallow(task: Task, moving: set[Buffer], sizes: Sizes, machine: Machine) -> bool:
    """Whether a task is a product whose tiles cannot prefetch half of the parameter and of its states, in a line for
    each row of depth.

    Then the update waits for memory in any case, and the more rows it takes at once, the sooner the CPU fetches ahead
    of it: on Zen 4, steps of 4 to 32 samples with layers of 1,000 to 3,000 units were measured to take 2 to 13% less
    time with 96 rows than with 12 or 24.
    """
    if not isinstance(task.kernel, Contraction):
        return False
    product = Product.of(task.pointers, task.counts, Count)
    depth = math.prod(loop.count.value(1, sizes) for loop in (product.depth, product.runs, product.turns))
    dtype = product.c.buffer.type.dtype
    of_tile = machine.tile_rows * machine.panel(dtype) * product.c.buffer.type.itemsize
    states = sum(buffer.kind == "persistent" and buffer.type == product.c.buffer.type for buffer in moving)
    return 2 * depth * LINE < states * of_tile


def _grain(group: TaskGroup) -> int:
    """The rows that no block should cut."""
    return max(task.grain for task in group.tasks)


def stays_near(group: TaskGroup, rows: int, second: int) -> bool:
    """Whether what a row block passes on, and what is prefetched for it, is still in the second cache when it is
    read."""
    return group.kind != "pieces" or 2 * rows * sum(map(row_bytes, _moving(group))) <= 9 * second // 8


def row_bytes(buffer: Buffer) -> int:
    return elements_of_row(buffer.type.dims) * buffer.type.itemsize


def _moving(group: TaskGroup) -> set[Buffer]:
    """The buffers of which a row block has its own rows."""
    return {buffer for buffer in group.buffers() if rowwise(group, buffer, elements_of_row(buffer.type.dims))}


class _Bytes(Struct, frozen=True):
    """Bytes that do not depend on the rows of a block, and bytes for each of them."""

    fixed: int
    per_row: int


class _Reuse(Struct, frozen=True):
    """A buffer that a task touches again: its bytes, and those that were touched since it was touched last. It was
    then touched by an earlier task of the same block, or by one of the block before."""

    buffer: _Bytes
    between: _Bytes
    is_in_block: bool


def _reuses(group: TaskGroup, moving: set[Buffer]) -> Iterator[_Reuse]:
    """Yields what the tasks of a group touch again, from the second row block on."""
    touched = [{pointer.buffer for pointer in task.pointers} for task in group.tasks]
    count = len(touched)
    last = {buffer: i - count for i, buffers in enumerate(touched) for buffer in buffers - moving}
    for i, buffers in enumerate(touched):
        for buffer in buffers & last.keys():
            between = {buffer}.union(*(touched[j] for j in range(last[buffer], i)))
            yield _Reuse(_size([buffer], moving), _size(between, moving), last[buffer] >= 0)
        last.update(dict.fromkeys(buffers, i))


def _size(buffers: Sequence[Buffer] | set[Buffer], moving: set[Buffer]) -> _Bytes:
    """The bytes of buffers. Copies, and batches that are not taken by rows, count as 0."""
    weights = (b for b in buffers if b not in moving and b.kind != "scratch" and not b.type.is_batched)
    return _Bytes(sum(b.type.nbytes(1) for b in weights), sum(row_bytes(b) for b in buffers if b in moving))


def _read_again(reuses: Sequence[_Reuse], rows: int, extent: int, second: int) -> int:
    """The bytes that a worker reads, and of its own rows also writes, beyond the second cache, because it has touched
    more than fits since. The model is that of a cache that keeps what was touched last."""
    blocks, total = -(-extent // rows), 0
    for reuse in reuses:
        if reuse.between.fixed + rows * reuse.between.per_row > second:
            times = blocks if reuse.is_in_block else blocks - 1
            total += times * reuse.buffer.fixed + 2 * extent * reuse.buffer.per_row
    return total


def _copied_by_each_block(group: TaskGroup, sizes: Sizes) -> int:
    """Returns the bytes that products of a group read and write to copy weights whose columns are not neighbours, which
    they do for each row block."""
    copied = 0
    for task in group.tasks:
        if isinstance(task.kernel, Contraction):
            product = Product.of(task.pointers, task.counts, Count)
            if product.columns.b != Count(1) and not product.b.buffer.type.is_batched:
                copied += 2 * product.b.buffer.type.nbytes(sizes)
    return copied


def _read_by_each_block(group: TaskGroup, sizes: Sizes) -> int:
    """Returns the bytes that a group reads for each row block, whatever rows it has."""
    pointers = [pointer for task in group.tasks for pointer in task.pointers]
    leads = {pointer.buffer for pointer in pointers if pointer.lead or pointer.buffer.kind == "scratch"}
    return sum(buffer.type.nbytes(sizes) for buffer in {pointer.buffer for pointer in pointers} - leads)
