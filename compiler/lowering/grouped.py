"""Lowers a convolution whose groups are narrower than a vector to the kernels of program/grouped.py.

A register tile has vectors of one group's results, most of whose lanes would be empty. The choice depends only on the
shape and the machine: never on the batch, nor on the number of workers.
"""

import math
from collections.abc import Mapping, Sequence

from msgspec import Struct

from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import BATCH, Dim
from netc.compiler.ir.value import Value
from netc.compiler.lowering.indices import Indices, Strides, Views, indices_of
from netc.compiler.operations.linear import Subscripts, index_sizes
from netc.compiler.program import grouped
from netc.compiler.program.grouped import Groups
from netc.compiler.program.kernels import GroupedKernel
from netc.compiler.program.schedule import Count
from netc.compiler.program.tasks import SHARDS, Pointer, Task
from netc.compiler.targets.machine import Machine
from netc.dsl.structs import replace

_POSITIONS = 8  # columns of a strip: as many sums do not wait for one another, and share weights and moved channels
# Without moved channels, 32 registers hold more sums: layers of 7 x 7 take 0.8 to 0.98 of the time of strips of 8.
_POSITIONS_BY_CHANNEL = 14

# Elements of a window. Where no channels need moving, loops are 1.1 to 1.5 times as fast up to 25 elements, and 1.2 to
# 1.4 times as slow from 31 on: they keep all weights of a small window in registers (Zen 4, with AVX2 and AVX-512).
_SMALL_WINDOW = 25


class _Windows(Struct, frozen=True):
    """A product of windows of an image, a position each, with weights or slopes: its indices, and their sizes.

    An index is "" if the product has none of its kind. `group` counts groups, `input` the channels of one, `output`
    its results. A window's position has the indices `sample`, `row` and `column`, its element `down` and `across`.
    """

    group: str
    input: str
    output: str
    sample: str
    row: str
    column: str
    down: str
    across: str
    sizes: Mapping[str, Dim]

    def size(self, letter: str) -> int:
        size = self.sizes[letter] if letter else 1
        assert isinstance(size, int), "an index whose size is the batch's"
        return size

    def strides(self, name: str, of: Strides) -> dict[str, Count]:
        """Returns the strides of an operand by the names of the kernel's numbers."""
        return {f"{name}_{axis}": Count(of.get(getattr(self, axis), 0)) for axis in grouped.axes(name)}


def grouped_tasks(value: Value, einsum: Value, views: Views, machine: Machine, in_shards: bool = False) -> list[Task]:
    """Returns the task that computes `value` if it is a convolution in narrow groups, or the gradient of its weights;
    none if it is not.

    The arguments are those of `product_task`.
    """
    indices, views = indices_of(einsum, views)
    dtype = value.type.dtype
    buffers = [view.buffer for view in (views.a, views.b)]
    if any(buffer is None or buffer.type.dtype != dtype for buffer in buffers):
        return []
    a, b, c, start = indices.strides_of(views)
    for is_gradient, of_windows, of_positions in (
        (False, indices.depth, indices.rows),
        (True, indices.rows, indices.depth),
    ):
        windows = _windows(indices, of_windows, of_positions, a)
        if windows is None or not _are_neighbours(windows, (a, b, c), has_start=views.start is not None, start=start):
            continue
        groups = _groups(windows, a, machine, dtype, is_gradient)
        if groups is None:
            continue
        lowered = _Lowered(value, einsum, views, windows, groups, machine)
        return [lowered.gradient(a, b, c, in_shards) if is_gradient else lowered.convolution(a, b, c, start)]
    return []


def _windows(
    indices: Indices, window_axes: Sequence[str], position_axes: Sequence[str], image: Strides
) -> _Windows | None:
    """Returns the convolution whose windows have some of the indices; None if there are no such windows."""
    sizes = indices.sizes
    both, columns, of_windows, of_positions = (
        [letter for letter in letters if sizes[letter] != 1]
        for letters in (indices.both, indices.columns, window_axes, position_axes)
    )
    if len(both) != 1 or len(columns) > 1 or not isinstance(sizes[both[0]], int):
        return None
    samples = [letter for letter in of_positions if sizes[letter] == BATCH]
    sides = sorted((letter for letter in of_positions if letter not in samples), key=lambda axis: -image[axis])
    # channels are neighbours, and groups of them follow one another; elements of a window lie farther apart
    inputs = [letter for letter in of_windows if image[letter] == 1 and sizes[letter] == image[both[0]]]
    elements = sorted((letter for letter in of_windows if letter not in inputs), key=lambda axis: -image[axis])
    counts = [sizes[letter] for letter in (*columns, *sides, *of_windows)]
    if len(samples) != 1 or len(sides) > 2 or len(elements) > 2 or not all(isinstance(n, int) for n in counts):
        return None
    row, column = [""] * (2 - len(sides)) + sides
    down, across = [""] * (2 - len(elements)) + elements
    if len(sides) == 2 and len(elements) == 1 and image[across] % image[row] == 0:
        down, across = across, ""
    output = columns[0] if columns else ""
    return _Windows(both[0], inputs[0] if inputs else "", output, samples[0], row, column, down, across, sizes)


def _are_neighbours(windows: _Windows, operands: Sequence[Strides], has_start: bool, start: Strides) -> bool:
    """Whether channels and results of a group are neighbours, and those of all groups follow one another."""
    image, *others = (*operands, start) if has_start else operands
    outputs, inputs = windows.size(windows.output), windows.size(windows.input)
    if image[windows.group] != inputs:
        return False
    return all(
        strides[windows.group] == outputs and (outputs == 1 or strides[windows.output] == 1) for strides in others
    )


