"""The product kernel called directly, for every instruction set that this machine can run.

Counts are random, zero among them, and so are strides.
"""

import itertools
import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pytest
from msgspec import Struct
from native import ELEMENTS, FLOATS, TARGETS, Kernel, check_instructions, check_stores

from netc.compiler.program import prefetched
from netc.compiler.program.kernels import Contraction, Gathered
from netc.compiler.program.product import BATCHES, DEPTHS, TOUCHED, WALKS, Loop, Product
from netc.compiler.targets.cpu.products.narrow_tile import narrow_operations
from netc.compiler.targets.cpu.products.tile_sizes import FEW_ROWS, all_sizes, copying_sizes, far_sizes
from netc.compiler.targets.cpu.source import source_of
from netc.compiler.targets.machine import (
    BLOCK,
    DISTANT,
    LINE,
    MANY_PANELS,
    MANY_ROWS,
    NEAR,
    PACKED,
    PAGE,
    PANELS,
    STRIP,
    Machine,
    host,
)
from netc.compiler.targets.named import machine_for
from netc.dsl.structs import replace

Array = np.ndarray[Any, Any]
MARGIN = 1024  # elements around everything that a kernel reads or writes


class Case(Struct, frozen=True):
    """A product: the counts and strides of its loops by name, how many buffers it reads, and whether it has a start.

    Rows of a may be `gathered`, from some more than there are.
    """

    loops: dict[str, Loop[int]]
    touches: int
    has_start: bool
    gathered: Gathered = ""

    def memory(self, operand: str, dtype: str) -> "Memory":
        """Memory for an operand."""
        loops = [self.loops[name] for name in WALKS[operand]]
        more = [3 if (operand, name) == ("a", self.gathered_loop) else 0 for name in WALKS[operand]]
        extents = [loop.count + extra for loop, extra in zip(loops, more, strict=True)]
        return Memory.of(extents, [getattr(loop, operand) for loop in loops], dtype)

    @property
    def gathered_loop(self) -> str:
        return Contraction("f32", gathered=self.gathered).gathered_loop

    def order(self, rng: np.random.Generator) -> Array:
        """Random numbers for the rows that are gathered, and one behind them that is not read."""
        count = self.loops[self.gathered_loop].count if self.gathered else 0
        return np.append(rng.integers(0, count + 3, count), 1 << 30).astype(np.int32)

    def counts(self, *names: str) -> tuple[int, ...]:
        return tuple(self.loops[name].count for name in names)


LOOPS = (*BATCHES, *DEPTHS, "rows", "columns")


class Memory(Struct):
    """A view in memory that is NaN outside of the view's elements.

    `indices` are the places of the view's elements in `data`, and `address` is that of the first element.
    """

    indices: Array
    data: Array
    address: int

    @classmethod
    def of(cls, extents: list[int], strides: list[int], dtype: str) -> "Memory":
        indices = np.zeros((1,) * len(extents), np.int64)
        for axis, (extent, stride) in enumerate(zip(extents, strides, strict=True)):
            shape = [1] * len(extents)
            shape[axis] = extent
            indices = indices + (np.arange(extent) * stride).reshape(shape)
        first = MARGIN - int(indices.min(initial=0))
        size = int(indices.max(initial=0)) + first + 1 + MARGIN
        data = np.full(size, np.nan, ELEMENTS[dtype])
        return cls(indices + first, data, data.ctypes.data + first * data.itemsize)

    @property
    def values(self) -> Array:
        return self.data[self.indices]

    def fill(self, draw: Callable[[int], Array]) -> "Memory":
        is_used = np.zeros(len(self.data), bool)
        is_used[self.indices] = True
        self.data[is_used] = draw(np.count_nonzero(is_used))
        return self


