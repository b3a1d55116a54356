"""The product kernel: the register tile and the loops around it, generic in shape, compiled once for all models.

    c[i, j] = start[i, j] + sum over k of a[i, k] * b[k, j]

product.py describes the arguments. The depth may be three loops: k runs within a run (the bytes that a window's row
holds), runs follow one another in registers (the rows of a window), and around both a loop adds to c in memory (the
samples of a batch). So a convolution is this kernel on a view of its input, with nothing copied.

The loops are written in LLVM's terms. Their variables lie in one record, of which every function takes the address.

Operands are copied into the order in which tiles read them (packing.py) where that pays. A panel of b is copied if its
columns are not neighbours (a transposed weight), or if a has many rows and those of b are many and far apart, so that
they would share a few sets of the first cache and take a page for every two; `Machine.packing_rows` says from how many
rows on. Rows of a are copied if they are neighbours (a weight's gradient) and a is large, because each step of depth
would take another page: on CPUs that do not read them in time (`Machine.packs_rows`), and on all if they share a few
sets of the caches. A strip of the depth is multiplied at a time, and in it a group of panels of b, by one block of rows
of a after another: the panel at work stays in the first cache, and what is copied in the second. If there is one block,
each panel is copied to the same place. With a few rows, panels are as wide as low tiles allow, because such a product
takes as long as it takes to read b. A panel of a few columns is multiplied by narrow tiles (narrow_tile.py).

A product whose batches are a few tiles each, heads of attention or narrow layers, has loops of its own
(few_tiles.py). One whose batches are one panel each, such as small images, sets what they share once, before the loops
over batches: each of them takes less time than the loops around strips.

One call of a tile multiplies several tiles, so that little lies between two of them: a processor adds up the
first while it begins the second. What remains are stores, and on Zen 4 each takes the time of a multiply-add or two.

While a panel is multiplied, the next one is prefetched, and while a strip of a weight's gradient is, the next strip:
its operands were computed long before. The first tiles of a strip prefetch the rows of a behind them. Rows of c below a
tile are prefetched, and the buffers that will be written next at the offsets of c: another core may hold those lines,
and the tile leaves the memory idle. Tiles do so line by line, one at each row of depth, because many at a time would
delay their own loads. Other CPUs than Zen 4 prefetch panels, c and those buffers at once before a tile
(`Machine.prefetches_by_line`), and c only if the tile is deep.

A gathered operand a is read where it lies, by the numbers of its rows (tile_operand.py). It is not copied, and neither
narrow tiles nor prefetches of its next rows know it: products gather only what stays in the second cache.

Every element of c is written, whatever the counts: with no depth it is `start`, or zero. A caller can therefore add
up shards some of which have no samples. An element's sum runs over the depth in order, whatever tile it falls in: the
bits do not depend on how rows are shared out.
"""

from typing import Any

from llvmlite import ir

from netc.compiler.program.kernels import Gathered
from netc.compiler.program.product import BATCHES
from netc.compiler.targets.cpu import later
from netc.compiler.targets.cpu.few_tiles import FewTilesKernel
from netc.compiler.targets.cpu.function import Word, at_least, at_most
from netc.compiler.targets.cpu.narrow_tile import multiply_narrow
from netc.compiler.targets.cpu.packing import pack_rows
from netc.compiler.targets.cpu.panel_kernel import FIELDS
from netc.compiler.targets.cpu.tile_operand import NUMBER
from netc.compiler.targets.cpu.tile_sizes import FEW_ROWS, panel_columns
from netc.compiler.targets.cpu.vectors import Lanes
from netc.compiler.targets.machine import (
    BLOCK,
    LINE,
    MANY_PANELS,
    MANY_ROWS,
    NEAR,
    PACKED,
    PAGE,
    PANELS,
    SLACK,
    STRIP,
    Machine,
)

_FEW_PAGES = 128  # rows of depth, a page each, of which the second cache keeps a block of rows of a
_NEXT = 768 << 10  # bytes of a strip that may be prefetched while another one is multiplied


def product(symbol: str, dtype: str, machine: Machine, gathered: Gathered = "") -> Any:
    """Returns an LLVM module with the kernel for an element type: the function `symbol` of the words of product.py."""
    module = ir.Module(symbol)
    _Kernel(module, symbol, Lanes(dtype, machine), gathered).write()
    return module


