"""The register tile of a product, and the prefetch and the transposition around it, as Numba intrinsics in LLVM
vector IR.

    c[i, j] = start[i, j] + sum over run, k of a[i, run, k] * b[run, k, j]

A tile keeps `rows` x `vectors` vectors of sums in registers. Columns past the last whole vector are read (the planner
leaves room behind every buffer) but never stored. An element's sum runs over the depth in order, whatever tile it
falls in. Strides are in elements, addresses in bytes. tiles.py calls the intrinsics.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from netc.compiler.targets.machine import LINE, Machine

_I64, _I32, _BYTE = ir.IntType(64), ir.IntType(32), ir.IntType(8)
_ROWS_A_POINTER = 4
_Sums = dict[tuple[int, int], Any]  # a vector for each row and each vector of columns


class TileWords(NamedTuple):
    """The arguments of a tile. The sums begin with `start` if `has_start` is not 0; `columns` columns are stored."""

    a: Any
    a_row: Any
    a_step: Any
    a_run: Any
    b: Any
    b_row: Any
    b_run: Any
    c: Any
    c_row: Any
    start: Any
    start_row: Any
    has_start: Any
    runs: Any
    depth: Any
    columns: Any


@dataclass(frozen=True, slots=True)
class _Shape:
    """The rows and the vectors of a tile, and the machine's vectors of an element type."""

    rows: int
    vectors: int
    dtype: str
    machine: Machine

    @property
    def element(self) -> Any:
        return ir.FloatType() if self.dtype == "f32" else ir.DoubleType()

    @property
    def size(self) -> int:
        """The bytes of an element, by which vectors are aligned."""
        return 4 if self.dtype == "f32" else 8

    @property
    def lanes(self) -> int:
        return self.machine.lanes(self.dtype)

    @property
    def vector(self) -> Any:
        return ir.VectorType(self.element, self.lanes)

    @property
    def grid(self) -> list[tuple[int, int]]:
        """The rows and vectors of the tile, by number."""
        return [(i, j) for i in range(self.rows) for j in range(self.vectors)]


def tile(rows: int, vectors: int, dtype: str, machine: Machine) -> Any:
    """Returns the intrinsic `tile(TileWords(...))`: one tile of `rows` rows."""
    shape = _Shape(rows, vectors, dtype, machine)

    @intrinsic
    def one_tile(typing, words):
        def codegen(context, builder, signature, arguments):
            (values,) = arguments
            fields = [builder.extract_value(values, i) for i in range(len(TileWords._fields))]
            _Tile(shape, builder, TileWords(*fields)).emit()
            return context.get_dummy_value()

        return types.void(words), codegen

    return one_tile