def check_product(
    kernel: Kernel, dtype: str, machine: Machine, case: Case, rng: np.random.Generator, factor: str | None = None
) -> None:
    """Asserts that c is the start (or zero) plus the product, and that nothing outside of c and the memory for copies
    is written.

    The numbers are small integers, so that sums are exact in any order. `factor` is the type of a and b, by default
    that of the result.
    """

    def integers(count: int) -> Array:
        return rng.integers(-3, 4, count)

    memories = {name: case.memory(name, factor or dtype).fill(integers) for name in ("a", "b")}
    memories |= {"start": case.memory("start", dtype).fill(integers), "c": (c := case.memory("c", dtype))}
    batches, depth = case.counts(*BATCHES), math.prod(case.counts(*DEPTHS))
    left, order = memories["a"].values, case.order(rng)
    if case.gathered:
        left = left.take(order[:-1], WALKS["a"].index(case.gathered_loop))
    left = left.reshape(*batches, *case.counts("rows"), depth).astype(np.float64)
    right = memories["b"].values.reshape(*batches, depth, *case.counts("columns")).astype(np.float64)
    expected = c.data.copy()
    expected[c.indices] = left @ right + (memories["start"].values if case.has_start else 0)
    elements = machine.pack_elements(dtype)
    pack = np.full(elements + MARGIN, np.nan, FLOATS[dtype])
    call(kernel, case, memories, pack, order)
    assert c.data.tobytes() == expected.tobytes(), case
    assert pack[elements:].tobytes() == np.full(MARGIN, np.nan, pack.dtype).tobytes(), case


def call(kernel: Kernel, case: Case, memories: Mapping[str, Memory], pack: Array, order: Array | None = None) -> None:
    product = Product[int, int](
        **{name: memory.address for name, memory in memories.items()},
        pack=pack.ctypes.data,
        touched=(memories["c"].address,) * TOUCHED,
        order=memories["c"].address if order is None else order.ctypes.data,
        prefetched=(memories["a"].address, *range(prefetched.MOST - 1)),  # no memory lies there
        prefetched_bytes=tuple((case.touches == TOUCHED) * 100 * 3**i for i in range(prefetched.MOST)),
        has_start=int(case.has_start),
        touches=case.touches,
        **case.loops,
    )
    kernel.call(*product.pointers, *product.numbers)


def apart(rng: np.random.Generator, counts: Mapping[str, int]) -> dict[str, int]:
    """Strides of a c whose rows lie in any order, forwards or backwards, with gaps between them."""
    strides, step = {"columns": 1}, counts["columns"] + int(rng.integers(0, 3))
    for name in rng.permutation([*BATCHES, "rows"]):
        strides[str(name)] = step * int(rng.choice([1, 1, -1]))
        step = step * max(counts[str(name)], 1) + int(rng.integers(0, 3))
    return strides


def loops_of(counts: Mapping[str, int], strides: Mapping[str, Mapping[str, int]]) -> dict[str, Loop[int]]:
    """The loops by name, from their counts and the strides of each operand."""
    return {name: Loop(counts[name], *(strides[operand].get(name, 0) for operand in WALKS)) for name in LOOPS}


def random_case(rng: np.random.Generator, dtype: str, machine: Machine) -> Case:
    """Random counts around the borders of the tile, some of them zero.

    Strides are those of transposed, overlapping, repeated and reversed views.
    """
    tall, lanes = machine.tile_rows, machine.lanes(dtype)
    counts = {
        "rows": rng.choice([1, 2, 3, tall - 1, tall, tall + 1, tall + 2, 2 * tall + 1, MANY_ROWS, MANY_ROWS + 1]),
        "columns": rng.choice([1, lanes - 1, lanes, lanes + 1, 2 * lanes - 1, 2 * lanes, 2 * lanes + 1, 4 * lanes + 3]),
        "depth": rng.choice([1, 2, 3, 7, 8, 9]) if rng.random() < 0.95 else rng.choice([STRIP - 1, STRIP + 1]),
        "runs": rng.choice([1, 2, 3]),
        "turns": rng.choice([1, 2, 3]),
        **{name: rng.choice([1, 1, 2, 3]) for name in BATCHES},
    }
    touches = int(rng.integers(0, TOUCHED + 1))
    if rng.random() < 0.3:
        for name in rng.choice(list(counts), 2):
            counts[name] = 0
    counts = {name: int(number) for name, number in counts.items()}
    strides = {
        operand: {name: int(rng.choice([0, 1, int(rng.integers(-9, 10)), counts["columns"]])) for name in names}
        for operand, names in WALKS.items()
        if operand != "c"
    }
    strides["start"]["columns"] = 1
    strides["b"]["columns"] = int(rng.choice([1, 1, int(rng.integers(-9, 10))]))
    if strides["b"]["columns"] != 1:  # the panel is packed: one run of depth
        counts["runs"] = min(counts["runs"], 1)
    return Case(loops_of(counts, {**strides, "c": apart(rng, counts)}), touches, bool(rng.integers(0, 2)))


