"""The product kernel: the register tile and the loops around it, generic in shape, compiled once for all models.

    c[i, j] = start[i, j] + sum over k of a[i, k] * b[k, j]

product.py describes the arguments. The depth may be three loops: k runs within a run (the bytes that a window's row
holds), runs follow one another in registers (the rows of a window), and around both a loop adds to c in memory (the
samples of a batch). So a convolution is this kernel on a view of its input, with nothing copied.

If the columns of b are not neighbours (a transposed weight), `pack_panel` copies one panel of b at a time. It also does
if the rows of b are far apart, and a has enough rows for it: rows 2,048 bytes apart share a few sets of the first cache
and take a page for every two, so that a panel that lies strided is read from the second cache again for each tile.
While a panel is multiplied, the next one is prefetched. While a tile is summed, the buffers that will be written next
at the offsets of c are prefetched: another core may hold those lines, and the tile leaves the memory idle.

Every element of c is written, whatever the counts: with no depth it is `start`, or zero. A caller can therefore add
up shards some of which have no samples. An element's sum runs over the depth in order, whatever tile it falls in: the
bits do not depend on how rows are shared out.
"""

from functools import partial
from typing import Any, NamedTuple

from numba import types

from netc.compiler.program.product import ProductWords
from netc.compiler.targets.cpu.jit import jit_for
from netc.compiler.targets.cpu.memory import load, store
from netc.compiler.targets.cpu.tile import TileWords, move, tile, touch, transpose
from netc.compiler.targets.machine import MANY_ROWS, PACKED, STRIP, VECTORS, Machine

_OPTIONS = {"nogil": True, "error_model": "numpy"}
# the type of the kernel's only argument: Numba flattens it to the words of product.py, in their order
ARGUMENT = types.NamedUniTuple(types.int64, len(ProductWords._fields), ProductWords)


class _PanelWords(NamedTuple):
    """The product of all rows of a with one panel of b: addresses and strides as in a tile.

    `touched` are the addresses of buffers that will be written next, `touches` their number; `ahead` is the address
    of the panel that comes next, or 0, and `ahead_row` how far its rows are apart.
    """

    a: Any
    a_row: Any
    a_step: Any
    a_run: Any
    b: Any
    b_row: Any
    b_run: Any
    c: Any
    c_row: Any
    start: Any
    start_row: Any
    has_start: Any
    rows: Any
    runs: Any
    depth: Any
    columns: Any
    touched: Any
    touches: Any
    ahead: Any
    ahead_row: Any


class _StripWords(NamedTuple):
    """A strip of a product: at most STRIP rows of depth, of `together` runs from `run` on, or of those that are left.

    `start` is where its sums begin: the product's start, or c after the first strip. `runs` are all runs of the
    product.
    """

    a: Any
    b: Any
    c: Any
    start: Any
    start_row: Any
    has_start: Any
    together: Any
    runs: Any
    run: Any
    depth: Any
    packs: Any