class _Tile:
    """Emits one tile: blocks that read the start, sum over runs and depth, and store."""

    def __init__(self, shape: _Shape, builder: Any, words: TileWords) -> None:
        self.shape, self.builder, self.words = shape, builder, words
        self.a, self.b, self.c, self.start = (
            builder.inttoptr(base, shape.element.as_pointer()) for base in (words.a, words.b, words.c, words.start)
        )

    def emit(self) -> None:
        """Emits the tile behind the builder's position, and leaves the builder behind the tile."""
        offsets = {(i, j): self.offset(self.words.c_row, i, j) for i, j in self.shape.grid}
        self.zero = ir.Constant(self.shape.vector, [0.0] * self.shape.lanes)
        self.entry = self.builder.block
        names = ("read", "run", "depth", "ran", "done", "whole", "partial", "end", "before")
        self.blocks = {name: self.builder.function.append_basic_block(f"tile.{name}") for name in names}
        self.store(self.add_runs(self.read_start()), offsets)

    def read_start(self) -> _Sums:
        """The first sums: read from `start`, or zero."""
        builder, words, blocks = self.builder, self.words, self.blocks
        builder.cbranch(builder.icmp_signed("!=", words.has_start, _number(0)), blocks["read"], blocks["before"])
        builder.position_at_end(blocks["read"])
        loaded = {}
        for i, j in self.shape.grid:
            loaded[i, j] = self.load(self.start, self.offset(words.start_row, i, j))
        builder.branch(blocks["before"])
        builder.position_at_end(blocks["before"])
        first = {}
        for cell in self.shape.grid:
            first[cell] = builder.phi(self.shape.vector)
            first[cell].add_incoming(self.zero, self.entry)
            first[cell].add_incoming(loaded[cell], blocks["read"])
        return first

    def add_runs(self, first: _Sums) -> _Sums:
        """The loop over runs, with the loop over the depth of each inside. Ends in the block `done`."""
        builder, words, blocks, grid = self.builder, self.words, self.blocks, self.shape.grid
        row_at = [builder.mul(words.a_row, _number(i)) for i in range(_ROWS_A_POINTER)]
        products = builder.mul(words.runs, words.depth)
        builder.cbranch(builder.icmp_signed(">", products, _number(0)), blocks["run"], blocks["done"])

        builder.position_at_end(blocks["run"])
        run = builder.phi(_I64)
        run.add_incoming(_number(0), blocks["before"])
        sums = {cell: builder.phi(self.shape.vector) for cell in grid}
        b = builder.gep(self.b, [builder.mul(run, words.b_run)])
        a = builder.gep(self.a, [builder.mul(run, words.a_run)])
        after = self.add_depth(a, b, row_at, sums)

        builder.position_at_end(blocks["ran"])
        next_run = builder.add(run, _number(1))
        run.add_incoming(next_run, blocks["ran"])
        for cell in grid:
            sums[cell].add_incoming(first[cell], blocks["before"])
            sums[cell].add_incoming(after[cell], blocks["ran"])
        builder.cbranch(builder.icmp_signed("<", next_run, words.runs), blocks["run"], blocks["done"])

        builder.position_at_end(blocks["done"])
        result = {}
        for cell in grid:
            result[cell] = builder.phi(self.shape.vector)
            result[cell].add_incoming(first[cell], blocks["before"])
            result[cell].add_incoming(after[cell], blocks["ran"])
        return result

    def add_depth(self, a: Any, b: Any, row_at: list[Any], before: _Sums) -> _Sums:
        """The loop over the depth of a run.

        Some rows of a (at the offsets `row_at`) share a pointer, so that addresses need few registers and the loop few
        instructions beside its multiply-adds.
        """
        builder, words, blocks, grid = self.builder, self.words, self.blocks, self.shape.grid
        heads = range(0, self.shape.rows, _ROWS_A_POINTER)
        starts = [builder.gep(a, [builder.mul(words.a_row, _number(head))]) for head in heads] + [b]
        steps = [words.a_step for _ in heads] + [words.b_row]
        builder.branch(blocks["depth"])
        builder.position_at_end(blocks["depth"])
        left = builder.phi(_I64)
        left.add_incoming(words.depth, blocks["run"])
        pointers = [builder.phi(start.type) for start in starts]
        sums = {cell: builder.phi(self.shape.vector) for cell in grid}
        row = [self.load(pointers[-1], _number(j * self.shape.lanes)) for j in range(self.shape.vectors)]
        column = [
            self.splat(builder.gep(pointers[i // _ROWS_A_POINTER], [row_at[i % _ROWS_A_POINTER]]))
            for i in range(self.shape.rows)
        ]
        after = {(i, j): self.multiply_add(column[i], row[j], sums[i, j]) for i, j in grid}
        for pointer, start, step in zip(pointers, starts, steps, strict=True):
            pointer.add_incoming(start, blocks["run"])
            pointer.add_incoming(_hidden(builder, builder.gep(pointer, [step])), blocks["depth"])
        following = builder.sub(left, _number(1))
        left.add_incoming(following, blocks["depth"])
        for cell in grid:
            sums[cell].add_incoming(before[cell], blocks["run"])
            sums[cell].add_incoming(after[cell], blocks["depth"])
        builder.cbranch(builder.icmp_signed(">", following, _number(0)), blocks["depth"], blocks["ran"])
        return after

    def store(self, result: _Sums, offsets: _Sums) -> None:
        """Stores whole vectors if the tile has all of its columns, else those lanes that are columns."""
        builder, words, blocks, shape = self.builder, self.words, self.blocks, self.shape
        lanes, all_columns = shape.lanes, _number(shape.vectors * shape.lanes)
        is_whole = builder.icmp_signed(">=", words.columns, all_columns)
        builder.cbranch(is_whole, blocks["whole"], blocks["partial"])
        builder.position_at_end(blocks["whole"])
        for cell in shape.grid:
            builder.store(result[cell], self.at(self.c, offsets[cell])).align = shape.size
        builder.branch(blocks["end"])

        builder.position_at_end(blocks["partial"])
        masks, numbers = ir.VectorType(ir.IntType(1), lanes), ir.VectorType(_I64, lanes)
        kind = ir.FunctionType(ir.VoidType(), [shape.vector, shape.vector.as_pointer(), _I32, masks])
        masked = _declared(builder, f"llvm.masked.store.v{lanes}{shape.dtype}.p0", kind)
        limit = _repeated(builder, words.columns, numbers)
        for i, j in shape.grid:
            mask = builder.icmp_signed("<", ir.Constant(numbers, [j * lanes + lane for lane in range(lanes)]), limit)
            builder.call(masked, [result[i, j], self.at(self.c, offsets[i, j]), ir.Constant(_I32, shape.size), mask])
        builder.branch(blocks["end"])
        builder.position_at_end(blocks["end"])

    def offset(self, row: Any, i: int, j: int) -> Any:
        """The offset of vector j of row i, in elements; rows are `row` apart."""
        return self.builder.add(self.builder.mul(row, _number(i)), _number(j * self.shape.lanes))

    def at(self, base: Any, index: Any) -> Any:
        """The address of the vector that begins at an element."""
        return self.builder.bitcast(self.builder.gep(base, [index]), self.shape.vector.as_pointer())

    def load(self, base: Any, index: Any) -> Any:
        """The vector that begins at an element."""
        vector = self.builder.load(self.at(base, index))
        vector.align = self.shape.size
        return vector

    def splat(self, pointer: Any) -> Any:
        """A vector of which every lane is the element at a pointer."""
        scalar = self.builder.load(pointer)
        scalar.align = self.shape.size
        return _repeated(self.builder, scalar, self.shape.vector)

    def multiply_add(self, x: Any, y: Any, z: Any) -> Any:
        """x * y + z, rounded once if the machine has an instruction for it."""
        builder, vector = self.builder, self.shape.vector
        if not self.shape.machine.has_fma:
            return builder.fadd(builder.fmul(x, y), z)
        kind = ir.FunctionType(vector, [vector] * 3)
        return builder.call(_declared(builder, f"llvm.fma.v{self.shape.lanes}{self.shape.dtype}", kind), [x, y, z])


def touch(rows: int, vectors: int, dtype: str, machine: Machine, is_written: bool) -> Any:
    """Returns the intrinsic `touch(address, row)`, which fetches the cache lines under a tile whose rows are `row`
    apart.

    They are fetched into the first cache if they will be written, into the second if they will be read.
    """
    lines = range(0, vectors * machine.vector_bytes, LINE)
    flags = (1, 3, 1) if is_written else (0, 2, 1)  # written, how near, data

    @intrinsic
    def touch_rows(typing, base, row):
        def codegen(context, builder, signature, arguments):
            base, row = arguments
            size = _number(4 if dtype == "f32" else 8)
            pointer = _BYTE.as_pointer()
            kind = ir.FunctionType(ir.VoidType(), [pointer, _I32, _I32, _I32])
            prefetch = _declared(builder, "llvm.prefetch.p0", kind)
            for i in range(rows):
                at = builder.add(base, builder.mul(builder.mul(row, _number(i)), size))
                for line in lines:
                    address = builder.inttoptr(builder.add(at, _number(line)), pointer)
                    builder.call(prefetch, [address, *(ir.Constant(_I32, flag) for flag in flags)])
            return context.get_dummy_value()

        return types.void(types.int64, types.int64), codegen

    return touch_rows


def move(vectors: int, dtype: str, machine: Machine) -> Any:
    """Returns the intrinsic `move(source, to)`, which copies some vectors."""
    shape = _Shape(1, vectors, dtype, machine)

    @intrinsic
    def move_vectors(typing, source, to):
        def codegen(context, builder, signature, arguments):
            source, to = (builder.inttoptr(base, shape.vector.as_pointer()) for base in arguments)
            for i in range(vectors):
                vector = builder.load(builder.gep(source, [_number(i)]))
                vector.align = shape.size
                builder.store(vector, builder.gep(to, [_number(i)])).align = shape.size
            return context.get_dummy_value()

        return types.void(types.int64, types.int64), codegen

    return move_vectors


def transpose(dtype: str, machine: Machine) -> Any:
    """Returns the intrinsic `transpose(source, row, to, to_row)` of a square of lanes x lanes elements.

    Its rows are `row` apart; they become columns of the square at `to`, whose rows are `to_row` apart.
    """
    shape = _Shape(1, 1, dtype, machine)
    lanes, vector = shape.lanes, shape.vector

    @intrinsic
    def transpose_square(typing, source, row, to, to_row):
        def codegen(context, builder, signature, arguments):
            source, row, to, to_row = arguments
            source, to = (builder.inttoptr(base, shape.element.as_pointer()) for base in (source, to))

            def at(base: Any, stride: Any, i: int) -> Any:
                element = builder.gep(base, [builder.mul(stride, _number(i))])
                return builder.bitcast(element, vector.as_pointer())

            rows = []
            for i in range(lanes):
                rows.append(builder.load(at(source, row, i)))
                rows[-1].align = shape.size
            half = lanes // 2
            low = ir.Constant(ir.VectorType(_I32, lanes), [i // 2 + lanes * (i % 2) for i in range(lanes)])
            high = ir.Constant(ir.VectorType(_I32, lanes), [half + i // 2 + lanes * (i % 2) for i in range(lanes)])
            for _ in range(lanes.bit_length() - 1):  # each round interleaves row i with row i + half
                pairs = [(rows[i], rows[i + half]) for i in range(half)]
                rows = [builder.shuffle_vector(x, y, mask) for x, y in pairs for mask in (low, high)]
            for i in range(lanes):
                builder.store(rows[i], at(to, to_row, i)).align = shape.size
            return context.get_dummy_value()

        return types.void(*([types.int64] * 4)), codegen

    return transpose_square


def _number(value: int) -> Any:
    return ir.Constant(_I64, value)


def _hidden(builder: Any, pointer: Any) -> Any:
    """The same pointer, of which LLVM does not know how it was computed.

    Else LLVM rewrites the pointers of a loop as it likes: each an addition behind another one, or one for each row,
    which are more than there are registers.
    """
    return builder.asm(ir.FunctionType(pointer.type, [pointer.type]), "", "=r,0", [pointer], False)


def _declared(builder: Any, name: str, kind: Any) -> Any:
    """The declaration of an intrinsic of LLVM's in the builder's module."""
    return builder.module.globals.get(name) or ir.Function(builder.module, kind, name)


def _repeated(builder: Any, scalar: Any, vector: Any) -> Any:
    """A vector of which every lane is a scalar."""
    undefined = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.Constant(_I32, 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(_I32, vector.count), [0] * vector.count))
