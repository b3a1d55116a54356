"""The product kernel: the register tile and the loops around it, generic in shape, compiled once for all models.

    c[i, j] = start[i, j] + sum over k of a[i, k] * b[k, j]

program/product.py describes the arguments. The loops, from the outside, with the functions that write them:

    for batch in outer, middle, inner:
        for strip in turns, runs, depth:                 # multiply_strips: some rows of depth
            for group in columns:                        # write_strip: PANELS panels of b
                for block in rows:                       #   and BLOCK rows of a
                    for panel in group:                  # write_panel: VECTORS vectors of columns
                        for tile in block:               # panel_kernel.py: tile_rows rows
                            for run, k in strip:         # tile.py: sums in registers
                                c[tile, panel] += a[tile, k] * b[k, panel]

Three loops over the depth make a convolution this kernel on a view of its input, with nothing copied: k runs within the
bytes that a window's row holds, `runs` over the rows of a window, and `turns` over the samples of a batch. The tile
walks k and runs; a turn adds to c in memory, but in a product of a few tiles, whose sums stay in registers over all
turns: those of a convolution in groups or with a dilation. The loops are written in LLVM's terms. Their variables lie
in one record, of which every function takes the address. Some kinds of products have other loops:

- small ones, whose batches are a few tiles each, such as heads of attention or narrow layers: few_tiles.py
- batches that are panels of a weight, such as that of a recurrence: they become one product (weight_panels.py)
- batches of one panel each, such as small images: what they share is set once, before the loops over batches
  (multiply_single_panels), because each of them takes less time than the loops around strips
- those of a few rows and a large b, which wait for b: strips are shorter and groups are wider (far_blocks.py)
- those of a few rows and a transposed b: both operands change places (turned.py)
- gradients of weights: tiles take one panel after another, then the next rows (across.py)

Copies. Operands are copied into the order in which tiles read them (packing.py) where that pays:

- a panel of b, if its columns are not neighbours (a transposed weight); or if a has many rows (`Machine.packing_rows`;
  those of two tiles if b is so large that it comes from the last cache or from memory, and is not walked in blocks,
  because a copy prefetches it in time, `Machine.distant_rows`) and the rows of b are many and far apart, so that they
  share a few sets of the first cache and need a page for every two; not if tiles go across all panels. It stays in the
  first cache, and the copies of a group in the second. With a single block of rows, every panel is copied to the same
  memory. If columns are neighbours, the first tile copies the panel while it multiplies it (`tile.COPY`): products of
  60 to 128 rows were measured to be 4 to 9% faster on Zen 4 than with a loop that copies, those of 32 rows by 4 MiB
  27%.
- a block of rows of a, if the rows are neighbours (a weight's gradient) and a is large, because each step of depth then
  reads another page: on CPUs that do not prefetch pages in time (`Machine.packs_rows`), and on all if the rows share
  a few sets of the caches. With AVX-512 also if its columns are neighbours and its rows lie whole pages apart, as those
  of a layer of 1,024 or 2,048 units do (`Machine.copies_sharing_rows`), and if a tile takes more of them than a set has
  lines: such products of 12 to 64 rows were measured to be 5 to 10% faster, and those of 16 (two tiles of 8) slower.

A product of a few rows takes as long as reading b, so panels are then as wide as low tiles allow, unless b is walked in
blocks. A panel of a few columns is multiplied by narrow tiles (narrow_tile.py). One call of a tile function multiplies
several tiles, so that few instructions lie between them: a processor finishes the sums of the first while it begins the
second. What remains are stores, and on Zen 4 each takes the time of one or two multiply-adds.

Prefetches. While a panel is multiplied, the next one is prefetched, or, if panels are copied, the one behind it: a copy
reads a panel at once, and needs it in the second cache by then. While a strip of a weight's gradient is multiplied,
the next strip, whose operands were computed long before. The first tiles of a strip prefetch the rows of a behind them.
Also prefetched are rows of c below a tile, and buffers that will be written next at the offsets of c: another core may
have those lines, and the tile leaves the memory idle. Tiles do so line by line, one at each row of depth. Many at once
would occupy all that a core has for lines on their way, so that the loads of operands wait, and a call could not have
several tiles, which pays for small ones: with many at once, weight gradients of 64 and 128 rows of depth were measured
to be 3 to 7% slower on Zen 4, products with weights out of the last cache 5 to 25%.

A gathered operand a is read directly, by the numbers of its rows (tile_operand.py), without narrow tiles and prefetches
of its next rows: products gather only what stays in the second cache. If a product would copy its rows in any case
(`Machine.packs_rows`), it is gathered while it is copied (a "copied depth"), and tiles read the copy.

Every element of c is written, whatever the counts: with no depth it is `start`, or zero. A caller can therefore add
up shards some of which have no samples. An element's sum runs over the depth in order, whatever tile it falls in: the
bits do not depend on how rows are shared out.
"""

