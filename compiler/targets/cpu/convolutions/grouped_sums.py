"""Writes the sums of convolutions in narrow groups (grouped.py) into functions: those of a strip of an image, and those
of the gradient of a part of the window."""

from collections.abc import Sequence
from typing import Any

from llvmlite import ir

from netc.compiler.program import grouped as program
from netc.compiler.program.grouped import Groups
from netc.compiler.targets.cpu.llvm.function import I32, Function, Record, Word, pinned
from netc.compiler.targets.cpu.llvm.vectors import Lanes, Vectors, repeated
from netc.compiler.targets.machine import GROUP

TAPS = 3  # the most neighbouring elements of a window that share columns in which channels were moved
_UNROLLED = 32  # products of a window, for each result, that are written without a loop


def parts_of(count: int, most: int) -> list[tuple[int, int, int]]:
    """Cuts `count` things into parts of at most `most`: for each size, the size, the first thing, and the number of
    parts."""
    most = -(-count // -(-count // most))
    parts, rest = divmod(count, most)
    return [(most, 0, parts), *(((rest, parts * most, 1),) if rest else ())]


def strips_of(function: Function, groups: Groups, columns: Word) -> list[tuple[int, Word, Word]]:
    """Returns the sizes of an image's strips: the columns of one, the first column of all of a size, and how many there
    are."""
    count = columns // groups.positions
    strips = [(groups.positions, function.number(0), count)]
    return [*strips, (groups.rest, count * groups.positions, function.number(1))] if groups.rest else strips


class _Columns:
    """Vectors of an image at neighbouring columns of a function under construction, with channels moved to lanes."""

    def __init__(self, function: Function, lanes: Lanes, groups: Groups, column: Word) -> None:
        self.function, self.lanes, self.groups = function, lanes, groups
        self.vectors, self.column = Vectors(function, lanes), column
        self.column_3 = pinned(column * 3)
        together = program.groups_in_vector(groups.inputs, groups.outputs, lanes.count)
        self.is_repeated = together == 1
        # lanes behind the last group are not stored
        self.first = [min(lane // groups.outputs, together - 1) * groups.inputs for lane in range(lanes.count)]
        self.loads = -(-together * groups.inputs // lanes.count)

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
        vectors = [self.vectors.load(address + i * self.lanes.machine.vector_bytes) for i in range(self.loads)]
        if self.groups.inputs == self.groups.outputs == 1:
            return vectors
        return [self.gathered(vectors, [first + d for first in self.first]) for d in inputs]

    def gathered(self, vectors: Sequence[Any], elements: Sequence[int]) -> Any:
        """A vector of some elements of neighbouring vectors: two of these are joined at a time."""
        builder, count = self.function.builder, self.lanes.count
        undefined, kind = ir.Constant(self.lanes.vector, ir.Undefined), ir.VectorType(I32, count)
        pairs = []
        for i in range(0, len(vectors), 2):
            first, second = (*vectors[i : i + 2], undefined)[:2]
            inside = [element - i * count if i <= element // count < i + 2 else 0 for element in elements]
            pairs.append(builder.shuffle_vector(first, second, ir.Constant(kind, inside)))
        if len(pairs) == 1:
            return pairs[0]
        first, second = pairs
        taken = [lane + count * (element // count >= 2) for lane, element in enumerate(elements)]
        return builder.shuffle_vector(first, second, ir.Constant(kind, taken))


class _Writer:
    """Begins to write sums of a convolution into a function, whose record has the kernel's arguments."""

    def __init__(self, function: Function, words: Record, lanes: Lanes, groups: Groups) -> None:
        self.function, self.words, self.lanes, self.groups = function, words, lanes, groups
        self.vectors, self.image = Vectors(function, lanes), self.columns_of("image")
        self.down, self.across = self.stride("image_down"), self.stride("image_across")

    def stride(self, name: str) -> Word:
        """A stride in bytes."""
        return pinned(self.words[name] * self.lanes.size)

    def columns_of(self, name: str) -> "_Columns":
        return _Columns(self.function, self.lanes, self.groups, self.stride(f"{name}_column"))

    def row_steps(self, *names: str) -> list[Word]:
        return [self.stride(f"{name}_row") for name in names]


class Strip(_Writer):
    """Writes the convolution of a strip of an image: a vector of results in some neighbouring columns."""

    def __init__(self, function: Function, words: Record, lanes: Lanes, groups: Groups, columns: int) -> None:
        super().__init__(function, words, lanes, groups)
        self.columns, self.result, self.start = columns, self.columns_of("result"), self.columns_of("start")
        self.of_row, self.of_element = self.stride("weights_down"), self.stride("weights_across")
        self.of_input = self.stride("weights_input")
        self.sums = [function.builder.alloca(lanes.vector) for _ in range(columns)]

    def write(self) -> None:
        function, words = self.function, self.words
        _, image, weights, result, start, channels = function.parameters
        steps = self.row_steps("image", "result", "start")
        has_start = ~words["has_start"].equals(0)
        with function.walk(words["rows"], [image, result, start], steps) as (of_image, of_result, of_start):
            self.read_start(of_start, has_start)
            self.add_window(of_image, weights)
            sums = [function.builder.load(total) for total in self.sums]
            self.vectors.store_up_to(
                list(zip(sums, self.result.addresses(of_result, self.columns), strict=True)), channels
            )

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
        for taps, first, count in parts_of(self.groups.across, self.most_taps):
            at = [image + self.across * first, weights + self.of_element * first]
            if count == 1:
                self.add_taps(taps, *at)
                continue
            steps = [self.across * taps, self.of_element * taps]
            with self.function.walk(self.function.number(count), at, steps) as (element, of_element):
                self.add_taps(taps, element, of_element)

    @property
    def most_taps(self) -> int:
        """The neighbouring elements of a row of the window that share columns of the image.

        A column that no channels are moved in needs one register, so their weights fill those beside the sums.
        """
        groups = self.groups
        if not groups.is_dense:
            return 1
        return self.lanes.machine.registers - groups.positions - 2 if groups.inputs == groups.outputs == 1 else TAPS

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


class GradientSums(_Writer):
    """Writes the sums of the gradient of a part of the window: `rows` x `taps` elements, and some inputs of a group."""

    def __init__(
        self, function: Function, words: Record, lanes: Lanes, groups: Groups, rows: int, taps: int, inputs: range
    ) -> None:
        super().__init__(function, words, lanes, groups)
        self.rows, self.taps, self.inputs, self.slopes = rows, taps, inputs, self.columns_of("slopes")
        grid = [(i, j, d) for i in range(rows) for j in range(taps) for d in inputs]
        self.sums = {cell: function.builder.alloca(lanes.vector) for cell in grid}

    def add(self, image: Word, slopes: Word, weights: Word, channels: Word) -> None:
        """Adds the products of a sample to the gradient of the weights, of the first `channels` lanes."""
        function, builder, words = self.function, self.function.builder, self.words
        axes = [self.stride(f"weights_{axis}") for axis in ("down", "across", "input")]
        targets = {cell: sum((axis * i for axis, i in zip(axes, cell, strict=True)), weights) for cell in self.sums}
        for cell, total in self.sums.items():
            builder.store(self.vectors.load(targets[cell]), total)
        row_steps = self.row_steps("image", "slopes")
        for count, first, times in strips_of(function, self.groups, words["columns"]):
            begin = [image + self.image.column * first, slopes + self.slopes.column * first]
            steps = [self.image.column * count, self.slopes.column * count]
            with function.walk(times, begin, steps) as at, function.walk(words["rows"], at, row_steps) as row:
                self.add_columns(count, *row)
        cells = [(builder.load(total), targets[cell]) for cell, total in self.sums.items()]
        self.vectors.store_up_to(cells, channels)

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
