"""Operations on vectors of a machine in a function under construction (function.py): loads, stores, prefetches,
multiply-adds and transposes. Addresses are in bytes. Knows no kernel.
"""

from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from msgspec import Struct

from netc.compiler.ir.types import DTYPES
from netc.compiler.targets.cpu.llvm import bf16_pairs
from netc.compiler.targets.cpu.llvm.function import BYTE, I32, I64, Function, Word, at_least
from netc.compiler.targets.machine import LINE, PIECE, Machine
from netc.dsl.structs import replace


class Lanes(Struct, frozen=True):
    """The vectors of an element type on a machine.

    With `has_pairs`, an element of an operand of `multiply_add` holds two numbers of bf16, and both are multiplied.
    Strides in memory then count numbers, not pairs.
    """

    dtype: str
    machine: Machine
    has_pairs: bool = False

    @property
    def size(self) -> int:
        """The bytes of an element, by which vectors are aligned."""
        return DTYPES[self.dtype].bytes

    @property
    def unit(self) -> int:
        """The bytes of a number of an operand, in which its strides are counted."""
        return DTYPES["bf16"].bytes if self.has_pairs else self.size

    @property
    def count(self) -> int:
        return self.machine.lanes(self.dtype)

    @property
    def element(self) -> Any:
        return ir.FloatType() if self.dtype == "f32" else ir.DoubleType()

    @property
    def vector(self) -> Any:
        return ir.VectorType(self.element, self.count)

    @property
    def zero(self) -> Any:
        return ir.Constant(self.vector, [0.0] * self.count)

    @property
    def half(self) -> "Lanes":
        """The vectors of half as many bytes."""
        return replace(self, machine=replace(self.machine, vector_bytes=self.machine.vector_bytes // 2))


class Vectors(Struct, frozen=True):
    """Writes operations on vectors into a function."""

    function: Function
    lanes: Lanes

    def load(self, address: Word) -> Any:
        """The vector that begins at an address."""
        builder = self.function.builder
        vector = builder.load(builder.inttoptr(address.value, self.lanes.vector.as_pointer()))
        vector.align = self.lanes.size
        return vector

    def load_piece(self, address: Word, count: int) -> Any:
        """A vector of `count` elements from an address on."""
        builder, kind = self.function.builder, ir.VectorType(self.lanes.element, count)
        piece = builder.load(builder.inttoptr(address.value, kind.as_pointer()))
        piece.align = self.lanes.size
        return piece

    def store(self, vector: Any, address: Word) -> None:
        builder = self.function.builder
        stored = builder.store(vector, builder.inttoptr(address.value, vector.type.as_pointer()))
        stored.align = self.lanes.size

    def copy_element(self, source: Word, to: Word) -> None:
        builder, pointer = self.function.builder, self.lanes.element.as_pointer()
        builder.store(builder.load(builder.inttoptr(source.value, pointer)), builder.inttoptr(to.value, pointer))

    def columns_mask(self, columns: Word, first: int) -> Any:
        """The mask of the lanes that are columns, in the vector that begins at column `first`."""
        builder, count = self.function.builder, self.lanes.count
        numbers = ir.VectorType(I64, count)
        limit = repeated(builder, columns.value, numbers)
        return builder.icmp_signed("<", ir.Constant(numbers, [first + lane for lane in range(count)]), limit)

    def store_first(self, cells: Sequence[tuple[Any, Word]], count: Word) -> None:
        """Stores the first `count` lanes of some vectors at their addresses, in order."""
        if self.lanes.machine.has_masks:
            self._store_part(cells, count)
        else:
            self.store_up_to(cells, count)

    def store_up_to(self, cells: Sequence[tuple[Any, Word]], count: Word) -> None:
        """Stores as `store_first` does, with a branch for the case that most vectors are: whole ones need no mask."""
        with self.function.builder.if_else((count >= self.lanes.count).value) as (complete, partial):
            with complete:
                for vector, address in cells:
                    self.store(vector, address)
            with partial:
                self._store_part(cells, count)

    def _store_part(self, cells: Sequence[tuple[Any, Word]], count: Word) -> None:
        """Stores the first `count` lanes of some vectors, fewer than all on a machine without masks."""
        if not self.lanes.machine.has_masks:
            self._store_pieces(cells, at_least(count, 0))
            return
        mask = self.columns_mask(count, 0)
        for vector, address in cells:
            self.store_masked(vector, address, mask)

    def _store_pieces(self, cells: Sequence[tuple[Any, Word]], count: Word) -> None:
        """Stores the first `count` lanes of some vectors, fewer than all: for each bit of the number, the longest
        first, a piece of so many lanes, if the bit is set."""
        builder, size, moved = self.function.builder, self.lanes.count, self.function.number(0)
        vectors, addresses = [vector for vector, _ in cells], [address for _, address in cells]
        while size := size // 2:
            is_set = builder.icmp_unsigned("!=", (count & self.function.number(size)).value, ir.Constant(I64, 0))
            before = builder.block
            with builder.if_then(is_set):
                for vector, address in zip(vectors, addresses, strict=True):
                    self.store(lower_half(builder, vector), address + moved)
                upper = [upper_half(builder, vector) for vector in vectors]
                behind, after = moved + size * self.lanes.size, builder.block
            with builder.goto_block(before):
                lower = [lower_half(builder, vector) for vector in vectors]
            joined = list[Any]()
            for otherwise, chosen in [*zip(lower, upper, strict=True), (moved.value, behind.value)]:
                joined.append(builder.phi(chosen.type))
                joined[-1].add_incoming(otherwise, before)
                joined[-1].add_incoming(chosen, after)
            vectors, moved = joined[:-1], Word(builder, joined[-1])

    def store_masked(self, vector: Any, address: Word, mask: Any) -> None:
        """Stores the lanes of a mask."""
        builder, pointer = self.function.builder, vector.type.as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [vector.type, pointer, I32, mask.type])
        masked = self.function.declared(f"llvm.masked.store.v{self.lanes.count}{self.lanes.dtype}.p0", kind)
        builder.call(
            masked, [vector, builder.inttoptr(address.value, pointer), ir.Constant(I32, self.lanes.size), mask]
        )

    def load_masked(self, address: Word, mask: Any) -> Any:
        """The lanes of a mask of the vector that begins at an address, and 0 in the others."""
        builder, vector = self.function.builder, self.lanes.vector
        pointer = vector.as_pointer()
        kind = ir.FunctionType(vector, [pointer, I32, mask.type, vector])
        masked = self.function.declared(f"llvm.masked.load.v{self.lanes.count}{self.lanes.dtype}.p0", kind)
        start = builder.inttoptr(address.value, pointer)
        return builder.call(masked, [start, ir.Constant(I32, self.lanes.size), mask, self.lanes.zero])

    def multiply_add(self, x: Any, y: Any, z: Any) -> Any:
        """x * y + z, rounded once if the machine has an instruction for it."""
        if self.lanes.has_pairs:
            return bf16_pairs.multiply_add(self.function, self.lanes.machine, x, y, z)
        builder, vector = self.function.builder, self.lanes.vector
        if not self.lanes.machine.has_fma:
            return builder.fadd(builder.fmul(x, y), z)
        kind = ir.FunctionType(vector, [vector] * 3)
        fma = self.function.declared(f"llvm.fma.v{self.lanes.count}{self.lanes.dtype}", kind)
        return builder.call(fma, [x, y, z])

    def fetch(self, address: Word, vectors: int, is_written: bool) -> None:
        """Prefetches the cache lines of some vectors: into the first cache if they will be written, else into the
        second."""
        builder = self.function.builder
        for line in range(0, vectors * self.lanes.machine.vector_bytes, LINE):
            self.fetch_line(builder.inttoptr((address + line).value, BYTE.as_pointer()), is_written)

    def fetch_stretch(self, address: Word, vectors: int) -> None:
        """Prefetches some vectors that may begin inside of a cache line, and then end in one more, into the second
        cache."""
        self.fetch(address, vectors, is_written=False)
        last = address + (vectors * self.lanes.machine.vector_bytes - 1)
        self.fetch_line(self.function.builder.inttoptr(last.value, BYTE.as_pointer()), is_written=False)

    def fetch_line(self, pointer: Any, is_written: bool) -> None:
        """Prefetches the cache line that a pointer to a byte points to, as `fetch` does."""
        kind = ir.FunctionType(ir.VoidType(), [BYTE.as_pointer(), I32, I32, I32])
        flags = (1, 3, 1) if is_written else (0, 2, 1)  # written, how near, data
        prefetch = self.function.declared("llvm.prefetch.p0", kind)
        self.function.builder.call(prefetch, [pointer, *(ir.Constant(I32, flag) for flag in flags)])

    def transposed(self, rows: Sequence[Any]) -> list[Any]:
        """The columns of a square of as many rows as a vector has lanes."""
        return transposed(self.function.builder, rows, self.lanes.size)

    def load_transposed(self, address: Word, row: Word) -> list[Any]:
        """The columns of a square of as many rows as a vector has lanes. Rows are `row` bytes apart in memory.

        Pieces of the rows are joined as they are loaded, so that elements move inside of pieces only: half of the
        shuffles of `transposed`.
        """
        rows = [address + row * i for i in range(self.lanes.count)]
        firsts = range(0, self.lanes.count, self.piece)
        return [column for first in firsts for column in self.load_columns(rows, first)]

    @property
    def piece(self) -> int:
        """The elements of a piece (16 bytes) of a vector, inside of which simple instructions move elements."""
        return min(self.lanes.count, PIECE // self.lanes.size)

    def load_columns(self, rows: Sequence[Word], first: int = 0) -> list[Any]:
        """Loads a piece of columns, from column `first` on, of the rows at these addresses: a vector for each
        column."""
        count, piece = self.lanes.count, self.piece
        pieces = [
            [self.load_piece(rows[j] + first * self.lanes.size, piece) for j in range(i, count, piece)]
            for i in range(piece)
        ]
        return _of_squares(self.function.builder, [joined(self.function.builder, row) for row in pieces], 1, piece)


def transposed(builder: Any, rows: Sequence[Any], size: int) -> list[Any]:
    """The columns of a square of as many rows as a vector has lanes, of elements of `size` bytes.

    Small squares inside of the pieces (16 bytes) of vectors are transposed first, and then the square of pieces,
    because moves inside of a piece, and of whole pieces, are simple instructions.
    """
    count = len(rows)
    piece = min(count, PIECE // size)
    groups = [_of_squares(builder, rows[i : i + piece], 1, piece) for i in range(0, count, piece)]
    columns = [_of_squares(builder, same, piece, count) for same in zip(*groups, strict=True)]
    return [column for same in zip(*columns, strict=True) for column in same]


def _of_squares(builder: Any, rows: Sequence[Any], unit: int, scope: int) -> list[Any]:
    """The columns of squares that lie side by side in some rows: each has `scope` lanes of a row, `unit` for an item.

    Each round makes one row of the even items of two neighbouring rows, and another of the odd ones.
    """
    rows = list(rows)
    for _ in range((scope // unit).bit_length() - 1):
        count = rows[0].type.count
        kept = [lane for lane in range(2 * count) if not lane // unit & 1]  # of one neighbour and then of the other
        kept.sort(key=lambda lane: (lane % count // scope, lane // count))
        even, odd = (ir.Constant(ir.VectorType(I32, count), [lane + shift for lane in kept]) for shift in (0, unit))
        pairs = list(zip(rows[::2], rows[1::2], strict=True))
        rows = [builder.shuffle_vector(x, y, lanes) for lanes in (even, odd) for x, y in pairs]
    return rows


def joined(builder: Any, pieces: Sequence[Any]) -> Any:
    """A vector of some pieces of equal length, whose number is a power of two."""
    while len(pieces) > 1:
        lanes = list(range(2 * pieces[0].type.count))
        both = ir.Constant(ir.VectorType(I32, len(lanes)), lanes)
        pieces = [builder.shuffle_vector(x, y, both) for x, y in zip(pieces[::2], pieces[1::2], strict=True)]
    return pieces[0]


def lower_half(builder: Any, vector: Any) -> Any:
    """The first half of a vector's lanes."""
    return _half(builder, vector, 0)


def upper_half(builder: Any, vector: Any) -> Any:
    """The second half of a vector's lanes."""
    return _half(builder, vector, vector.type.count // 2)


def _half(builder: Any, vector: Any, first: int) -> Any:
    lanes = ir.Constant(ir.VectorType(I32, vector.type.count // 2), list(range(first, first + vector.type.count // 2)))
    return builder.shuffle_vector(vector, ir.Constant(vector.type, ir.Undefined), lanes)


def repeated(builder: Any, scalar: Any, vector: Any) -> Any:
    """A vector of which every lane is a scalar."""
    undefined = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.Constant(I32, 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(I32, vector.count), [0] * vector.count))
