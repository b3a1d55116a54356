"""The kernels of convolutions in narrow groups alone, against sums in f64: groups, windows and strides of every kind,
for each instruction set."""

from collections.abc import Iterator

import numpy as np
import pytest
from native import FLOATS, TARGETS, Kernel, check_instructions

from netc.compiler.program import grouped
from netc.compiler.program.grouped import GroupedPart, Groups
from netc.compiler.program.kernels import GroupedKernel
from netc.compiler.targets.cpu.source import source_of
from netc.compiler.targets.named import machine_for
from netc.dsl.structs import replace

RNG = np.random.default_rng(7)
# groups, samples, rows, columns, and the steps along them of windows, and of the elements of a window
CASES = [
    (Groups(8, 8, 3, 3, positions=5, rest=4, is_dense=True), 5, 2, 3, 9, (1, 1), (1, 1)),
    (Groups(2, 4, 3, 2, positions=6, rest=0, is_dense=False), 7, 2, 4, 6, (1, 2), (2, 1)),
    (Groups(3, 2, 1, 5, positions=4, rest=3, is_dense=True), 6, 3, 1, 7, (1, 1), (1, 1)),
    (Groups(1, 3, 2, 3, positions=2, rest=1, is_dense=False), 9, 1, 3, 3, (2, 1), (1, 3)),
    (Groups(4, 1, 4, 1, positions=3, rest=0, is_dense=False), 37, 2, 2, 3, (1, 2), (1, 1)),
    (Groups(2, 2, 1, 1, positions=3, rest=2, is_dense=True), 9, 2, 2, 5, (2, 1), (1, 1)),
    (Groups(1, 1, 3, 9, positions=6, rest=5, is_dense=True), 19, 2, 2, 11, (1, 1), (1, 1)),
]
PAIRS = [(target, dtype) for dtype in FLOATS for target in TARGETS]
_BEHIND = 64  # elements behind an array


def taken() -> Iterator[tuple]:
    """Yields a case for each instruction set and element type, of which each is a kernel of its own. Its groups fit a
    vector. AVX-512 has half vectors behind the last whole one."""
    for number, (target, dtype) in enumerate(PAIRS):
        machine = machine_for(target)
        lanes = machine.lanes(dtype)
        fitting = [case for case in CASES if max(case[0].inputs, case[0].outputs) <= lanes]
        shape, *others = fitting[-1 - number % len(fitting)]
        has_halves = machine.has_halves and shape.width(lanes // 2) > 0
        yield (replace(shape, ends_in_half=has_halves), *others), target, dtype


def room(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """An array of random numbers, whose base has more behind it."""
    memory = RNG.standard_normal(int(np.prod(shape)) + _BEHIND).astype(FLOATS[dtype])
    return memory[:-_BEHIND].reshape(shape)


@pytest.mark.parametrize(("case", "target", "dtype"), list(taken()), ids=str)
def test_convolution_and_gradient(case: tuple, target: str, dtype: str) -> None:
    shape, count, samples, rows, columns, steps, apart = case
    kernels = {
        part: Kernel(source_of(GroupedKernel(dtype, part, shape)), machine_for(target)) for part in grouped.WRITTEN
    }
    sides = [
        (n - 1) * step + (size - 1) * dilation + 1
        for n, step, size, dilation in zip((rows, columns), steps, (shape.down, shape.across), apart, strict=True)
    ]
    channels, outputs = count * shape.inputs, count * shape.outputs
    arrays = {"image": room((samples, *sides, channels), dtype)}
    arrays |= {name: room((samples, rows, columns, outputs), dtype) for name in ("start", "slopes", "result")}
    arrays["weights"] = room((shape.down, shape.across, shape.inputs, outputs), dtype)
    numbers = {"channels": outputs, "samples": samples, "rows": rows, "columns": columns, "has_start": 1}
    for name, array in arrays.items():
        strides = [stride // array.itemsize for stride in array.strides[:-1]]
        if name == "image":
            sample, row, column = strides
            strides = [sample, row * steps[0], row * apart[0], column * steps[1], column * apart[1]]
        numbers |= dict(zip((f"{name}_{axis}" for axis in grouped.axes(name)), strides, strict=True))

    def call(part: GroupedPart) -> None:
        addresses = [arrays[name].ctypes.data for name in grouped.pointers(part)]
        kernels[part].call(*addresses, *(numbers[name] for name in grouped.numbers(part)))

    sizes = [(size - 1) * dilation + 1 for size, dilation in zip((shape.down, shape.across), apart, strict=True)]
    windows = np.lib.stride_tricks.sliding_window_view(arrays["image"].astype(np.float64), sizes, (1, 2))
    windows = windows[:, :: steps[0], :: steps[1], :, :: apart[0], :: apart[1]]
    windows = windows.reshape(samples, rows, columns, count, shape.inputs, shape.down, shape.across)
    weights, start, slopes = (
        array.reshape(*array.shape[:-1], count, shape.outputs).astype(np.float64)
        for array in (arrays["weights"], arrays["start"], arrays["slopes"])
    )

    def check(name: str, subscripts: str, other: np.ndarray, first: float | np.ndarray = 0.0) -> None:
        actual, behind = arrays[name], arrays[name].base[-_BEHIND:]
        largest = np.einsum(subscripts, abs(windows), abs(other)).max() + np.abs(first).max()
        expected = (np.einsum(subscripts, windows, other) + first).reshape(actual.shape)
        assert np.abs(actual - expected).max() <= 6 * np.finfo(actual.dtype).eps * largest
        assert np.array_equal(behind, kept[name])  # nothing behind is written

    kept = {name: array.base[-_BEHIND:].copy() for name, array in arrays.items()}
    call("convolve")
    check("result", "bhwgdij,ijdgo->bhwgo", weights, start)
    numbers["has_start"] = 0
    call("convolve")
    check("result", "bhwgdij,ijdgo->bhwgo", weights)
    arrays["weights"][...] = np.nan
    call("gradient")
    check("weights", "bhwgdij,bhwgo->ijdgo", slopes)
    for kernel in kernels.values():
        check_instructions(target, kernel.assembly)
