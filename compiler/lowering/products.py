"""Lowers a product by named indices (an einsum) to a call of the register tile, if its indices and strides allow it.

product_loops.py finds the loops of a tile; this file decides what the tile copies, and when a loop is faster.
"""

import math
from collections.abc import Sequence

from netc.compiler.ir.types import DTYPES, Type
from netc.compiler.ir.value import Value
from netc.compiler.lowering.indices import Indices, Views, indices_of
from netc.compiler.lowering.product_loops import ProductLoops, gathered_loop_of, has_pairs, lead_of, loops_of
from netc.compiler.program import prefetched
from netc.compiler.program.kernels import Contraction
from netc.compiler.program.product import TOUCHED, Product
from netc.compiler.program.schedule import Count
from netc.compiler.program.tasks import SHARDS, Buffer, Pointer, Task
from netc.compiler.targets.machine import DISTANT, MANY_PANELS, MANY_ROWS, NEAR, PAGE, PANELS, TILE, WAYS, Machine
from netc.dsl.structs import replace

_SHORT_RUN = 9  # the most elements of a row of a small window
# The most elements of a small window. In pairs of bf16, windows of 9 elements were measured to take half the time in a
# loop on Zen 4, windows of 27 about the same, windows of 40 elements 1.8 times.
_FEW_ELEMENTS, _FEW_IN_PAIRS = 50, 16
_WORTH_TILES = 1024  # numbers of b: with fewer, configuring the tiles takes as long as the product


def product_task(
    value: Value, einsum: Value, views: Views, machine: Machine, in_shards: bool = False, at_once: bool = False
) -> Task | None:
    """Returns the task that computes `value` by a machine's register tile; None if the tile cannot, or a loop is
    faster.

    `value` is the product `einsum` itself, or its sum with the value that it starts from. With `in_shards`, the batch
    is an index of depth and is cut into shards. `at_once` says that as a loop, one worker would compute all of it.
    """
    indices, views = indices_of(einsum, views)
    if not indices.fit_tile():
        return None
    sizes, strides, lead = indices.sizes, indices.strides_of(views), lead_of(indices, in_shards)
    of_pairs, dtype = has_pairs(views), value.type.dtype
    loops = loops_of(indices, strides, lead, of_pairs, DTYPES[dtype].bytes)
    gathered = gathered_loop_of(indices, views, loops, dtype, machine)
    is_start_spread = views.start is not None and loops is not None and loops.columns.start.factor != 1
    if loops is None or is_start_spread or (views.order is not None and not gathered):
        return None
    looped = loops_of(indices, strides, "", of_pairs, DTYPES[dtype].bytes) if at_once and not of_pairs else loops
    if looped is None or _sums_small_windows(looped, of_pairs) or (not of_pairs and _sums_few_positions(looped)):
        return None
    leads = [operand.get(lead, 0) for operand in strides]
    in_tiles = of_pairs and machine.has_tiles and _fills_tiles(loops)
    if of_pairs:
        pack_elements = _copied_pairs(loops, machine, dtype)
    else:
        pack_elements = _copied_elements(loops, machine, dtype, gathered == "copied depth")
    order = None
    if views.order is not None:
        moves = indices.left[0] == lead  # with the task's rows
        leads[0] *= not moves
        order = Pointer(views.order, 0, int(moves))
    product = _product(value, views, loops, leads, pack_elements, in_shards, order)
    return Task(
        Contraction(dtype, of_pairs, in_tiles, gathered),
        product.pointers,
        product.numbers,
        frozenset({product.c.buffer, product.pack.buffer}),
        SHARDS if in_shards else sizes[lead],
        tuple(dict.fromkeys((einsum, value))),
        _grain(indices, lead, loops, *((2 * TILE,) * 2 if in_tiles else (machine.tile_rows, machine.panel(dtype)))),
    )


def _sums_small_windows(loops: ProductLoops, of_pairs: bool) -> bool:
    """Whether a product sums over small windows of an image of a few channels.

    The tile spends more time between the rows of such a window than in them, and that of pairs copies windows. A loop
    keeps the weights of a whole window in registers.
    """
    most = _FEW_IN_PAIRS if of_pairs else _FEW_ELEMENTS
    return _walks_windows(loops) and loops.depth.count.factor * loops.runs.count.factor <= most


def _sums_few_positions(loops: ProductLoops) -> bool:
    """Whether a product is the gradient of the weights of small windows. A loop keeps all sums in registers. Tiles of
    pairs take three quarters of its time."""
    rows, inner, runs, once = loops.rows.count, loops.inner.count, loops.runs.count, Count(1)
    is_window = inner.is_fixed and rows.is_fixed and loops.middle.count == once != inner
    is_few = runs != once and is_window and inner.factor * rows.factor <= _FEW_ELEMENTS
    return is_few and _has_fixed_rows(loops) and not _walks_windows(loops)


def _walks_windows(loops: ProductLoops) -> bool:
    """Whether the depth are the elements of windows, in short rows."""
    depth, is_in_runs = loops.depth.count, loops.turns.count == Count(1) != loops.runs.count
    return _has_fixed_rows(loops) and is_in_runs and depth.is_fixed and depth.factor <= _SHORT_RUN


