"""Copies of a product's operands in the order in which tiles read them, as functions in LLVM vector IR."""

from collections.abc import Sequence
from typing import Any

from netc.compiler.targets.cpu.llvm.function import Function, Word, at_least, at_most, pinned
from netc.compiler.targets.cpu.llvm.vectors import Lanes, Vectors
from netc.compiler.targets.cpu.products.tile_operand import NUMBER
from netc.compiler.targets.cpu.products.tile_sizes import rows_of_next, tiles_of_next
from netc.compiler.targets.machine import GROUP, LINE, PIECE, VECTORS

_COLUMNS = 8  # of a that pack_rows copies at a time
_ROWS_AHEAD = 3  # between the row of a that copy_rows copies and the one that it prefetches
_AHEAD = 16  # rows of b, or columns of a, between the one that is copied and the one that is prefetched


def pack_panel(module: Any, lanes: Lanes) -> Function:
    """Returns the function `pack(to, b, b_row, b_column, depth, columns)`.

    It copies a panel of b so that its columns are neighbours, and its rows follow one another. The operands of a
    weight's gradient were computed long before, so rows are prefetched.
    """
    function = Function(module, "pack_panel", 6)
    to, b, b_row, b_column, depth, columns = function.parameters
    vectors, size, width = Vectors(function, lanes), lanes.size, VECTORS * lanes.count
    is_along, count = b_column.equals(1), lanes.count
    for number in range(1, VECTORS + 1):  # as tiles do, this reads past the last column
        is_wide = (columns > (number - 1) * count) & (columns <= number * count)
        with function.when(is_along & is_wide), function.loop(0, depth) as k:
            vectors.fetch_stretch(b + (k.index + _AHEAD) * b_row * size, number)
            for i in range(number):
                at = i * lanes.machine.vector_bytes
                row = vectors.load(b + k.index * b_row * size + at)
                vectors.store(row, to + k.index * (width * size) + at)
    with function.when(~is_along & b_row.equals(1)):
        _copy_transposed(function, lanes)
    with function.when(~is_along & ~b_row.equals(1)), function.loop(0, columns) as j, function.loop(0, depth) as k:
        source = b + (k.index * b_row + j.index * b_column) * size
        vectors.copy_element(source, to + (k.index * width + j.index) * size)
    function.end()
    return function


def _copy_transposed(function: Function, lanes: Lanes) -> None:
    """Copies a panel of b whose columns are contiguous in memory, some columns at a time, and transposes them.

    Nothing past the depth is read, and nothing past the panel's width is written.
    """
    to, b, _, b_column, depth, columns = function.parameters
    vectors, size, count = Vectors(function, lanes), lanes.size, lanes.count
    step, width, in_vectors = b_column * size, VECTORS * count * size, columns // count * count
    with function.loop(0, in_vectors, count) as j:
        _copy_strip(vectors, to + j.index * size, width, _rows(b + j.index * step, step, count), depth)
    # The last columns are those of a vector that overlaps the one before. If there is none before, the last column is
    # repeated in place of missing ones.
    left, kinds = columns - in_vectors, [lanes]
    while kinds[-1].count * size > PIECE:
        kinds.append(kinds[-1].half)
    for kind in kinds:
        fewer = kind.count // 2 if kind is not kinds[-1] else 0
        with function.when((left > fewer) & (left <= kind.count)):
            first = at_least(columns - kind.count, 0)
            rows = _rows(b + first * step, step, kind.count, columns - first, fewer)
            _copy_strip(Vectors(function, kind), to + first * size, width, rows, depth)


def _rows(first: Word, step: Word, count: int, existing: Word | None = None, certain: int = 0) -> list[list[Word]]:
    """The addresses of `count` rows, in groups that are computed from the first address of the group.

    If only the first `existing` rows exist (at least `certain` of them), the last of them stands for the others.
    """
    groups: list[list[Word]] = []
    for i in range(count):
        if existing is not None and i >= max(certain, 1):
            before = groups[-1][-1]
            groups.append([before + (existing > i).choose(step, 0)])
        elif i % GROUP:
            groups[-1].append(groups[-1][0] + step * (i % GROUP))
        else:
            groups.append([first + step * i])
    return groups