from typing import Any

from llvmlite import ir

from netc.compiler.program.kernels import Gathered
from netc.compiler.program.product import BATCHES
from netc.compiler.targets.cpu.llvm.function import Word, at_least, at_most
from netc.compiler.targets.cpu.llvm.vectors import Lanes
from netc.compiler.targets.cpu.products import far_blocks, later
from netc.compiler.targets.cpu.products.narrow_tile import multiply_narrow
from netc.compiler.targets.cpu.products.packing import copy_rows, pack_rows
from netc.compiler.targets.cpu.products.panel_kernel import FIELDS
from netc.compiler.targets.cpu.products.tile_operand import NUMBER
from netc.compiler.targets.cpu.products.tile_sizes import FEW_ROWS, panel_columns, rows_of_next
from netc.compiler.targets.cpu.products.turned import TurnedKernel
from netc.compiler.targets.machine import (
    BLOCK,
    DISTANT,
    LINE,
    MANY_PANELS,
    MANY_ROWS,
    NEAR,
    PACKED,
    PANELS,
    PANELS_AHEAD,
    SLACK,
    STRIP,
    VECTORS,
    WAYS,
    Machine,
)

_FEW_PAGES = 128  # rows of depth, a page each, for which a block of rows of a stays in the second cache


def product(symbol: str, dtype: str, machine: Machine, gathered: Gathered = "") -> Any:
    """Returns an LLVM module with the kernel for "f32" or "f64": the function `symbol`, which takes the address of the
    arguments of program/product.py, an int64 each."""
    module = ir.Module(symbol)
    _Kernel(module, symbol, Lanes(dtype, machine), gathered).write()
    return module


