"""The product kernel for operands in bf16: it multiplies pairs of numbers, two neighbours along the depth at once.

The arguments are those of float_product.py. Operands are arrays of 16-bit numbers, in which their strides count;
`start`, the result and `pack` are in f32. The loops, from the outside:

    for batch in which b moves:
        for strip in turns, runs, depth:                 # several turns and runs if short, or a part of a long run
            for group of panels in columns:
                for batch in which b is the same:        # such as the rows of all images, times a convolution's weights
                    for block in rows:                   # copied as pairs, unless pairs are neighbours in a already
                        for panel in group:              # copied as pairs when it is first read, unless b has pairs
                            tiles (tile.py)

A b that has pairs already is an array [panels, depth / 2, columns, 2]. As the columns of a pair are two numbers apart,
it comes as a product of two loops of depth, runs of 2 numbers each, and panels are batches. The kernel recognises the
strides, and takes it for a product of all columns over one loop of depth.

Between strips, sums are in c. Every element of c is written, whatever the counts. An element's sum runs over the depth
in order, pair by pair, wherever rows and columns are cut.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from llvmlite import ir

from netc.compiler.program.product import BATCHES, WORDS
from netc.compiler.targets.cpu.llvm.function import Fields, Word, at_least, at_most
from netc.compiler.targets.cpu.llvm.vectors import Lanes, Vectors
from netc.compiler.targets.cpu.products import pair_packing, tile
from netc.compiler.targets.cpu.products.common import ProductKernel, multiply_tile
from netc.compiler.targets.cpu.products.tile_sizes import Size, rows_of_next
from netc.compiler.targets.machine import PACKED, PANELS, SLACK, VECTORS, Machine

_DEPTH = 2 * PACKED  # numbers along the depth of a strip: their pairs take the memory of PACKED rows of a panel
# Sizes of tiles beside those of all products, on CPUs with AVX512_BF16. They need no register for a repeated pair,
# since the instruction repeats a pair in memory itself. Two vectors have the rows of images of 14 and 28.
_TALL = (Size(24, 1), Size(16, 1), Size(14, 2))
_DEEP = 16  # pairs along the depth from which prefetching the rows of c under a tile is measured to pay
_SAME_SETS = 1024  # numbers: rows of a whose distance is a multiple of it share too few sets of the first cache

# The variables beside the arguments and those that a tile reads.
_VARIABLES = (
    # of the product: pairs of a run, turns and runs of a strip, whether a is read without a copy, and whether its rows
    # are side by side
    *("pairs", "turns_together", "runs_together", "is_direct", "is_across"),
    # of a b that has pairs: whether it has, the arguments that are then those of one loop of depth and of all columns,
    # the columns of a panel of b and the distance of the next one, and whether this strip is read without a copy
    *("has_pairs", "depth_count", "depth_b", "runs_count", "columns_count", "inner_count"),
    *("columns_together", "together_b", "reads_panels"),
    # of a strip: its turns, runs and numbers along the depth of a run, addresses, and whether c has sums already; of a
    # group of panels: whether it is the first batch, which copies them, and the pairs of a panel
    *("turns", "strip_runs", "numbers", "strip_a", "strip_b", "strip_c", "strip_start", "is_begun"),
    *("is_first", "panel_pairs"),
    # of a block of rows: addresses, their number, and the distance between pairs of a; of a panel: addresses
    *("block_a", "block_c", "block_start", "rows", "a_step", "panel_c", "panel_start"),
)
FIELDS = Fields.of(WORDS, tile.FIELDS, _VARIABLES)


def pair_product(symbol: str, machine: Machine) -> Any:
    """Returns an LLVM module with the kernel: the function `symbol`, which takes the address of the arguments of
    program/product.py, an int64 each."""
    module = ir.Module(symbol)
    PairKernel(module, symbol, Lanes("f32", machine, has_pairs=True), FIELDS).write()
    return module


class PairKernel(ProductKernel):
    """Writes the kernel's functions into a module. amx_product.py has other tiles, which read the same copies."""

    most_rows = 48  # of a block: a whole number of tiles and of vectors, and few enough for the first cache
    # Elements of `pack` before the panels: the copy of a block, with a vector behind each row, and SLACK.
    before_panels = 48 * (PACKED + 16) + SLACK

    def __init__(self, module: Any, symbol: str, lanes: Lanes, fields: Fields) -> None:
        self.along, self.across, self.transposed, self.any = (
            pack(module, lanes)
            for pack in (
                *(pair_packing.pack_along, pair_packing.pack_across),
                *(pair_packing.pack_transposed, pair_packing.pack_any),
            )
        )
        super().__init__(module, symbol, lanes, fields)

    def write_strips(self) -> None:
        """The loops around strips."""
        words, run = self.words, self.run
        self.recognise_pairs()
        turns, runs, depth = self.counts()
        self.choose_sizes(turns, runs, depth)
        with self.batches_of(("a", "b", "c", "start"), is_b_moved=True) as (a, b, c, start):
            words["start_row"], words["reads_start"] = words["rows_start"], words["has_start"]
            words["strip_c"], words["strip_start"], words["is_begun"] = c, start, 0
            with (
                run.loop(0, turns, words["turns_together"]) as turn,
                run.loop(0, runs, words["runs_together"]) as r,
                run.loop(0, at_least(depth, 1), _DEPTH) as k,
            ):
                strip = {"turns": turn.index, "runs": r.index, "depth": k.index}
                words["strip_a"], words["strip_b"] = a + self.moved("a", strip), b + self.moved("b", strip)
                words["turns"] = at_most(words["turns_together"], turns - turn.index)
                words["strip_runs"] = at_most(words["runs_together"], runs - r.index)
                words["numbers"] = at_most(run.number(_DEPTH), depth - k.index)
                words["pairs"] = (words["numbers"] + 1) // 2
                self.write_strip()
                words["start_row"], words["reads_start"], words["is_begun"] = words["rows_c"], 1, 1

    def recognise_pairs(self) -> None:
        """Finds out whether b has pairs, and then changes the arguments: to one loop of depth, and all columns."""
        words, run = self.words, self.run
        row, columns = words["runs_b"], words["columns_count"]
        words["has_pairs"], words["columns_together"], words["together_b"] = 0, at_least(columns, 1), 0
        is_run = words["depth_count"].equals(2) & words["depth_a"].equals(1) & words["runs_a"].equals(2)
        is_pair = words["depth_b"].equals(1) & words["columns_b"].equals(2) & (row // 2 * 2).equals(row)
        with run.when(is_run & is_pair & words["turns_count"].equals(1)):
            words["has_pairs"], words["depth_b"] = 1, row // 2
            words["depth_count"], words["runs_count"] = words["runs_count"] * 2, 1
            is_start_wide = words["has_start"].equals(0) | words["inner_start"].equals(columns)
            is_wide = words["inner_a"].equals(0) & words["inner_c"].equals(columns) & is_start_wide
            with run.when(is_wide & (columns // self.width * self.width).equals(columns)):
                words["together_b"] = words["inner_b"]
                words["columns_count"], words["inner_count"] = columns * words["inner_count"], 1

    def choose_sizes(self, turns: Word, runs: Word, depth: Word) -> None:
        """Chooses the sizes of strips, and which operands are copied."""
        words, run = self.words, self.run
        row, step = words["rows_a"], words["depth_a"]
        is_spread = ~(row // _SAME_SETS * _SAME_SETS).equals(row) | (words["columns_count"] <= self.width)
        is_direct = step.equals(1) & self.has_whole_rows(depth) & is_spread
        words["is_direct"] = is_direct.choose(1, 0)
        words["is_across"] = (row.equals(1) & ~step.equals(1)).choose(1, 0)
        together = at_most(at_least(run.number(PACKED) // at_least((depth + 1) // 2, 1), 1), runs)
        words["runs_together"] = together
        has_all = together.equals(runs) & ~is_direct
        pairs = at_least((depth + 1) // 2 * runs, 1)
        words["turns_together"] = has_all.choose(at_least(at_most(run.number(PACKED) // pairs, turns), 1), 1)

    def has_whole_rows(self, depth: Word) -> Word:
        """Whether tiles can read rows of a without copies, if the depth is contiguous."""
        return (depth // 2 * 2).equals(depth)

    @contextmanager
    def batches_of(self, operands: tuple[str, ...], is_b_moved: bool) -> Iterator[list[Word]]:
        """Loops over the batches in which b moves, or over the others. Yields the addresses of `operands`.

        They are computed from the arguments outside of a strip (`is_b_moved`), and from those of the strip inside.
        """
        words, run = self.words, self.run
        counts = []
        for name in BATCHES:
            stays = words[f"{name}_b"].equals(0)
            count = words[f"{name}_count"]
            counts.append(stays.choose(1, count) if is_b_moved else stays.choose(count, 1))
        with run.loop(0, counts[0]) as p, run.loop(0, counts[1]) as q, run.loop(0, counts[2]) as i:
            batch = dict(zip(BATCHES, (p.index, q.index, i.index), strict=True))
            yield [words[name if is_b_moved else f"strip_{name}"] + self.moved(name, batch) for name in operands]

    def moved(self, operand: str, indices: Mapping[str, Word]) -> Word:
        """The distance that an operand moves in some loops, in bytes."""
        steps = [index * self.words[f"{loop}_{operand}"] for loop, index in indices.items()]
        unit = self.lanes.unit if operand in ("a", "b") else self.size
        return sum(steps, self.run.number(0)) * unit

    def write_strip(self) -> None:
        """The loops over groups of panels, batches, blocks of rows, and panels."""
        words, run, size, unit = self.words, self.run, self.size, self.lanes.unit
        is_direct = words["is_direct"].equals(1)
        all_pairs = words["pairs"] * words["strip_runs"] * words["turns"]
        self.lay_out(all_pairs)
        group_width, count = PANELS * self.width, words["columns_count"]
        with run.loop(0, count, group_width) as group:
            words["is_first"] = 1
            with (
                self.batches_of(("a", "c", "start"), is_b_moved=False) as (a, c, start),
                run.loop(0, words["rows_count"], self.most_rows) as top,
            ):
                source = a + top.index * words["rows_a"] * unit
                words["rows"] = at_most(words["rows_count"] - top.index, self.most_rows)
                words["block_a"] = is_direct.choose(source, words["pack"])
                words["block_c"] = c + top.index * words["rows_c"] * size
                begin = words["is_begun"].equals(1).choose(c, start)
                words["block_start"] = begin + top.index * words["start_row"] * size
                with run.when(~is_direct):
                    self.copy_rows(source)
                with run.loop(group.index, at_most(group.index + group_width, count), self.width) as j:
                    self.write_panel(j.index, (j.index - group.index) * words["panel_pairs"])
                words["is_first"] = 0

    def lay_out(self, all_pairs: Word) -> None:
        """Sets the strides of rows of a, or of their copies, and of copies of panels, in a strip of `all_pairs`
        pairs."""
        words = self.words
        is_direct, is_across = words["is_direct"].equals(1), words["is_across"].equals(1)
        words["runs"] = is_direct.choose(words["strip_runs"], 1)
        words["depth"] = is_direct.choose(words["pairs"], all_pairs)
        words["panel_pairs"] = all_pairs
        words["panel_row"], words["panel_run"] = self.width, words["pairs"] * self.width
        self.choose_panels(all_pairs)
        words["a_row"] = is_direct.choose(words["rows_a"], is_across.choose(2, (all_pairs + self.lanes.count) * 2))
        words["a_step"] = is_across.choose(2 * self.most_rows, 2)

    def choose_panels(self, pairs: Word) -> None:
        """Sets whether panels of `pairs` pairs are read where they lie. All loops are known to be laid out."""
        words = self.words
        reads = words["has_pairs"].equals(1) & pairs.equals(words["panel_pairs"])
        words["reads_panels"] = reads.choose(1, 0)
        words["panel_row"] = reads.choose(words["depth_b"], self.width)

    def write_panel(self, j: Word, behind: Word) -> None:
        """Multiplies a block of rows by the panel of b from column j on, whose copy lies `behind` elements behind the
        group's first."""
        words, run, size = self.words, self.run, self.size
        number = j // words["columns_together"]
        column = (j - number * words["columns_together"]) * words["columns_b"] + number * words["together_b"]
        source, reads = words["strip_b"] + column * self.lanes.unit, words["reads_panels"].equals(1)
        words["panel"] = reads.choose(source, words["pack"] + (behind + self.before_panels) * size)
        words["columns"] = at_most(words["columns_count"] - j, self.width)
        with run.when(words["is_first"].equals(1) & ~reads):
            self.copy_panel(source)
        words["panel_c"], words["panel_start"] = words["block_c"] + j * size, words["block_start"] + j * size
        self.multiply_panel(run, self.address)

    @contextmanager
    def segments(self, operand: str) -> Iterator[tuple[Word, Word]]:
        """Loops over the turns and runs of a strip. Yields the operand's distance in bytes, and the number of pairs
        before."""
        words, run = self.words, self.run
        with run.loop(0, words["turns"]) as turn, run.loop(0, words["strip_runs"]) as r:
            moved = (turn.index * words[f"turns_{operand}"] + r.index * words[f"runs_{operand}"]) * self.lanes.unit
            yield moved, (turn.index * words["strip_runs"] + r.index) * words["pairs"]

    def copy_rows(self, block: Word) -> None:
        """Copies a block of rows of a, segment upon segment, with room for a vector behind each row."""
        words, run = self.words, self.run
        row, step, rows, numbers = words["rows_a"], words["depth_a"], words["rows"], words["numbers"]
        is_along, is_across, a_row = step.equals(1), words["is_across"].equals(1), words["a_row"] // 2
        with run.when(is_across):
            self.copy_rows_across(block)
        with run.when(~is_across), self.segments("a") as (moved, before):
            source, to = block + moved, words["pack"] + before * words["a_step"] * self.lanes.unit
            with run.when(is_along):
                self.along(run, to, a_row, source, row, rows, numbers)
            with run.when(~is_along):
                self.any(run, to, a_row, 1, source, row, step, rows, numbers)

    def copy_rows_across(self, block: Word) -> None:
        """Copies a block of rows that lie side by side, segment upon segment."""
        words, run = self.words, self.run
        with self.segments("a") as (moved, before):
            to = words["pack"] + before * words["a_step"] * self.lanes.unit
            self.across(run, to, self.most_rows, block + moved, words["depth_a"], words["rows"], words["numbers"])

    def copy_panel(self, panel: Word) -> None:
        """Copies a panel of b, segment upon segment."""
        words, run = self.words, self.run
        step, column, columns, numbers = words["depth_b"], words["columns_b"], words["columns"], words["numbers"]
        has_pairs = words["has_pairs"].equals(1)
        is_across, is_along = column.equals(1) & ~has_pairs, step.equals(1) & ~column.equals(1) & ~has_pairs
        with run.when(has_pairs):
            self.along(run, words["panel"], self.width, panel, step * 2, words["pairs"], columns * 2)
        with self.segments("b") as (moved, before):
            source, to = panel + moved, words["panel"] + before * (self.width * self.size)
            with run.when(is_across):
                self.across(run, to, self.width, source, step, columns, numbers)
            with run.when(is_along):
                self.transposed(run, to, self.width, source, column, columns, numbers)
            with run.when(~(is_along | is_across | has_pairs)):
                self.any(run, to, 1, self.width, source, column, step, columns, numbers)

    def sizes(self) -> Sequence[Size]:
        return [*(_TALL if self.lanes.machine.has_bf16 else ()), *super().sizes()]

    def rows_of_next(self, left: Word, columns: Word) -> Word:
        """The rows that the next tile takes of those that are left, for a panel of some columns."""
        tall = self.lanes.machine.tile_rows
        rows = rows_of_next(left, tall)
        if not self.lanes.machine.has_bf16:
            return rows
        narrow, wide = (max(size.height for size in _TALL if size.vectors == number) for number in (1, 2))
        fills_taller = (left > tall) & (left <= wide) | (left > 2 * tall) & (left <= 2 * wide)
        rows = fills_taller.choose(at_most(left, wide), rows)
        return (columns <= self.lanes.count).choose(at_most(left, narrow), rows)

    def write_tiles(self) -> None:
        """The function multiply_panel(record): tiles take the rows of a block, one after another."""
        panel = self.multiply_panel
        words, vectors = panel.record(panel.parameters[0], self.fields), Vectors(panel, self.lanes)
        with panel.loop(0, words["rows"]) as i:
            i.step = rows = self.rows_of_next(words["rows"] - i.index, words["columns"])
            a = words["block_a"] + i.index * words["a_row"] * self.lanes.unit
            c = words["panel_c"] + i.index * words["rows_c"] * self.size
            start = words["panel_start"] + i.index * words["start_row"] * self.size
            at = (a, words["a_step"], c, start)
            with panel.when(words["depth"] * words["runs"] >= _DEEP), panel.loop(0, rows) as row:
                vectors.fetch(c + row.index * words["rows_c"] * self.size, VECTORS, is_written=True)
            multiply_tile(panel, panel.parameters[0], self.tiles, words["columns"], rows, at)
        panel.end()
