"""Maxima and minima of short rows that lie side by side: on every target, with NaN, and with zeros of both signs."""

import numpy as np
import pytest

from netc.compiler.program.kernel_parser import parse_kernel
from netc.compiler.program.nests import Nest
from netc.compiler.targets.cpu.nests.extremes_of_short_rows import side_by_side
from netc.compiler.targets.cpu.source import generic_of
from netc.compiler.targets.named import machine_for
from tests.compiler.native import FLOATS, TARGETS, Kernel

FOLDS = """\
{dtype} p2[i{last} + {start}] = fold of t1 from {dtype}(-inf) by a if a >= b or a != a else b with keys max
{dtype} p3[i{last} + {start}] = fold of t1 from {dtype}(inf) by a if a <= b or a != a else b with keys min"""
# Over the pixels of images that an index names, and over samples alone.
PIXELS = (
    """\
for i0 < n0 = batch, folded
for i1 < {pixels}, folded
for i2 < n2 = rows
t0 = i32 p0[i0]
t1 = {dtype} p1[i1 * {c} + i2 + t0 * {image}]
"""
    + FOLDS
)
SAMPLES = (
    """\
for i0 < n0 = batch, folded
for i1 < n1 = rows
t1 = {dtype} p1[i0 * {c} + i1]
"""
    + FOLDS
)


def nest_of(text: str, **sizes: object) -> Nest:
    kernel = parse_kernel(text.format(start=0, **sizes).replace(" + 0]", "]").splitlines(), (0, 1, 2, 3))[0]
    assert isinstance(kernel, Nest)
    return kernel


def code_of(nest: Nest, target: str) -> Kernel:
    generic = generic_of(nest)
    assert not generic.numbers
    return Kernel(generic.source, machine_for(target))


def extremes(code: Kernel, order: np.ndarray, rows: np.ndarray, counts: tuple[int, int], first: int) -> np.ndarray:
    """The maxima and minima of so many channels, from the first one on."""
    results = np.full((2, rows.shape[-1] + 3), 7, rows.dtype)
    at = first * rows.itemsize
    addresses = [rows.ctypes.data + at, *(result.ctypes.data + at for result in results)]
    code.call(order.ctypes.data, *addresses, *counts)
    beside = np.delete(results, range(first, first + counts[1]), axis=1)
    np.testing.assert_array_equal(beside, 7)
    return results[:, first : first + counts[1]]


@pytest.mark.every(3)
@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("target", TARGETS)
def test_extremes_do_not_depend_on_the_rows_of_a_vector(target: str, dtype: str) -> None:
    """A call for all channels fills vectors with several rows, one for a part of them does not: bits are the same, of
    zeros too."""
    rng, order = np.random.default_rng(0), np.array([1, 0, 2], np.int32)
    for pixels, c in ((1, 4), (5, 4), (37, 2), (70, 8), (9, 5)):
        nest = nest_of(PIXELS, dtype=dtype, pixels=pixels, c=c, image=pixels * c, last=2)
        lanes = 64 // FLOATS[dtype]().itemsize
        assert side_by_side(nest) == (c if c in (2, 4, 8) and c < lanes and pixels * c >= lanes else None)
        code = code_of(nest, target)
        x = rng.normal(size=(3, pixels, c)).astype(FLOATS[dtype])
        signed = np.where(x < 0, -0.0, 0.0).astype(x.dtype)
        with_nan = x.copy()
        with_nan[1, pixels // 2, 1] = np.nan
        for values in (x, with_nan, signed, np.minimum(x, signed), np.maximum(x, signed)):
            result = extremes(code, order, values, (3, c), 0)
            flat = values.reshape(-1, c)
            np.testing.assert_array_equal(result, [flat.max(axis=0), flat.min(axis=0)])
            parts = [extremes(code, order, values, (3, size), first) for first, size in ((0, 1), (1, c - 1))]
            np.testing.assert_array_equal(np.signbit(result), np.signbit(np.concatenate(parts, axis=1)))


@pytest.mark.parametrize("target", TARGETS)
def test_rows_of_samples_fill_vectors_if_there_are_enough(target: str) -> None:
    nest, order = nest_of(SAMPLES, dtype="f32", c=4, last=1), np.zeros(1, np.int32)
    assert side_by_side(nest) == 4
    code = code_of(nest, target)
    for batch in (1, 3, 4, 5, 64, 67):
        x = np.random.default_rng(batch).normal(size=(batch, 4)).astype(np.float32)
        result = extremes(code, order, x, (batch, 4), 0)
        np.testing.assert_array_equal(result, [x.max(axis=0), x.min(axis=0)])


def test_rows_that_lie_apart_are_taken_one_after_another() -> None:
    apart = PIXELS.replace("i1 * {c} + i2", "i1 * 8 + i2")
    sizes = {"dtype": "f32", "pixels": 36, "c": 4, "image": 288, "last": 2}
    assert side_by_side(nest_of(apart, **sizes)) == 8, "rows of 8, of which a call may take 4"
    assert side_by_side(nest_of(PIXELS.replace("i1 * {c}", "i1 * 16"), **sizes)) is None
    assert side_by_side(nest_of(PIXELS.replace("i1 * {c}", "i1 * 6"), **sizes)) is None
