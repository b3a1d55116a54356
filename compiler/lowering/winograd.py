"""Lowers a convolution to Winograd's (program/winograd.py), where that takes less time.

The choice depends only on the shape and the machine: never on the batch, nor on the number of workers.
"""

import itertools
import math
from collections.abc import Mapping, Sequence

from msgspec import Struct

from netc.compiler.ir.strides import contiguous
from netc.compiler.ir.types import BATCH, Dim, Type
from netc.compiler.ir.value import Value
from netc.compiler.lowering.indices import Indices, Strides, Views, indices_of
from netc.compiler.program import prefetched, winograd
from netc.compiler.program.kernels import WinogradKernel
from netc.compiler.program.schedule import Count
from netc.compiler.program.tasks import SHARDS, Buffer, Pointer, Task
from netc.compiler.program.winograd import OF_IMAGE, OF_WINDOW, POSITIONS, STEP, positions_of
from netc.compiler.targets.machine import GROUP, VECTORS, Machine

# Cycles for a vector of a tile, measured on Zen 4, where a multiply-add of vectors takes one
_OF_TILE, _OF_RESULTS, _OF_SLOPES = 90, 60, 70  # to transform a tile, its results, or its slopes
_OF_SUMS = 3  # to load and store a sum of a gradient
_MUST_SAVE = 1.1  # the ratio of times from which on it is used
_FEW_TILES = 16  # the least tiles of an image, so that transforming the weights pays for a single sample too
_FEW_OF_GRADIENT = 9  # those of a gradient, which transforms none: images of 6 x 6 gain 10 to 20%, of 4 x 4 nothing
_BLOCK = 48  # tiles: more were measured to be no faster, where they stay in the second cache
_MOST_TILES = 128  # of a block that does not


Pair = tuple[int, int]  # down and across


class _Block(Struct, frozen=True):
    """The transformed tiles that a kernel has in memory at once, and those of their channels and outputs it computes.

    A convolution has all of them, a gradient a group of each.
    """

    tiles: int
    channels: int
    outputs: int


