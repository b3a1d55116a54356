"""The function of the product kernel that multiplies a block of rows by a panel, and what its tiles prefetch.

    for i in rows:
        choose the height of the next tile, how many tiles of this height one call multiplies, and what they prefetch
        tile(record, a + i, ..., c + i, ...)

float_product.py says what panels are, and why tiles prefetch. A call has one address and stride for its prefetches, so
it multiplies only as many tiles as prefetch in the same way.
"""

from collections.abc import Sequence

from netc.compiler.program.product import TOUCHED, WORDS
from netc.compiler.targets.cpu.llvm.function import Fields, Function, Number, Record, Word, at_most
from netc.compiler.targets.cpu.llvm.vectors import Vectors
from netc.compiler.targets.cpu.products import far_blocks, later, tile
from netc.compiler.targets.cpu.products.common import ProductKernel, Tiles, multiply_tile
from netc.compiler.targets.cpu.products.narrow_tile import narrow_columns
from netc.compiler.targets.cpu.products.tile_operand import NUMBER
from netc.compiler.targets.cpu.products.tile_sizes import (
    Size,
    all_sizes,
    copying_sizes,
    far_sizes,
    rows_of_next,
    tiles_of_next,
)
from netc.compiler.targets.machine import LINE, VECTORS

# The variables of the kernel's functions, beside its arguments.
_VARIABLES = (
    # of the product: whether operands are copied, rows of depth in a strip, runs in one, whether c is still unwritten
    *("packs_a", "packs_b", "most", "together", "is_first"),
    # of panels of a weight (weight_panels.py): all columns and one batch, else the arguments; the columns of a panel of
    # b, and the distance between two of them in elements, else all columns and 0
    *("columns_count", "inner_count", "panel_count", "panel_b"),
    # of a strip, some rows of depth of some runs: addresses
    *("strip_a", "strip_b", "strip_c", "strip_start"),
    # of a strip whose rows of depth are gathered: the address of their numbers
    "strip_order",
    # of the strip behind it: addresses, or 0, and the cache lines of a row of depth that tiles have prefetched so far;
    # and whether those of a of this strip were prefetched
    *("next_a", "next_b", "lines", "is_near"),
    # how many of the buffers that will be written next are prefetched, in the last strip alone, and by how many tiles
    # each of them is
    *("touching", "touching_tiles"),
    # of a block of rows: addresses, their number, and how many rows of the next panel are prefetched for each
    *("block_a", "block_c", "block_start", "rows", "share"),
    # of a panel: the address of the next one, or 0, and the cache lines of each of its rows, addresses, whether it is
    # the first to read a without a copy, and the address of the next rows of b', or 0, if panels are copied from these
    *("ahead", "ahead_lines", "panel_c", "panel_start", "is_cold", "next_rows"),
    # of a weight's gradient: whether tiles take one panel after another (across.py), how many panels the next ones take
    *("goes_across", "panels_left"),
    # where the first tile copies the panel to, or 0
    *tile.COPY,
    # of a product whose operands change places (turned.py): the distance between rows of c; the address of the rows
    # behind the first tile, their distance in bytes, and how many bytes of a tile's rows there are for each row of
    # depth, else 0
    *("rows_c", "next_tile", "next_row", "row_step"),
    # the rows that a call of a tile takes, in a product of few tiles
    "taken",
    # how many tiles have been multiplied, and whether the next tile prefetches one of `lines`
    *("tile", "lined"),
)
_DEEP = 128  # rows of depth from which prefetching what sums begin with is measured to pay
FIELDS = Fields.of(
    WORDS,
    tile.FIELDS,
    tile.AHEAD,
    tile.LATER,
    tile.REPEATED,
    tile.TURNS[:1],
    later.VARIABLES,
    far_blocks.VARIABLES,
    _VARIABLES,
)


