"""The kernels of Winograd's convolution alone, against direct sums in f64: channels, sizes and strides of every kind,
for each instruction set."""

from functools import cache

import numpy as np
import pytest
from native import FLOATS, TARGETS, Kernel, check_instructions

from netc.compiler.program import prefetched, winograd
from netc.compiler.program.kernels import WinogradKernel
from netc.compiler.program.winograd import Part, positions_of
from netc.compiler.targets.cpu.source import source_of
from netc.compiler.targets.machine import VECTORS, Machine
from netc.compiler.targets.named import machine_for

RNG = np.random.default_rng(6)
# samples, height, width, channels, outputs, tiles of a block, and perhaps the dilation down and across and the groups,
# and the window and the stride, down and across
CASES = [
    (1, 2, 2, 1, 1, 1),
    (2, 8, 8, 16, 16, 48),
    (3, 4, 6, 3, 5, 4),
    (2, 6, 10, 17, 33, 7),
    (1, 8, 4, 40, 70, 24),
    (2, 4, 4, 33, 16, 100),
    (5, 2, 2, 16, 31, 3),
    (2, 7, 7, 16, 20, 5),
    (3, 5, 4, 18, 33, 48),
    (1, 4, 9, 3, 16, 4),
    (2, 1, 3, 16, 5, 2),
    (2, 8, 8, 16, 20, 48, 2, 2),
    (3, 6, 9, 5, 18, 5, 3, 3),
    (1, 12, 4, 17, 33, 7, 4, 1),
    (2, 7, 11, 16, 3, 4, 2, 3),
    (2, 15, 5, 16, 16, 24, 1, 5),
    (2, 5, 6, 16, 20, 7, 1, 1, 3),
    (3, 4, 9, 5, 17, 48, 2, 3, 2),
    (1, 8, 7, 17, 20, 5, 1, 1, 1, 5, 4),
    (2, 4, 5, 3, 5, 3, 1, 1, 2, 3, 1, 2, 1),
    (1, 5, 4, 16, 33, 9, 1, 1, 1, 3, 5, 2, 1),
    (1, 5, 4, 18, 5, 7, 3, 1, 1, 4, 7, 1, 3),
]
# every third is the widest in f32 and the middle one in f64
PAIRS = [*((target, "f32") for target in reversed(TARGETS)), *((target, "f64") for target in TARGETS[1:] + TARGETS[:1])]
_GUARD = 64  # elements behind the memory of a kernel, or around an array


def strided(shape: tuple[int, ...], dtype: str, spread: bool) -> np.ndarray:
    """An array of random numbers in the middle of a larger one; if `spread`, its rows do not follow one another."""
    border = [(0, 0)] * len(shape) if not spread else [(1, 2)] * (len(shape) - 1) + [(0, 3)]
    memory = RNG.standard_normal(np.prod([size + sum(more) for size, more in zip(shape, border, strict=True)]) + _GUARD)
    array = memory.astype(FLOATS[dtype])[:-_GUARD].reshape(
        [size + sum(more) for size, more in zip(shape, border, strict=True)]
    )
    return array[tuple(slice(first, first + size) for size, (first, _) in zip(shape, border, strict=True))]


@cache
def compiled(machine: Machine, dtype: str, part: Part) -> Kernel:
    return Kernel(source_of(WinogradKernel(dtype, part)), machine)


