"""A product by named indices -> a call of the register tile, if indices and strides allow it.

Each index is one of: rows (left and result), columns (right and result), depth (both operands alone), both (all
three). The tile takes one of each, and two more of depth, with three loops around it; neighbouring indices that all
operands walk as one count as one.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from netc.compiler.ir.types import BATCH, Dim, Type
from netc.compiler.ir.value import Value
from netc.compiler.operations.linear import Subscripts, index_sizes
from netc.compiler.program.kernels import Contraction
from netc.compiler.program.product import TOUCHED, Loop, Product
from netc.compiler.program.schedule import Count
from netc.compiler.program.tasks import SHARDS, Buffer, Place, Pointer, Task
from netc.compiler.targets.machine import STRIP, Machine

_FEW_COLUMNS = 2

_Strides = dict[str, int]  # by index; an index that an operand does not have is not in it
_LoopOf = tuple[Count, tuple[int, ...]]  # the count, and the stride of each operand


def product_task(
    value: Value,
    einsum: Value,
    places: tuple[Place, Place, Place | None],
    machine: Machine,
    target: Callable[[], Place],
    result_strides: tuple[int, ...],
    in_shards: bool = False,
) -> Task | None:
    """Returns the task that computes `value` by a machine's register tile, or None if the tile cannot compute it.

    `places` are those of the two operands and of the value that the product starts from, if there is one (with
    strides by the indices of the result). `target` makes the place of the result, whose strides are `result_strides`;
    it is called only if the tile is used. With `in_shards`, the batch is an index of depth and is cut into shards;
    `target` then has one result for each shard, along a first axis.
    """
    inputs, _, out = einsum.attributes_as(Subscripts).subscripts.partition("->")
    left, right = inputs.split(",")
    sizes = index_sizes(inputs, *(operand.type for operand in einsum.operands))
    a, b, start = places
    if out and out[-1] in left and out[-1] not in right:
        left, right, a, b = right, left, b, a
    rows = [letter for letter in out if letter in left and letter not in right]
    columns = [letter for letter in out if letter in right and letter not in left]
    both = [letter for letter in out if letter in left and letter in right]
    depth = [letter for letter in left if letter in right and letter not in out]
    if len(out) != len(rows) + len(columns) + len(both) or set(left + right) - set(out) - set(depth):
        return None
    if not columns or out[-1] != columns[-1] or _width(columns, sizes) <= _FEW_COLUMNS:
        return None
    strides = (
        dict(zip(left, a.strides, strict=True)),
        dict(zip(right, b.strides, strict=True)),
        dict(zip(out, result_strides, strict=True)),
        dict(zip(out, start.strides if start is not None else (0,) * len(out), strict=True)),
    )
    lead = next(letter for letter in depth if sizes[letter] == BATCH) if in_shards else out[0]
    groups = [_merge(letters, sizes, strides, lead) for letters in (rows, columns, depth, both)]
    if len(groups[1]) != 1 or len(groups[2]) > 3:
        return None
    (width, (_, b_column, _, start_column)) = groups[1][0]
    outer = [*groups[3], *groups[0][:-1]]
    if len(outer) > 3 or (len(groups[2]) > 1 and b_column != 1) or (start is not None and start_column != 1):
        return None
    turns, runs, depth_loop = _last(3, groups[2])
    outer_loop, middle, inner = _last(3, outer)
    (rows_loop,) = _last(1, groups[0][-1:])
    room, dtype = target(), value.type.dtype
    c = room.buffer
    assert c is not None
    pack = Buffer(Type(dtype, (STRIP * machine.panel(dtype),)), "scratch") if b_column != 1 else None
    # also passed in place of operands that do not exist
    result = Pointer(c, room.offset, strides[2].get(lead, 0), math.prod(value.type.shape(1)) if in_shards else 0)
    product = Product(
        a=_pointer(a, strides[0], lead),
        b=_pointer(b, strides[1], lead),
        c=result,
        start=_pointer(start, strides[3], lead) if start is not None else result,
        pack=Pointer(pack) if pack is not None else result,
        touched=(result,) * TOUCHED,
        has_start=Count(int(start is not None)),
        touches=Count(0),
        rows=rows_loop,
        columns=_loop(*groups[1][0]),
        depth=depth_loop,
        runs=runs,
        turns=turns,
        inner=inner,
        middle=middle,
        outer=outer_loop,
    )
    return Task(
        Contraction(dtype),
        product.pointers,
        product.numbers,
        frozenset({c} if pack is None else {c, pack}),
        SHARDS if in_shards else sizes[lead],
        (einsum, value) if einsum is not value else (value,),
        _grain(rows_loop.count, machine.tile_rows)
        if lead in rows
        else _grain(width, machine.panel(dtype))
        if lead in columns
        else 1,
    )


def _loop(count: Count, strides: Sequence[int]) -> Loop[Count]:
    return Loop(count, *map(Count, strides))


def _last(number: int, loops: Sequence[_LoopOf]) -> list[Loop[Count]]:
    """Returns `number` loops: the given ones at the end, and before them loops of one iteration."""
    once = _loop(Count(1), (0, 0, 0, 0))
    return [once] * (number - len(loops)) + [_loop(*loop) for loop in loops]


def _grain(count: Count, tile: int) -> int:
    """Returns how many rows of the axis fill a tile of `tile` rows; 1 if the tile does not walk the axis."""
    return -(-tile // count.factor) if count.per == "rows" else 1


def fetch_ahead(tasks: Sequence[Task]) -> list[Task]:
    """Returns the tasks of a group; products prefetch parameters and states that later updates write."""
    tasks_ahead = []
    for i, task in enumerate(tasks):
        if isinstance(task.kernel, Contraction):
            product = Product.of(task.pointers, task.counts, Count)
            c = product.c
            # A dict keeps an order that does not depend on addresses, so that two processes make the same plan.
            following = dict.fromkeys(
                pointer.buffer
                for later in tasks[i + 1 :]
                for pointer in later.pointers
                if pointer.buffer in later.writes
                and pointer.buffer.kind == "persistent"
                and pointer.buffer.type == c.buffer.type
            )
            touched = tuple(Pointer(buffer, c.offset, c.lead) for buffer in following)[:TOUCHED]
            number = len(touched)
            product = replace(product, touched=touched + product.touched[number:], touches=Count(number))
            task = replace(task, pointers=product.pointers, counts=product.numbers)
        tasks_ahead.append(task)
    return tasks_ahead


def _width(columns: Sequence[str], sizes: dict[str, Dim]) -> int:
    """How many columns there are; 0 if that depends on the batch."""
    return math.prod(size if isinstance(size, int) else 0 for size in (sizes[letter] for letter in columns))


def _pointer(place: Place, strides: _Strides, lead: str) -> Pointer:
    assert place.buffer is not None
    return Pointer(place.buffer, place.offset, strides.get(lead, 0))


def _merge(letters: Sequence[str], sizes: dict[str, Dim], maps: Sequence[_Strides], lead: str) -> list[_LoopOf]:
    """Returns as few loops as possible for some indices: neighbours that all operands walk as one are merged."""
    loops: list[_LoopOf] = []
    for letter in letters:
        size = sizes[letter]
        steps = tuple(strides.get(letter, 0) for strides in maps)
        if (
            loops
            and isinstance(size, int)
            and all(before == step * size for before, step in zip(loops[-1][1], steps, strict=True))
        ):
            count = loops[-1][0]
            loops[-1] = (Count(count.factor * size, count.per), steps)
        elif letter == lead:
            loops.append((Count(1, "rows"), steps))
        else:
            loops.append((Count(size) if isinstance(size, int) else Count(1, size), steps))
    return loops