def product(dtype: str, machine: Machine) -> Any:
    """Returns the kernel for an element type: a Python function of ProductWords, ready for Numba."""
    size = 4 if dtype == "f32" else 8
    multiply_strip = jit_for(machine)(_multiply_strip(dtype, machine), **_OPTIONS, inline="always")

    def run(n):
        turns, runs, depth = n.turns_count, n.runs_count, n.depth_count
        if turns == 0 or runs == 0 or depth == 0:  # no products, as in a shard of no samples: c is written all the same
            turns, runs, depth = 1, 1, 0
        packs = n.columns_b != 1 or (n.pack != n.c and runs == 1 and n.rows_count >= MANY_ROWS)
        strips = max(1, -(-depth // (PACKED if packs else STRIP)))
        most = max(
            1, -(-depth // (16 * strips)) * 16
        )  # about equal: a short strip reads and writes c as a long one does
        # the runs that one tile takes: their panel must fit into the second cache
        together = min(runs, max(1, STRIP // max(depth, 1)))
        for m in range(n.outer_count * n.middle_count):
            p, q = m // n.middle_count, m % n.middle_count
            for i in range(n.inner_count):
                a = n.a + (p * n.outer_a + q * n.middle_a + i * n.inner_a) * size
                b = n.b + (p * n.outer_b + q * n.middle_b + i * n.inner_b) * size
                c = n.c + (p * n.outer_c + q * n.middle_c + i * n.inner_c) * size
                start = n.start + (p * n.outer_start + q * n.middle_start + i * n.inner_start) * size
                is_first = True
                for turn in range(turns):
                    for r in range(0, runs, together):
                        k = 0
                        while k == 0 or k < depth:
                            deep = min(most, depth - k)
                            first, first_row, has_first = (
                                (start, n.rows_start, n.has_start) if is_first else (c, n.rows_c, 1)
                            )
                            is_first = False
                            a_strip = a + (turn * n.turns_a + r * n.runs_a + k * n.depth_a) * size
                            b_strip = b + (turn * n.turns_b + r * n.runs_b + k * n.depth_b) * size
                            strip = _StripWords(
                                a_strip, b_strip, c, first, first_row, has_first, together, runs, r, deep, packs
                            )
                            multiply_strip(n, strip)
                            k += most

    return run


def _multiply_strip(dtype: str, machine: Machine) -> Any:
    """multiply_strip(ProductWords(...), _StripWords(...)): one panel of b after another."""
    size, width = (4 if dtype == "f32" else 8), machine.panel(dtype)
    jit = partial(jit_for(machine), **_OPTIONS)
    multiply_panel, pack_panel = jit(_multiply_panel(dtype, machine)), jit(_pack_panel(dtype, machine))

    def multiply_strip(n, strip):
        j = 0
        while j < n.columns_count:
            columns = min(width, n.columns_count - j)
            panel, panel_row = strip.b + j * n.columns_b * size, n.depth_b
            ahead = panel + width * size if n.columns_count - j > width and strip.runs == 1 else 0
            if strip.packs:
                pack_panel(n.pack, panel, n.depth_b, n.columns_b, strip.depth, columns)
                panel, panel_row, ahead = n.pack, width, ahead if n.columns_b == 1 else 0
            moved = strip.c - n.c + j * size
            words = _PanelWords(
                strip.a,
                n.rows_a,
                n.depth_a,
                n.runs_a,
                panel,
                panel_row,
                n.runs_b,
                strip.c + j * size,
                n.rows_c,
                strip.start + j * size,
                strip.start_row,
                strip.has_start,
                n.rows_count,
                min(strip.together, strip.runs - strip.run),
                strip.depth,
                columns,
                (n.touch_1 + moved, n.touch_2 + moved, n.touch_3 + moved),
                n.touches,
                ahead,
                n.depth_b,
            )
            multiply_panel(words)
            j += width

    return multiply_strip


def _multiply_panel(dtype: str, machine: Machine) -> Any:
    """multiply_panel(_PanelWords(...)), written as text: tiles take the rows, the tallest tile as long as it fits."""
    size, lanes, tallest = (4 if dtype == "f32" else 8), machine.lanes(dtype), machine.tile_rows
    heights = sorted({tallest, *(rows for rows in (8, 6, 4, 2, 1) if rows < tallest)}, reverse=True)
    names: dict[str, Any] = {
        "TileWords": TileWords,
        "fetch": touch(1, VECTORS, dtype, machine, is_written=False),
    }
    lines = [
        "def multiply_panel(n):",
        "    i = 0",
        "    share = n.depth // n.rows + 1 if n.ahead else 0",  # rows of the next panel that are fetched for each row
        "    fetched = 0",
    ]
    for rows in heights:
        names[f"touch_{rows}"] = touch(rows, VECTORS, dtype, machine, is_written=True)
        names[f"wide_{rows}"] = tile(rows, VECTORS, dtype, machine)
        names[f"narrow_{rows}"] = tile(rows, 1, dtype, machine)
        words = (
            f"TileWords(n.a + i * n.a_row * {size}, n.a_row, n.a_step, n.a_run, n.b, n.b_row, n.b_run,"
            f" n.c + i * n.c_row * {size}, n.c_row, n.start + i * n.start_row * {size}, n.start_row, n.has_start,"
            f" n.runs, n.depth, n.columns)"
        )
        lines += [
            f"    while n.rows - i >= {rows}" + (f" and n.rows - i != {rows + 2}:" if rows == tallest else ":"),
            "        for number in range(n.touches):",
            f"            touch_{rows}(n.touched[number] + i * n.c_row * {size}, n.c_row)",
            f"        for k in range(fetched, min(fetched + {rows} * share, n.depth)):",
            f"            fetch(n.ahead + k * n.ahead_row * {size}, 0)",
            f"        fetched += {rows} * share",
            f"        if n.columns > {lanes}:",
            f"            wide_{rows}({words})",
            "        else:",
            f"            narrow_{rows}({words})",
            f"        i += {rows}",
        ]
    exec("\n".join(lines), names)
    return names["multiply_panel"]


def _pack_panel(dtype: str, machine: Machine) -> Any:
    """pack_panel(to, b, b_row, b_column, depth, columns): copies a panel of b so that its columns are neighbours, and
    its rows follow one another."""
    size, lanes, width = (4 if dtype == "f32" else 8), machine.lanes(dtype), machine.panel(dtype)
    transpose_square, element, put = transpose(dtype, machine), load(dtype, 0), store(dtype, 1)
    move_half, move_row = move(1, dtype, machine), move(VECTORS, dtype, machine)

    def pack_panel(to, b, b_row, b_column, depth, columns):
        if b_column == 1:  # as tiles do, this reads past the last column
            for k in range(depth):
                if columns > lanes:
                    move_row(b + k * b_row * size, to + k * width * size)
                else:
                    move_half(b + k * b_row * size, to + k * width * size)
            return
        in_squares = columns // lanes * lanes if b_row == 1 else 0
        for j in range(0, in_squares, lanes):  # the last square reads past the depth; no tile takes those rows
            for k in range(0, depth, lanes):
                transpose_square(b + (k + j * b_column) * size, b_column, to + (k * width + j) * size, width)
        for j in range(in_squares, columns):
            for k in range(depth):
                put(to, k * width + j, element(b, k * b_row + j * b_column))

    return pack_panel
