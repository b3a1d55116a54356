"""Functions of the attention kernels on blocks in their memory: copies, products, transposes and scaled rows.

Rows of blocks are whole vectors. Addresses are in bytes, strides in elements, factors are the bits of an f64.
softmax.py has the functions on columns of scores.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir

from netc.compiler.targets.cpu.attention.prefetch import Prefetches
from netc.compiler.targets.cpu.llvm.function import COMPUTES, Fields, Function, Word, at_least, at_most
from netc.compiler.targets.cpu.llvm.vectors import Lanes, Vectors, repeated
from netc.compiler.targets.cpu.math.terms import Scope, Term, select
from netc.compiler.targets.cpu.products import tile
from netc.compiler.targets.cpu.products.tile_sizes import heights, rows_of_next, sizes
from netc.compiler.targets.machine import VECTORS

# The arguments of `product` in the caller's record, beside those of the tile. Causal attention leaves out what lies
# beyond the diagonal: of the columns from j on, only the rows before j + rows_to + the width of a panel are needed; for
# the rows from i on, the depth begins at i - depth_from and ends at i + depth_to + their number.
PRODUCT = ("a", "a_step", "b", "c", "all_rows", "all_columns", "all_depth", "rows_to", "depth_to", "depth_from")
EVERYTHING = 1 << 40  # for a limit that leaves out nothing
_INDEX = 4  # bytes of a number in an index table


class Block(Vectors, frozen=True):
    """Writes operations on vectors and elements into a function, also as terms of math/."""

    @property
    def scope(self) -> Scope:
        return Scope(self.function.builder, self.lanes.machine.has_fma, self.lanes.count)

    def term(self, address: Word) -> Term:
        """The vector that begins at an address."""
        return Term(self.scope, self.lanes.dtype, self.load(address))

    def put(self, term: Term, address: Word) -> None:
        self.store(term.value, address)

    def constant(self, number: float) -> Term:
        return self.scope.constant(self.lanes.dtype, number)

    def masked(self, term: Term, columns: Word, number: float) -> Term:
        """A vector whose first `columns` lanes are replaced by a number."""
        condition = Term(self.scope, "bool", self.columns_mask(columns, 0))
        return select(condition, self.constant(number), term)

    def factor(self, bits: Word) -> Any:
        """The number whose bits as an f64 are those of an integer."""
        builder = self.function.builder
        number = builder.bitcast(bits.value, ir.DoubleType())
        return builder.fptrunc(number, ir.FloatType()) if self.lanes.dtype == "f32" else number

    def element(self, address: Word) -> Any:
        builder = self.function.builder
        return builder.load(builder.inttoptr(address.value, self.lanes.element.as_pointer()))

    def put_element(self, element: Any, address: Word) -> None:
        builder = self.function.builder
        builder.store(element, builder.inttoptr(address.value, self.lanes.element.as_pointer()))

    def row_numbers(self, order: Word) -> Callable[[Word], Word]:
        """Returns a function that gives the number of row i: the element i of `order`, or i if that address is 0."""
        function, builder = self.function, self.function.builder
        slot = builder.alloca(ir.IntType(64))

        def of_row(i: Word) -> Word:
            builder.store(i.value, slot)
            with function.when(order > 0):
                builder.store(function.index_at(order + i * _INDEX).value, slot)
            return Word(builder, builder.load(slot))

        return of_row

    def variable(self, term: Term) -> Any:
        """Returns a variable for a vector that changes in a loop: a stack slot, which LLVM keeps in a register.

        To be called outside of loops, since a slot in a loop would be a new one in each iteration.
        """
        slot = self.function.builder.alloca(self.lanes.vector)
        self.set(slot, term)
        return slot

    def get(self, slot: Any) -> Term:
        return Term(self.scope, self.lanes.dtype, self.function.builder.load(slot))

    def set(self, slot: Any, term: Term) -> None:
        self.function.builder.store(term.value, slot)

    def add(self, slot: Any, x: Any, y: Any) -> None:
        """Adds the product of two vectors to a variable."""
        builder = self.function.builder
        builder.store(self.multiply_add(x, y, builder.load(slot)), slot)


def function_of(module: Any, lanes: Lanes, name: str, parameters: int, write: Callable[..., None]) -> Function:
    """Returns the function `name` of some parameters, whose body is what `write(block, *parameters)` emits."""
    function = Function(module, name, parameters)
    set.add(function.function.attributes, COMPUTES)
    write(Block(function, lanes), *function.parameters)
    function.end()
    return function


def product(module: Any, lanes: Lanes, fields: Fields, prefetches: Prefetches) -> Function:
    """Returns the function `product(record)`: c = a b, or c + a b if `reads_start` is 1. See PRODUCT."""
    tall, width, size = lanes.machine.tile_rows, VECTORS * lanes.count, lanes.size
    tiles = {(size.height, size.vectors): tile.tile(module, size, lanes, fields) for size in sizes(lanes.machine)}

    def write(block: Block, address: Word) -> None:
        function = block.function
        words = function.record(address, fields)
        columns, rows, depth = (words[name] for name in ("all_columns", "all_rows", "all_depth"))

        def take(panel: Word, first_row: Word, end: Word) -> None:
            """Multiplies the rows from `first_row` to `end` by the panel that begins at column `panel`."""
            with function.loop(first_row, end) as i:
                i.step = taken = rows_of_next(end - i.index, tall)
                first = at_most(at_least(i.index - words["depth_from"], 0), depth)
                last = at_least(at_most(depth, i.index + words["depth_to"] + taken), first)
                words["depth"] = last - first
                words["panel"] = words["b"] + (first * words["panel_row"] + panel) * size
                a = words["a"] + (i.index * words["a_row"] + first * words["a_step"]) * size
                c = words["c"] + (i.index * words["rows_c"] + panel) * size
                prefetches.advance(function, words, address)
                for (height, number), called in tiles.items():
                    lower = max((other for other in heights(tall) if other < height), default=0)
                    is_high = (taken > lower) & (taken <= height)
                    least, most = (number - 1) * lanes.count, number * lanes.count
                    with function.when(is_high & (words["columns"] > least) & (words["columns"] <= most)):
                        called(function, address, a, words["a_step"], c, c, taken)

        with function.loop(0, columns, width) as j:
            words["columns"] = at_most(columns - j.index, width)
            end = at_least(at_most(rows, j.index + words["rows_to"] + width), 0)
            is_cut = (words["rows_to"] < EVERYTHING) & (words["columns"] > lanes.count)
            both = is_cut.choose(at_least(at_most(rows, j.index + words["rows_to"] + lanes.count), 0), end)
            take(j.index, function.number(0), both)
            with function.when(is_cut):  # the rows below are needed by the second vector of columns only
                words["columns"] = words["columns"] - lanes.count
                take(j.index + lanes.count, both, end)

    return function_of(module, lanes, "product", 1, write)


def copy_in(module: Any, lanes: Lanes) -> Function:
    """Returns the function `copy_in(to, width, x, row, column, rows, columns, all_rows, factor, order)`.

    It copies an operand, times a factor, to rows that are `width` apart, with zeros behind its columns, and with rows
    of zeros behind its rows. `order` is the address of the numbers of the operand's rows, or 0: 0, 1, 2, ...
    """

    def write(block: Block, to: Word, width: Word, x: Word, row: Word, column: Word, *more: Word) -> None:
        rows, columns, all_rows, factor, order = more
        function, size = block.function, lanes.size
        number, zero = block.factor(factor), ir.Constant(lanes.element, 0.0)
        of_row = block.row_numbers(order)
        with function.loop(0, rows) as i:
            source, target = x + of_row(i.index) * row * size, to + i.index * width * size
            _scaled(block, (source, column), (target, function.number(1)), columns, number)
            with function.loop(columns, width) as j:
                block.put_element(zero, target + j.index * size)
        with function.loop(rows * width, all_rows * width) as k:
            block.put_element(zero, to + k.index * size)

    return function_of(module, lanes, "copy_in", 10, write)


def copy_out(module: Any, lanes: Lanes) -> Function:
    """Returns the function `copy_out(block, width, x, row, column, rows, columns, factor, order)`.

    It copies rows that are `width` apart to a result, times a factor: the opposite of `copy_in`.
    """

    def write(block: Block, base: Word, width: Word, x: Word, row: Word, column: Word, *more: Word) -> None:
        rows, columns, factor, order = more
        number, of_row = block.factor(factor), block.row_numbers(order)
        with block.function.loop(0, rows) as i:
            source, target = base + i.index * width * lanes.size, x + of_row(i.index) * row * lanes.size
            _scaled(block, (source, block.function.number(1)), (target, column), columns, number)

    return function_of(module, lanes, "copy_out", 9, write)


def _scaled(block: Block, source: tuple[Word, Word], to: tuple[Word, Word], columns: Word, number: Any) -> None:
    """Copies a row times a number; each end is an address and a stride. Vectors are copied where both strides are 1."""
    function, lanes = block.function, block.lanes
    (x, step), (y, to_step) = source, to
    builder, size = function.builder, lanes.size
    is_along = step.equals(1) & to_step.equals(1)
    in_vectors = is_along.choose(columns // lanes.count * lanes.count, 0)
    factor = repeated(builder, number, lanes.vector)
    with function.loop(0, in_vectors, lanes.count) as j:
        block.store(builder.fmul(block.load(x + j.index * size), factor), y + j.index * size)
    with function.loop(in_vectors, columns) as j:
        element = block.element(x + j.index * step * size)
        block.put_element(builder.fmul(element, number), y + j.index * to_step * size)


def fill_rest(module: Any, lanes: Lanes) -> Function:
    """Returns the function `fill_rest(x, row, column, first, rows, columns, repeats)`.

    It fills the rows from `first` on with the row before if `repeats` is 1 and there is one, else with zeros.
    """

    def write(block: Block, x: Word, row: Word, column: Word, first: Word, *more: Word) -> None:
        rows, columns, repeats = more
        function, size = block.function, lanes.size
        has_last = (repeats.equals(1) & (first > 0)).value
        last = at_least(first - 1, 0) * row * size
        with function.loop(first, rows) as i, function.loop(0, columns) as j:
            at = j.index * column * size
            element = block.element(x + last + at)
            number = function.builder.select(has_last, element, ir.Constant(lanes.element, 0.0))
            block.put_element(number, x + i.index * row * size + at)

    return function_of(module, lanes, "fill_rest", 7, write)


def transpose(module: Any, lanes: Lanes) -> Function:
    """Returns the function `transpose(block, row, rows, width, to, to_row, factor)`: transposes a block, whose sizes
    are whole vectors, times a factor."""

    def write(block: Block, base: Word, row: Word, rows: Word, width: Word, *more: Word) -> None:
        to, to_row, factor = more
        function, size, count = block.function, lanes.size, lanes.count
        number = repeated(function.builder, block.factor(factor), lanes.vector)
        with function.loop(0, rows, count) as i, function.loop(0, width, count) as j:
            source, target = base + (i.index * row + j.index) * size, to + (j.index * to_row + i.index) * size
            for k, column in enumerate(block.load_transposed(source, row * size)):
                block.store(function.builder.fmul(column, number), target + to_row * (k * size))

    return function_of(module, lanes, "transpose", 7, write)


def add_products(module: Any, lanes: Lanes, row: int) -> Function:
    """Returns the function `add_products(x, y, count, to)`: the sum of x * y down a column of two blocks."""

    def write(block: Block, x: Word, y: Word, count: Word, to: Word) -> None:
        total = block.variable(block.constant(0.0))
        with block.function.loop(0, count) as k:
            at = k.index * (row * lanes.size)
            block.set(total, block.get(total) + block.term(x + at) * block.term(y + at))
        block.put(block.get(total), to)

    return function_of(module, lanes, "add_products", 4, write)


def scale_rows(module: Any, lanes: Lanes) -> Function:
    """Returns the function `scale_rows(block, row, width, rows, factors)`: multiplies each row by a number of its
    own. Rows are `row` elements apart and `width` wide."""

    def write(block: Block, base: Word, row: Word, width: Word, rows: Word, factors: Word) -> None:
        function, size = block.function, lanes.size
        with function.loop(0, rows) as i:
            factor = repeated(function.builder, block.element(factors + i.index * size), lanes.vector)
            with function.loop(0, width, lanes.count) as j:
                at = base + (i.index * row + j.index) * size
                block.store(function.builder.fmul(block.load(at), factor), at)

    return function_of(module, lanes, "scale_rows", 5, write)


def fill(module: Any, lanes: Lanes) -> Function:
    """Returns the function `fill(base, count, number)`: a number, given as bits, in `count` elements, whole vectors."""

    def write(block: Block, base: Word, count: Word, number: Word) -> None:
        vector = repeated(block.function.builder, block.factor(number), lanes.vector)
        with block.function.loop(0, count, lanes.count) as k:
            block.store(vector, base + k.index * lanes.size)

    return function_of(module, lanes, "fill", 3, write)