class PanelKernel(ProductKernel):
    """Writes the function multiply_panel(record), whose record has the fields FIELDS."""

    def sizes(self) -> Sequence[Size]:
        """The sizes of tiles, those for few rows and those with half vectors among them."""
        return all_sizes(self.lanes.machine)

    def add_tiles(self) -> Tiles:
        """Adds the functions of tiles, those for blocks of a far b (`far_tiles`), of up to `far_rows` rows, and the one
        that copies a panel of b while it multiplies it (`copying_tiles`)."""
        lanes, gathered = self.lanes, self.gathered
        far = far_sizes(lanes.machine, gathered == "rows") if self.walks_blocks else []
        self.far_rows = max((size.height for size in far), default=0)
        self.far_tiles = self.tiles_of(far, "far")
        self.copying_tiles = self.tiles_of(copying_sizes(lanes.machine), "copying")
        return super().add_tiles()

    @property
    def walks_blocks(self) -> bool:
        """Whether a far b may be walked in blocks: not in a gradient of weights, whose depth is gathered."""
        return self.gathered in ("", "rows")

    def may_copy_in_tile(self, rows: Word, columns: Word) -> Word:
        """Whether the first tile of a block of rows can copy its panel of b."""
        tall = self.lanes.machine.tile_rows
        return rows_of_next(rows, tall).equals(tall) & (columns > self.lanes.count)

    def is_narrow(self, columns: Word) -> Word:
        """Whether narrow tiles multiply a panel: it has few columns, and a is contiguous along depth or rows."""
        is_read = self.words["depth_a"].equals(1) | self.words["rows_a"].equals(1)
        return is_read & (columns <= narrow_columns(self.lanes))

    def write_tiles(self) -> None:
        """Writes the function multiply_panel(record): multiplies the rows of a block by a panel, tile after tile."""
        lanes, size, panel = self.lanes, self.size, self.multiply_panel
        words, vectors, tiles = panel.record(panel.parameters[0], FIELDS), Vectors(panel, lanes), self.tiles
        words["panel_next"] = 0
        with panel.loop(0, words["rows"]) as i:
            left, tall = words["rows"] - i.index, lanes.machine.tile_rows
            rows, is_copying = rows_of_next(left, tall), ~words["copy"].equals(0)
            words["tiles"] = is_copying.choose(1, tiles_of_next(left, tall))
            with panel.when(~words["ahead"].equals(0) & ~self.fetches_panel_by_line(words)):
                words["tiles"], first = 1, i.index * words["share"]
                with panel.loop(first, at_most(first + rows * words["share"], words["depth"])) as k:
                    vectors.fetch_stretch(words["ahead"] + k.index * words["depth_b"] * size, VECTORS)
            self.choose_line(words, i.index)
            is_packed = words["packs_a"].equals(1)
            a_row = is_packed.choose(words["depth"], words["a_row"]) * size
            if self.gathered == "rows":
                a_row = panel.number(NUMBER)
            words["a_next"] = rows * a_row
            words["c_next"], words["start_next"] = (rows * words[row] * size for row in ("rows_c", "start_row"))
            step = (is_packed & words["a_row"].equals(1)).choose(rows, words["depth_a"])
            i.step = rows * words["tiles"]
            c = words["panel_c"] + i.index * words["rows_c"] * size
            start = words["panel_start"] + i.index * words["start_row"] * size
            at = (words["block_a"] + i.index * a_row, step, c, start)
            self.fetch_start(words, start, i.step)
            is_far = words["in_blocks"].equals(1) & (rows <= self.far_rows)
            for condition, kind in (
                (is_far, self.far_tiles),
                (is_copying, self.copying_tiles),
                (~(is_far | is_copying), tiles),
            ):
                with panel.when(condition):
                    multiply_tile(panel, panel.parameters[0], kind, words["columns"], rows, at)
            with panel.when(is_copying):
                words["panel"], words["panel_row"], words["copy"] = words["copy"], VECTORS * lanes.count, 0
            later.move(words, is_copying.choose(0, words["tiles"]))
        panel.end()

    def fetch_start(self, words: Record, start: Word, rows: Word) -> None:
        """Prefetches the numbers that sums of some rows begin with, in the next panel: what has been computed for all
        steps of a scan is in no cache near."""
        panel, vectors = self.multiply_panel, Vectors(self.multiply_panel, self.lanes)
        row = words["start_row"] * self.size
        is_new = words["reads_start"].equals(1) & ~words["panel_start"].equals(words["panel_c"])
        is_spread = row > VECTORS * self.lanes.machine.vector_bytes
        with panel.when(is_new & is_spread & (words["depth"] >= _DEEP)), panel.loop(0, rows) as i:
            at = start + i.index * row + VECTORS * self.lanes.machine.vector_bytes
            vectors.fetch(at, VECTORS, is_written=False)

    def fetches_panel_by_line(self, words: Record) -> Word:
        """Whether the first tiles of a block prefetch a panel, each a line of every row of it: with a tile for each
        line of a row."""
        machine = self.lanes.machine
        tiles = VECTORS - 1 if machine.vector_bytes == LINE else VECTORS
        return words["rows"] > tiles * machine.tile_rows

    def choose_line(self, words: Record, i: Word) -> None:
        """Sets what the tiles from row i on prefetch, a cache line at each row of depth, and for how many tiles.

        The first that applies: rows of the next block (far_blocks.py); columns of a transposed b that are copied next;
        the next panel; the next rows of a, if a is not in the cache; lines of the next strip; buffers that will be
        written next; rows of c below.
        The order in the code is the reverse, because later choices replace earlier ones.
        """
        panel, size, tall = self.multiply_panel, self.size, self.lanes.machine.tile_rows
        words["lined"] = 0
        self.fetch(words, words["panel"], 0, 0)
        self.choose_written(words, i)
        self.choose_later_lines(panel, words, words["is_cold"].equals(0))
        with panel.when(words["is_cold"].equals(1)):
            self.fetch(words, words["block_a"] + (i + 2 * tall) * size, words["depth_a"] * size, tall * size)
        number, has_ahead = i // tall, ~words["ahead"].equals(0) & self.fetches_panel_by_line(words)
        with panel.when(has_ahead & (number < words["ahead_lines"])):
            at = words["ahead"] + number * LINE
            self.fetch(words, at, words["depth_b"] * size, LINE, words["ahead_lines"] - number)
        line = words["lines"]
        with panel.when(~words["next_rows"].equals(0) & (line * LINE < words["depth"] * size)):
            left = (words["depth"] * size - line * LINE + LINE - 1) // LINE
            self.fetch(words, words["next_rows"] + line * LINE, words["columns_b"] * size, LINE, left)
            words["lined"] = 1
        with panel.when(words["piece"] < words["next_pieces"]):
            each, step = words["pieces_of_tile"], words["piece_step"]
            tiles = (words["next_pieces"] - words["piece"] + each - 1) // each
            self.fetch(words, words["next_block"] + words["piece"] * step, LINE, step * each, tiles)
        with panel.when(words["row_step"] > 0):
            at = words["next_tile"] + words["next_row"] * i
            self.fetch(words, at, words["row_step"], words["next_row"] * tall)
        later.choose(panel, words, words["panel"])
        later.limit_tiles(words)
        with panel.when(words["in_blocks"].equals(1)):
            far_blocks.choose(panel, words, words["panel"])
        self.count_tiles(words)

    def choose_later_lines(self, function: Function, words: Record, may_fetch_strip: Word) -> None:
        """Sets that the next tiles prefetch lines that will be written next, or lines of the next strip."""
        size = self.size
        self.choose_touched(function, words)
        with function.when(~words["next_a"].equals(0) & may_fetch_strip):
            line = words["lines"]
            of_a, of_b = (words[count] * size // LINE + 1 for count in ("rows_count", "columns_count"))
            is_in_a, is_left = line < of_a, line < of_a + of_b
            at = is_in_a.choose(words["next_a"] + line * LINE, words["next_b"] + (line - of_a) * LINE)
            step = is_in_a.choose(words["depth_a"], words["depth_b"]) * size
            self.fetch(words, words["panel"], 0, 0)
            with function.when(is_left):
                self.fetch(words, at, step, LINE, is_in_a.choose(of_a, of_a + of_b) - line)
                words["lined"] = 1

    def count_tiles(self, words: Record) -> None:
        """Counts the tiles of the next call, and what they prefetch."""
        words["lines"] = words["lines"] + words["lined"] * words["tiles"]
        words["tile"] = words["tile"] + words["tiles"]

    def fetch(self, words: Record, at: Word, step: Number, move: Number, tiles: Number | None = None) -> None:
        """Sets where the next tiles prefetch: from the address `at` on, `step` bytes further at each row of depth.

        Each tile begins `move` bytes behind the one before. `tiles`, if given, limits the tiles of the call.
        """
        words["fetched"], words["fetched_step"] = at, step
        words["fetched_move"], words["fetched_turn"] = move, move * 2
        if tiles is not None:
            words["tiles"] = at_most(words["tiles"], tiles)

    def choose_written(self, words: Record, i: Word) -> None:
        """Sets that the tile of rows from i on prefetches c for the rows below it: one of a panel's two cache lines of
        each row. A tile has more rows of depth than rows, so the next tile has time for the other line."""
        line, row, tall = words["tile"], words["rows_c"] * self.size, self.lanes.machine.tile_rows
        is_second = line - line // 2 * 2
        at = words["panel_c"] + (i + tall) * row + is_second * LINE
        self.fetch(words, at, row, row * tall + LINE - is_second * (2 * LINE))
        words["fetched_turn"] = row * (2 * tall)

    def choose_touched(self, function: Function, words: Record) -> None:
        """Sets that the next tile prefetches lines that will be written next, if they follow one another."""
        is_whole = words["rows_c"].equals(words["columns_count"])
        with function.when((words["touching"] > 0) & is_whole):
            line, tiles, moved = words["lines"], words["touching_tiles"], words["strip_c"] - words["c"]
            begins = [words[f"touch_{i + 1}"] + moved for i in range(TOUCHED)]
            each = words["most"] * LINE
            at, left = begins[0] + line * each, tiles - line
            for i in range(1, TOUCHED):
                is_in_next = line >= tiles * i
                at = is_in_next.choose(begins[i] + (line - tiles * i) * each, at)
                left = is_in_next.choose(tiles * (i + 1) - line, left)
            with function.when(line < words["touching"] * tiles):
                self.fetch(words, at, LINE, each, left)
                words["lined"] = 1
