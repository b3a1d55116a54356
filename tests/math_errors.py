"""Measures the errors of the words of compiler/targets/cpu/math/, in units in the last place (ulp).

    python -m tests.math_errors erf gelu              at 1,000,000 points of f32 and f64
    python -m tests.math_errors erf --all             f32 at all 2**32 floats, against the f64 word
    python -m tests.math_errors erf --target sse2     without a fused multiply-add

Points are measured against NumPy's long double (tests/compiler/math_references.py). Workers read and write subnormal
numbers as 0, so subnormal operands are left out, and a subnormal result may be 0.
"""

import argparse
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np

from netc.compiler.targets.cpu.math.functions import FUNCTIONS
from netc.compiler.targets.cpu.source import KernelSource
from netc.compiler.targets.named import machine_for
from tests.compiler.math_references import REFERENCES, errors, operands
from tests.compiler.native import FLOATS, TARGETS, Kernel

Array = np.ndarray[Any, Any]
_CHUNK = 1 << 20
_EXPONENT = 0x7FF0000000000000  # bits of f64
_TINY = float(np.finfo(np.float32).tiny)


@cache
def kernel(name: str, dtype: str, target: str) -> Kernel:
    """A kernel with one loop over a word."""
    count = len(FUNCTIONS[f"{name}_{dtype}"].operands)
    loads = ", ".join(f"load_{dtype}_{i}(p{i}, i0)" for i in range(1, count + 1))
    text = (
        f"def kernel({', '.join(f'p{i}' for i in range(count + 1))}, n0):\n    for i0 in range(n0):\n"
        f"        store_{dtype}_0(p0, i0, {name}_{dtype}({loads}))\n"
    )
    return Kernel(KernelSource(text, count + 2), machine_for(target))


def computed(name: str, dtype: str, target: str, *arrays: Array) -> Array:
    """The word of each element."""
    result = np.empty(arrays[0].shape, FLOATS[dtype])
    kernel(name, dtype, target).call(result.ctypes.data, *(array.ctypes.data for array in arrays), result.size)
    return result


def error_at_points(name: str, dtype: str, target: str, count: int) -> tuple[float, float]:
    """The largest error at random points, and the operand where it is."""
    arrays = [operands(name, dtype, count, seed) for seed in range(len(FUNCTIONS[f"{name}_{dtype}"].operands))]
    units = errors(name, computed(name, dtype, target, *arrays), *arrays)
    return float(units.max()), float(arrays[0][units.argmax()])


def error_at_all_floats(name: str, target: str) -> tuple[float, float]:
    """The largest error in f32, and the operand where it is. The f64 word has errors of 2**-28 such units."""
    most, argument = 0.0, 0.0
    for x in _all_floats():
        with np.errstate(invalid="ignore"):
            exact = computed(name, "f64", TARGETS[-1], x.astype(np.float64))
        units = (exact.view(np.int64) & _EXPONENT).view(np.float64) * 2.0**-23
        error, at = _worst(computed(name, "f32", target, x), exact, units)
        if error > most:
            most, argument = error, float(x[at])
    return most, argument


def _all_floats() -> Iterator[Array]:
    """All numbers of f32, subnormal ones as 0, with infinities and NaN."""
    for first in range(0, 1 << 32, _CHUNK):
        x = np.arange(first, first + _CHUNK, dtype=np.uint64).astype(np.uint32).view(np.float32)
        yield np.where(np.abs(x) < np.float32(_TINY), np.float32(0), x)


def _worst(results: Array, exact: Array, units: Array) -> tuple[float, int]:
    """The largest distance of f32 results from exact f64 numbers, in ulp, and where it is.

    A result that overflows counts as the power of two behind the largest number.
    """
    size = np.abs(exact)
    is_finite = np.isfinite(exact) & (size < 2.0**128) & ~np.isnan(results)
    with np.errstate(all="ignore"):
        reached = np.where(np.isfinite(results), results.astype(np.float64), np.copysign(2.0**128, results))
        is_right = (results == exact.astype(np.float32)) | (np.isnan(results) & np.isnan(exact))
        distances = np.where(is_finite, np.abs(reached - exact) / units, np.where(is_right, 0.0, np.inf))
        is_zero = np.abs(results) <= np.float32(_TINY)
    errors = np.where(size < _TINY, np.where(is_zero, 0.0, np.inf), distances)
    at = int(errors.argmax())
    return float(errors[at]), at


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=sorted(REFERENCES))
    parser.add_argument("--all", action="store_true", help="all floats of f32, for functions of one number")
    parser.add_argument("--target", default=TARGETS[-1], choices=TARGETS)
    parser.add_argument("--count", type=int, default=1_000_000, help="points")
    options = parser.parse_args()
    for name in options.names:
        if options.all:
            measured = {"f32": error_at_all_floats(name, options.target)}
        else:
            measured = {dtype: error_at_points(name, dtype, options.target, options.count) for dtype in FLOATS}
        for dtype, (error, argument) in measured.items():
            print(f"{name:12} {dtype} {error:6.3f} ulp at {argument!r}", flush=True)


if __name__ == "__main__":
    main()
