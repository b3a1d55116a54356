"""Rows of sums in vectors: every length of a row on every target, and nothing is written beside the sums."""

import numpy as np
import pytest

from netc.compiler.program.kernel_parser import parse_kernel
from netc.compiler.program.nests import Nest
from netc.compiler.targets.cpu.nests.loops import write_generic
from netc.compiler.targets.cpu.nests.vector_rows import has_odd_rows, has_vector_rows, keeps_totals, may_fit_vectors
from netc.compiler.targets.cpu.source import generic_of
from netc.compiler.targets.named import machine_for
from tests.compiler.native import FLOATS, TARGETS, Kernel, check_stores

# Windows of 3 elements along a line: each result is the sum of a window's products with weights.
WINDOWS = """\
for i0 < n0 = rows
for i1 < 3, folded
for i2 < {c}
t0 = {dtype} p0[i0 * {c} + i1 * {c} + i2]
t1 = {dtype} p1[i1 * {c} + i2]
{dtype} p2[i0 * {room} + i2] = fold of t0 from {dtype}(0.0) by fma.{dtype}(b, t1, a)"""
# The gradient of these weights, which sums over positions and samples.
GRADIENT = """\
for i0 < 3
for i1 < n1 = rows, folded
for i2 < 11, folded
for i3 < {c}
t0 = {dtype} p0[i1 * {image} + i2 * {c} + i0 * {c} + i3]
t1 = {dtype} p1[i1 * {windows} + i2 * {c} + i3]
{dtype} p2[i0 * {room} + i3] = fold of t0 from {dtype}(0.0) by fma.{dtype}(b, t1, a)"""
# A copy of rows into a wider image.
COPY = """\
for i0 < n0 = rows
for i1 < {c}
t0 = {dtype} p0[i0 * {c} + i1]
{dtype} p1[i0 * {room} + i1] = t0"""
# An index names the rows that are read from a table, and those that rows are added to.
GATHER = """\
for i0 < n0 = rows
for i1 < {c}
t0 = i32 p0[i0]
t1 = f32 p1[i1 + t0 * {c}]
f32 p2[i0 * {room} + i1] = t1"""
SCATTER = """\
for i0 < n0 = rows
for i1 < {c}
t0 = i32 p0[i0]
t1 = f32 p1[i0 * {c} + i1]
f32 p2[i1 + t0 * {room}] = combined with t1 by a + b"""
# An expression of elements, of one number for each row, and of a comparison.
CHOSEN = """\
for i0 < n0 = rows
for i1 < {c}
t0 = {dtype} p0[i0 * {c} + i1]
t1 = {dtype} p1[i0]
t2 = t0 > t1
t3 = t0 * t0 - t1
t4 = t3 if t2 else t1
{dtype} p2[i0 * {room} + i1] = t4"""
SAMPLES, POSITIONS = 4, 11
WIDTHS = (1, 3, 6, 16, 19)

LOOPS = [
    "if 6 >= LANES_f32:",
    "for i3 in range(0, 6 // LANES_f32 * LANES_f32, LANES_f32):",
    "for i2 in range(0, 10, 5):",
    "for i2 in range(10, 11):",
    "if 6 % LANES_f32:",
    "i3 = 6 // LANES_f32 * LANES_f32",
    "for i2 in range(0, 10, 5):",
    "for i2 in range(10, 11):",
]


def nest(text: str, dtype: str, c: int) -> Nest:
    numbers = {"c": c, "room": c + 3, "image": (POSITIONS + 2) * c, "windows": POSITIONS * c}
    kernel = parse_kernel(text.format(dtype=dtype, **numbers).splitlines(), (0, 1, 2))[0]
    assert isinstance(kernel, Nest)
    assert has_vector_rows(kernel)
    return kernel


