"""The register tile of a few columns, as a function in LLVM vector IR.

    c[i, j] = start[i, j] + sum over run, k of a[i, run, k] * b[run, k, j]

A tile of tile.py would leave most lanes of its vectors empty. Here a vector holds the sums of several rows: a piece of
16 bytes for each row, with up to four columns in f32:

    sums   c[i, 0..3]            c[i+1, 0..3]            c[i+2, 0..3]            c[i+3, 0..3]
    += a   a[i, k] in 4 lanes    a[i+1, k] in 4 lanes    a[i+2, k] in 4 lanes    a[i+3, k] in 4 lanes
     * b   b[k, 0..3]            b[k, 0..3]              b[k, 0..3]              b[k, 0..3]

Elements of a are loaded as a piece of each row if they are contiguous along the depth, or as one vector of rows if they
are contiguous along the rows, as in a weight's gradient.

Addresses, strides, bits, and reads past the last column are as in tile.py. float_product.py calls the tiles.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Literal

from llvmlite import ir

from netc.compiler.targets.cpu.llvm.function import I32, I64, Fields, Function, Number, Word, at_most, pinned
from netc.compiler.targets.cpu.llvm.vectors import Lanes, Vectors, joined
from netc.compiler.targets.machine import PIECE, Machine

_Along = Literal["depth", "rows"]  # the loop along which a is contiguous
_VECTORS = (6, 4, 3, 2, 1)  # of sums in a tile, for each height of tiles


def narrow_columns(lanes: Lanes) -> int:
    """Returns the most columns of a narrow tile, 0 if the machine has none."""
    return PIECE // lanes.size if lanes.machine.vector_bytes > PIECE and lanes.size < PIECE // 2 else 0


def narrow_operations(machine: Machine, dtype: str) -> list[int]:
    """Returns the multiply-adds in the body of each loop of all narrow tiles. Each tile has three loops: two along the
    depth, of several elements and of one, and one along the rows."""
    columns = narrow_columns(Lanes(dtype, machine))
    return [count for vectors in _VECTORS * bool(columns) for count in (columns * vectors, vectors, vectors)]


def multiply_narrow(module: Any, lanes: Lanes, fields: Fields) -> Function | None:
    """Returns the function `multiply_narrow(record)` of a panel of few columns, or None if a machine has no such tiles.

    Tiles take the rows of a block, one after another. `record` is the address of a record with the variables of
    tile.FIELDS, `depth_a`, `rows`, and the addresses `block_a`, `panel_c` and `panel_start`. `a_row` or
    `depth_a` is 1.
    """
    if not (columns := narrow_columns(lanes)):
        return None
    function, heights = Function(module, "multiply_narrow", 1), [count * lanes.count // columns for count in _VECTORS]
    (record,) = function.parameters
    words = function.record(record, fields)
    is_along_depth = words["depth_a"].equals(1)
    chosen: list[tuple[_Along, Word]] = [("depth", is_along_depth), ("rows", ~is_along_depth)]
    for along, is_chosen in chosen:
        tiles = {height: _narrow_tile(module, height, along, lanes, fields) for height in heights}
        with function.when(is_chosen), function.loop(0, words["rows"]) as i:
            i.step = rows = at_most(words["rows"] - i.index, max(heights))
            a, c, start = (
                words[base] + i.index * words[row] * lanes.size
                for base, row in (("block_a", "a_row"), ("panel_c", "rows_c"), ("panel_start", "start_row"))
            )
            for height, lower in zip(heights, [*heights[1:], 0], strict=True):
                with function.when((rows > lower) & (rows <= height)):
                    tiles[height](function, record, a, words["depth_a"], c, start, rows)
    function.end()
    return function


def _narrow_tile(module: Any, height: int, along: _Along, lanes: Lanes, fields: Fields) -> Function:
    """Returns the function `tile(record, a, a_step, c, start, rows)` of the first rows, up to the tile's height.

    `record` is the address of a record with the variables of tile.FIELDS.
    """
    function = Function(module, f"narrow_{height}_along_{along}", 6)
    _Narrow(function, height, lanes, fields).write(along)
    function.end()
    return function


class _Narrow:
    """Writes one tile. Sums, and addresses in a and b, are variables (stack slots), which LLVM keeps in registers."""

    def __init__(self, function: Function, height: int, lanes: Lanes, fields: Fields) -> None:
        self.function, self.builder, self.lanes, self.size = function, function.builder, lanes, lanes.size
        self.columns = narrow_columns(lanes)
        self.pieces = lanes.count // self.columns
        self.vectors = Vectors(function, lanes)
        record, self.a, self.a_step, self.c, self.start, rows = function.parameters
        self.words = function.record(record, fields)
        # The last vector overlaps the one before. A single vector repeats the last row in place of missing ones.
        group = [function.number(i) for i in range(self.pieces)]
        self.in_group = group if height > self.pieces else [at_most(row, rows - 1) for row in group]
        firsts = range(self.pieces, height, self.pieces)
        self.heads = [function.number(0), *(at_most(function.number(i), rows - self.pieces) for i in firsts)]
        self.sums = [self.builder.alloca(lanes.vector) for _ in self.heads]
        self.slots = [self.builder.alloca(I64) for _ in (*self.heads, "b")]

    def write(self, along: _Along) -> None:
        function, words, size, depth = self.function, self.words, self.size, self.words["depth"]
        self.read_start()
        a_row, a_step = pinned(words["a_row"] * size), self.a_step * size
        rows = [a_row * row for row in self.in_group]
        with function.loop(0, words["runs"]) as run:
            a = self.a + run.index * words["runs_a"] * size
            b = words["panel"] + run.index * words["panel_run"] * size
            for slot, first in zip(self.slots, [*(a + a_row * head for head in self.heads), b], strict=True):
                self.builder.store(first.value, slot)
            if along == "depth":
                groups = depth // self.columns
                with function.loop(0, groups):
                    self.add(rows, self.columns)
                with function.loop(groups * self.columns, depth):
                    self.add(rows, 1)
            else:
                with function.loop(0, depth):
                    self.add_column(a_step)
        self.store(self.rows_of(self.c, words["rows_c"]))

    def rows_of(self, base: Word, row: Word) -> list[list[Word]]:
        """The addresses of the rows of each vector, which lie `row` elements apart."""
        step = row * self.size
        return [[base + (head + i) * step for i in self.in_group] for head in self.heads]

    def read_start(self) -> None:
        """Sets the first sums: read from `start`, or zero."""
        for total in self.sums:
            self.builder.store(self.lanes.zero, total)
        with self.function.when(~self.words["reads_start"].equals(0)):
            for total, group in zip(self.sums, self.rows_of(self.start, self.words["start_row"]), strict=True):
                self.builder.store(self.joined(group), total)

    def address_of(self, number: int) -> Word:
        return Word(self.builder, self.builder.load(self.slots[number]))

    def move(self, number: int, step: Number) -> None:
        """Moves an address in an operand by some bytes."""
        self.builder.store(pinned(self.address_of(number) + step).value, self.slots[number])

    def add(self, rows: Sequence[Word], count: int) -> None:
        """Adds the products of the next `count` steps of depth. A vector's rows lie at the offsets `rows` from its
        address."""
        groups = [self.joined([self.address_of(i) + row for row in rows]) for i in range(len(self.sums))]
        sums = [self.builder.load(total) for total in self.sums]
        for k in range(count):
            column = self.next_row()
            lanes = [lane // self.columns * self.columns + k for lane in range(self.lanes.count)]
            sums = [
                self.vectors.multiply_add(self.chosen(group, lanes), column, total)
                for group, total in zip(groups, sums, strict=True)
            ]
        for i, (value, total) in enumerate(zip(sums, self.sums, strict=True)):
            self.builder.store(value, total)
            self.move(i, count * self.size)

    def add_column(self, step: Word) -> None:
        """Adds the products of the next step of depth, at which the rows of a vector are contiguous in a."""
        column, lanes = self.next_row(), [lane // self.columns for lane in range(self.lanes.count)]
        for i, total in enumerate(self.sums):
            row = self.chosen(self.vectors.load_piece(self.address_of(i), self.columns), lanes)
            self.builder.store(self.vectors.multiply_add(row, column, self.builder.load(total)), total)
            self.move(i, step)

    def next_row(self) -> Any:
        """The next row of b, in each piece of a vector."""
        b = len(self.sums)
        piece = self.vectors.load_piece(self.address_of(b), self.columns)
        self.move(b, self.words["panel_row"] * self.size)
        return self.chosen(piece, [lane % self.columns for lane in range(self.lanes.count)])

    def joined(self, addresses: Sequence[Word]) -> Any:
        """A vector of the pieces that begin at some addresses."""
        return joined(self.builder, [self.vectors.load_piece(address, self.columns) for address in addresses])

    def chosen(self, vector: Any, lanes: Sequence[int]) -> Any:
        """The elements of a vector at some lanes."""
        undefined = ir.Constant(vector.type, ir.Undefined)
        return self.builder.shuffle_vector(vector, undefined, ir.Constant(ir.VectorType(I32, len(lanes)), list(lanes)))

    def store(self, rows: Sequence[Sequence[Word]]) -> None:
        """Stores the columns of each row, the last row first, so that existing rows overwrite the repeated ones."""
        columns, piece = self.words["columns"], Vectors(self.function, self.lanes)
        while piece.lanes.count > self.columns:
            piece = Vectors(self.function, piece.lanes.half)
        values = [self.builder.load(total) for total in self.sums]

        def cells() -> Iterator[tuple[Any, Word]]:
            for value, addresses in zip(values, rows, strict=True):
                for i in reversed(range(self.pieces)):
                    yield self.chosen(value, range(i * self.columns, (i + 1) * self.columns)), addresses[i]

        with self.builder.if_else(columns.equals(self.columns).value) as (complete, partial):
            with complete:
                for stored, address in cells():
                    piece.store(stored, address)
            with partial:
                piece.store_first([*cells()], columns)
