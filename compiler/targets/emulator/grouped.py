"""The kernels of convolutions in narrow groups in NumPy, over their arguments (program/grouped.py)."""

from collections.abc import Callable
from typing import Any

import numpy as np

from netc.compiler.program import grouped
from netc.compiler.program.kernels import GroupedKernel
from netc.compiler.targets.emulator.memory import Access, Reference


def grouped_of(kernel: GroupedKernel) -> Callable[..., None]:
    """Returns a kernel as a function of an Access, its pointers and its numbers."""
    part, groups, dtype = kernel.part, kernel.groups, kernel.dtype
    names, written = grouped.pointers(part), grouped.WRITTEN[part]
    widths = {"image": groups.inputs}

    def run(access: Access, *arguments: Any) -> None:
        pointers: dict[str, Reference] = dict(zip(names, arguments, strict=False))
        numbers: dict[str, int] = dict(zip(grouped.numbers(part), arguments[len(names) :], strict=True))
        arrays = {}
        for name in grouped.used(part, kernel.has_start):
            if name != written:
                array = access.load(pointers[name], dtype, 0, *grouped.walk(name, groups, numbers))
                count = numbers["channels"] // groups.outputs
                arrays[name] = array.reshape(*array.shape[:-1], count, widths.get(name, groups.outputs))
        if part == "convolve":
            result = np.einsum("bhiwjgd,ijdgo->bhwgo", arrays["image"], arrays["weights"]) + arrays.get("start", 0)
        else:
            result = np.einsum("bhiwjgd,bhwgo->ijdgo", arrays["image"], arrays["slopes"])
        extents, strides = grouped.walk(written, groups, numbers)
        access.store(pointers[written], dtype, 0, extents, strides, result.reshape(extents))

    return run