class _Kernel(TurnedKernel):
    """Writes the kernel's functions into a module."""

    def __init__(self, module: Any, symbol: str, lanes: Lanes, gathered: Gathered) -> None:
        self.pack_rows = pack_rows(module, lanes, gathered == "copied depth")
        may_copy = lanes.machine.copies_sharing_rows and not gathered
        self.copy_rows = copy_rows(module, lanes) if may_copy else None
        self.multiply_narrow = None if gathered else multiply_narrow(module, lanes, FIELDS)
        super().__init__(module, symbol, lanes, gathered)

    def write_strips(self) -> None:
        """Writes the loops of few_tiles.py and the others, and the test that chooses between them."""
        turns, runs, depth = self.counts()
        if self.copies_gathered:
            self.multiply_many_tiles(turns, runs, depth)
            return
        with self.run.builder.if_else(self.has_few_tiles(turns, runs, depth).value) as (few, many):
            with few:
                self.multiply_few_tiles(turns, runs, depth)
            with many:
                self.multiply_turned_or_many(turns, runs, depth)

    def multiply_turned_or_many(self, turns: Word, runs: Word, depth: Word) -> None:
        """The loops of turned.py, or the others."""
        self.words["row_step"] = 0
        if self.gathered:
            self.multiply_many_tiles(turns, runs, depth)
            return
        with self.run.builder.if_else(self.is_turned(turns, runs, depth).value) as (turned, plain):
            with turned:
                self.multiply_turned(depth)
            with plain:
                self.multiply_many_tiles(turns, runs, depth)

    def multiply_many_tiles(self, turns: Word, runs: Word, depth: Word) -> None:
        """The loops around strips, or, if each batch is a panel, around panels."""
        words, run = self.words, self.run
        self.join_panels()
        self.choose_sizes(runs, depth)
        later.begin(words, self.depths(turns * runs * depth))
        words["tile"], words["turns_in_tile"] = 0, 1
        is_single = self.is_single_panel(turns, runs, depth)
        with run.when(is_single):
            self.multiply_single_panels(turns, runs, depth)
        with run.when(~is_single):
            self.multiply_strips(turns, runs, depth)

    def depths(self, depth: Word) -> Word:
        """The rows of depth of all tiles of a call that prefetch for later ones, each of which has `depth`."""
        words, tall = self.words, self.lanes.machine.tile_rows
        batches = words["outer_count"] * words["middle_count"] * words["inner_count"]
        rows, panels = (words["rows_count"] + tall - 1) // tall, (words["columns_count"] + self.width - 1) // self.width
        copying = words["packs_b"] * words["columns_b"].equals(1).choose(1, 0)
        return batches * (rows - copying) * panels * depth

    def is_single_panel(self, turns: Word, runs: Word, depth: Word) -> Word:
        """Whether each turn is one strip, one panel, and one block of rows, which is not copied.

        There may be several turns if they have runs: the next strip is then not prefetched.
        """
        words = self.words
        has_runs = (runs > 1) & words["packs_b"].equals(0)
        is_strip = (turns.equals(1) | has_runs) & (runs <= words["together"]) & (depth <= words["most"])
        is_block = (words["rows_count"] <= BLOCK) & (words["columns_count"] <= self.width)
        return is_strip & is_block & words["packs_a"].equals(0)

    def multiply_single_panels(self, turns: Word, runs: Word, depth: Word) -> None:
        """The loops over batches and turns, each of which is one panel.

        All that they share is set before them, because small products take less time than the loops around strips.
        """
        words, run = self.words, self.run
        words["runs"], words["depth"] = runs, depth
        words["rows"], words["columns"], words["a_row"] = words["rows_count"], words["columns_count"], words["rows_a"]
        packs_b = words["packs_b"].equals(1)
        words["panel_row"], words["panel_run"] = packs_b.choose(self.width, words["depth_b"]), words["runs_b"]
        words["lines"] = words["next_a"] = words["ahead"] = words["next_rows"] = 0
        words["is_cold"] = words["rows_a"].equals(1).choose(1, 0) if not self.gathered else 0
        self.find_next_strip(words["a"], words["b"], turns - 1, words["most"])
        is_narrow, is_same = self.is_narrow(words["columns"]), self.is_same_for_batches("b")

        def pack(b: Word) -> None:
            strides = (words["depth_b"], words["columns_b"])
            self.pack_panel(run, words["pack"], b, *strides, depth, words["columns"])

        with run.when(packs_b & is_same):
            pack(words["b"])
        with self.batches() as (a, b, c, start):
            with run.when(packs_b & ~is_same):
                pack(b)
            words["panel_c"] = words["strip_c"] = c
            words["panel_start"], words["start_row"] = start, words["rows_start"]
            words["reads_start"] = words["has_start"]
            with run.loop(0, turns) as turn:
                at = {"turns": turn.index}
                words["strip_a"], words["strip_order"] = a + self.moved("a", at), words["order"]
                words["block_a"], words["lines"] = self.address_of_a(words["strip_a"], run.number(0)), 0
                words["panel"] = packs_b.choose(words["pack"], b + self.moved("b", at))
                words["touching"] = (turn.index + 1).equals(turns).choose(words["touches"], 0)
                self.multiply(is_narrow)
                words["panel_start"], words["start_row"], words["reads_start"] = c, words["rows_c"], 1

    def is_same_for_batches(self, operand: str) -> Word:
        """Whether an operand is the same in all batches."""
        outer, middle, inner = (self.words[f"{loop}_{operand}"].equals(0) for loop in BATCHES)
        return outer & middle & inner

    def multiply_strips(self, turns: Word, runs: Word, depth: Word) -> None:
        """The loops over batches and their strips."""
        words, run = self.words, self.run
        together, most = words["together"], words["most"]
        with self.batches() as (a, b, c, start):
            words["is_first"], words["next_a"], words["lines"] = 1, 0, 0
            with (
                run.loop(0, turns) as turn,
                run.loop(0, runs, together) as r,
                run.loop(0, at_least(depth, 1), most) as k,
            ):
                strip = {"turns": turn.index, "runs": r.index, "depth": k.index}
                is_first = words["is_first"].equals(1)
                words["is_first"] = 0
                words["strip_a"], words["strip_b"] = a + self.moved("a", strip), b + self.moved("b", strip)
                if self.gathered in ("depth", "copied depth"):
                    words["strip_a"], words["strip_order"] = a, words["order"] + k.index * NUMBER
                words["strip_c"], words["strip_start"] = c, is_first.choose(start, c)
                words["start_row"] = is_first.choose(words["rows_start"], words["rows_c"])
                words["reads_start"] = is_first.choose(words["has_start"], 1)
                self.find_next_strip(a, b, turn.index, k.index + most)
                words["runs"] = at_most(together, runs - r.index)
                words["depth"] = at_most(most, depth - k.index)
                words["depth_left"] = depth - k.index - words["depth"]
                self.write_strip()

    def choose_sizes(self, runs: Word, depth: Word) -> None:
        """Sets which operands are copied (`packs_a`, `packs_b`), the rows of depth of a strip (`most`) and its runs."""
        words, run = self.words, self.run
        may_copy = ~words["pack"].equals(words["c"]) & runs.equals(1)
        is_spread = words["rows_a"].equals(1) & (depth * words["depth_a"] > 2 * NEAR // self.size)
        is_slow = is_spread if self.lanes.machine.packs_rows else is_spread & self.shares_sets(depth)
        has_many_panels = words["columns_count"] > MANY_PANELS * self.width
        packs_a = (words["rows_count"] >= MANY_ROWS) & is_slow
        if self.copy_rows is not None:
            is_tall = rows_of_next(words["rows_count"], self.lanes.machine.tile_rows) > WAYS
            packs_a = packs_a | (words["depth_a"].equals(1) & self.lie_pages_apart("rows_a") & is_tall)
        packs_a = packs_a & may_copy & has_many_panels
        if self.gathered:
            packs_a = run.number(int(self.copies_gathered)).equals(1)
        is_far = (words["depth_b"] > self.width) & (depth * words["depth_b"] > NEAR // self.size)
        is_far = is_far & words["panel_b"].equals(0)
        is_distant = depth * words["columns_count"] > DISTANT // self.size
        rows, machine = words["rows_count"], self.lanes.machine
        is_between = (rows >= machine.distant_rows.start) & (rows < machine.distant_rows.stop)
        has_many = (rows >= machine.packing_rows) | (is_distant & is_between)
        packs_b = ~words["columns_b"].equals(1) | (may_copy & is_far & has_many)
        words["packs_a"], words["packs_b"] = packs_a.choose(1, 0), packs_b.choose(1, 0)
        limit = (packs_a | packs_b | (is_spread & has_many_panels)).choose(PACKED, STRIP)
        words["most"], words["together"] = at_least(depth, 1), 1
        with run.when(depth > limit):  # about equal: a short strip reads and writes c as a long one does
            strips = (depth + limit - 1) // limit
            words["most"] = (depth + strips * 16 - 1) // (strips * 16) * 16
        with run.when(runs > 1):  # the runs that one tile takes: their panel must fit into the second cache
            words["together"] = at_least(at_most(runs, run.number(STRIP) // at_least(depth, 1)), 1)
        words["block_columns"] = PANELS * self.width
        words["in_blocks"] = words["next_pieces"] = words["piece"] = words["copy"] = 0
        if self.walks_blocks:
            far_blocks.begin(run, words, self.lanes, depth, runs.equals(1), self.gathered == "rows")
        if self.goes_across:
            self.choose_across(runs)

    def shares_sets(self, depth: Word) -> Word:
        """Whether the rows of a's depth lie whole pages apart, and are too many for the few sets of the caches that
        they then share."""
        return self.lie_pages_apart("depth_a") & (depth > _FEW_PAGES)

    def write_strip(self) -> None:
        """The loops over groups of panels, and in each over blocks of rows, which use the same copies of panels."""
        words, run, size = self.words, self.run, self.size
        packs_a, count = words["packs_a"].equals(1), words["rows_count"]
        columns = words["block_columns"]
        with run.loop(0, words["columns_count"], columns) as group, run.loop(0, count, BLOCK) as top:
            far_blocks.find_next(run, words, size, group.index)
            rows = at_most(count - top.index, BLOCK)
            source = self.address_of_a(words["strip_a"], top.index)
            words["rows"], words["block_a"] = rows, packs_a.choose(words["pack"], source)
            words["block_c"] = words["strip_c"] + top.index * words["rows_c"] * size
            words["block_start"] = words["strip_start"] + top.index * words["start_row"] * size
            words["a_row"] = packs_a.choose(1, words["rows_a"])
            is_across = words["rows_a"].equals(1)
            with run.when(packs_a & is_across):
                order = words["strip_order"] if self.copies_gathered else source
                self.pack_rows(run, words["pack"], source, words["depth_a"], rows, words["depth"], order)
            if self.copy_rows is not None:
                with run.when(packs_a & ~is_across):
                    words["a_row"] = words["depth"]
                    self.copy_rows(run, words["pack"], source, words["rows_a"], rows, words["depth"])
            with run.when(words["columns_count"] > self.width):
                words["share"] = words["depth"] // rows + 1
            end = at_most(group.index + columns, words["columns_count"])
            first = group.index
            if self.goes_across:
                panels = words["goes_across"].equals(1).choose((end - group.index) // self.width, 0)
                with run.when(panels > 0):
                    self.multiply_panels(panels)
                first = group.index + panels * self.width
            with run.loop(first, end) as j:
                left, is_fixed = end - j.index, words["packs_b"].equals(1) | words["in_blocks"].equals(1)
                j.step = is_fixed.choose(self.width, panel_columns(count, left, self.lanes))
                words["columns"] = at_most(left, j.step)
                self.write_panel(j.index, j.index - group.index, top.index.equals(0))

    def write_panel(self, j: Word, in_group: Word, is_first_block: Word) -> None:
        """Copies the panel of b from column j on, if need be, and multiplies all rows of the block by it. The first
        tile copies a panel whose columns are neighbours."""
        words, run, size, rows = self.words, self.run, self.size, self.words["rows_count"]
        packs_b, is_along = words["packs_b"].equals(1), words["columns_b"].equals(1)
        left = words["columns_count"] - j
        panel = words["strip_b"] + self.column_of_b(j)
        behind = words["packs_a"] * (BLOCK * PACKED + SLACK)  # the copy of a block of rows
        # copies that are used once lie in the same place, so that they do not leave the first cache
        apart = (rows > BLOCK).choose(in_group, 0)
        copy = words["pack"] + (apart * words["most"] + behind) * size
        in_tile = packs_b & is_first_block & is_along & self.may_copy_in_tile(words["rows"], words["columns"])
        with run.when(packs_b & is_first_block & ~in_tile):
            strides = (words["depth_b"], words["columns_b"])
            self.pack_panel(run, copy, panel, *strides, words["depth"], words["columns"])
        has_ahead = (left > self.width) & words["runs"].equals(1) & is_along & is_first_block & (rows > FEW_ROWS)
        has_ahead = has_ahead & words["in_blocks"].equals(0) & self.prefetches_next_panel()
        ahead = packs_b.choose(PANELS_AHEAD * self.width, self.width)
        words["ahead"] = has_ahead.choose(words["strip_b"] + self.column_of_b(j + ahead), 0)
        # a row that does not begin with a cache line reaches into one more
        begin, row = (at - at // LINE * LINE for at in (words["ahead"], words["depth_b"] * size))
        is_aligned = begin.equals(0) & row.equals(0)
        words["ahead_lines"] = is_aligned.choose(0, 1) + max(VECTORS * self.lanes.machine.vector_bytes // LINE, 1)
        self.find_next_columns(panel, j, is_first_block & ~is_along & (left > self.width))
        words["copy"], is_copy = in_tile.choose(copy, 0), packs_b & ~in_tile
        words["panel"] = is_copy.choose(copy, panel)
        words["panel_row"], words["panel_run"] = is_copy.choose(self.width, words["depth_b"]), words["runs_b"]
        words["panel_c"], words["panel_start"] = words["block_c"] + j * size, words["block_start"] + j * size
        is_direct = words["rows_a"].equals(1) & words["packs_a"].equals(0)
        is_cold = is_direct & j.equals(0) & words["is_near"].equals(0)
        words["is_cold"] = is_cold.choose(1, 0) if not self.gathered else 0
        self.multiply(words["packs_a"].equals(0) & self.is_narrow(words["columns"]))

    def address_of_a(self, strip: Word, i: Word) -> Word:
        """The address of row i of a strip of a, or, if rows are gathered, of its row number."""
        if self.gathered == "rows":
            return self.words["order"] + i * NUMBER
        return strip + i * self.words["rows_a"] * self.size

    def multiply(self, is_narrow: Word) -> None:
        """Multiplies a block of rows by a panel."""
        if self.multiply_narrow is None:
            self.multiply_panel(self.run, self.address)
            return
        with self.run.when(is_narrow):
            self.multiply_narrow(self.run, self.address)
        with self.run.when(~is_narrow):
            self.multiply_panel(self.run, self.address)