def _copy_strip(vectors: Vectors, to: Word, width: int, rows: Sequence[Sequence[Word]], depth: Word) -> None:
    """Transposes as many columns of b as a vector has elements, a piece of each at a time, into rows of `width` bytes.

    `rows` has the addresses of the columns of b, as `_rows` returns them.
    """
    size, piece = vectors.lanes.size, vectors.piece
    begins, steps = [to, *(group[0] for group in rows)], [piece * width, *(piece * size for _ in rows)]
    with vectors.function.walk((depth + piece - 1) // piece, begins, steps) as (target, *addresses):
        moved: list[Word] = []
        for address, group in zip(addresses, rows, strict=True):
            base = pinned(address)
            moved += [base + (row - group[0]) for row in group]
        for i, row in enumerate(vectors.load_columns(moved)):
            vectors.store(row, target + i * width)


def copy_rows(module: Any, lanes: Lanes) -> Function:
    """Returns the function `copy(to, a, a_row, rows, depth)` of rows whose elements are neighbours: they then follow
    one another."""
    function = Function(module, "copy_rows", 5)
    to, a, a_row, rows, depth = function.parameters
    vectors, size, count = Vectors(function, lanes), lanes.size, lanes.count
    in_vectors = depth // count * count
    with function.walk(rows, [to, a], [depth * size, a_row * size]) as (target, source):
        with function.loop(0, in_vectors, count) as k:
            vectors.fetch(source + (a_row * _ROWS_AHEAD + k.index) * size, 1, is_written=False)
            vectors.store(vectors.load(source + k.index * size), target + k.index * size)
        with function.loop(in_vectors, depth) as k:
            vectors.copy_element(source + k.index * size, target + k.index * size)
    function.end()
    return function


def pack_rows(module: Any, lanes: Lanes, is_gathered: bool = False) -> Function:
    """Returns the function `pack(to, a, a_step, rows, depth, order)` of rows that are neighbours.

    It copies them in the order in which tiles read them: tile upon tile, and in each, one column of rows upon another.
    A few columns are copied for all tiles before the next ones, so that a is read in the order of memory. Up to ROOM
    elements behind the copy are overwritten. The steps of depth are found by their numbers at the address `order` if
    they are gathered, and then `a_step` elements apart; `order` is not read otherwise.
    """
    function = Function(module, "pack_rows", 6)
    to, a, a_step, rows, depth, order = function.parameters
    vectors, tall, size = Vectors(function, lanes), lanes.machine.tile_rows, lanes.size
    pieces = range(0, tall, lanes.count)
    tall_tiles = rows_of_next(rows, tall).equals(tall).choose(tiles_of_next(rows, tall), 0)

    def column(k: Word) -> Word:
        return a + (function.index_at(order + k * NUMBER) if is_gathered else k) * a_step * size

    with function.loop(0, depth, _COLUMNS) as begin:
        soon, end = begin.index + _AHEAD, at_most(begin.index + _COLUMNS, depth)
        with function.loop(soon, at_most(soon + _COLUMNS, depth)) as k, function.loop(0, rows, LINE // size) as i:
            vectors.fetch(column(k.index) + i.index * size, 1, is_written=False)
        is_last = end.equals(depth)
        at_once = is_last.choose(0, tall_tiles)
        with function.when(at_once > 0):
            first, *others = (pinned(column(begin.index + number)) for number in range(_COLUMNS))
            target = to + begin.index * (tall * size)
            with function.walk(at_once, [first, target], [tall * size, depth * (tall * size)]) as (source, copy):
                # a column covers what the one before wrote too much, and the next columns what the last one did
                for number, behind in enumerate([function.number(0), *(other - first for other in others)]):
                    for piece in pieces:
                        row = vectors.load(source + behind + piece * size)
                        vectors.store(row, copy + (number * tall + piece) * size)
        with function.loop(at_once * tall, rows) as i:
            i.step = height = rows_of_next(rows - i.index, tall)
            copy = to + i.index * depth * size
            # behind the last column lies the next tile
            with function.loop(begin.index, is_last.choose(end - 1, end)) as k:
                for piece in pieces:
                    row = vectors.load(column(k.index) + (i.index + piece) * size)
                    vectors.store(row, copy + (k.index * height + piece) * size)
            with function.when(is_last):
                for piece in pieces:
                    row = vectors.load(column(end - 1) + (i.index + piece) * size)
                    vectors.store_first([(row, copy + ((end - 1) * height + piece) * size)], height - piece)
    function.end()
    return function
