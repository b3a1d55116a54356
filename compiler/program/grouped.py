"""The arguments of the kernels of convolutions in narrow groups by name.

    result[sample, row, column, o] = start[sample, row, column, o]
        + sum over down, across, d of image[sample, row, column, down, across, o // outputs * inputs + d]
                                     * weights[down, across, d, o]

Channels are in groups of `inputs`, and the results of each group are `outputs` neighbours: fewer than a vector holds. A
convolution by channel (depthwise) has groups of one input and one output. `convolve` is this sum, and `gradient` the
gradient of the weights: the sum over samples, rows and columns of the image times the slopes. The image's rows and
columns, and the elements of a window, have strides of their own, so a stride or a dilation is nothing special. Knows
no buffers and no machine.
"""

from collections.abc import Mapping
from functools import cache
from typing import Literal

from msgspec import Struct

GroupedPart = Literal["convolve", "gradient"]

MOST_LOADED = 4  # vectors of channels, some lanes of which are moved together: within the slack behind a buffer

_POINTERS: Mapping[GroupedPart, tuple[str, ...]] = {
    "convolve": ("image", "weights", "result", "start"),
    "gradient": ("image", "slopes", "weights"),
}
WRITTEN: Mapping[GroupedPart, str] = {"convolve": "result", "gradient": "weights"}
_AXES: Mapping[str, tuple[str, ...]] = {
    "image": ("sample", "row", "down", "column", "across"),
    "weights": ("down", "across", "input"),
    **dict.fromkeys(("result", "start", "slopes"), ("sample", "row", "column")),
}
_SIZES = {"sample": "samples", "row": "rows", "column": "columns"}


class Groups(Struct, frozen=True):
    """The shape of a convolution in groups that its kernel's code depends on.

    A group has `inputs` channels and `outputs` results, a window `down` x `across` elements. A strip of an image has
    `positions` columns, and the last one `rest` if that is not 0. Neighbouring columns read windows that begin `step`
    units apart, and neighbouring elements of a window lie `apart` units from one another. The two have no common
    factor: both are 1 without stride and dilation. With `ends_in_half`, the last results are computed by half a vector
    if they fit it.
    """

    inputs: int
    outputs: int
    down: int
    across: int
    positions: int
    rest: int
    step: int = 1
    apart: int = 1
    ends_in_half: bool = False

    def width(self, lanes: int) -> int:
        """The results of whole groups in a vector of some lanes."""
        return groups_in_vector(self.inputs, self.outputs, lanes) * self.outputs

    def meetings(self, positions: int, taps: int) -> dict[int, list[tuple[int, int]]]:
        """Returns the columns of a row of an image that neighbouring positions read by `taps` neighbouring elements, in
        units from the first one, in order. For each it gives the elements and the positions that meet there."""
        columns: dict[int, list[tuple[int, int]]] = {}
        for tap in range(taps):
            for position in range(positions):
                columns.setdefault(self.step * position + self.apart * tap, []).append((tap, position))
        return dict(sorted(columns.items()))


def groups_in_vector(inputs: int, outputs: int, lanes: int) -> int:
    """Returns how many groups' results a vector of some lanes holds. Their channels fill up to MOST_LOADED vectors."""
    return min(lanes // outputs, MOST_LOADED * lanes // inputs)


def pointers(part: GroupedPart) -> tuple[str, ...]:
    """Returns the names of a kernel's addresses, in order. Without a start, that of `start` stands anywhere."""
    return _POINTERS[part]


def used(part: GroupedPart, has_start: bool) -> tuple[str, ...]:
    """Returns the names of the addresses that a kernel reads or writes."""
    return tuple(name for name in _POINTERS[part] if name != "start" or has_start)


def axes(pointer: str) -> tuple[str, ...]:
    """Returns the axes of an operand whose strides are numbers of the kernel, from the outside."""
    return _AXES[pointer]


@cache
def numbers(part: GroupedPart) -> tuple[str, ...]:
    """Returns the names of a kernel's numbers, in order: counts, then strides in elements.

    `channels` counts the results of all groups.
    """
    counts = ("channels", *_SIZES.values(), *(("has_start",) if part == "convolve" else ()))
    return (*counts, *(f"{name}_{axis}" for name in _POINTERS[part] for axis in axes(name)))


def walk(pointer: str, groups: Groups, of: Mapping[str, int]) -> tuple[list[int], list[int]]:
    """Returns the extents of an operand and its strides, for a kernel's numbers by name. Channels come last."""
    channels = of["channels"] // groups.outputs * groups.inputs if pointer == "image" else of["channels"]
    extents = [of[_SIZES[axis]] if axis in _SIZES else _size(groups, axis) for axis in axes(pointer)]
    return [*extents, channels], [*(of[f"{pointer}_{axis}"] for axis in axes(pointer)), 1]


def _size(groups: Groups, axis: str) -> int:
    return {"down": groups.down, "across": groups.across, "input": groups.inputs}[axis]
