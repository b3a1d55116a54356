"""The loops of a product that a register tile computes: of the tile itself, of runs and turns, and around it.

    einsum("bqhd,bkhd->bhqk")      rows: q    columns: k    depth: d    middle: b    inner: h    the others: once

There are four kinds of indices (indices.py). The tile has one loop for rows, one for columns, and three for the depth
(program/product.py); three loops are around it. Neighbouring indices that all operands walk as one share a loop. Also
says along which loop a tile can gather rows of an operand.
"""

from collections.abc import Sequence

from msgspec import Struct

from netc.compiler.ir.strides import row_axis
from netc.compiler.ir.types import BATCH, DTYPES, Dim
from netc.compiler.ir.value import Value
from netc.compiler.lowering.indices import FEW_COLUMNS, Indices, Strides, Views, indices_of
from netc.compiler.program.kernels import Gathered
from netc.compiler.program.product import Loop
from netc.compiler.program.schedule import Count
from netc.compiler.targets.machine import GROUP, MANY_PANELS, PAGE, Machine

_BETTER = 1.2  # the ratio of filled rows of tiles, from which on another loop becomes the rows
_FEW_ROWS = 8  # rows of a matrix that a loop reads side by side
_SHARING = PAGE // 4  # bytes: rows whose distance is a multiple share few sets of the first cache

_LoopOf = tuple[Count, tuple[int, ...]]  # the count, and the strides of a, b, c and start
_ONCE: _LoopOf = (Count(1), (0, 0, 0, 0))  # a loop of one iteration


class ProductLoops(Struct, frozen=True):
    """The loops of a product: of the tile itself, of runs and turns (DEPTHS), and around the tile (BATCHES)."""

    rows: Loop[Count]
    columns: Loop[Count]
    depth: Loop[Count]
    runs: Loop[Count]
    turns: Loop[Count]
    inner: Loop[Count]
    middle: Loop[Count]
    outer: Loop[Count]


def loops_of(indices: Indices, strides: Sequence[Strides], lead: str, of_pairs: bool, size: int) -> ProductLoops | None:
    """Returns the loops over all indices, with the strides of a, b, c and start; None if the tile has too few loops, or
    if a loop nest is faster.

    `size` is the number of bytes of an element. If the columns of b are not neighbours, the kernel copies b, and then
    has no runs, unless it is that of pairs.
    """
    kinds = (indices.rows, indices.columns, indices.depth, indices.both)
    rows, columns, depths, both = (_merge(letters, indices.sizes, strides, lead) for letters in kinds)
    row_loop = _fullest(rows)
    batches = [*both, *columns[:-1], *(loop for loop in rows if loop is not row_loop)]
    if not columns or len(depths) > 3 or len(batches) > 3:
        return None
    (column,) = _last(1, columns[-1:])
    if column.c.factor != 1:  # the last index of the result has one element, and the others do not lie side by side
        return None
    has_few = column.count.is_fixed and column.count.factor <= FEW_COLUMNS
    if len(columns) > 1 and (row_loop is None or has_few):
        return None
    if column.b.factor != 1 and not of_pairs and len(depths) > 1:
        if len(depths) > 2:
            return None
        depths.insert(1, _ONCE)
    if column.b.factor == 1:  # a sample at a time, so that its rows stay in a cache for all groups of columns
        batches.sort(key=lambda loop: loop[0].per != "rows")
    turns, runs, depth = _last(3, depths)
    outer, middle, inner = _last(3, batches)
    (row,) = _last(1, [row_loop] if row_loop is not None else [])
    if row_loop is None and not of_pairs and _is_read_well(column, depth, indices.width, size):
        return None  # a vector times a matrix, which is read once: a loop reads it without a copy
    return ProductLoops(row, column, depth, runs, turns, inner, middle, outer)