def _groups(windows: _Windows, image: Strides, machine: Machine, dtype: str, is_gradient: bool) -> Groups | None:
    """Returns the shape of the kernel; None if vectors would be half empty, or if a loop over channels is faster."""
    lanes = machine.lanes(dtype)
    inputs, outputs, columns = (windows.size(letter) for letter in (windows.input, windows.output, windows.column))
    if not _fills_vectors(inputs, outputs, lanes):
        return None
    down, across = windows.size(windows.down), windows.size(windows.across)
    is_by_channel = inputs == outputs == 1
    if is_by_channel and down * across <= _SMALL_WINDOW:
        return None
    has_many_sums = is_by_channel and not is_gradient and machine.registers == 32
    most = _POSITIONS_BY_CHANNEL if has_many_sums else _POSITIONS
    positions = -(-columns // -(-columns // most))  # strips of about one size
    step, apart = (image[windows.column], image[windows.across]) if min(columns, across) > 1 else (1, 1)
    unit = math.gcd(step, apart) or 1
    groups = Groups(inputs, outputs, down, across, positions, columns % positions, step // unit, apart // unit)
    rest = windows.size(windows.group) * outputs % groups.width(lanes)
    return replace(groups, ends_in_half=machine.has_halves and 0 < rest <= groups.width(lanes // 2))


def _fills_vectors(inputs: int, outputs: int, lanes: int) -> bool:
    """Whether a group fits a vector, and results of whole groups fill more than half of one."""
    return max(inputs, outputs) <= lanes < 2 * outputs * grouped.groups_in_vector(inputs, outputs, lanes)


def reads_f32(einsum: Value, machine: Machine) -> bool:
    """Whether a product in f32 has the indices of a convolution in narrow groups, or of the gradient of its weights.

    Its operands are kept in f32, even if their numbers are rounded to bf16: there are no kernels of pairs.
    """
    if einsum.role is not Role.CONTRACTION or einsum.type.dtype != "f32":
        return False
    inputs, _, out = einsum.attributes_as(Subscripts).subscripts.partition("->")
    left, right = inputs.split(",")
    if min(map(len, (left, right, out))) < 2 or not left[-2] == right[-2] == out[-2] or right[-1] != out[-1]:
        return False
    sizes = index_sizes(inputs, *(operand.type for operand in einsum.operands))
    group, channels, results = (sizes[letter] for letter in (out[-2], left[-1], out[-1]))
    if not isinstance(group, int) or not isinstance(channels, int) or not isinstance(results, int):
        return False
    return left[-1] != right[-1] and _fills_vectors(channels, results, machine.lanes("f32"))


class _Lowered(Struct, frozen=True):
    """Makes the tasks of a convolution."""

    value: Value
    einsum: Value
    views: Views
    windows: _Windows
    groups: Groups
    machine: Machine

    def convolution(self, a: Strides, b: Strides, c: Strides, start: Strides) -> Task:
        windows, result = self.windows, self.views.output()
        has_start = self.views.start is not None
        from_start, of_start = (self.views.start, start) if self.views.start is not None else (result, c)
        lead = windows.sample
        return self.task(
            GroupedKernel(self.value.type.dtype, "convolve", self.groups, has_start),
            {
                "image": self.views.a.pointer(a[lead]),
                "weights": self.views.b.pointer(0),
                "result": result.pointer(c[lead]),
                "start": from_start.pointer(of_start[lead]),
            },
            {
                "channels": Count(windows.size(windows.group) * self.groups.outputs),
                "samples": Count(1, "rows"),
                "has_start": Count(int(has_start)),
                **windows.strides("image", a),
                **windows.strides("weights", b),
                **windows.strides("result", c),
                **windows.strides("start", of_start),
            },
            BATCH,
        )

    def gradient(self, a: Strides, b: Strides, c: Strides, in_shards: bool) -> Task:
        """Returns the task of the weights' gradient: in shards, or else groups are shared out."""
        windows, result = self.windows, self.views.output()
        shard = self.value.type.size(1) if in_shards else 0
        lead, count = (windows.sample, windows.size(windows.group)) if in_shards else (windows.group, 1)
        return self.task(
            GroupedKernel(self.value.type.dtype, "gradient", self.groups),
            {
                "image": self.views.a.pointer(a[lead]),
                "slopes": self.views.b.pointer(b[lead]),
                "weights": result.pointer(c.get(lead, 0), shard),
            },
            {
                "channels": Count(count * self.groups.outputs, "one" if in_shards else "rows"),
                "samples": Count(1, "rows" if in_shards else BATCH),
                **windows.strides("image", a),
                **windows.strides("slopes", b),
                **windows.strides("weights", c),
            },
            SHARDS if in_shards else windows.size(windows.group),
        )

    def task(self, kernel: GroupedKernel, pointers: dict[str, Pointer], numbers: dict[str, Count], axis: Dim) -> Task:
        """Returns a task; the sizes of the image are added."""
        windows, part = self.windows, kernel.part
        numbers |= {"rows": Count(windows.size(windows.row)), "columns": Count(windows.size(windows.column))}
        lanes = self.machine.lanes(kernel.dtype)
        return Task(
            kernel,
            tuple(pointers[name] for name in grouped.pointers(part)),
            tuple(numbers[name] for name in grouped.numbers(part)),
            frozenset({pointers[grouped.WRITTEN[part]].buffer}),
            axis,
            tuple(dict.fromkeys((self.einsum, self.value))),
            grouped.groups_in_vector(self.groups.inputs, self.groups.outputs, lanes) if isinstance(axis, int) else 1,
        )