class Convolution:
    """Arrays of a case by the names of program/winograd.py, and calls of the kernels."""

    def __init__(self, case: tuple[int, ...], dtype: str, machine: Machine, spread: bool) -> None:
        samples, height, width, channels, outputs, block = case[:6]
        down, across, groups, *window = (*case[6:], *(1, 1, 1, 3, 3, 1, 1)[len(case) - 6 :])
        self.dilation, self.window, self.stride = (down, across), window[:2], window[2:]
        assert winograd.has_equal_phases(height, down)
        assert winograd.has_equal_phases(width, across)
        self.dtype, self.machine = dtype, machine
        lanes = machine.lanes(dtype)
        panel = min(VECTORS * lanes, -(-outputs // lanes) * lanes)
        self.numbers = {"samples": samples, "results_down": height, "results_across": width, "block": block}
        self.numbers |= {"dilation_down": down, "dilation_across": across}
        self.numbers |= dict(zip(winograd.OF_WINDOW, window, strict=True))
        self.numbers |= {"groups": groups, "channels": channels, "outputs": outputs, "width": panel}
        self.numbers |= {"channel_group": channels, "output_group": outputs}
        self.numbers |= {name: samples * outputs * i for i, name in enumerate(prefetched.NUMBERS)}
        result = (samples, height, width, groups, outputs)
        sides = zip((height, width), self.dilation, self.window, self.stride, strict=True)
        lines = [(count - 1) * stride + (size - 1) * apart + 1 for count, apart, size, stride in sides]
        shapes = {
            "image": (samples, *lines, groups, channels),
            "weights": (*self.window, channels, groups, outputs),
            **dict.fromkeys(("start", "slopes", "result"), result),
        }
        self.arrays = {name: np.moveaxis(strided(shape, dtype, spread), 3, 0) for name, shape in shapes.items()}
        panels = (groups, *map(positions_of, self.window, self.stride), -(-outputs // panel), channels, panel)
        self.arrays["panels"] = strided(panels, dtype, spread=False)

    def call(self, part: Part, has_start: bool = False, **arrays: np.ndarray) -> None:
        """Calls a kernel. Memory that it must not need is NaN, and what lies behind its own stays as it is."""
        numbers, arrays = {**self.numbers, "has_start": int(has_start)}, {**self.arrays, **arrays}
        in_memory = ("channel_group", "output_group") if part == "gradient" else ("channels", "outputs")
        counts = (numbers[name] for name in (*in_memory, "block"))
        end = winograd.scratch_layout(self.machine.lanes(self.dtype), *counts, is_gradient=int(part == "gradient")).end
        scratch = np.full(end + _GUARD, np.nan, FLOATS[self.dtype])
        scratch[end:] = 7
        addresses = {"scratch": scratch.ctypes.data}
        addresses |= {name: i * 100 for i, name in enumerate(prefetched.POINTERS)}  # no memory lies there
        for name in winograd.pointers(part):
            if name not in addresses:
                addresses[name] = arrays[name].ctypes.data
                for axis, stride in zip(winograd.axes(name), arrays[name].strides, strict=False):
                    numbers[f"{name}_{axis}"] = stride // arrays[name].itemsize
        kernel = compiled(self.machine, self.dtype, part)
        pointers = [addresses[name] for name in winograd.pointers(part)]
        kernel.call(*pointers, *(numbers[name] for name in winograd.numbers(part)))
        assert (scratch[end:] == 7).all()

    def windows(self) -> np.ndarray:
        """The windows of the image in f64: [group, sample, row, column, channel, down, across]."""
        image = self.arrays["image"].astype(np.float64)
        down, across = self.dilation
        tall, wide = self.stride
        sides = [(size - 1) * apart + 1 for size, apart in zip(self.window, self.dilation, strict=True)]
        windows = np.lib.stride_tricks.sliding_window_view(image, sides, (2, 3))
        return windows[:, :, ::tall, ::wide, :, ::down, ::across]


def check(actual: np.ndarray, expected: np.ndarray, largest: np.ndarray) -> None:
    """Asserts that errors are some units of the rounding of the largest sum of absolute products."""
    assert np.abs(actual - expected).max() <= 6 * np.finfo(actual.dtype).eps * largest.max()


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize(("target", "dtype"), PAIRS)
def test_convolution_and_gradient(case: tuple[int, ...], target: str, dtype: str) -> None:
    for spread in (False, True):
        convolution = Convolution(case, dtype, machine_for(target), spread)
        arrays, windows = convolution.arrays, convolution.windows()
        weights, slopes = arrays["weights"].astype(np.float64), arrays["slopes"].astype(np.float64)
        expected = np.einsum("gbhwcij,gijco->gbhwo", windows, weights)
        largest = np.einsum("gbhwcij,gijco->gbhwo", abs(windows), abs(weights))
        around = arrays["result"].base.copy()
        convolution.call("transform")
        convolution.call("convolve")
        check(arrays["result"], expected, largest)
        convolution.call("convolve", has_start=True)
        check(arrays["result"], expected + arrays["start"], largest)
        arrays["result"][...] = 0
        kept = arrays["result"].base != 0
        assert (arrays["result"].base[kept] == around[kept]).all()  # nothing beside the result is written
        convolution.call("gradient")
        expected = np.einsum("gbhwcij,gbhwo->gijco", windows, slopes)
        check(arrays["weights"], expected, np.einsum("gbhwcij,gbhwo->gijco", abs(windows), abs(slopes)))


@pytest.mark.parametrize("case", [CASES[3], CASES[4], CASES[7], CASES[-4], CASES[-1]], ids=str)
@pytest.mark.parametrize(("target", "dtype"), PAIRS)
def test_a_gradient_has_the_same_bits_for_groups_of_any_size(case: tuple[int, ...], target: str, dtype: str) -> None:
    """Also for groups that are larger than what a call computes, as where channels are shared out."""
    for spread in (False, True):
        convolution = Convolution(case, dtype, machine_for(target), spread)
        channels, outputs = case[3:5]
        weights = convolution.arrays["weights"]
        convolution.call("gradient")
        expected = weights.base.copy()
        for groups in ((1, outputs), (16, 32), (channels, 8), (7, 5), (channels + 9, outputs + 3)):
            convolution.numbers |= dict(zip(("channel_group", "output_group"), groups, strict=True))
            weights[...] = np.nan
            convolution.call("gradient")
            assert np.array_equal(weights.base, expected), groups


@pytest.mark.parametrize(("target", "dtype"), PAIRS)
def test_only_instructions_of_the_target(target: str, dtype: str) -> None:
    for part in ("transform", "convolve", "gradient"):
        check_instructions(target, compiled(machine_for(target), dtype, part).assembly)


def test_errors_in_f32_are_no_larger_than_those_of_direct_sums() -> None:
    """Compared by their means, with sums that round each product, in order."""
    convolution = Convolution((4, 8, 8, 32, 16, 48), "f32", machine_for(TARGETS[0]), spread=False)
    arrays, windows = convolution.arrays, convolution.windows()
    weights = arrays["weights"].astype(np.float64)
    exact = np.einsum("gbhwcij,gijco->gbhwo", windows, weights)
    direct = np.zeros(exact.shape, np.float32)
    for c, i, j in np.ndindex(32, 3, 3):
        direct += windows[..., c, i, j, None].astype(np.float32) * arrays["weights"][0, i, j, c]
    convolution.call("transform")
    convolution.call("convolve")
    assert np.square(arrays["result"] - exact).mean() < np.square(direct - exact).mean()