def _has_fixed_rows(loops: ProductLoops) -> bool:
    """Whether columns of b, and those of the result, are neighbours, and their number and that of runs is known."""
    columns = loops.columns
    return (columns.b.factor, columns.c.factor) == (1, 1) and columns.count.is_fixed and loops.runs.count.is_fixed


def _product(
    value: Value,
    views: Views,
    loops: ProductLoops,
    leads: Sequence[int],
    pack_elements: int,
    in_shards: bool,
    order: Pointer | None,
) -> Product[Pointer, Count]:
    """Returns the arguments of the tile. `leads` are the strides of a, b, c and start along the axis of the task.

    The tile copies operands if it gets memory for that: `pack_elements`.
    """
    target, dtype = views.output(), value.type.dtype
    shard = math.prod(value.type.shape(1)) if in_shards else 0
    result = target.pointer(leads[2], shard)  # stands also for operands that do not exist
    return Product(
        a=views.a.pointer(leads[0]),
        b=views.b.pointer(leads[1]),
        c=result,
        start=views.start.pointer(leads[3]) if views.start is not None else result,
        pack=Pointer(Buffer(Type(dtype, (pack_elements,)), "scratch")) if pack_elements else result,
        touched=(result,) * TOUCHED,
        order=order or result,
        prefetched=(result,) * prefetched.MOST,
        prefetched_bytes=(Count(0),) * prefetched.MOST,
        has_start=Count(int(views.start is not None)),
        touches=Count(0),
        rows=loops.rows,
        columns=loops.columns,
        depth=loops.depth,
        runs=loops.runs,
        turns=loops.turns,
        inner=loops.inner,
        middle=loops.middle,
        outer=loops.outer,
    )


def _copied_elements(loops: ProductLoops, machine: Machine, dtype: str, copies_gathered: bool) -> int:
    """The elements of memory for copies of operands (see float_product.py); 0 if copies never pay.

    The kernel decides what it copies, because it knows how many rows there are. It always copies gathered rows that it
    is to copy.
    """
    columns, panel = loops.columns.count, machine.panel(dtype)
    has_single_run, are_panels = loops.runs.count == Count(1), _are_panels(loops)
    all_columns = columns.factor * (loops.inner.count.factor if are_panels else 1)
    has_many_panels = not columns.is_fixed or all_columns > MANY_PANELS * panel
    rows, depth = loops.rows, loops.depth
    is_across = rows.a.factor == 1 and _has_rows(loops, MANY_ROWS)
    share_sets = depth.a.factor == 1 and rows.a.factor * DTYPES[dtype].bytes % PAGE == 0 and _has_rows(loops, WAYS + 1)
    may_copy = is_across or (machine.copies_sharing_rows and share_sets)
    copies_rows = copies_gathered or (has_single_run and may_copy and has_many_panels)
    is_large = not depth.count.is_fixed or depth.count.factor * depth.b.factor * DTYPES[dtype].bytes > NEAR
    is_small = columns.is_fixed and depth.count.is_fixed
    is_small = is_small and columns.factor * depth.count.factor * DTYPES[dtype].bytes <= DISTANT
    fewest = MANY_ROWS if is_small else min([MANY_ROWS, *machine.distant_rows[:1]])
    reads_often = has_single_run and _has_rows(loops, fewest) and not are_panels
    copies_panels = loops.columns.b.factor != 1 or (reads_often and depth.b.factor > panel and is_large)
    if not copies_rows and not copies_panels:
        return 0
    panels = -(-columns.factor // panel) if columns.is_fixed else PANELS
    return machine.pack_elements(dtype, panels if copies_panels else 0, copies_rows)


def _are_panels(loops: ProductLoops) -> bool:
    """Whether batches share a and give columns side by side, so that the kernel takes them as one product."""
    inner, columns = loops.inner, loops.columns.count
    return inner.count.is_fixed and inner.count != Count(1) and inner.a.factor == 0 and inner.c == columns


def _copied_pairs(loops: ProductLoops, machine: Machine, dtype: str) -> int:
    """The elements of memory for copies of operands of a product of pairs: it always copies b.

    Copies of whole vectors are written into one more panel.
    """
    columns = loops.columns.count
    panels = -(-columns.factor // machine.panel(dtype)) if columns.is_fixed else PANELS
    return machine.pack_elements(dtype, panels + 1)


def _has_rows(loops: ProductLoops, least: int) -> bool:
    """Whether a may have so many rows."""
    return not loops.rows.count.is_fixed or loops.rows.count.factor >= least


def _fills_tiles(loops: ProductLoops) -> bool:
    """Whether each row of a is multiplied by so many numbers of b that tiles pay. That depends only on sizes."""
    counts = [loop.count for loop in (loops.columns, loops.depth, loops.runs, loops.turns)]
    is_fixed = all(count.is_fixed for count in counts)
    return not is_fixed or math.prod(count.factor for count in counts) >= _WORTH_TILES


def _grain(indices: Indices, lead: str, loops: ProductLoops, tile_rows: int, tile_columns: int) -> int:
    """Returns how many rows of the task's axis fill a tile; 1 if the tile does not walk the axis."""
    if lead in indices.rows:
        count, tile = loops.rows.count, tile_rows
    elif lead in indices.columns:
        count, tile = loops.columns.count, tile_columns
    else:
        return 1
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
