"""The arguments of the kernels of Winograd's convolution by name, and the memory that they work in.

F(2x2, 3x3) of Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (2015): an image is cut into tiles of
4 x 4 elements that overlap by two, and of each come 2 x 2 results. Tiles d, weights g and results y of one channel are

    y = A' ((G g G') * (B' d B)) A         16 multiplications for what takes 36 otherwise

so that sums over channels are 16 products of matrices, one for each position in a tile. `transform` computes G g G' of
all weights, `convolve` a convolution by them, and `gradient` the gradient of the weights: the adjoint, whose sums run
over tiles. A stride along channels is always 1. Knows no buffers and no machine.

If the results have an odd side, the last tiles of it stick out by a line, which the image does not have. No result
depends on this line alone: the first result of y = A' d reads three elements. So any numbers may stand there, as long
as the results that depend on it are not stored, and count as zeros in a gradient.

Channels and outputs in groups are convolutions of their own, one after another.

With a dilation of d, every d-th result along a side depends on every d-th element alone. So there are d convolutions
along each side, the phases, whose elements lie d lines apart; all have the same number of tiles.

A side of a window of any length is cut into pieces of three elements and one of the rest, which may be two or one. With
a stride of s, which results have then, every s-th element is in one piece, because only these meet the elements of one
tile. A convolution is a sum over its pieces, which share A: shorter ones multiply in some positions alone,

    two elements     positions 0, 1, 3     B' d = (d[0] - d[1], d[1], d[2] - d[1])     G g = (g[0], g[0] + g[1], g[1])
    an element       positions 0, 3        B' d = d                                    G g = (g, g)

so a piece of r elements takes r + 1 multiplications along its side for two results: windows of 5 x 5 elements 49
instead of 100, those of 4 x 4 with a stride of two 36 instead of 64. Positions of all pieces of a side follow one
another in the panels.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any, Literal, NamedTuple

from msgspec import Struct

from netc.compiler.program import prefetched

Part = Literal["transform", "convolve", "gradient"]

SIDE, STEP, LONGEST = 4, 2, 3  # the sides of a tile, of its results, and of the largest piece of a window
POSITIONS = SIDE * SIDE
# operations of the transform of one line; of the other three, by the elements of a piece
_OF_RESULTS, _OF_SLOPES = 4, 2
_OF_TILE, _OF_WEIGHTS, _OF_SUMS = {1: 0, 2: 2, 3: 4}, {1: 0, 2: 1, 3: 5}, {1: 1, 2: 2, 3: 6}
# the positions along a side of a tile in which a piece of so many elements multiplies
PIECES: Mapping[int, tuple[int, ...]] = {1: (0, 3), 2: (0, 1, 3), 3: (0, 1, 2, 3)}
# the numbers of an image that say how many tiles it has, and those of a window
OF_IMAGE = ("results_down", "results_across", "dilation_down", "dilation_across")
OF_WINDOW = ("window_down", "window_across", "stride_down", "stride_across")
_APART = 32  # elements between positions beside their tiles: multiples of 4 KiB would share a set of the first cache

_POINTERS: Mapping[Part, tuple[str, ...]] = {
    "transform": ("weights", "panels"),
    "convolve": ("image", "panels", "result", "start", "scratch", *prefetched.POINTERS),
    "gradient": ("image", "slopes", "weights", "scratch", *prefetched.POINTERS),
}
WRITTEN: Mapping[Part, str] = {"transform": "panels", "convolve": "result", "gradient": "weights"}
_IMAGES = ("image", "result", "start", "slopes")
_IMAGE_AXES, _WEIGHT_AXES, _PANEL_AXES = (
    ("group", "sample", "row", "column"),
    ("group", "down", "across", "channel"),
    ("group", "down", "across", "panel"),
)


def pointers(part: Part) -> tuple[str, ...]:
    """Returns the names of a kernel's addresses, in order. Without a start, that of `start` stands anywhere."""
    return _POINTERS[part]