def plain_case(
    rows: int, columns: int, depth: int, runs: int = 1, b_is_transposed: bool = False, has_start: bool = False
) -> Case:
    """Contiguous matrices: [rows, runs * depth] times [runs * depth, columns].

    The second one may be the transpose of [columns, runs * depth].
    """
    counts = {**dict.fromkeys(LOOPS, 1), "rows": rows, "columns": columns, "depth": depth, "runs": runs}
    all_depth = runs * depth
    strides = {
        "a": {"rows": all_depth, "depth": 1, "runs": depth},
        "b": {"depth": columns, "columns": 1, "runs": depth * columns},
        "c": {"rows": columns, "columns": 1},
        "start": {"columns": 1},
    }
    if b_is_transposed:
        strides["b"] = {"depth": 1, "columns": all_depth, "runs": depth}
    return Case(loops_of(counts, strides), 0, has_start)


def paired_case(rows: int, panels: int, columns: int, pairs: int, a_row: int = 0, start_row: int | None = None) -> Case:
    """Rows of a times a b that has pairs already: an array [panels, pairs, columns, 2].

    Rows of a are `a_row` numbers apart, by default one behind another. Start is read if it has a `start_row`.
    """
    counts = {**dict.fromkeys(LOOPS, 1), "rows": rows, "columns": columns, "depth": 2, "runs": pairs, "inner": panels}
    strides = {
        "a": {"rows": a_row or 2 * pairs, "depth": 1, "runs": 2},
        "b": {"depth": 1, "columns": 2, "runs": 2 * columns, "inner": 2 * columns * pairs},
        "c": {"rows": panels * columns, "columns": 1, "inner": columns},
        "start": {"columns": 1, "rows": start_row or 0, "inner": columns},
    }
    return Case(loops_of(counts, strides), 0, start_row is not None)