def _is_read_well(column: Loop[Count], depth: Loop[Count], width: int, size: int) -> bool:
    """Whether a loop reads a matrix of elements of `size` bytes well that a vector is multiplied by: along its sums, or
    row by row.

    It reads up to eight rows of a matrix of known height at a time. Of more rows that share sets of the first cache, it
    was measured to take 1.1 to 1.9 times as long as wide tiles of a row, which read one piece after another; else 0.4
    to 1.0 times.
    """
    if depth.a.factor == depth.b.factor == 1:
        return True
    is_low = not depth.count.is_fixed or depth.count.factor <= _FEW_ROWS
    return column.b.factor == 1 and width > 0 and (is_low or depth.b.factor * size % _SHARING != 0)


def _last(number: int, loops: Sequence[_LoopOf]) -> list[Loop[Count]]:
    """Returns `number` loops: the given ones at the end, and before them loops of one iteration."""
    padded = [_ONCE] * (number - len(loops)) + list(loops)
    return [Loop(count, *map(Count, strides)) for count, strides in padded]


def _fullest(rows: Sequence[_LoopOf]) -> _LoopOf | None:
    """Returns the loop whose iterations become the rows of tiles: the last one, or another one of known count that
    fills the groups of rows of which tiles consist much better."""
    if not rows:
        return None
    fixed = [loop for loop in rows if loop[0].is_fixed]
    if rows[-1] not in fixed:
        return rows[-1]
    best = max(fixed, key=lambda loop: filled(loop[0].factor))
    return best if filled(best[0].factor) > _BETTER * filled(rows[-1][0].factor) else rows[-1]


def filled(rows: int) -> float:
    """The share of a tile's rows that so many rows fill."""
    return rows / (-(-rows // GROUP) * GROUP)


def _merge(letters: Sequence[str], sizes: dict[str, Dim], maps: Sequence[Strides], lead: str) -> list[_LoopOf]:
    """Returns as few loops as possible for some indices: neighbours that all operands walk as one are merged."""
    loops: list[_LoopOf] = []
    for letter in letters:
        size = sizes[letter]
        if size == 1 and letter != lead:  # its strides may be any
            continue
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


def gathered_loop(einsum: Value, views: Views, machine: Machine, in_shards: bool) -> Gathered:
    """Returns the loop of a product's tile in which it can gather the rows of an operand, or "": see Contraction."""
    indices, views = indices_of(einsum, views)
    if not indices.fit_tile():
        return ""
    lead, dtype = lead_of(indices, in_shards), einsum.type.dtype
    loops = loops_of(indices, indices.strides_of(views), lead, has_pairs(views), DTYPES[dtype].bytes)
    return gathered_loop_of(indices, views, loops, dtype, machine)


def gathered_loop_of(
    indices: Indices, views: Views, loops: ProductLoops | None, dtype: str, machine: Machine
) -> Gathered:
    if loops is None or views.order is None or views.second or has_pairs(views):
        return ""
    if views.a.buffer is None or views.b.buffer is None or views.a.buffer.type.dtype != views.b.buffer.type.dtype:
        return ""
    columns, batch = loops.columns.count, indices.left[0]
    if not columns.is_fixed or columns.factor < machine.lanes(dtype):  # narrow tiles
        return ""
    if any(loop.count != Count(1) for loop in (loops.runs, loops.turns, loops.inner, loops.middle, loops.outer)):
        return ""
    row = views.a.strides[0]
    if batch in indices.rows:
        return "rows" if loops.rows.count == Count(1, "rows") and loops.rows.a == Count(row) else ""
    if batch not in indices.depth or loops.depth.count.factor != 1 or loops.depth.count.is_fixed:
        return ""
    if loops.depth.a != Count(row):
        return ""
    has_many_panels = columns.factor > MANY_PANELS * machine.panel(dtype)
    if has_many_panels and machine.packs_rows:
        return "copied depth" if loops.rows.a == Count(1) else ""
    return "depth" if not has_many_panels or row * DTYPES[dtype].bytes % PAGE else ""


def lead_of(indices: Indices, in_shards: bool) -> str:
    """The index along which a product can be shared out."""
    if in_shards:
        return next(i for i in indices.depth if indices.sizes[i] == BATCH)
    return indices.out[row_axis([indices.sizes[i] for i in indices.out])]


def has_pairs(views: Views) -> bool:
    return all(view.buffer is not None and view.buffer.type.dtype == "bf16" for view in (views.a, views.b))
