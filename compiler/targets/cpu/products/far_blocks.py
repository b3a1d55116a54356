"""Blocks of a b that lies beyond the second cache, for products of few rows, which wait for b most of the time.

    for strip in depth:                     # as many rows as a block has cache lines in a row
        for block in columns:               # at most a page of each row
            for panel in block:
                for tile in rows:           # prefetches, a line at each row of depth, a row of the next block

Memory delivers pages in a third to a half of the time that the pieces of a panel take, two cache lines of each row. So
the next block is prefetched row after row. A tile takes as many rows of depth as a row of the block has lines, and thus
prefetches a row. Two tiles for each panel are as many tiles as the block has rows. If there is one tile for each panel,
it prefetches two rows. The block stays in the second cache, so panels are read as they lie.

Rows of a block that follow one another in memory are one stretch: there, pieces of it are what rows are elsewhere, and
strips may have more rows. float_product.py has the loops.
"""

from netc.compiler.targets.cpu.llvm.function import Function, Record, Word, at_least, at_most
from netc.compiler.targets.cpu.llvm.vectors import Lanes
from netc.compiler.targets.cpu.products.tile_sizes import FEW_ROWS, far_sizes
from netc.compiler.targets.machine import DISTANT, LINE, PACKED, PAGE, VECTORS

# Variables of a kernel: whether it walks b in blocks, their columns, and the rows of depth behind a strip; the address
# of the next block, its rows and their distance in bytes, how many of them are prefetched so far, and how many a tile
# prefetches.
VARIABLES = (
    *("in_blocks", "block_columns", "depth_left"),
    *("next_block", "next_pieces", "piece_step", "piece", "pieces_of_tile"),
)
_FEWEST = 32  # lines of a row: shorter strips read and write c too often
# Bytes of b: so many come from memory, whatever the last cache. From memory, products of 1 to 4 rows were measured to
# take 0.3 to 0.65 of the time that wide tiles take, out of the last cache 1.7 to 2.7 times as long.
_MEMORY = 32 << 20
_TILES = 2  # of rows: more tiles have time to wait for the pieces of panels


def begin(
    function: Function, words: Record, lanes: Lanes, depth: Word, is_single: Word, has_gathered_rows: bool
) -> None:
    """Sets whether a product walks b in blocks, and if so, the columns of a block and the rows of depth of a strip.

    Such a product does not copy b. `is_single` says that its depth is one loop without runs.
    """
    size, rows, columns, row = lanes.size, words["rows_count"], words["columns_count"], words["depth_b"]
    width, tall, most = VECTORS * lanes.count, lanes.machine.tile_rows, PAGE // size
    blocks = (columns + most - 1) // most
    each = (columns + blocks * width - 1) // at_least(blocks * width, 1) * width
    is_joined = row.equals(columns) & blocks.equals(1)  # a block is one stretch of memory
    long = at_most(function.number(PAGE // LINE * PAGE) // at_least(row * size, 1), PACKED)
    lines = is_joined.choose(long, (at_most(each, columns) * size + LINE - 1) // LINE)
    is_few = rows <= _TILES * tall
    is_along = words["depth_a"].equals(1) & words["columns_b"].equals(1) & is_single
    near = (rows > FEW_ROWS).choose(DISTANT // size, _MEMORY // size)
    is_far = (depth * columns > near) & (row > width) & (depth > lines) & words["panel_b"].equals(0)
    with function.when(is_few & is_along & is_far & (lines >= _FEWEST)):
        words["in_blocks"], words["block_columns"] = 1, each
        words["packs_b"] = 0
        words["most"] = lines
        words["piece_step"] = is_joined.choose(lines * LINE, row * size)
        tallest = far_sizes(lanes.machine, True)[0].height if has_gathered_rows else tall
        has_one = rows <= (tallest if width * size > LINE else 0)  # tile for each panel, of two lines
        words["pieces_of_tile"] = has_one.choose(2, 1)


def find_next(function: Function, words: Record, size: int, j: Word) -> None:
    """Sets which block is prefetched while the one from column j on is multiplied: the next one in the strip, or the
    first of the next strip."""
    words["next_pieces"] = words["piece"] = 0
    with function.when(words["in_blocks"].equals(1)):
        row, after = words["depth_b"] * size, j + words["block_columns"]
        is_in_strip = after < words["columns_count"]
        first = words["strip_b"] + is_in_strip.choose(after * size, words["most"] * row)
        left = is_in_strip.choose(words["depth"], words["depth_left"])
        words["next_block"], words["next_pieces"] = first, at_least(at_most(left, words["most"]), 0)


def choose(function: Function, words: Record, near: Word) -> None:
    """Sets what the second stream of the next tile prefetches, if a tile prefetches two rows of the next block: another
    one of them or, if none is left, always the address `near`. Counts the rows that the next `tiles` tiles prefetch."""
    piece, each = words["piece"], words["pieces_of_tile"]
    is_left = piece < words["next_pieces"]
    with function.when(each.equals(2)):
        at = words["next_block"] + (piece + 1) * words["piece_step"]
        words["later"], words["later_step"] = is_left.choose(at, near), is_left.choose(LINE, 0)
    words["piece"] = piece + is_left.choose(each * words["tiles"], 0)
