"""The kernels of convolutions in narrow groups; program/grouped.py has the formula and the arguments.

A vector holds results of several groups, each of which needs other channels: they are moved to its lanes. With groups
of 8 results and vectors of 16 lanes,

    results    o0 .. o7  of group 0       o0 .. o7  of group 1
    += image   channel d of group 0 ...   channel d of group 1 ...      one load, one instruction that moves lanes
     * weights neighbours in memory

    for vector of results:
        for sample, row:
            for tile of neighbouring columns:            # their sums are in registers
                for window's row, and up to TAPS of its columns:
                    for input d of a group:
                        for column of the image:         # moved once for all elements of the window that meet it
                            sums += column, moved * weights

The gradient of the weights has the sums of a part of the window in registers, and goes through all positions. Sums run
over a window in order, and over positions in order: bits do not depend on how samples or channels are shared out.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from llvmlite import ir

from netc.compiler.program import grouped as program
from netc.compiler.program.grouped import GroupedPart, Groups
from netc.compiler.targets.cpu.function import I32, Fields, Function, Number, Record, Word, at_most, pinned
from netc.compiler.targets.cpu.vectors import Lanes, Vectors, repeated
from netc.compiler.targets.machine import GROUP, Machine

TAPS = 3  # the most neighbouring elements of a window that share what was moved
_UNROLLED = 32  # products of a window, for each result, that are written without a loop
_MOST_SUMS = {32: 24, 16: 9}  # of a gradient, by the number of registers


def grouped(symbol: str, part: GroupedPart, dtype: str, groups: Groups, machine: Machine) -> Any:
    """Returns an LLVM module with a kernel of an element type: the function `symbol` of program/grouped.py."""
    kernel = _Grouped(ir.Module(symbol), symbol, part, Lanes(dtype, machine), groups)
    if part == "convolve":
        kernel.convolve()
    else:
        kernel.gradient()
    kernel.run.end()
    return kernel.module


def _parts(count: int, most: int) -> list[tuple[int, int, int]]:
    """Cuts `count` things into parts of at most `most`: for each size, the size, the first thing, and the number of
    parts."""
    most = -(-count // -(-count // most))
    whole, rest = divmod(count, most)
    return [(most, 0, whole), *(((rest, whole * most, 1),) if rest else ())]


class _Lines:
    """Vectors of an image at neighbouring columns of a function under construction, with channels moved to lanes."""

    def __init__(self, function: Function, lanes: Lanes, groups: Groups, column: Word) -> None:
        self.function, self.lanes, self.groups = function, lanes, groups
        self.vectors, self.column = Vectors(function, lanes), column
        self.column_3 = pinned(column * 3)
        self.is_repeated = program.groups_in_vector(groups, lanes.count) == 1
        last = program.groups_in_vector(groups, lanes.count) - 1  # lanes behind the last group are not stored
        first = [min(lane // groups.outputs, last) * groups.inputs for lane in range(lanes.count)]
        self.lanes_of = [
            ir.Constant(ir.VectorType(I32, lanes.count), [lane + d for lane in first]) for d in range(groups.inputs)
        ]

    def addresses(self, base: Word, count: int) -> list[Word]:
        """The addresses of some columns from `base` on. Groups of them share a register."""
        heads = [pinned(base + self.column * first) if first else base for first in range(0, count, GROUP)]
        steps = [self.function.number(0), self.column, self.column * 2, self.column_3]
        return [heads[i // GROUP] + steps[i % GROUP] if i % GROUP else heads[i // GROUP] for i in range(count)]

    def loaded(self, address: Word, inputs: Sequence[int]) -> list[Any]:
        """For each of some inputs of a group the vector of a column in which every result finds that input of its
        group."""
        builder = self.function.builder
        if self.is_repeated:
            pointer = self.lanes.element.as_pointer()
            at = [address + d * self.lanes.size for d in inputs]
            scalars = [builder.load(builder.inttoptr(each.value, pointer)) for each in at]
            return [repeated(builder, scalar, self.lanes.vector) for scalar in scalars]
        vector = self.vectors.load(address)
        if self.groups.inputs == self.groups.outputs == 1:
            return [vector]
        undefined = ir.Constant(vector.type, ir.Undefined)
        return [builder.shuffle_vector(vector, undefined, self.lanes_of[d]) for d in inputs]


class _Grouped:
    """Writes both kernels. Their record has the arguments alone."""

    def __init__(self, module: Any, symbol: str, part: GroupedPart, lanes: Lanes, groups: Groups) -> None:
        self.module, self.lanes, self.groups, self.size = module, lanes, groups, lanes.size
        self.fields = Fields.of((*program.pointers(part), *program.numbers(part)))
        self.width = program.groups_in_vector(groups, lanes.count) * groups.outputs
        self.run = Function(module, symbol, 1, is_internal=False)
        self.words, self.address = self.run.new_record(self.fields)

    @contextmanager
    def each_vector(self) -> Iterator[Word]:
        """Loops over vectors of results. Yields the first result of each."""
        with self.run.loop(0, self.words["channels"], self.width) as first:
            yield first.index

    def left(self, first: Word) -> Word:
        """The results of a vector that begins with result `first`."""
        return at_most(self.words["channels"] - first, self.width)

    def image_at(self, first: Word) -> Word:
        """The address of the channels of a vector of results."""
        return self.words["image"] + first // self.groups.outputs * (self.groups.inputs * self.size)

    def moved(self, words: Record, name: str, **indices: Number) -> Word:
        """The distance of an operand at some indices from its start, in bytes."""
        terms = [words[f"{name}_{axis}"] * index for axis, index in indices.items()]
        return sum(terms[1:], terms[0]) * self.size

    def strips(self) -> list[tuple[int, Word, Word]]:
        """The sizes of strips: the columns of one, the first column of all of a size, and how many there are."""
        positions, rest = self.groups.positions, self.groups.rest
        whole = self.words["columns"] // positions
        strips = [(positions, self.run.number(0), whole)]
        return [*strips, (rest, whole * positions, self.run.number(1))] if rest else strips

    # ---------------------------------------------------------------- the convolution

    def convolve(self) -> None:
        """Convolves images: for a vector of results after another, strip by strip."""
        words, run = self.words, self.run
        strips = [(columns, first, count, self.strip(columns)) for columns, first, count in self.strips()]
        with self.each_vector() as vector, run.loop(0, words["samples"]) as sample:
            weights, channels = words["weights"] + vector * self.size, self.left(vector)
            for columns, first, count, strip in strips:
                with run.loop(0, count) as number:
                    at = {"sample": sample.index, "column": first + number.index * columns}
                    image = self.image_at(vector) + self.moved(words, "image", **at)
                    result, start = (
                        words[name] + self.moved(words, name, **at) + vector * self.size for name in ("result", "start")
                    )
                    strip(run, self.address, image, weights, result, start, channels)

    def strip(self, columns: int) -> Function:
        """Returns the function `strip(record, image, weights, result, start, channels)`.

        It computes a vector of results for all rows of some columns, and stores `channels` of its lanes.
        """
        function = Function(self.module, f"strip_{columns}", 6)
        _Strip(function, function.record(function.parameters[0], self.fields), self.lanes, self.groups, columns).write()
        function.end()
        return function

    # ---------------------------------------------------------------- the gradient of the weights

    def gradient(self) -> None:
        """Adds up the gradient of the weights of a vector of results after another, sample by sample."""
        words, run, groups = self.words, self.run, self.groups
        most_rows, most_taps = self.most
        parts = [
            (rows, taps, self.sums(rows[0], taps[0]))
            for rows in _parts(groups.down, most_rows)
            for taps in _parts(groups.across, most_taps)
        ]
        clear = self.clear()
        with self.each_vector() as first:
            channels, weights = self.left(first), words["weights"] + first * self.size
            clear(run, self.address, weights, channels)
            with run.loop(0, words["samples"]) as sample:
                image = self.image_at(first) + self.moved(words, "image", sample=sample.index)
                slopes = words["slopes"] + self.moved(words, "slopes", sample=sample.index) + first * self.size
                for (rows, top, row_parts), (taps, left, tap_parts), add in parts:
                    with run.loop(0, row_parts) as i, run.loop(0, tap_parts) as j:
                        at = {"down": i.index * rows + top, "across": j.index * taps + left}
                        of_image, of_weights = (self.moved(words, name, **at) for name in ("image", "weights"))
                        add(run, self.address, image + of_image, slopes, weights + of_weights, channels)

    @property
    def most(self) -> tuple[int, int]:
        """The rows and columns of a window whose sums are in registers at once."""
        sums = _MOST_SUMS[self.lanes.machine.registers]
        taps = min(TAPS, max(sums // self.inputs_at_once, 1))
        return min(TAPS, max(sums // (taps * self.inputs_at_once), 1)), taps

    @property
    def inputs_at_once(self) -> int:
        """The inputs of a group whose sums are in registers at once."""
        inputs, sums = self.groups.inputs, _MOST_SUMS[self.lanes.machine.registers]
        return max(part for part in range(1, inputs + 1) if inputs % part == 0 and (part == 1 or part * TAPS <= sums))

    def clear(self) -> Function:
        """Returns the function `clear(record, weights, channels)`, which sets the gradient of a vector to zero."""
        function = Function(self.module, "clear", 3)
        address, weights, channels = function.parameters
        words, vectors = function.record(address, self.fields), Vectors(function, self.lanes)
        mask = vectors.columns_mask(channels, 0)
        with (
            function.loop(0, self.groups.down) as down,
            function.loop(0, self.groups.across) as across,
            function.loop(0, self.groups.inputs) as d,
        ):
            at = weights + self.moved(words, "weights", down=down.index, across=across.index, input=d.index)
            vectors.store_masked(self.lanes.zero, at, mask)
        function.end()
        return function

    def sums(self, rows: int, taps: int) -> Function:
        """Returns the function `sums(record, image, slopes, weights, channels)`: adds the products of a sample to the
        gradient of `rows` x `taps` elements of the window, for some inputs of a group after others."""
        function = Function(self.module, f"sums_{rows}_{taps}", 5)
        address, image, slopes, weights, channels = function.parameters
        words = function.record(address, self.fields)
        mask = Vectors(function, self.lanes).columns_mask(channels, 0)
        for first in range(0, self.groups.inputs, self.inputs_at_once):
            inputs = range(first, first + self.inputs_at_once)
            _Sums(function, words, self.lanes, self.groups, rows, taps, inputs).add(image, slopes, weights, mask)
        function.end()
        return function


class _Strip:
    """Writes the convolution of a strip of an image: a vector of results in some neighbouring columns."""

    def __init__(self, function: Function, words: Record, lanes: Lanes, groups: Groups, columns: int) -> None:
        self.function, self.words, self.groups, self.columns = function, words, groups, columns
        self.size, self.vectors = lanes.size, Vectors(function, lanes)
        self.image = _Lines(function, lanes, groups, self.stride("image_column"))
        self.result, self.start = (
            _Lines(function, lanes, groups, self.stride(f"{name}_column")) for name in ("result", "start")
        )
        self.down, self.across = self.stride("image_down"), self.stride("image_across")
        self.of_row, self.of_element = self.stride("weights_down"), self.stride("weights_across")
        self.of_input = self.stride("weights_input")
        self.sums = [function.builder.alloca(lanes.vector) for _ in range(columns)]

    def stride(self, name: str) -> Word:
        """A stride in bytes."""
        return pinned(self.words[name] * self.size)

    def write(self) -> None:
        function, words = self.function, self.words
        _, image, weights, result, start, channels = function.parameters
        steps = [self.stride(f"{name}_row") for name in ("image", "result", "start")]
        mask, is_whole = self.vectors.columns_mask(channels, 0), channels >= self.vectors.lanes.count
        has_start = ~words["has_start"].equals(0)
        with function.walk(words["rows"], [image, result, start], steps) as (of_image, of_result, of_start):
            self.read_start(of_start, has_start)
            self.add_window(of_image, weights)
            self.store(of_result, is_whole, mask)

    def read_start(self, start: Word, has_start: Word) -> None:
        """Sets the first sums: read from `start`, or zero."""
        builder = self.function.builder
        for total in self.sums:
            builder.store(self.vectors.lanes.zero, total)
        with self.function.when(has_start):
            for address, total in zip(self.start.addresses(start, self.columns), self.sums, strict=True):
                builder.store(self.vectors.load(address), total)

    def add_window(self, image: Word, weights: Word) -> None:
        """Adds the products of a window: row after row, in a loop unless they are few."""
        function, groups = self.function, self.groups
        if groups.down * groups.across * groups.inputs <= _UNROLLED:
            for i in range(groups.down):
                self.add_row(image + self.down * i, weights + self.of_row * i)
            return
        down = function.number(groups.down)
        with function.walk(down, [image, weights], [self.down, self.of_row]) as (row, row_of_weights):
            self.add_row(row, row_of_weights)

    def add_row(self, image: Word, weights: Word) -> None:
        """Adds the products of a row of the window, of some neighbouring elements at a time."""
        for taps, first, count in _parts(self.groups.across, TAPS if self.groups.is_dense else 1):
            at = [image + self.across * first, weights + self.of_element * first]
            if count == 1:
                self.add_taps(taps, *at)
                continue
            steps = [self.across * taps, self.of_element * taps]
            with self.function.walk(self.function.number(count), at, steps) as (element, of_element):
                self.add_taps(taps, element, of_element)

    def add_taps(self, taps: int, image: Word, weights: Word) -> None:
        """Adds the products of `taps` neighbouring elements of a row of the window."""
        builder, inputs = self.function.builder, range(self.groups.inputs)
        columns = [self.image.loaded(at, inputs) for at in self.image.addresses(image, self.columns + taps - 1)]
        sums = [builder.load(total) for total in self.sums]
        for d in inputs:
            factors = [self.vectors.load(weights + self.of_element * tap + self.of_input * d) for tap in range(taps)]
            for number, column in enumerate(columns):
                for tap, factor in enumerate(factors):
                    if 0 <= (i := number - tap) < len(sums):
                        sums[i] = self.vectors.multiply_add(column[d], factor, sums[i])
        for total, value in zip(self.sums, sums, strict=True):
            builder.store(value, total)

    def store(self, result: Word, is_whole: Word, mask: Any) -> None:
        """Stores the results of a row, or the lanes of a mask."""
        builder = self.function.builder
        sums, addresses = [builder.load(total) for total in self.sums], self.result.addresses(result, self.columns)
        with builder.if_else(is_whole.value) as (whole, partial):
            with whole:
                for total, address in zip(sums, addresses, strict=True):
                    self.vectors.store(total, address)
            with partial:
                for total, address in zip(sums, addresses, strict=True):
                    self.vectors.store_masked(total, address, mask)


class _Sums:
    """Writes the sums of the gradient of a part of the window: `rows` x `taps` elements, and some inputs of a group."""

    def __init__(
        self, function: Function, words: Record, lanes: Lanes, groups: Groups, rows: int, taps: int, inputs: range
    ) -> None:
        self.function, self.words, self.groups, self.inputs = function, words, groups, inputs
        self.size, self.rows, self.taps = lanes.size, rows, taps
        self.vectors = Vectors(function, lanes)
        self.image = _Lines(function, lanes, groups, self.stride("image_column"))
        self.slopes = _Lines(function, lanes, groups, self.stride("slopes_column"))
        self.down, self.across = self.stride("image_down"), self.stride("image_across")
        grid = [(i, j, d) for i in range(rows) for j in range(taps) for d in inputs]
        self.sums = {cell: function.builder.alloca(lanes.vector) for cell in grid}

    def stride(self, name: str) -> Word:
        """A stride in bytes."""
        return pinned(self.words[name] * self.size)

    def add(self, image: Word, slopes: Word, weights: Word, mask: Any) -> None:
        """Adds the products of a sample to the lanes of a mask of the weights' gradient."""
        function, builder, words, positions = self.function, self.function.builder, self.words, self.groups.positions
        axes = [self.stride(f"weights_{axis}") for axis in ("down", "across", "input")]
        places = {cell: sum((axis * i for axis, i in zip(axes, cell, strict=True)), weights) for cell in self.sums}
        for cell, total in self.sums.items():
            builder.store(self.vectors.load(places[cell]), total)
        row_steps = [self.stride(f"{name}_row") for name in ("image", "slopes")]
        columns = words["columns"]
        whole = columns // positions
        strips = [(positions, function.number(0), whole)]
        if rest := self.groups.rest:
            strips.append((rest, whole * positions, function.number(1)))
        for count, first, times in strips:
            begin = [image + self.image.column * first, slopes + self.slopes.column * first]
            steps = [self.image.column * count, self.slopes.column * count]
            with function.walk(times, begin, steps) as at, function.walk(words["rows"], at, row_steps) as row:
                self.add_columns(count, *row)
        for cell, total in self.sums.items():
            self.vectors.store_masked(builder.load(total), places[cell], mask)

    def add_columns(self, count: int, image: Word, slopes: Word) -> None:
        """Adds the products of `count` neighbouring positions."""
        builder = self.function.builder
        factors = [self.vectors.load(address) for address in self.slopes.addresses(slopes, count)]
        sums = {cell: builder.load(total) for cell, total in self.sums.items()}
        rows = [self.columns_of_row(image + self.down * i, count) for i in range(self.rows)]
        for column_of_rows in zip(*rows, strict=True):  # sums of all rows by turns, so that few wait for one another
            for i, (address, meets) in enumerate(column_of_rows):
                column = self.image.loaded(address, self.inputs)
                for tap, position in meets:
                    for d, moved in zip(self.inputs, column, strict=True):
                        sums[i, tap, d] = self.vectors.multiply_add(moved, factors[position], sums[i, tap, d])
        for cell, value in sums.items():
            builder.store(value, self.sums[cell])

    def columns_of_row(self, row: Word, count: int) -> list[tuple[Word, list[tuple[int, int]]]]:
        """Returns the columns of a row of the image that `count` positions meet, and for each the elements of the
        window that meet it, with the position of the window."""
        if self.groups.is_dense:
            addresses = self.image.addresses(row, count + self.taps - 1)
            meets = [
                [(tap, i - tap) for tap in range(self.taps) if 0 <= i - tap < count] for i in range(len(addresses))
            ]
            return list(zip(addresses, meets, strict=True))
        columns = [self.image.addresses(row + self.across * tap, count) for tap in range(self.taps)]
        return [(columns[tap][i], [(tap, i)]) for i in range(count) for tap in range(self.taps)]