class _Windows(Struct, frozen=True):
    """A product of windows of an image, a position each, with weights or slopes: its indices, and their sizes.

    A window's position has the indices `lead` (the sample), `row` and `column`, an element of it `down` and `across`.
    Windows lie `stride` lines apart, elements of a window `dilation` lines, and lines `apart` elements of the image.
    `group` is an index that all operands share, or "".
    """

    group: str
    lead: str
    row: str
    column: str
    down: str
    across: str
    channel: str
    output: str
    sizes: Mapping[str, Dim]
    stride: Pair
    dilation: Pair
    apart: Pair

    @property
    def groups(self) -> int:
        return int(self.sizes[self.group]) if self.group else 1

    @property
    def channels(self) -> int:
        return int(self.sizes[self.channel])

    @property
    def outputs(self) -> int:
        return int(self.sizes[self.output])

    @property
    def tiles(self) -> int:
        """The tiles of an image."""
        return int(winograd.tiles_of_image(*self.results, *self.dilation))

    @property
    def results(self) -> Pair:
        """The results of an image, down and across: of an image of one row, two rows, its halves."""
        row, column = int(self.sizes[self.row]), int(self.sizes[self.column])
        return (STEP, column // STEP) if self.is_folded else (row, column)

    @property
    def is_folded(self) -> bool:
        """Whether an image of one row is taken as two, so that tiles have two rows of results."""
        sizes = self.sizes[self.row], self.sizes[self.down], int(self.sizes[self.column]) % STEP
        return sizes == (1, 1, 0)

    @property
    def window(self) -> Pair:
        """The elements of a window, down and across."""
        return int(self.sizes[self.down]), int(self.sizes[self.across])

    @property
    def positions(self) -> int:
        """The positions in which the pieces of a tile multiply."""
        return int(math.prod(map(positions_of, self.window, self.stride)))

    def strides(self, name: str, of: Strides) -> dict[str, int]:
        """Returns the strides of an image or of weights by the names of the kernel's numbers."""
        is_weights = "sample" not in winograd.axes(name)
        letters = (self.down, self.across, self.channel) if is_weights else (self.lead, self.row, self.column)
        strides = [of.get(self.group, 0), *(of[letter] for letter in letters)]
        if self.is_folded and not is_weights:
            strides[2] = of[self.column] * self.results[1]
        if name == "image":
            strides[2:] = strides[2] if self.is_folded else self.apart[0], self.apart[1]
        return {f"{name}_{axis}": stride for axis, stride in zip(winograd.axes(name), strides, strict=True)}


def winograd_tasks(value: Value, einsum: Value, views: Views, machine: Machine, in_shards: bool = False) -> list[Task]:
    """Returns the tasks that compute `value` by Winograd's convolution; none if it cannot, or does not pay.

    The arguments are those of `product_task`.
    """
    indices, views = indices_of(einsum, views)
    buffers = [view.buffer for view in (views.a, views.b)]
    if any(buffer is None or buffer.type.dtype != value.type.dtype for buffer in buffers):
        return []
    if not indices.fit_tile():  # a few outputs fill no vectors
        return []
    strides = indices.strides_of(views)
    for is_gradient, of_windows, of_positions in (
        (False, indices.depth, indices.rows),
        (True, indices.rows, indices.depth),
    ):
        windows = _windows(indices, of_windows, of_positions, strides[0])
        if windows is None or any(operand[windows.output] != 1 for operand in strides[1:3]):
            continue
        if views.start is not None and strides[3][windows.output] != 1:
            continue
        dtype = value.type.dtype
        block = _gradient_block(windows, machine, dtype) if is_gradient else _block(windows, machine, dtype)
        if block is not None and _pays(windows, machine, dtype, block, is_gradient):
            lowered = _Lowered(value, einsum, views, windows, machine, block)
            return [lowered.gradient(*strides, in_shards)] if is_gradient else lowered.convolution(*strides)
    return []


def _windows(
    indices: Indices, window_axes: Sequence[str], position_axes: Sequence[str], image: Strides
) -> _Windows | None:
    """Returns the convolution whose windows have some of the indices; None if there are no such windows."""
    sizes = indices.sizes
    leads = [axis for axis in position_axes if sizes[axis] == BATCH]
    sides = [axis for axis in position_axes if isinstance(sizes[axis], int)]
    channels = [of for of in window_axes if image[of] == 1]
    if len(window_axes) != 3 or len(leads) != 1 or len(sides) != 2 or not channels:
        return None
    if len(indices.columns) != 1 or len(indices.both) > 1:
        return None
    if not all(isinstance(sizes[group], int) for group in indices.both):
        return None
    row, column = sorted(sides, key=lambda axis: sizes[axis] != 1)  # an image of one column is taken as a row
    channel, output, group = channels[-1], indices.columns[0], "".join(indices.both)
    candidates: list[_Windows] = []
    for down, across in itertools.permutations(of for of in window_axes if of != channel):
        apart = [_lines_apart(image, sizes, *pair) for pair in ((row, down), (column, across))]
        if any(line <= 0 for *_, line in apart):
            continue
        stride, dilation, lines = zip(*apart, strict=True)
        axes = group, leads[0], row, column, down, across, channel, output
        windows = _Windows(*axes, sizes, stride, dilation, lines)
        if all(map(winograd.has_equal_phases, windows.results, dilation)):
            candidates.append(windows)
    # rows may also be columns far apart: of two ways, the one that multiplies less
    return min(candidates, key=lambda windows: windows.positions * windows.tiles, default=None)


def _lines_apart(image: Strides, sizes: Mapping[str, Dim], position: str, element: str) -> tuple[int, int, int]:
    """Returns by how many lines windows lie apart, and elements of a window, along a side, and the stride of a line; 0
    if that is none of the image's."""
    if sizes[element] == 1:
        return 1, 1, image[position]
    windows, elements = image[position], image[element]
    line = min(windows, elements)
    if line <= 0 or max(windows, elements) % line:
        return 1, 1, 0
    return windows // line, elements // line, line


def _vectors(windows: _Windows, machine: Machine, dtype: str) -> tuple[int, int]:
    """The vectors of an element's channels and of its outputs."""
    lanes = machine.lanes(dtype)
    return -(-windows.channels // lanes), -(-windows.outputs // lanes)


def _fitting(machine: Machine, vectors: int) -> int:
    """The number of tiles that take half of the second cache, if each has so many vectors in each position."""
    return machine.second_cache // 2 // (POSITIONS * vectors * machine.vector_bytes)


def _block(windows: _Windows, machine: Machine, dtype: str) -> _Block | None:
    """Returns what a convolution has in memory at once: as many tiles as take half of the second cache.

    With many channels too few tiles do. Then a block is so large that its tiles are as many bytes, written and read, as
    the weights, which every block reads.
    """
    channels, outputs = windows.channels, windows.outputs
    fitting = _fitting(machine, sum(_vectors(windows, machine, dtype)))
    if fitting >= 2 * machine.tile_rows:
        tiles = min(_BLOCK, fitting // GROUP * GROUP)
    else:
        tiles = min(_MOST_TILES, channels * outputs // (2 * (channels + outputs)) // GROUP * GROUP)
    return _Block(tiles, channels, outputs) if tiles else None


def _gradient_block(windows: _Windows, machine: Machine, dtype: str) -> _Block | None:
    """Returns what a gradient has in memory at once: the sums of a group of channels and outputs, in half of the second
    cache, and as many tiles as fit the other half. Of these groups, those that take the least time."""
    lanes, best = machine.lanes(dtype), None
    channels, outputs = _vectors(windows, machine, dtype)
    for of_channels, panels in itertools.product(_parts(channels), _parts(-(-outputs // VECTORS))):
        of_outputs = min(outputs, panels * VECTORS)
        rows, columns = min(windows.channels, of_channels * lanes), min(windows.outputs, of_outputs * lanes)
        sums = POSITIONS * rows * of_outputs * machine.vector_bytes
        fitting = _fitting(machine, of_channels + of_outputs)
        if sums > machine.second_cache // 2 or fitting < 2 * machine.tile_rows:
            continue
        block = _Block(min(_BLOCK, fitting // GROUP * GROUP), rows, columns)
        cycles = _cycles(windows, machine, dtype, block, is_gradient=True)
        if best is None or cycles < best[0]:
            best = cycles, block
    return best[1] if best else None


def _parts(count: int) -> list[int]:
    """Returns how many of `count` things are in a part, from all of them down to one: for parts of about one size."""
    return sorted({-(-count // parts) for parts in range(1, count + 1)}, reverse=True)


def _cycles(windows: _Windows, machine: Machine, dtype: str, block: _Block, is_gradient: bool) -> int:
    """Returns the cycles of a tile: multiply-adds, and transforms beside."""
    channels, outputs = _vectors(windows, machine, dtype)
    positions = windows.positions
    sums = positions * windows.channels * outputs
    of_tiles = _OF_TILE * positions // POSITIONS * channels
    if not is_gradient:
        added = max(positions - POSITIONS, 0) * outputs  # of further pieces
        return sums + of_tiles + _OF_RESULTS * outputs + _OF_SUMS * added
    channel_groups, output_groups = -(-windows.channels // block.channels), -(-windows.outputs // block.outputs)
    of_slopes = _OF_SLOPES * positions // POSITIONS * outputs
    return sums + of_tiles * output_groups + of_slopes * channel_groups + _OF_SUMS * sums // block.tiles


def _pays(windows: _Windows, machine: Machine, dtype: str, block: _Block, is_gradient: bool) -> bool:
    """Whether tiles take less time than results take in direct sums.

    Tiles of an image with an odd side have results that it does not need.
    """
    tiles = windows.tiles
    if tiles < (_FEW_OF_GRADIENT if is_gradient else _FEW_TILES):
        return False
    cycles = _cycles(windows, machine, dtype, block, is_gradient)
    direct = math.prod((*windows.results, *windows.window)) * windows.channels * _vectors(windows, machine, dtype)[1]
    return _MUST_SAVE * cycles * tiles < direct


class _Lowered(Struct, frozen=True):
    """Makes the tasks of a convolution."""

    value: Value
    einsum: Value
    views: Views
    windows: _Windows
    machine: Machine
    block: _Block

    def convolution(self, a: Strides, b: Strides, c: Strides, start: Strides) -> list[Task]:
        """Returns the task that transforms the weights, and the one that convolves the image by them."""
        windows, dtype, lanes = self.windows, self.value.type.dtype, self.machine.lanes(self.value.type.dtype)
        width = min(VECTORS * lanes, _vectors(windows, self.machine, dtype)[1] * lanes)
        positions = map(positions_of, windows.window, windows.stride)
        count = -(-windows.outputs // width)
        panels = Buffer(Type(dtype, (windows.groups, *positions, count, windows.channels, width)))
        numbers = {"width": Count(width), "outputs": Count(windows.outputs)}
        steps = contiguous(panels.type.dims)
        numbers |= {f"panels_{axis}": Count(step) for axis, step in zip(winograd.axes("panels"), steps, strict=False)}
        transform = self.task(
            WinogradKernel(dtype, "transform"),
            {"weights": self.views.b.pointer(b[windows.channel]), "panels": Pointer(panels, 0, width)},
            {**numbers, "channels": Count(1, "rows"), **_counts(windows.strides("weights", b))},
            windows.channels,
        )
        result = self.views.output()
        has_start = self.views.start is not None
        from_start = self.views.start if self.views.start is not None else result
        of_start = start if has_start else c
        convolve = self.task(
            WinogradKernel(dtype, "convolve", has_start),
            {
                "image": self.views.a.pointer(a[windows.lead]),
                "panels": Pointer(panels),
                "result": result.pointer(c[windows.lead]),
                "start": from_start.pointer(of_start[windows.lead]),
            },
            {
                **numbers,
                "samples": Count(1, "rows"),
                "channels": Count(windows.channels),
                "has_start": Count(int(has_start)),
                **_counts(windows.strides("image", a)),
                **_counts(windows.strides("result", c)),
                **_counts(windows.strides("start", of_start)),
            },
            BATCH,
        )
        return [transform, convolve]

    def gradient(self, a: Strides, b: Strides, c: Strides, _: Strides, in_shards: bool) -> Task:
        """Returns the task of the weights' gradient: in shards, or else channels are shared out."""
        windows, result = self.windows, self.views.output()
        shard = self.value.type.size(1) if in_shards else 0
        lead = windows.lead if in_shards else windows.channel
        return self.task(
            WinogradKernel(self.value.type.dtype, "gradient"),
            {
                "image": self.views.a.pointer(a[lead]),
                "slopes": self.views.b.pointer(b.get(lead, 0)),
                "weights": result.pointer(c.get(lead, 0), shard),
            },
            {
                "samples": Count(1, "rows" if in_shards else BATCH),
                "channels": Count(windows.channels) if in_shards else Count(1, "rows"),
                "outputs": Count(windows.outputs),
                "channel_group": Count(self.block.channels),
                "output_group": Count(self.block.outputs),
                **_counts(windows.strides("image", a)),
                **_counts(windows.strides("slopes", b)),
                **_counts(windows.strides("weights", c)),
            },
            SHARDS if in_shards else windows.channels,
        )

    def task(self, kernel: WinogradKernel, pointers: dict[str, Pointer], numbers: dict[str, Count], axis: Dim) -> Task:
        """Returns a task; numbers of tiles and scratch memory are added."""
        windows, part = self.windows, kernel.part
        sides = (*windows.results, *windows.dilation, *windows.window, *windows.stride)
        numbers = {**_counts(dict(zip((*OF_IMAGE, *OF_WINDOW), sides, strict=True))), **numbers}
        numbers = {"groups": Count(windows.groups), **numbers}
        writes = {pointers[winograd.WRITTEN[part]].buffer}
        if part != "transform":
            numbers["block"] = Count(self.block.tiles)
            sizes = self.block.channels, self.block.outputs, self.block.tiles
            lanes = self.machine.lanes(kernel.dtype)
            layout = winograd.scratch_layout(lanes, *sizes, is_gradient=int(part == "gradient"))
            pointers["scratch"] = Pointer(Buffer(Type(self.value.type.dtype, (layout.end,)), "scratch"))
            writes.add(pointers["scratch"].buffer)
            pointers |= dict.fromkeys(prefetched.POINTERS, pointers["image"])
            numbers |= dict.fromkeys(prefetched.NUMBERS, Count(0))
        return Task(
            kernel,
            tuple(pointers[name] for name in winograd.pointers(part)),
            tuple(numbers[name] for name in winograd.numbers(part)),
            frozenset(writes),
            axis,
            tuple(dict.fromkeys((self.einsum, self.value))),
            GROUP if isinstance(axis, int) else 1,
        )


def _counts(numbers: Mapping[str, int]) -> dict[str, Count]:
    return {name: Count(number) for name, number in numbers.items()}