def paired_cases(rng: np.random.Generator) -> Iterator[Case]:
    """Pairs around the borders of strips and tiles, panels of the width of tiles, and of others; rows of a that are
    read where they lie, and others that are copied."""
    for pairs in (1, 2, 15, 16, 17, 32, PACKED - 1, PACKED, PACKED + 1, 2 * PACKED + 16):
        for columns in (1, 3, 16, 32, 40, 64):
            for panels in (1, 3):
                rows = int(rng.integers(1, 60))
                yield paired_case(rows, panels, columns, pairs, 1024 * (pairs // 512 + 1) * int(rng.integers(0, 2)))
    for rows in (0, 1, 12, 24, 32, 48, 49, 192, 200):
        yield paired_case(rows, PANELS + 1, 32, 32, start_row=(rows % 5) * 600)
    yield paired_case(5, 2, 32, 0, start_row=64)  # no depth: c is written all the same
    spread = paired_case(7, 3, 32, 40, start_row=100)  # panels of c, or of start, that are not neighbours
    for field in ("c", "start"):
        moved = replace(spread.loops["inner"], **{field: 1000})
        yield replace(spread, loops={**spread.loops, "inner": moved})
    moved = replace(spread.loops["inner"], a=7 * 80)  # a moves with the panels
    yield replace(spread, loops={**spread.loops, "inner": moved})


def border_cases(dtype: str, machine: Machine) -> Iterator[Case]:
    """Counts around the borders of the tile.

    All rows up to two tiles, columns around the borders of vectors and their halves, each form of b, and depths and
    runs around a strip.
    """
    lanes = machine.lanes(dtype)
    for rows in range(2 * machine.tile_rows + 3):
        halves = range(lanes // 2, 4 * lanes + 1, lanes // 2)
        for columns in sorted({0, 1, 2, 3, *(half + j for half in halves for j in (-1, 0, 1))}):
            yield plain_case(rows, columns, (rows + columns) % 4, 1, bool(columns % 2), bool(rows % 2))
    for rows in (*range(1, 27), 48, 49):  # narrow tiles, with neighbours along the depth or the rows, and runs
        for columns in range(1, lanes // 4 + 1):
            for depth in (1, 3, 4, 9):
                case = plain_case(rows, columns, depth, 1 + depth % 3, False, bool(columns % 2))
                yield case
                loops = {"rows": replace(case.loops["rows"], a=1), "depth": replace(case.loops["depth"], a=rows)}
                yield replace(case, loops={**case.loops, **loops})
    yield from few_tiles(machine, dtype)
    for rows in range(1, 6):  # wide tiles
        for columns in (3 * lanes, 5 * lanes + 1, 8 * lanes - 1, 8 * lanes, 31 * lanes + 2, 32 * lanes + 1):
            yield plain_case(rows, columns, 3, 1 + rows % 2, has_start=bool(columns % 2))
    for depth in (STRIP - 1, STRIP, STRIP + 1, 2 * STRIP + 1):
        for transposed in (False, True):
            yield plain_case(machine.tile_rows + 1, machine.panel(dtype) + 1, depth, 1, transposed)
    for rows in range(
        2 * machine.tile_rows + 3, 6 * machine.tile_rows + 1
    ):  # several tiles, which prefetch in all ways
        case = plain_case(rows, 2 * machine.panel(dtype) + 1, 2 + rows % 3)
        yield case
        loops = {"rows": replace(case.loops["rows"], a=1), "depth": replace(case.loops["depth"], a=rows)}
        turns = Loop(2, rows * 4, 4 * case.loops["columns"].count, 0, 0)
        yield Case({**case.loops, **loops, "turns": turns}, rows % (TOUCHED + 1), has_start=False)
    for depth in (0, 1, lanes + 1, PACKED - 1, PACKED, PACKED + 1, 2 * PACKED + 1):  # packed, from many rows on
        for rows in (MANY_ROWS - 1, MANY_ROWS):
            yield plain_case(rows, 2 * machine.panel(dtype) + 1, depth, 1, has_start=bool(depth % 2))
            yield plain_case(rows, lanes, depth, 1)
    distant = DISTANT // (machine.vector_bytes // lanes * (PACKED + 1)) + 1  # columns of so many bytes
    for columns in (distant - 1, distant):  # a large b is walked in blocks for the rows of two tiles
        for rows in {machine.tile_rows, machine.tile_rows + 1, 2 * machine.tile_rows, 2 * machine.tile_rows + 1}:
            yield plain_case(rows, columns, PACKED + 1, 1, has_start=bool(columns % 2))
    yield from far_cases(machine, dtype)
    for rows in (MANY_ROWS, MANY_ROWS + machine.tile_rows - 1, BLOCK + 1, 2 * BLOCK + 2):  # rows of a are copied
        columns = MANY_PANELS * machine.panel(dtype) + 1
        case = plain_case(rows, columns, lanes + 1 if rows < BLOCK else PACKED + 3, has_start=True)
        case.loops["rows"] = replace(case.loops["rows"], a=1)
        case.loops["depth"] = replace(case.loops["depth"], a=rows + 2 * NEAR // (4 * lanes))
        yield case
    for depth in (PACKED // 2, PACKED // 2 + 1):  # and where they lie whole pages apart, if they are many
        case = plain_case(MANY_ROWS + 1, MANY_PANELS * machine.panel(dtype) + 1, depth)
        case.loops["rows"] = replace(case.loops["rows"], a=1)
        case.loops["depth"] = replace(case.loops["depth"], a=4096 // FLOATS[dtype]().itemsize)
        yield case
    yield from gradient_cases(machine, dtype)
    yield from turned_cases(machine, dtype)
    yield from weight_panels(machine, dtype)
    for rows, columns in ((8, 1), (9, 0), (9, 1), (16, 1), (17, 1), (BLOCK + 1, PANELS * machine.panel(dtype))):
        case = plain_case(rows, MANY_PANELS * machine.panel(dtype) + columns, PACKED + lanes + 1, has_start=rows > 16)
        case.loops["rows"] = replace(case.loops["rows"], a=4096 // FLOATS[dtype]().itemsize)  # rows of a share sets
        yield case
    yield plain_case(BLOCK + 1, PANELS * machine.panel(dtype) + 1, PACKED // 2)
    for runs in (2, STRIP // 5 - 1, STRIP // 5, STRIP // 5 + 1, STRIP + 1):
        yield plain_case(3, machine.panel(dtype) + 1, 5, runs, has_start=True)
        yield plain_case(3, machine.panel(dtype) + 1, 0, runs, has_start=True)


def gradient_cases(machine: Machine, dtype: str) -> Iterator[Case]:
    """Weight gradients whose tiles take one panel after another (across.py): whole panels and others, few and many; a
    strip of depth and two; one block of rows and two; and what their tiles prefetch."""
    tall, panel = machine.tile_rows, machine.panel(dtype)
    shapes = [(FEW_ROWS + 1, panel + 1, 1), (tall, 2 * panel, 0), (2 * tall + 1, 9 * panel + 3, 7)]
    shapes += [(3 * tall, 20 * panel, PACKED), (tall + 1, 10 * panel - 1, PACKED + 3), (BLOCK + 2, 3 * panel, 2)]
    for touches, (rows, columns, depth) in enumerate(shapes):
        case = plain_case(rows, columns, depth, has_start=bool(touches % 2))
        loops = {"rows": replace(case.loops["rows"], a=1), "depth": replace(case.loops["depth"], a=rows)}
        yield replace(case, loops={**case.loops, **loops}, touches=touches % (TOUCHED + 1))


def turned_cases(machine: Machine, dtype: str) -> Iterator[Case]:
    """Transposed weights whose rows are the rows of tiles (turned.py): as few and many rows of a as there may be, one
    block of columns and two, rows of b that lie whole pages apart, and a depth that just fits the copies or does not.
    """
    panel, lanes, page = machine.panel(dtype), machine.lanes(dtype), PAGE // FLOATS[dtype]().itemsize
    shapes = [(FEW_ROWS, 4 * panel, 3), (lanes // 2, 4 * panel + 1, 0), (lanes, BLOCK + 4 * panel + 3, PACKED + 5)]
    shapes += [(panel, 5 * panel - 1, 2), (panel + 1, 4 * panel, 9)]
    shapes += [(FEW_ROWS + 1, 4 * panel, 4 * PACKED - BLOCK + more) for more in (0, 1)]
    for rows, columns, depth in shapes:
        case = plain_case(rows, columns, depth, b_is_transposed=True)
        yield case
        case.loops["rows"] = replace(case.loops["rows"], c=columns + 3)
        case.loops["columns"] = replace(case.loops["columns"], b=-(-max(depth, 1) // page) * page)
        yield case


def far_cases(machine: Machine, dtype: str) -> Iterator[Case]:
    """A b that is walked in blocks (far_blocks.py): rows that are one stretch of memory, rows of one block that are
    not, and rows of two blocks; strips that end in one row of depth and in all but one; a tile and two for a panel."""
    tall, page = machine.tile_rows, PAGE // FLOATS[dtype]().itemsize
    for rows, columns, gap in ((FEW_ROWS + 1, page // 2, 0), (tall + 1, page - 1, 3), (2 * tall, page + 3, 0)):
        strip = PAGE // LINE * (2 if columns == page // 2 else 1)
        for depth in {DISTANT // PAGE * page // columns // strip * strip + end for end in (strip + 1, 2 * strip - 1)}:
            case = plain_case(rows, columns, depth, has_start=bool(depth % 4))
            case.loops["depth"] = replace(case.loops["depth"], b=columns + gap)
            if rows > tall + 1:  # rows of a lie a page apart, and are copied
                case.loops["rows"] = replace(case.loops["rows"], a=page)
            yield case


def weight_panels(machine: Machine, dtype: str) -> Iterator[Case]:
    """Panels of a weight that share a: of whole tiles and of others, with results or starts that do not lie side by
    side, and with rows of a that share sets of the caches."""
    tall, panel, page = machine.tile_rows, machine.panel(dtype), 4096 // FLOATS[dtype]().itemsize
    shapes = [(rows, panel, 2, 3) for rows in (FEW_ROWS, FEW_ROWS + 1, tall, tall + 1)]
    shapes += [(2 * tall + 1, width, 5, PACKED + 3) for width in (panel - 1, 2 * panel, 3 * panel)]
    shapes += [(tall + 3, panel, PANELS + 1, 2), (BLOCK + 1, panel, MANY_PANELS + 1, PACKED), (tall, panel, 2, 0)]
    shapes += [(tall + 1, panel, 2, STRIP + 1)]
    for rows, width, panels, depth in shapes:
        columns = panels * width
        case = plain_case(rows, width, depth, has_start=bool(rows % 2))
        loops = dict(case.loops)
        loops["rows"] = replace(loops["rows"], a=max(depth, page), c=columns, start=(rows % 3) * columns)
        for strides in ({}, {"c": rows * columns}, {"start": 0}, {"a": 1}):
            inner = {"a": 0, "b": depth * width, "c": width, "start": width, **strides}
            yield replace(
                case, loops={**loops, "inner": Loop(panels, **inner), "outer": Loop(2, 1, 5, rows * columns, 1)}
            )


def few_tiles(machine: Machine, dtype: str) -> Iterator[Case]:
    """Batches of small products, whose panels are copied some at a time."""
    tall, lanes = machine.tile_rows, machine.lanes(dtype)
    heights = (1, tall - 1, 2 * tall, 4 * tall)
    for batches, rows, depth in itertools.product((0, 1, 4, 9), heights, (1, PACKED // 4 + 1)):
        for columns, transposed in itertools.product((lanes + 1, 2 * lanes + lanes // 2), (False, True)):
            case = plain_case(rows, columns, depth, 1, transposed, bool(rows % 2))
            for loop in ("inner", "outer"):
                for b in (0, depth * columns):
                    loops = {**case.loops, loop: Loop(batches, rows * depth, b, rows * columns, rows % 3)}
                    yield replace(case, loops=loops)


def gathered_cases(gathered: Gathered, dtype: str, machine: Machine, rng: np.random.Generator) -> Iterator[Case]:
    """Products whose rows, or rows of depth, are gathered: around the borders of tiles, panels, blocks and strips, with
    either form of b, and memory whose rows are wider than the product's."""
    tall, panel, lanes = machine.tile_rows, machine.panel(dtype), machine.lanes(dtype)
    rows = [*range(3 * tall + 2), MANY_ROWS, 6 * tall + 1, BLOCK - 1, BLOCK + 1, 2 * BLOCK + 5]
    columns = [1, 3, lanes // 2, lanes, lanes + 1, panel, panel + 1, (MANY_PANELS + 1) * panel + 1]
    for i, count in enumerate(rows):
        for j, width in enumerate(columns):
            case = plain_case(count, width, (0, 1, 2, 7, PACKED + 1)[(i + j) % 5], 1, bool(i % 2), bool(j % 2))
            yield gathered_case(case, gathered, int(rng.integers(0, 4)), int(rng.integers(0, TOUCHED + 1)))
    for depth in (STRIP - 1, STRIP, STRIP + 1, 2 * STRIP + 1):
        for is_transposed in (False, True):
            case = plain_case(tall + 1, panel + 1, depth, 1, is_transposed)
            yield gathered_case(case, gathered, depth % 3, 1)
    for case in far_cases(machine, dtype):
        yield gathered_case(case, gathered, 1, 1)


def gathered_case(case: Case, gathered: Gathered, gap: int, touches: int) -> Case:
    """The same product of gathered rows, between which `gap` elements of memory are not read."""
    rows, depth = case.loops["rows"], case.loops["depth"]
    if gathered in ("depth", "copied depth"):
        loops = {"rows": replace(rows, a=1), "depth": replace(depth, a=rows.count + gap)}
    else:
        loops = {"rows": replace(rows, a=depth.count + gap)}
    return Case({**case.loops, **loops}, touches, case.has_start, gathered)


def check_bits_of_shares(kernel: Kernel, dtype: str, machine: Machine, factor: str | None = None) -> None:
    """Asserts that an element has the same bits wherever rows and columns are cut, whether b is packed or not.

    `factor` is the type of a and b, by default that of the result.
    """
    rows, depth = MANY_ROWS + machine.tile_rows + 3, STRIP + 100
    columns = MANY_PANELS * machine.panel(dtype) + 3  # so that rows of a are copied, but not of a part of the columns
    rng = np.random.default_rng(5)
    a = Memory.of([rows, depth], [depth, 1], factor or dtype).fill(rng.standard_normal)
    b = Memory.of([depth, columns], [columns, 1], factor or dtype).fill(rng.standard_normal)
    pack = np.empty(machine.pack_elements(dtype), FLOATS[dtype])

    def result(row_cuts: list[int], column_cuts: list[int]) -> bytes:
        c = Memory.of([rows, columns], [columns, 1], dtype)
        for top, bottom in zip([0, *row_cuts], [*row_cuts, rows], strict=True):
            for left, right in zip([0, *column_cuts], [*column_cuts, columns], strict=True):
                case = plain_case(bottom - top, right - left, depth)
                case.loops["rows"] = replace(case.loops["rows"], c=columns)
                case.loops["depth"] = replace(case.loops["depth"], b=columns)
                parts = {"a": replace(a), "b": replace(b), "c": replace(c), "start": replace(c)}
                parts["a"].address = a.address + top * depth * a.data.itemsize
                parts["b"].address = b.address + left * b.data.itemsize
                parts["c"].address = parts["start"].address = c.address + (top * columns + left) * pack.itemsize
                call(kernel, case, parts, pack)
        expected = a.values.astype(np.float64) @ b.values.astype(np.float64)
        np.testing.assert_allclose(c.values, expected, atol=1e-3 if dtype == "f32" else 1e-11)
        return c.data.tobytes()

    for row_cuts, column_cuts in (([1], []), ([machine.tile_rows], [1]), ([2, 5], [machine.lanes(dtype) + 1])):
        assert result(row_cuts, column_cuts) == result([], [])


def check_bits_of_pairs(kernel: Kernel, machine: Machine) -> None:
    """Asserts that a b that has pairs already gives the bits of one that is copied into pairs."""
    rng, panels, width = np.random.default_rng(6), 3, 32
    for pairs in (16, 40, PACKED + 48):
        rows, columns = 29, panels * width
        paired, plain = paired_case(rows, panels, width, pairs), plain_case(rows, columns, 2 * pairs)
        b = plain.memory("b", "bf16").fill(rng.standard_normal)
        ready, c = paired.memory("b", "bf16"), paired.memory("c", "f32")
        at = np.moveaxis(b.values.reshape(pairs, 2, panels, width), 2, 0)
        ready.data[ready.indices.reshape(at.shape)] = at
        a = paired.memory("a", "bf16").fill(rng.standard_normal)
        pack, results = np.empty(machine.pack_elements("f32"), np.float32), []
        for case, right in ((paired, ready), (plain, b)):
            call(kernel, case, {"a": a, "b": right, "c": c, "start": c}, pack)
            results.append(c.data.tobytes())
            c.data[:] = np.nan
        assert results[0] == results[1]


def check_registers(assembly: str, machine: Machine, dtype: str) -> None:
    """Asserts that the loop of each tile keeps its sums in registers: all of its multiply-adds, and no stack."""
    operation = r"\bvfmadd" if machine.has_fma else r"\bmulp[sd]\b"
    blocks = re.split(r"^\S+:|^\s+j\w+\s", assembly, flags=re.MULTILINE)
    loops = [block for block in blocks if re.search(operation, block)]
    every = [*all_sizes(machine), *copying_sizes(machine), *far_sizes(machine, False)]
    sizes = [size.height * size.vectors for size in every]
    sizes += narrow_operations(machine, dtype)
    assert sorted(len(re.findall(operation, block)) for block in loops) == sorted(sizes)
    assert not any("%rsp" in block for block in loops)


# Types alternate, and every second pair has both: among them the narrowest vectors, of two numbers.
PAIRS = [(target, dtype) for i, target in enumerate(TARGETS) for dtype in list(FLOATS)[:: 1 if i % 2 else -1]]


@pytest.mark.every(2)
@pytest.mark.parametrize(("target", "dtype"), PAIRS)
def test_the_product_kernel(target: str, dtype: str) -> None:
    """One test for all targets and cases, because the kernel takes seconds to compile."""
    machine = machine_for(target)
    kernel = Kernel(source_of(Contraction(dtype)), machine)
    check_instructions(target, kernel.assembly)
    check_stores(machine, kernel.assembly)
    check_registers(kernel.assembly, machine, dtype)
    assert ("fmadd" in kernel.assembly) == machine.has_fma
    assert ("%zmm" in kernel.assembly) == (machine.vector_bytes == 64)
    rng = np.random.default_rng(3)
    for case in border_cases(dtype, machine):
        check_product(kernel, dtype, machine, case, rng)
    for _ in range(400):
        check_product(kernel, dtype, machine, random_case(rng, dtype, machine), rng)
    check_bits_of_shares(kernel, dtype, machine)


GATHERED: list[Gathered] = ["rows", "depth", "copied depth"]
# Of every fourth each has another target or type, or is gathered otherwise.
GATHERED_PAIRS = [
    (target, dtype, gathered)
    for i, target in enumerate(TARGETS)
    for dtype in list(FLOATS)[:: 1 if i % 2 else -1]
    for gathered in GATHERED[:: -1 if i % 4 in (1, 2) else 1]
]


@pytest.mark.every(4)
@pytest.mark.parametrize(("target", "dtype", "gathered"), GATHERED_PAIRS)
def test_products_of_gathered_rows(target: str, dtype: str, gathered: Gathered) -> None:
    machine = machine_for(target)
    kernel = Kernel(source_of(Contraction(dtype, gathered=gathered)), machine)
    check_instructions(target, kernel.assembly)
    rng = np.random.default_rng(6)
    for case in gathered_cases(gathered, dtype, machine, rng):
        check_product(kernel, dtype, machine, case, rng)


@pytest.mark.parametrize("gathered", GATHERED)
def test_gathered_rows_have_the_bits_of_copied_ones(gathered: Gathered) -> None:
    machine, rng = host(), np.random.default_rng(7)
    for rows, columns, depth in ((64, 128, 300), (7, 20, 65)):
        case = gathered_case(plain_case(rows, columns, depth), gathered, 3, 0)
        copied = replace(case, gathered="")
        memories = {name: case.memory(name, "f32").fill(rng.standard_normal) for name in ("a", "b", "start")}
        order, axis = case.order(rng), WALKS["a"].index(case.gathered_loop)
        in_order = copied.memory("a", "f32")
        in_order.data[in_order.indices] = memories["a"].values.take(order[:-1], axis)
        pack, bits = np.zeros(machine.pack_elements("f32"), np.float32), set()
        for product, a in ((case, memories["a"]), (copied, in_order)):
            kernel = Kernel(source_of(Contraction("f32", gathered=product.gathered)), machine)
            c = product.memory("c", "f32")
            call(kernel, product, {**memories, "a": a, "c": c}, pack, order)
            bits.add(c.data.tobytes())
        assert len(bits) == 1


@pytest.mark.parametrize("dtype", FLOATS)
def test_the_product_kernel_of_the_host(dtype: str) -> None:
    """What a kernel copies and prefetches depends on the processor too, not on its instruction sets alone."""
    machine = host()
    kernel = Kernel(source_of(Contraction(dtype)), machine)
    rng = np.random.default_rng(4)
    for case in border_cases(dtype, machine):
        check_product(kernel, dtype, machine, case, rng)
    check_bits_of_shares(kernel, dtype, machine)


@pytest.mark.long
@pytest.mark.parametrize("gathered", ["", "rows"])
def test_a_few_rows_and_a_b_that_comes_from_memory(gathered: Gathered) -> None:
    machine, rng, columns = host(), np.random.default_rng(8), PAGE // 4 * 2 + 5
    kernel = Kernel(source_of(Contraction("f32", gathered=gathered)), machine)
    for rows in (1, 2, FEW_ROWS):
        case = plain_case(rows, columns, (32 << 20) // 4 // columns + 2, has_start=True)
        check_product(kernel, "f32", machine, gathered_case(case, gathered, 1, 0) if gathered else case, rng)
