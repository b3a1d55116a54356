"""The sizes of register tiles, and how the rows and columns of a product are divided among them. Knows no kernel."""

from msgspec import Struct

from netc.compiler.targets.cpu.llvm.function import Number, Word, at_least, at_most
from netc.compiler.targets.cpu.llvm.vectors import Lanes
from netc.compiler.targets.machine import GROUP, VECTORS, Machine
from netc.dsl.structs import replace

FEW_ROWS = 4  # the most rows of a product whose tiles are wide
_BETWEEN = 6  # the height of a tile between those of FEW_ROWS and of twice as many
_LOW = (2, 1)  # the heights of tiles for products of fewer rows than a group
_WIDE = (4, 8)  # vectors of the tiles of a few rows, beside 1 and 2


def heights(tile_rows: int) -> list[int]:
    """Returns the heights of the tiles that many rows need, the tallest first.

    A tile of one group takes up to that many rows; with more, its last groups overlap the ones before.
    """
    return [tile_rows, *range((tile_rows - 1) // GROUP * GROUP, 0, -GROUP)]


def rows_of_next(left: Word, tile_rows: int) -> Word:
    """Returns the rows of the next tile, if `left` rows remain: the tallest, but if one and a little more would remain,
    two tiles share them."""
    second = _second_height(tile_rows)
    return ((left > tile_rows) & (left <= 2 * second)).choose(second, at_most(left, tile_rows))


def tiles_of_next(left: Word, tile_rows: int) -> Word:
    """Returns how many tiles of the next tile's height follow one another, before the last two that share the rest."""
    second = _second_height(tile_rows)
    if not second:
        return at_least(left // tile_rows, 1)
    tiles = (left - 2 * second + tile_rows - 1) // tile_rows
    ends_whole = (left - tiles * tile_rows).equals(tile_rows)
    return at_least(ends_whole.choose(tiles + 1, tiles), 1)


def _second_height(tile_rows: int) -> int:
    """The second tallest height, or 0 if there is only one."""
    return heights(tile_rows)[1] if tile_rows > GROUP else 0


class Size(Struct, frozen=True):
    """The rows of a tile and its vectors in a row, the last of which may be half a vector."""

    height: int
    vectors: int
    ends_in_half: bool = False

    def columns(self, lanes: Lanes) -> int:
        return self.vectors * lanes.count - self.ends_in_half * lanes.half.count


def sizes(machine: Machine) -> list[Size]:
    """Returns the sizes of the tiles that many rows need, the tallest first."""
    return [Size(height, number) for height in heights(machine.tile_rows) for number in range(1, VECTORS + 1)]


def all_sizes(machine: Machine) -> list[Size]:
    """Returns the sizes of `sizes`, those of low and wide tiles for few rows, one more height, and tiles that end in
    half a vector.

    A product of few rows takes as long as it takes to read b. Wide tiles read long pieces of its rows, and have enough
    sums for multiply-adds to follow one another.
    """
    low = [Size(height, number) for height in _LOW for number in range(1, VECTORS + 1)]
    wide = [Size(height, number) for height in (FEW_ROWS, *_LOW) for number in _wide(height, machine)]
    most = sizes(machine)
    if machine.tile_rows > 2 * FEW_ROWS:
        most += [Size(_BETWEEN, number) for number in range(1, VECTORS + 1)]
    return [*with_halves(most, machine), *low, *wide]


def with_halves(most: list[Size], machine: Machine) -> list[Size]:
    """Returns some sizes and, if the machine has half vectors, those that end in half a vector."""
    return [*most, *(replace(size, ends_in_half=True) for size in most * machine.has_halves)]


def far_sizes(machine: Machine, has_gathered_rows: bool) -> list[Size]:
    """Returns the sizes of tiles that prefetch in blocks of a far b (far_blocks.py) what other tiles of so few rows do
    not, the tallest first."""
    tall = [height for height in heights(machine.tile_rows) if FEW_ROWS < height <= 2 * GROUP] * has_gathered_rows
    return [Size(height, VECTORS) for height in (*tall, FEW_ROWS, *_LOW)]


def copying_sizes(machine: Machine) -> list[Size]:
    """Returns the size of the tile that copies a panel while it multiplies it: that of most tiles."""
    return [Size(machine.tile_rows, VECTORS)]


def _wide(height: int, machine: Machine) -> list[int]:
    """The vectors of the wide tiles of a height, whose sums take at most half of the registers."""
    return [number for number in _WIDE if 2 * number * height <= machine.registers]


def panel_columns(rows: Word, left: Word, lanes: Lanes) -> Number:
    """Returns the columns of the next panel for a product of `rows` rows, if `left` remain and b is not copied."""
    columns: Number = VECTORS * lanes.count
    for height in (FEW_ROWS, *_LOW):
        for number in _wide(height, lanes.machine):
            columns = ((rows <= height) & (left >= number * lanes.count)).choose(number * lanes.count, columns)
    return columns
