"""The kernels of Winograd's convolution in NumPy, over their arguments (program/winograd.py): all tiles at once."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from netc.compiler.program import winograd
from netc.compiler.program.kernels import WinogradKernel
from netc.compiler.program.winograd import POSITIONS, SIDE, STEP
from netc.compiler.targets.emulator.memory import Access, Reference

Array = np.ndarray[Any, Any]
# the matrices of the formula: A, B and G
_OF_RESULTS = np.array([[1, 0], [1, 1], [1, -1], [0, 1]])
_OF_TILE = np.array([[1, 0, 0, 0], [0, 1, -1, -1], [-1, 1, 1, 0], [0, 0, 0, 1]])
_OF_WEIGHTS = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])


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
    shape = (of["groups"], POSITIONS, of["channels"], array.shape[2] * of["width"])
    return np.moveaxis(array, 3, 2).reshape(shape)[..., : of["outputs"]]


def _transform(arrays: Mapping[str, Array], of: Mapping[str, int]) -> Array:
    """The transformed weights in panels, with zeros behind the last output."""
    panels = -(-of["outputs"] // of["width"])
    result = np.einsum("ai,bj,ijco->abco", _OF_WEIGHTS, _OF_WEIGHTS, arrays["weights"])
    result = result.reshape(POSITIONS, of["channels"], of["outputs"])
    result = np.pad(result, [(0, 0), (0, 0), (0, panels * of["width"] - of["outputs"])])
    in_panels: Array = np.moveaxis(result.reshape(POSITIONS, of["channels"], panels, of["width"]), 2, 1)
    return in_panels


def _even(image: Array) -> Array:
    """An image with zeros behind odd sides."""
    result: Array = np.pad(image, [(0, 0), *((0, side % STEP) for side in image.shape[1:3]), (0, 0)])
    return result


def _tiles(image: Array) -> Array:
    """The transformed tiles of an image: [sample, row, column, channel, position]. Behind odd sides there are zeros."""
    image = _even(image)
    tiles = np.lib.stride_tricks.sliding_window_view(image, (SIDE, SIDE), (1, 2))[:, ::STEP, ::STEP]
    result: Array = np.einsum("ia,jb,nhwcij->nhwcab", _OF_TILE, _OF_TILE, tiles)
    return result.reshape(*tiles.shape[:4], POSITIONS)


def _phases(of: Mapping[str, int]) -> Iterator[tuple[slice, ...]]:
    """The elements of an image, or its results, in each phase."""
    for down, across in np.ndindex(of["dilation_down"], of["dilation_across"]):
        yield slice(None), slice(down, None, of["dilation_down"]), slice(across, None, of["dilation_across"])


def _convolve(arrays: Mapping[str, Array], of: Mapping[str, int]) -> Array:
    image, panels = arrays["image"], arrays["panels"]
    result = np.empty((of["samples"], of["results_down"], of["results_across"], of["outputs"]), image.dtype)
    for phase in _phases(of):
        result[phase] = _convolved(image[phase], panels, result[phase].shape)
    with_start: Array = result + arrays.get("start", 0)
    return with_start


def _convolved(image: Array, panels: Array, shape: tuple[int, ...]) -> Array:
    """The results of a phase, which have `shape`."""
    tiles = _tiles(image)
    products = np.einsum("nhwcp,pco->nhwop", tiles, panels)
    products = products.reshape(*tiles.shape[:3], shape[-1], SIDE, SIDE)
    results: Array = np.einsum("ia,jb,nhwoij->nhawbo", _OF_RESULTS, _OF_RESULTS, products)
    results = results.reshape(len(tiles), STEP * tiles.shape[1], STEP * tiles.shape[2], shape[-1])
    return results[:, : shape[1], : shape[2]]


def _gradient(arrays: Mapping[str, Array], of: Mapping[str, int]) -> Array:
    sums: Any = sum(_sums(arrays["image"][phase], arrays["slopes"][phase]) for phase in _phases(of))
    result: Array = np.einsum("ai,bj,abco->ijco", _OF_WEIGHTS, _OF_WEIGHTS, sums.reshape(SIDE, SIDE, *sums.shape[1:]))
    return result


def _sums(image: Array, slopes: Array) -> Array:
    """The gradients of the transformed weights of a phase: [position, channel, output]."""
    slopes = _even(slopes)
    samples, height, width, outputs = slopes.shape
    slopes = slopes.reshape(samples, height // STEP, STEP, width // STEP, STEP, outputs)
    slopes = np.einsum("ia,jb,nhawbo->nhwoij", _OF_RESULTS, _OF_RESULTS, slopes)
    slopes = slopes.reshape(*slopes.shape[:4], POSITIONS)
    sums: Array = np.einsum("nhwcp,nhwop->pco", _tiles(image), slopes)
    return sums