def used(part: Part, has_start: bool) -> tuple[str, ...]:
    """Returns the names of the addresses that a kernel reads or writes, except its scratch memory."""
    unused = {"scratch", *prefetched.POINTERS, *(() if has_start else ("start",))}
    return tuple(name for name in _POINTERS[part] if name not in unused)


def axes(pointer: str) -> tuple[str, ...]:
    """Returns the axes of an operand whose strides are numbers of the kernel, from the outside."""
    if pointer == "scratch" or pointer in prefetched.POINTERS:
        return ()
    return _IMAGE_AXES if pointer in _IMAGES else _PANEL_AXES if pointer == "panels" else _WEIGHT_AXES


def numbers(part: Part) -> tuple[str, ...]:
    """Returns the names of a kernel's numbers, in order: those of its shape, then how many bytes it prefetches."""
    return (*shape_numbers(part), *(prefetched.NUMBERS if part != "transform" else ()))


@cache
def shape_numbers(part: Part) -> tuple[str, ...]:
    """Returns the names of the numbers of a kernel's shape, in order: counts, then strides in elements.

    `channels` and `outputs` are those of each of the `groups`. A panel has up to `width` columns of weights, its rows
    are channels. `block` is how many tiles are transformed and multiplied at once. A gradient has the sums of up to
    `channel_group` channels and `output_group` outputs in memory at once, and goes through all tiles for each of these.
    """
    sizes = ("channel_group", "output_group") if part == "gradient" else ("width",)
    counts = ["groups", "channels", "outputs", *sizes, *OF_WINDOW]
    if part != "transform":
        counts += ["samples", *OF_IMAGE, "block"]
    if part == "convolve":
        counts.append("has_start")
    strides = (f"{name}_{axis}" for name in _POINTERS[part] for axis in axes(name))
    return (*counts, *strides)


def tiles_of(results: Any) -> Any:
    """Returns the tiles along a side of an image, of its results: a number, or a term of a kernel."""
    return (results + (STEP - 1)) // STEP


def results_of(phase: Any, results: Any, dilation: Any) -> Any:
    """Returns the results of a phase along a side that has `results`: numbers, or terms of a kernel."""
    return (results - phase + (dilation - 1)) // dilation


def tiles_of_image(results_down: Any, results_across: Any, dilation_down: Any, dilation_across: Any) -> Any:
    """Returns the tiles of all phases of an image."""
    sides = (results_down, dilation_down), (results_across, dilation_across)
    down, across = (tiles_of(results_of(0, results, dilation)) * dilation for results, dilation in sides)
    return down * across


def has_equal_phases(results: int, dilation: int) -> bool:
    """Whether all phases along a side have the same number of tiles, which the kernels require."""
    first, last = (tiles_of(results_of(phase, results, dilation)) for phase in (0, dilation - 1))
    return bool(first == last)


class Piece(Struct, frozen=True):
    """A piece of a side of a window: the first of its elements, their number, and the first of its positions."""

    first: int
    elements: int
    position: int