def test_vectors_of_sums_stay_in_registers_along_a_line() -> None:
    text, numbers = write_generic(nest(GRADIENT, "f32", 6))
    lines = [line for line in map(str.strip, text.splitlines()) if not line.startswith("fetch")]
    start = lines.index(LOOPS[0])
    assert [line for line in lines[start:] if "LANES" in line or line.startswith("for i2")] == LOOPS
    assert numbers == ()


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("dtype", FLOATS)
def test_rows_of_every_length(target: str, dtype: str) -> None:
    """All numbers are small whole numbers, so that sums are exact in any order."""
    rng, machine = np.random.default_rng(0), machine_for(target)
    for c in WIDTHS:
        x = rng.integers(-3, 4, (SAMPLES, POSITIONS + 2, c)).astype(FLOATS[dtype])
        g = rng.integers(-3, 4, (SAMPLES, POSITIONS, c)).astype(FLOATS[dtype])
        windows, gradient = nest(WINDOWS, dtype, c), nest(GRADIENT, dtype, c)
        assert keeps_totals(gradient)
        for kernel, left, right, expected in (
            (windows, x[0], x[1, :3], np.stack([(x[0, i : i + 3] * x[1, :3]).sum(0) for i in range(POSITIONS)])),
            (gradient, x, g, np.stack([(x[:, i : i + POSITIONS] * g).sum((0, 1)) for i in range(3)])),
        ):
            result = np.full((len(expected), c + 3), 7, FLOATS[dtype])
            count = POSITIONS if kernel is windows else SAMPLES
            addresses = (array.ctypes.data for array in (left, right, result))
            code = Kernel(generic_of(kernel).source, machine)
            code.call(*addresses, count)
            np.testing.assert_array_equal(result[:, :c], expected, err_msg=f"{c} elements")
            np.testing.assert_array_equal(result[:, c:], 7, err_msg=f"behind {c} elements")


@pytest.mark.parametrize("target", TARGETS)
def test_copies_of_odd_rows(target: str) -> None:
    for c in WIDTHS:
        kernel = parse_kernel(COPY.format(dtype="f32", c=c, room=c + 3).splitlines(), (0, 1))[0]
        assert isinstance(kernel, Nest)
        assert has_odd_rows(kernel) == (c in (6, 19))
        x = np.random.default_rng(0).normal(size=(POSITIONS, c)).astype(np.float32)
        result = np.full((POSITIONS, c + 3), 7, np.float32)
        code = Kernel(generic_of(kernel).source, machine_for(target))
        if has_odd_rows(kernel):
            text, _ = write_generic(kernel)
            assert text.count("store_") == 2, "one row is stored after another: its whole vectors, and the rest"
            check_stores(machine_for(target), code.assembly)
        code.call(x.ctypes.data, result.ctypes.data, POSITIONS)
        np.testing.assert_array_equal(result[:, :c], x)
        np.testing.assert_array_equal(result[:, c:], 7)


@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("target", TARGETS)
def test_expressions_in_odd_rows(target: str, dtype: str) -> None:
    for c in WIDTHS:
        kernel = parse_kernel(CHOSEN.format(dtype=dtype, c=c, room=c + 3).splitlines(), (0, 1, 2))[0]
        assert isinstance(kernel, Nest)
        assert has_odd_rows(kernel) == (c in (6, 19) or (c, dtype) == (3, "f64"))
        rng = np.random.default_rng(0)
        x, row = (rng.normal(size=shape).astype(FLOATS[dtype]) for shape in ((POSITIONS, c), (POSITIONS, 1)))
        x[0, 0] = np.nan
        result = np.full((POSITIONS, c + 3), 7, FLOATS[dtype])
        code = Kernel(generic_of(kernel).source, machine_for(target))
        if has_odd_rows(kernel):
            check_stores(machine_for(target), code.assembly)
        code.call(*(array.ctypes.data for array in (x, row, result)), POSITIONS)
        np.testing.assert_array_equal(result[:, :c], np.where(x > row, x * x - row, row))
        np.testing.assert_array_equal(result[:, c:], 7)


def test_odd_rows_of_functions_are_left_to_loops() -> None:
    """So are rows that another element of the same buffer is stored in."""
    text = CHOSEN.format(dtype="f32", c=19, room=22)
    for other in (text.replace("t0 * t0 - t1", "exp.f32(t0)"), text.replace("p2[i0 * 22", "p0[i0 * 22")):
        kernel = parse_kernel(other.splitlines(), (0, 1, 2))[0]
        assert isinstance(kernel, Nest)
        assert not has_odd_rows(kernel)