class _Kernel(FewTilesKernel):
    """Writes the kernel's functions into a module."""

    def __init__(self, module: Any, symbol: str, lanes: Lanes, gathered: Gathered) -> None:
        self.pack_rows = pack_rows(module, lanes)
        self.multiply_narrow = None if gathered else multiply_narrow(module, lanes, FIELDS)
        super().__init__(module, symbol, lanes, gathered)

    def write_strips(self) -> None:
        """The loops around strips, or those of a few tiles."""
        turns, runs, depth = self.counts()
        with self.run.builder.if_else(self.has_few_tiles(turns, runs, depth).value) as (few, many):
            with few:
                self.multiply_few_tiles(runs, depth)
            with many:
                self.multiply_many_tiles(turns, runs, depth)

    def multiply_many_tiles(self, turns: Word, runs: Word, depth: Word) -> None:
        """The loops around strips, or, if each is a panel, around panels."""
        words, run = self.words, self.run
        self.choose_sizes(runs, depth)
        words["tile"] = 0
        later.begin(words, self.depths(turns * runs * depth))
        is_single = self.is_single_panel(turns, runs, depth)
        with run.when(is_single):
            self.multiply_single_panels(turns, runs, depth)
        with run.when(~is_single):
            self.multiply_strips(turns, runs, depth)

    def depths(self, depth: Word) -> Word:
        """The rows of depth of all tiles of a call, each of which has `depth` of them."""
        words, tall = self.words, self.lanes.machine.tile_rows
        batches = words["outer_count"] * words["middle_count"] * words["inner_count"]
        rows, panels = (words["rows_count"] + tall - 1) // tall, (words["columns_count"] + self.width - 1) // self.width
        return batches * rows * panels * depth

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
        """The loops over batches and turns, each of which is one panel. All that they share is set before them, because
        small products take less time than the loops around strips."""
        words, run = self.words, self.run
        words["runs"], words["depth"] = runs, depth
        words["rows"], words["columns"], words["a_row"] = words["rows_count"], words["columns_count"], words["rows_a"]
        packs_b = words["packs_b"].equals(1)
        words["panel_row"], words["panel_run"] = packs_b.choose(self.width, words["depth_b"]), words["runs_b"]
        words["lines"] = words["next_a"] = words["ahead"] = words["next_rows"] = words["is_cold"] = 0
        self.find_next(words["a"], words["b"], turns - 1, words["most"])
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
                if self.gathered == "depth":
                    words["strip_a"], words["strip_order"] = a, words["order"] + k.index * NUMBER
                words["strip_c"], words["strip_start"] = c, is_first.choose(start, c)
                words["start_row"] = is_first.choose(words["rows_start"], words["rows_c"])
                words["reads_start"] = is_first.choose(words["has_start"], 1)
                self.find_next(a, b, turn.index, k.index + most)
                words["runs"] = at_most(together, runs - r.index)
                words["depth"] = at_most(most, depth - k.index)
                self.write_strip()

    def choose_sizes(self, runs: Word, depth: Word) -> None:
        """Sets which operands are copied, and how much depth a strip has."""
        words, run = self.words, self.run
        may_copy = ~words["pack"].equals(words["c"]) & runs.equals(1) & (words["rows_count"] >= MANY_ROWS)
        is_spread = words["rows_a"].equals(1) & (depth * words["depth_a"] > 2 * NEAR // self.size)
        is_slow = is_spread if self.lanes.machine.packs_rows else is_spread & self.shares_sets(depth)
        has_many_panels = words["columns_count"] > MANY_PANELS * self.width
        packs_a = may_copy & is_slow & has_many_panels if not self.gathered else run.number(1).equals(0)
        is_far = (words["depth_b"] > self.width) & (depth * words["depth_b"] > NEAR // self.size)
        has_many = words["rows_count"] >= self.lanes.machine.packing_rows
        packs_b = ~words["columns_b"].equals(1) | (may_copy & is_far & has_many)
        words["packs_a"], words["packs_b"] = packs_a.choose(1, 0), packs_b.choose(1, 0)
        limit = (packs_a | packs_b | (is_spread & has_many_panels)).choose(PACKED, STRIP)
        words["most"], words["together"] = at_least(depth, 1), 1
        with run.when(depth > limit):  # about equal: a short strip reads and writes c as a long one does
            strips = (depth + limit - 1) // limit
            words["most"] = (depth + strips * 16 - 1) // (strips * 16) * 16
        with run.when(runs > 1):  # the runs that one tile takes: their panel must fit into the second cache
            words["together"] = at_least(at_most(runs, run.number(STRIP) // at_least(depth, 1)), 1)

    def shares_sets(self, depth: Word) -> Word:
        """Whether the rows of a's depth lie whole pages apart, and are too many for the few sets of the caches that
        they then share."""
        nbytes = self.words["depth_a"] * self.size
        return nbytes.equals(nbytes // PAGE * PAGE) & (depth > _FEW_PAGES)

    def find_next(self, a: Word, b: Word, turn: Word, k: Word) -> None:
        """Sets the addresses of the next strip of a weight's gradient, which begins at row k of this turn's depth, or
        with the next turn.

        They are 0 if it is not to be prefetched: there is none, it is too large, or it has runs, the rows of windows.
        """
        words, size = self.words, self.size
        is_inside = k < words["depth_count"]
        is_last = ~is_inside & (turn + 1 >= words["turns_count"])
        of_a = words["rows_count"] * size // LINE
        words["is_near"] = (~words["next_a"].equals(0) & (words["lines"] > of_a)).choose(1, 0)
        words["next_a"], words["touching"], words["lines"] = 0, is_last.choose(words["touches"], 0), 0
        is_whole = words["rows_c"].equals(words["columns_count"])  # so that c's rows follow one another
        with self.run.when(is_last & is_whole & (words["touches"] > 0)):
            nbytes, each = words["rows_count"] * words["rows_c"] * size, words["most"] * LINE
            words["touching_tiles"] = (nbytes + each - 1) // each
        nbytes = words["most"] * (words["rows_count"] + words["columns_count"]) * size
        is_gradient = words["rows_a"].equals(1) & words["columns_b"].equals(1) & (words["rows_count"] > FEW_ROWS)
        if not self.gathered:
            with self.run.when(~is_last & words["runs_count"].equals(1) & is_gradient & (nbytes <= _NEXT)):
                steps = {"turns": is_inside.choose(turn, turn + 1), "depth": is_inside.choose(k, 0)}
                words["next_a"], words["next_b"] = a + self.moved("a", steps), b + self.moved("b", steps)

    def write_strip(self) -> None:
        """The loops over groups of panels, whose copies are kept, and in each over blocks of rows."""
        words, run, size = self.words, self.run, self.size
        packs_a, count = words["packs_a"].equals(1), words["rows_count"]
        with run.loop(0, words["columns_count"], PANELS * self.width) as group, run.loop(0, count, BLOCK) as top:
            rows = at_most(count - top.index, BLOCK)
            source = self.address_of_a(words["strip_a"], top.index)
            words["rows"], words["block_a"] = rows, packs_a.choose(words["pack"], source)
            words["block_c"] = words["strip_c"] + top.index * words["rows_c"] * size
            words["block_start"] = words["strip_start"] + top.index * words["start_row"] * size
            words["a_row"] = packs_a.choose(1, words["rows_a"])
            with run.when(packs_a):
                self.pack_rows(run, words["pack"], source, words["depth_a"], rows, words["depth"])
            with run.when(words["columns_count"] > self.width):
                words["share"] = words["depth"] // rows + 1
            end = at_most(group.index + PANELS * self.width, words["columns_count"])
            with run.loop(group.index, end) as j:
                left, packs_b = end - j.index, words["packs_b"].equals(1)
                j.step = packs_b.choose(self.width, panel_columns(count, left, self.lanes))
                words["columns"] = at_most(left, j.step)
                self.write_panel(j.index, j.index - group.index, top.index.equals(0))

    def write_panel(self, j: Word, in_group: Word, is_first_block: Word) -> None:
        """One panel of b, from column j on, is copied if need be, and all rows of the block are multiplied by it."""
        words, run, size, rows = self.words, self.run, self.size, self.words["rows_count"]
        packs_b, is_along = words["packs_b"].equals(1), words["columns_b"].equals(1)
        left = words["columns_count"] - j
        panel = words["strip_b"] + j * words["columns_b"] * size
        behind = words["packs_a"] * (BLOCK * PACKED + SLACK)  # the copy of a block of rows
        # copies that are used once lie in the same place, so that they do not leave the first cache
        apart = (rows > BLOCK).choose(in_group, 0)
        copy = words["pack"] + (apart * words["most"] + behind) * size
        with run.when(packs_b & is_first_block):
            strides = (words["depth_b"], words["columns_b"])
            self.pack_panel(run, copy, panel, *strides, words["depth"], words["columns"])
        has_ahead = (left > self.width) & words["runs"].equals(1) & is_along & is_first_block & (rows > FEW_ROWS)
        words["ahead"] = has_ahead.choose(panel + self.width * size, 0)
        self.find_next_rows(panel, j, is_first_block & ~is_along & (left > self.width))
        words["panel"] = packs_b.choose(copy, panel)
        words["panel_row"], words["panel_run"] = packs_b.choose(self.width, words["depth_b"]), words["runs_b"]
        words["panel_c"], words["panel_start"] = words["block_c"] + j * size, words["block_start"] + j * size
        is_spread = words["rows_a"].equals(1) & words["packs_a"].equals(0) & (words["columns_count"] > self.width)
        is_cold = is_spread & j.equals(0) & words["is_near"].equals(0)
        words["is_cold"] = is_cold.choose(1, 0) if not self.gathered else 0
        self.multiply(words["packs_a"].equals(0) & self.is_narrow(words["columns"]))

    def address_of_a(self, strip: Word, i: Word) -> Word:
        """The address of row i of a strip of a, or that of its number if rows are gathered."""
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

    def find_next_rows(self, panel: Word, j: Word, has_next: Word) -> None:
        """Sets the address of the rows of b' behind a panel that is copied from its rows, or 0 without any. A tile
        prefetches a line of as many rows as there are steps of depth: some panels, behind which the next ones follow.
        """
        words, width = self.words, self.width
        words["next_rows"] = has_next.choose(panel + words["columns_b"] * (width * self.size), 0)
        panels = at_least(words["depth"] // width, 1)
        with self.run.when(has_next & (j // width // panels * panels * width).equals(j)):
            words["lines"] = 0