@cache
def pieces(window: int, stride: int) -> tuple[Piece, ...]:
    """Returns the pieces of a side of a window in order, none larger than the first."""
    result: list[Piece] = []
    position = 0
    for phase in range(min(stride, window)):
        count = -(-(window - phase) // stride)
        for done in range(0, count, LONGEST):
            elements = min(count - done, LONGEST)
            result.append(Piece(phase + done * stride, elements, position))
            position += elements + 1
    return tuple(result)


def positions_of(window: Any, stride: Any) -> Any:
    """Returns the positions of all pieces of a side: numbers, or terms of a kernel."""
    fewest = window // stride  # elements of a phase: `more` phases have another
    more = window - fewest * stride
    of_more, of_fewest = ((count + (LONGEST - 1)) // LONGEST for count in (fewest + 1, fewest))
    return window + more * of_more + (stride - more) * of_fewest


def walk(pointer: str, of: Mapping[str, int]) -> tuple[list[int], list[int]]:
    """Returns the extents of an operand and its strides, for a kernel's numbers by name.

    Panels are taken whole, although the last one may have fewer columns.
    """
    sides = ("down", "across")
    if pointer == "image":
        lines = [
            (of[f"results_{side}"] - 1) * of[f"stride_{side}"] + (of[f"window_{side}"] - 1) * of[f"dilation_{side}"] + 1
            for side in sides
        ]
        extents = [of["samples"], *lines, of["channels"]]
    elif pointer in _IMAGES:
        extents = [of["samples"], *(of[f"results_{side}"] for side in sides), of["outputs"]]
    elif pointer == "panels":
        positions = [positions_of(of[f"window_{side}"], of[f"stride_{side}"]) for side in sides]
        extents = [*positions, -(-of["outputs"] // of["width"]), of["channels"], of["width"]]
    else:
        extents = [*(of[f"window_{side}"] for side in sides), of["channels"], of["outputs"]]
    strides = [of[f"{pointer}_{axis}"] for axis in axes(pointer)]
    return [of["groups"], *extents], [*strides, *((of["width"],) if pointer == "panels" else ()), 1]


class ScratchLayout(NamedTuple):
    """The parts of a kernel's scratch memory, by the element at which each begins, and the element behind the last.

    For each position there are rows of a block's tiles: of transformed channels, then of columns, which are results or
    transformed slopes. `sums` has for each position the gradient of its weights so far. Rows are whole vectors.
    """

    channels: Any
    channel_row: Any
    output_row: Any
    channel_position: Any
    output_position: Any
    outputs: Any
    sums: Any
    end: Any


def scratch_layout(lanes: int, channels: Any, outputs: Any, block: Any, is_gradient: int) -> ScratchLayout:
    """Returns the parts of a kernel's memory for vectors of `lanes` lanes, all numbers or terms of a kernel.

    A gradient's channels and outputs are those of a group.
    """
    channel_row, output_row = ((count + (lanes - 1)) // lanes * lanes for count in (channels, outputs))
    of_channels, of_outputs = channel_row * block + _APART, output_row * block + _APART
    sums = (of_channels + of_outputs) * POSITIONS
    end = sums + channels * output_row * (POSITIONS * is_gradient)
    outputs_at = of_channels * POSITIONS
    return ScratchLayout(channel_row * 0, channel_row, output_row, of_channels, of_outputs, outputs_at, sums, end)


def flops(part: Part, of: Mapping[str, int]) -> int:
    """Returns the floating-point operations of a call: multiply-adds of transformed numbers, and those of transforms.

    Transforms are computed along one side of a tile, then along the other, and in a gradient once for each group.
    """
    channels, outputs = of["channels"], of["outputs"]
    down, across = (pieces(of[f"window_{side}"], of[f"stride_{side}"]) for side in ("down", "across"))
    pairs = [(tall.elements, wide.elements) for tall in down for wide in across]
    if part == "transform":
        of_weights = sum(_OF_WEIGHTS[tall] * wide + _OF_WEIGHTS[wide] * (tall + 1) for tall, wide in pairs)
        return of["groups"] * channels * outputs * of_weights
    tiles: int = of["samples"] * tiles_of_image(*(of[name] for name in OF_IMAGE))
    of_products = 2 * sum((tall + 1) * (wide + 1) for tall, wide in pairs) * channels * outputs
    of_image = channels * sum(_OF_TILE[tall] * (wide + 1) + _OF_TILE[wide] * (tall + 1) for tall, wide in pairs)
    if part == "convolve":
        of_results = outputs * (_OF_RESULTS * (SIDE + STEP) + STEP * STEP * of["has_start"])
        return of["groups"] * tiles * (of_products + of_image + of_results)
    of_slopes = outputs * _OF_SLOPES * sum(STEP + tall + 1 for tall, _ in pairs)
    of_sums = sum(_OF_SUMS[tall] * (wide + 1) + _OF_SUMS[wide] * tall for tall, wide in pairs)
    channel_groups, output_groups = -(-channels // of["channel_group"]), -(-outputs // of["output_group"])
    of_tile = of_products + of_image * output_groups + of_slopes * channel_groups
    return of["groups"] * (tiles * of_tile + channels * outputs * of_sums)
