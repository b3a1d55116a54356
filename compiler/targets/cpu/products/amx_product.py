"""The product kernel of AMX: the kernel of pairs (pair_product.py), whose sums are tile registers (amx_tiles.py).

Strips, blocks of rows and panels are those of pair_product.py. But the pairs of a row of a are always contiguous, and
zeros fill the pairs of a strip up to whole tiles. Rows whose depth is whole tiles are read where they lie, such as the
windows of an image. Copied rows are an odd number of cache lines apart, so that the rows of a tile do not share a few
sets of the first cache.

A block of sums has up to two tiles of rows and two of columns. A block at an edge of c that it exceeds computes on a
copy of its corner. An element's sum begins with `start` and adds one number for each 32 of the depth, in order,
wherever rows and columns are cut.

Registers are configured in the thread that calls, and released at the end: nothing outside of a call depends on them.
"""

from collections.abc import Mapping
from typing import Any

from llvmlite import ir

from netc.compiler.program.plan import SLACK as ROOM
from netc.compiler.program.product import WORDS
from netc.compiler.targets.cpu.llvm.function import I64, Fields, Function, Record, Word, at_most
from netc.compiler.targets.cpu.llvm.vectors import Lanes, Vectors
from netc.compiler.targets.cpu.products import pair_packing, pair_product
from netc.compiler.targets.cpu.products.amx_tiles import AmxTiles, emulation_for
from netc.compiler.targets.cpu.products.common import Tiles
from netc.compiler.targets.cpu.products.pair_product import PairKernel
from netc.compiler.targets.machine import PACKED, PANELS, TILE, Machine

_MOST = 2 * TILE  # rows and columns of a block of sums
_ROWS = 192  # of a block of a: these, a corner and panels fit into the memory of a product of pairs
_DEEPEST = PACKED + TILE  # pairs of a copied row, and at most those of a panel
# Variables: the pairs of a strip, and the addresses of their table, of the copy of a corner of c, and of the emulated
# registers.
_FIELDS = Fields.of(WORDS, pair_product.FIELDS.variables, ("all_pairs", "table", "corner", "registers"))
_A, _B = 4, 6  # registers: 0 to 3 are sums, 4 and 5 rows of a, 6 and 7 columns of b


def amx_product(symbol: str, machine: Machine) -> Any:
    """Returns an LLVM module with the kernel: the function `symbol`, which takes the address of the arguments of
    program/product.py, an int64 each."""
    module = ir.Module(symbol)
    _Kernel(module, symbol, Lanes("f32", machine, has_pairs=True)).write()
    return module


