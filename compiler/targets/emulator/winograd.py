"""The kernels of Winograd's convolution in NumPy, over their arguments (program/winograd.py): all tiles at once."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from netc.compiler.program import winograd
from netc.compiler.program.kernels import WinogradKernel
from netc.compiler.program.winograd import PIECES, STEP
from netc.compiler.targets.emulator.memory import Access, Reference

Array = np.ndarray[Any, Any]
# the matrices of the formula: A, and B and G of a piece of so many elements
_OF_RESULTS = np.array([[1, 0], [1, 1], [1, -1], [0, 1]])
_OF_TILE = {
    1: np.eye(2),
    2: np.array([[1, 0, 0], [-1, 1, -1], [0, 0, 1]]),
    3: np.array([[1, 0, 0, 0], [0, 1, -1, -1], [-1, 1, 1, 0], [0, 0, 0, 1]]),
}
_OF_WEIGHTS = {
    1: np.array([[1], [1]]),
    2: np.array([[1, 0], [1, 1], [0, 1]]),
    3: np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]]),
}
_SIDES = ("down", "across")


def winograd_of(kernel: WinogradKernel) -> Callable[..., None]:
    """Returns a kernel as a function of an Access, its pointers and its numbers."""
    part, dtype = kernel.part, kernel.dtype
    names, written = winograd.pointers(part), winograd.WRITTEN[part]
    compute = {"transform": _transform, "convolve": _convolve, "gradient": _gradient}[part]

    def run(access: Access, *arguments: Any) -> None:
        pointers: dict[str, Reference] = dict(zip(names, arguments, strict=False))
        numbers: dict[str, int] = dict(zip(winograd.numbers(part), arguments[len(names) :], strict=True))
        used = winograd.used(part, kernel.has_start)
        walks = {name: winograd.walk(name, numbers) for name in used}
        arrays = {
            name: _loaded(access, pointers[name], dtype, name, *walks[name], numbers)
            for name in used
            if name != written
        }
        groups = [{name: array[group] for name, array in arrays.items()} for group in range(numbers["groups"])]
        result = np.array([compute(group, numbers) for group in groups])
        for name in used:
            other = pointers[written]
            in_place = name == "start" and (pointers[name].start, walks[name]) == (other.start, walks[written])
            if name != written and not in_place and _overlap(pointers[name], other):
                raise access.fail(f"writes {written} into the memory of {name}")
        access.store(pointers[written], dtype, 0, *walks[written], result.astype(arrays[names[0]].dtype))

    return run


def _overlap(pointer: Reference, other: Reference) -> bool:
    return pointer.region is other.region and pointer.low < other.high and other.low < pointer.high


def _loaded(
    access: Access,
    pointer: Reference,
    dtype: str,
    name: str,
    extents: list[int],
    strides: list[int],
    of: Mapping[str, int],
) -> Array:
    """An operand by groups; panels as one matrix for each position, without the columns behind the last output."""
    array = access.load(pointer, dtype, 0, extents, strides)
    if name != "panels":
        return array
    shape = (*array.shape[:3], of["channels"], array.shape[3] * of["width"])
    return np.moveaxis(array, 4, 3).reshape(shape)[..., : of["outputs"]]


class _Side:
    """A side of a window: the matrices of the formula for all positions of its pieces, and lines of the image."""

    def __init__(self, of: Mapping[str, int], side: str) -> None:
        self.window, self.stride = of[f"window_{side}"], of[f"stride_{side}"]
        pieces = winograd.pieces(self.window, self.stride)
        count = winograd.positions_of(self.window, self.stride)
        self.lines = self.window + self.stride * (STEP - 1)  # of a tile
        self.of_results, self.of_tile = np.zeros((count, STEP)), np.zeros((self.lines, count))
        self.of_weights = np.zeros((count, self.window))
        for piece in pieces:
            positions = slice(piece.position, piece.position + piece.elements + 1)
            lines = slice(piece.first, piece.first + piece.elements * self.stride + 1, self.stride)
            self.of_results[positions] = _OF_RESULTS[list(PIECES[piece.elements])]
            self.of_tile[lines, positions] = _OF_TILE[piece.elements]
            self.of_weights[positions, slice(lines.start, lines.stop - self.stride, self.stride)] = _OF_WEIGHTS[
                piece.elements
            ]


def _sides(of: Mapping[str, int]) -> tuple[_Side, _Side]:
    down, across = (_Side(of, side) for side in _SIDES)
    return down, across


def _transform(arrays: Mapping[str, Array], of: Mapping[str, int]) -> Array:
    """The transformed weights in panels, with zeros behind the last output."""
    panels = -(-of["outputs"] // of["width"])
    down, across = _sides(of)
    result = np.einsum("ai,bj,ijco->abco", down.of_weights, across.of_weights, arrays["weights"])
    result = np.pad(result, [(0, 0), (0, 0), (0, 0), (0, panels * of["width"] - of["outputs"])])
    in_panels: Array = np.moveaxis(result.reshape(*result.shape[:3], panels, of["width"]), 3, 2)
    return in_panels


def _tiles(image: Array, results: tuple[int, ...], of: Mapping[str, int]) -> Array:
    """The transformed tiles of a phase of an image: [sample, row, column, channel, position down, position across].

    Behind the image, where the last tile sticks out of it, there are zeros.
    """
    down, across = _sides(of)
    counts = [winograd.tiles_of(count) for count in results]
    sides = list(zip((down, across), counts, strict=True))
    ends = [(count - 1) * STEP * side.stride + side.lines for side, count in sides]
    more = [(0, max(end - length, 0)) for end, length in zip(ends, image.shape[1:3], strict=True)]
    image = np.pad(image, [(0, 0), *more, (0, 0)])
    tiles = np.lib.stride_tricks.sliding_window_view(image, (down.lines, across.lines), (1, 2))
    tiles = tiles[:, :: STEP * down.stride, :: STEP * across.stride][:, : counts[0], : counts[1]]
    result: Array = np.einsum("ia,jb,nhwcij->nhwcab", down.of_tile, across.of_tile, tiles)
    return result


def _phases(of: Mapping[str, int]) -> Iterator[tuple[tuple[slice, ...], tuple[slice, ...]]]:
    """The elements of an image, and its results, in each phase."""
    for phase in np.ndindex(of["dilation_down"], of["dilation_across"]):
        starts = [
            (first, of[f"dilation_{side}"], of[f"stride_{side}"]) for first, side in zip(phase, _SIDES, strict=True)
        ]
        yield (
            (slice(None), *(slice(first * stride, None, dilation) for first, dilation, stride in starts)),
            (slice(None), *(slice(first, None, dilation) for first, dilation, _ in starts)),
        )


def _convolve(arrays: Mapping[str, Array], of: Mapping[str, int]) -> Array:
    image, panels = arrays["image"], arrays["panels"]
    result = np.empty((of["samples"], of["results_down"], of["results_across"], of["outputs"]), image.dtype)
    for elements, results in _phases(of):
        result[results] = _convolved(image[elements], panels, result[results].shape, of)
    with_start: Array = result + arrays.get("start", 0)
    return with_start


def _convolved(image: Array, panels: Array, shape: tuple[int, ...], of: Mapping[str, int]) -> Array:
    """The results of a phase, which have `shape`."""
    down, across = _sides(of)
    tiles = _tiles(image, shape[1:3], of)
    products = np.einsum("nhwcij,ijco->nhwoij", tiles, panels)
    results: Array = np.einsum("ia,jb,nhwoij->nhawbo", down.of_results, across.of_results, products)
    results = results.reshape(len(tiles), STEP * tiles.shape[1], STEP * tiles.shape[2], shape[-1])
    return results[:, : shape[1], : shape[2]]


def _gradient(arrays: Mapping[str, Array], of: Mapping[str, int]) -> Array:
    down, across = _sides(of)
    image, slopes = arrays["image"], arrays["slopes"]
    sums: Any = sum(_sums(image[elements], slopes[results], of) for elements, results in _phases(of))
    result: Array = np.einsum("ai,bj,abco->ijco", down.of_weights, across.of_weights, sums)
    return result


def _sums(image: Array, slopes: Array, of: Mapping[str, int]) -> Array:
    """The gradients of the transformed weights of a phase: [position down, position across, channel, output]."""
    down, across = _sides(of)
    tiles = _tiles(image, slopes.shape[1:3], of)
    slopes = np.pad(slopes, [(0, 0), *((0, side % STEP) for side in slopes.shape[1:3]), (0, 0)])
    slopes = slopes.reshape(len(slopes), tiles.shape[1], STEP, tiles.shape[2], STEP, slopes.shape[-1])
    slopes = np.einsum("ia,jb,nhawbo->nhwoij", down.of_results, across.of_results, slopes)
    sums: Array = np.einsum("nhwcij,nhwoij->ijco", tiles, slopes)
    return sums