@pytest.mark.parametrize("target", TARGETS)
def test_odd_rows_that_an_index_names(target: str) -> None:
    order = np.array([2, 0, 2, 5, 1, 2], np.int32)
    for c in WIDTHS:
        x = np.random.default_rng(0).normal(size=(len(order), c)).astype(np.float32)
        summed = np.full_like(x, 7)
        for row, to in zip(x, order, strict=True):
            summed[to] += row
        for text, expected in ((GATHER, x[order]), (SCATTER, summed)):
            kernel = parse_kernel(text.format(c=c, room=c + 3).splitlines(), (0, 1, 2))[0]
            assert isinstance(kernel, Nest)
            assert has_odd_rows(kernel) == (c in (6, 19))
            result = np.full((len(order), c + 3), 7, np.float32)
            code = Kernel(generic_of(kernel).source, machine_for(target))
            code.call(order.ctypes.data, x.ctypes.data, result.ctypes.data, len(order))
            np.testing.assert_array_equal(result[:, :c], expected)
            np.testing.assert_array_equal(result[:, c:], 7)


# Folds of rows whose length the call says: sums of expressions, and maxima, along two axes.
FOLDS = """\
for i0 < n0 = batch, folded
for i1 < {windows}, folded
for i2 < n2 = rows
t0 = i32 p0[i0]
t1 = {dtype} p1[i1 * {c} + i2 + t0 * {image}]
t2 = {dtype} p2[i2]
t3 = t1 - t2
t4 = t3 * t3
{dtype} p3[i2] = fold of t4 from {dtype}(0.0) by a + b
{dtype} p4[i2] = fold of t1 from {dtype}(-inf) by a if a >= b or a != a else b with keys max"""


@pytest.mark.every(3)
@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("target", TARGETS)
def test_totals_of_narrow_rows_are_vectors(target: str, dtype: str, is_long: bool) -> None:
    """Of every width around those of one, two and four vectors, with the bits of a sum in order, and without writing
    beside it. Numbers of windows take turns."""
    order, rng = np.array([1, 0, 2], np.int32), np.random.default_rng(0)
    for number, c in enumerate((1, 2, 3, 4, 5, 8, 9, 16, 17, 31, 32, 33)):
        for windows in (1, 6, 13) if is_long else ((1, 6, 13)[number % 3],):
            text = FOLDS.format(dtype=dtype, windows=windows, c=c, image=windows * c)
            kernel = parse_kernel(text.splitlines(), (0, 1, 2, 3, 4))[0]
            assert isinstance(kernel, Nest)
            assert may_fit_vectors(kernel)
            x, mean = (rng.normal(size=shape).astype(FLOATS[dtype]) for shape in ((3, windows, c), (c,)))
            if c > 1:
                x[1, windows // 2, 1] = np.nan
            total, largest = (np.full(c + 3, 7, FLOATS[dtype]) for _ in range(2))
            generic = generic_of(kernel)
            code = Kernel(generic.source, machine_for(target))
            code.call(*(array.ctypes.data for array in (order, x, mean, total, largest)), 3, c, *generic.numbers)
            rows = x[order].reshape(-1, c)
            differences = rows - mean
            np.testing.assert_array_equal(total[:c], np.add.accumulate(differences * differences)[-1])
            np.testing.assert_array_equal(largest[:c], rows.max(axis=0))
            np.testing.assert_array_equal((total[c:], largest[c:]), 7)


def test_totals_of_functions_are_left_to_loops() -> None:
    text = FOLDS.format(dtype="f32", windows=6, c=4, image=24).replace("t3 * t3", "exp.f32(t3)")
    kernel = parse_kernel(text.splitlines(), (0, 1, 2, 3, 4))[0]
    assert isinstance(kernel, Nest)
    assert not may_fit_vectors(kernel)