class _Kernel(PairKernel):
    """Writes the kernel's functions into a module."""

    most_rows = _ROWS
    before_panels = _ROWS * _DEEPEST + _MOST * _MOST

    def __init__(self, module: Any, symbol: str, lanes: Lanes) -> None:
        assert self.before_panels + PANELS * _DEEPEST * _MOST <= lanes.machine.pack_elements("f32")
        self.transposed_back, self.copy = pair_packing.pack_transposed_back(module, lanes), _copy(module, lanes)
        self.emulation = emulation_for(module, lanes.machine)
        super().__init__(module, symbol, lanes, _FIELDS)
        self.width = _MOST

    def write_strips(self) -> None:
        """The loops around strips, between the configuration of the registers and their release."""
        words, run = self.words, self.run
        words["corner"] = words["pack"] + _ROWS * _DEEPEST * self.size
        table = run.builder.alloca(ir.IntType(8), (_DEEPEST + TILE) * pair_packing.ENTRY)
        words["table"] = Word(run.builder, run.builder.ptrtoint(table, I64))
        tiles = AmxTiles.configured(run, self.emulation)
        words["registers"] = tiles.registers
        super().write_strips()
        tiles.release()

    def has_whole_rows(self, depth: Word) -> Word:
        """Tiles are read as a whole: in depth, and in rows. Nothing uses those behind the last row, such as the border
        behind a row of an image; they must lie in the room that the planner leaves behind every buffer."""
        rows, row = self.words["rows_count"], self.words["rows_a"]
        behind = ((rows + (TILE - 1)) // TILE * TILE - rows) * row * self.lanes.unit
        return (depth // _MOST * _MOST).equals(depth) & (behind >= 0) & (behind <= ROOM)

    def lay_out(self, all_pairs: Word) -> None:
        super().lay_out(all_pairs)
        words, is_direct = self.words, self.words["is_direct"].equals(1)
        padded = (all_pairs + (TILE - 1)) // TILE * TILE
        words["all_pairs"], words["panel_pairs"] = all_pairs, padded
        words["depth"] = is_direct.choose(words["pairs"], padded)  # of a run
        words["a_row"], words["a_step"] = is_direct.choose(words["rows_a"], (padded + TILE) * 2), 2
        self.choose_panels(all_pairs)

    def copy_rows(self, block: Word) -> None:
        """Copies a block of rows of a, with zeros behind each row."""
        super().copy_rows(block)
        words, run, pairs = self.words, self.run, self.words["all_pairs"]
        with run.when(pairs < words["depth"]), run.loop(0, words["rows"]) as i:
            self.store_zeros(words["pack"] + (i.index * (words["a_row"] // 2) + pairs) * self.size)

    def copy_rows_across(self, block: Word) -> None:
        words, run, pairs, step = self.words, self.run, self.words["all_pairs"], self.words["depth_a"]
        with self.segments("a") as (moved, before), run.loop(0, words["pairs"]) as k:
            first, has_second = moved + step * k.index * (2 * self.lanes.unit), k.index * 2 + 1 < words["numbers"]
            pair_packing.put_pair(run, words["table"], before + k.index, first, has_second)
        with run.loop(pairs, pairs + TILE) as k:
            pair_packing.put_pair(run, words["table"], k.index, run.number(0), run.number(0) > 0)
        self.transposed_back(run, words["pack"], words["a_row"] // 2, block, step, words["rows"], words["table"], pairs)

    def copy_panel(self, panel: Word) -> None:
        """Copies a panel of b, with rows of zeros behind it."""
        super().copy_panel(panel)
        words, run = self.words, self.run
        with run.loop(words["all_pairs"], words["depth"]) as k:
            for column in range(0, _MOST, TILE):
                self.store_zeros(words["panel"] + (k.index * _MOST + column) * self.size)

    def store_zeros(self, address: Word) -> None:
        """Fills a row of a tile with zeros."""
        Vectors(self.run, self.lanes).store(ir.Constant(ir.VectorType(ir.FloatType(), TILE), [0.0] * TILE), address)

    def add_tiles(self) -> Tiles:
        """Adds the functions of blocks of sums of all sizes to the module."""
        sizes = [(rows, columns) for rows in (_MOST, TILE) for columns in (_MOST, TILE)]
        return {(rows, columns): self.block(rows, columns) for rows, columns in sizes}

    def rows_of_next(self, left: Word, columns: Word) -> Word:
        return at_most(left, _MOST)

    def block(self, height: int, width: int) -> Function:
        """Returns the function `block(record, a, a_step, c, start, rows)` of the first to `height` rows, as tile.py
        has it. a_step is not used."""
        function = Function(self.module, f"block_{height}_{width}", 6)
        record, a, _, c, start, rows = function.parameters
        words = function.record(record, self.fields)
        block = _Block(AmxTiles(function, self.emulation, words["registers"]), height // TILE, width // TILE)
        corner, size, reads_start = words["corner"], self.size, words["reads_start"] > 0
        is_partial = (rows < height) | (words["columns"] < width)
        with function.when(is_partial & reads_start):
            self.copy(function, corner, _MOST, start, words["start_row"], rows, words["columns"])
        with function.when(reads_start):
            row = is_partial.choose(_MOST, words["start_row"]) * size
            block.load(is_partial.choose(corner, start), row)
        with function.when(~reads_start):
            block.zero()
        with function.loop(0, words["runs"]) as r:
            panel = words["panel"] + r.index * words["panel_run"] * size
            block.add_depth(words, a + r.index * words["runs_a"] * self.lanes.unit, panel)
        block.store(is_partial.choose(corner, c), is_partial.choose(_MOST, words["rows_c"]) * size)
        with function.when(is_partial):
            self.copy(function, c, words["rows_c"], corner, _MOST, rows, words["columns"])
        function.end()
        return function


class _Block:
    """Writes the operations of a block of `height` x `width` tiles of sums."""

    def __init__(self, tiles: AmxTiles, height: int, width: int) -> None:
        self.tiles, self.height, self.width = tiles, height, width
        self.sums: Mapping[tuple[int, int], int] = {(i, j): 2 * i + j for i in range(height) for j in range(width)}

    def zero(self) -> None:
        for tile in self.sums.values():
            self.tiles.zero(tile)

    def load(self, address: Word, row: Word) -> None:
        for (i, j), tile in self.sums.items():
            self.tiles.load(tile, address + row * (TILE * i) + 64 * j, row)

    def store(self, address: Word, row: Word) -> None:
        for (i, j), tile in self.sums.items():
            self.tiles.store(tile, address + row * (TILE * i) + 64 * j, row)

    def add_depth(self, words: Record, a: Word, panel: Word) -> None:
        """The loop over the depth of a run, a tile at a time."""
        tiles, row_a, row_b = self.tiles, words["a_row"] * 2, words["panel_row"] * 4
        with tiles.function.loop(0, words["depth"], TILE) as k:
            at_a, at_b = a + k.index * 4, panel + row_b * k.index
            for i in range(self.height):
                tiles.load(_A + i, at_a + row_a * (TILE * i), row_a)
            for j in range(self.width):
                tiles.load(_B + j, at_b + 64 * j, row_b)
            for (i, j), tile in self.sums.items():
                tiles.multiply_add(tile, _A + i, _B + j)


def _copy(module: Any, lanes: Lanes) -> Function:
    """Returns the function `copy(to, to_row, source, row, rows, columns)`. Strides are in elements."""
    function = Function(module, "copy", 6)
    to, to_row, source, row, rows, columns = function.parameters
    vectors = Vectors(function, lanes)
    with function.loop(0, rows) as i, function.loop(0, columns, lanes.count) as j:
        mask = vectors.columns_mask(columns - j.index, 0)
        vector = vectors.load_masked(source + (i.index * row + j.index) * lanes.size, mask)
        vectors.store_masked(vector, to + (i.index * to_row + j.index) * lanes.size, mask)
    function.end()
    return function
