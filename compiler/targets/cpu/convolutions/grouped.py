"""The kernels of convolutions in narrow groups; program/grouped.py has the formula and the arguments.

A vector holds results of several groups, each of which needs other channels: they are moved to its lanes. With groups
of 8 results and vectors of 16 lanes,

    results    o0 .. o7  of group 0       o0 .. o7  of group 1
    += image   channel d of group 0 ...   channel d of group 1 ...      one load, one instruction that moves lanes
     * weights neighbours in memory

    for sample, vector of results:
        for strip of neighbouring columns:
            for row:                                     # sums of the strip's columns are in registers
                for window's row, and some of its columns:
                    for input d of a group:
                        for column of the image:         # moved once for all elements of the window that meet it
                            sums += column, moved * weights

The gradient of the weights has the sums of a part of the window in registers, and goes through all positions. Sums run
over a window in order, and over positions in order: bits do not depend on how samples or channels are shared out.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir

from netc.compiler.program import grouped as program
from netc.compiler.program.grouped import GroupedPart, Groups
from netc.compiler.targets.cpu.convolutions.grouped_sums import TAPS, GradientSums, Strip, parts_of, strips_of
from netc.compiler.targets.cpu.llvm.function import Fields, Function, Number, Record, Word, at_most
from netc.compiler.targets.cpu.llvm.vectors import Lanes, Vectors
from netc.compiler.targets.machine import Machine

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


class _Grouped:
    """Writes both kernels. Their record has the arguments alone."""

    def __init__(self, module: Any, symbol: str, part: GroupedPart, lanes: Lanes, groups: Groups) -> None:
        self.module, self.lanes, self.groups, self.size = module, lanes, groups, lanes.size
        self.fields = Fields.of((*program.pointers(part), *program.numbers(part)))
        self.run = Function(module, symbol, 1, is_internal=False)
        self.words, self.address = self.run.new_record(self.fields)

    @property
    def kinds(self) -> list[Lanes]:
        """The kinds of vectors: whole ones, and half of one if the last results fit that."""
        return [self.lanes, *([self.lanes.half] if self.groups.ends_in_half else [])]

    def each_vector(self, write: Callable[[Lanes, Word, Word], None]) -> None:
        """Writes a loop over vectors of results, and the last one by itself if it may be half of one.

        `write` gets the kind of a vector, its first result, and how many it has.
        """
        run, channels = self.run, self.words["channels"]
        width, whole = self.groups.width(self.lanes.count), channels
        if self.groups.ends_in_half:
            rest = channels - channels // width * width
            whole = (rest > self.groups.width(self.lanes.half.count)).choose(channels, channels - rest)
        with run.loop(0, whole, width) as first:
            write(self.lanes, first.index, at_most(channels - first.index, width))
        if self.groups.ends_in_half:
            with run.when(whole < channels):
                write(self.lanes.half, whole, channels - whole)

    def image_at(self, first: Word) -> Word:
        """The address of the channels of a vector of results."""
        return self.words["image"] + first // self.groups.outputs * (self.groups.inputs * self.size)

    def moved(self, words: Record, name: str, **indices: Number) -> Word:
        """The distance of an operand at some indices from its start, in bytes."""
        terms = [words[f"{name}_{axis}"] * index for axis, index in indices.items()]
        return sum(terms[1:], terms[0]) * self.size

    # ---------------------------------------------------------------- the convolution

    def convolve(self) -> None:
        """Convolves images: a vector of results after another, strip by strip."""
        words, run = self.words, self.run
        strips = strips_of(run, self.groups, words["columns"])
        functions = {(lanes, columns): self.strip(lanes, columns) for lanes in self.kinds for columns, *_ in strips}
        with run.loop(0, words["samples"]) as sample:

            def write(lanes: Lanes, vector: Word, channels: Word) -> None:
                weights = words["weights"] + vector * self.size
                for columns, first, count in strips:
                    with run.loop(0, count) as number:
                        at = {"sample": sample.index, "column": first + number.index * columns}
                        image = self.image_at(vector) + self.moved(words, "image", **at)
                        result, start = (
                            words[name] + self.moved(words, name, **at) + vector * self.size
                            for name in ("result", "start")
                        )
                        functions[lanes, columns](run, self.address, image, weights, result, start, channels)

            self.each_vector(write)

    def strip(self, lanes: Lanes, columns: int) -> Function:
        """Returns the function `strip(record, image, weights, result, start, channels)`.

        It computes a vector of results for all rows of some columns, and stores `channels` of its lanes.
        """
        function = Function(self.module, f"strip_{lanes.count}_{columns}", 6)
        Strip(function, function.record(function.parameters[0], self.fields), lanes, self.groups, columns).write()
        function.end()
        return function

    # ---------------------------------------------------------------- the gradient of the weights

    def gradient(self) -> None:
        """Adds up the gradient of the weights, sample by sample: a vector of results after another."""
        words, run, groups = self.words, self.run, self.groups
        most_rows, most_taps = self.most
        parts = [
            (rows, taps, {lanes: self.sums(lanes, rows[0], taps[0]) for lanes in self.kinds})
            for rows in parts_of(groups.down, most_rows)
            for taps in parts_of(groups.across, most_taps)
        ]
        clear = {lanes: self.clear(lanes) for lanes in self.kinds}

        def set_to_zero(lanes: Lanes, first: Word, channels: Word) -> None:
            clear[lanes](run, self.address, words["weights"] + first * self.size, channels)

        self.each_vector(set_to_zero)
        with run.loop(0, words["samples"]) as sample:

            def write(lanes: Lanes, first: Word, channels: Word) -> None:
                weights = words["weights"] + first * self.size
                image = self.image_at(first) + self.moved(words, "image", sample=sample.index)
                slopes = words["slopes"] + self.moved(words, "slopes", sample=sample.index) + first * self.size
                for (rows, top, row_parts), (taps, left, tap_parts), add in parts:
                    with run.loop(0, row_parts) as i, run.loop(0, tap_parts) as j:
                        at = {"down": i.index * rows + top, "across": j.index * taps + left}
                        of_image, of_weights = (self.moved(words, name, **at) for name in ("image", "weights"))
                        add[lanes](run, self.address, image + of_image, slopes, weights + of_weights, channels)

            self.each_vector(write)

    @property
    def most(self) -> tuple[int, int]:
        """The rows and columns of a window whose sums are in registers at once: the part that loads least."""
        groups, sums = self.groups, max(_MOST_SUMS[self.lanes.machine.registers] // self.inputs_at_once, 1)
        parts = [(min(groups.down, sums // taps), taps) for taps in range(1, min(groups.across, sums) + 1)]
        return min(parts, key=lambda part: self.loads(*part))

    def loads(self, most_rows: int, most_taps: int) -> int:
        """The vectors that are loaded for a strip's gradient of a whole window, in parts of at most so many rows and
        columns. Neighbouring elements of a row of a dense window share columns of the image."""
        positions, shares = self.groups.positions, self.groups.is_dense
        return sum(
            (rows * (positions + taps - 1 if shares else positions * taps) + positions) * row_parts * tap_parts
            for rows, _, row_parts in parts_of(self.groups.down, most_rows)
            for taps, _, tap_parts in parts_of(self.groups.across, most_taps)
        )

    @property
    def inputs_at_once(self) -> int:
        """The inputs of a group whose sums are in registers at once, for some elements of a row of the window."""
        inputs, sums = self.groups.inputs, _MOST_SUMS[self.lanes.machine.registers]
        taps = min(TAPS, self.groups.across)
        return max(part for part in range(1, inputs + 1) if inputs % part == 0 and (part == 1 or part * taps <= sums))

    def clear(self, lanes: Lanes) -> Function:
        """Returns the function `clear(record, weights, channels)`, which sets the gradient of a vector to zero."""
        function = Function(self.module, f"clear_{lanes.count}", 3)
        address, weights, channels = function.parameters
        words, vectors = function.record(address, self.fields), Vectors(function, lanes)
        with (
            function.loop(0, self.groups.down) as down,
            function.loop(0, self.groups.across) as across,
            function.loop(0, self.groups.inputs) as d,
        ):
            at = weights + self.moved(words, "weights", down=down.index, across=across.index, input=d.index)
            vectors.store_first([(lanes.zero, at)], channels)
        function.end()
        return function

    def sums(self, lanes: Lanes, rows: int, taps: int) -> Function:
        """Returns the function `sums(record, image, slopes, weights, channels)`: adds the products of a sample to the
        gradient of `rows` x `taps` elements of the window, for some inputs of a group after others."""
        function = Function(self.module, f"sums_{lanes.count}_{rows}_{taps}", 5)
        address, image, slopes, weights, channels = function.parameters
        words = function.record(address, self.fields)
        for first in range(0, self.groups.inputs, self.inputs_at_once):
            inputs = range(first, first + self.inputs_at_once)
            GradientSums(function, words, lanes, self.groups, rows, taps, inputs).add(image, slopes, weights, channels)
        function.end()
        return function
