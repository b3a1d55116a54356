"""Loops over short rows, whose body computes several rows: the element-wise operations are exact, so is the result."""

import re

import numpy as np
import pytest
from native import FLOATS, TARGETS, Kernel
from test_rows_of_sums import check_agreement, leaf

from netc.compiler.ir.graph import Graph
from netc.compiler.ir.results import parse_result
from netc.compiler.ir.value import apply
from netc.compiler.program.kernel_parser import parse_kernel
from netc.compiler.program.nests import Nest
from netc.compiler.targets.cpu.nests.short_rows import dense_parts, reads_short_rows_across, rows_side_by_side
from netc.compiler.targets.cpu.nests.sums_in_squares import has_sums_in_squares
from netc.compiler.targets.cpu.source import generic_of
from netc.compiler.targets.named import machine_for

LENGTHS = (3, 4, 7, 8, 10, 16, 19, 24, 33, 48)
ROWS = """\
for i0 < n0 = rows
for i1 < 3
for i2 < {row}
t0 = f32 p0[i0 * 96 + i1 * {stride} + i2]
t1 = f32 p1[i2]
t2 = t0 * t1
f32 p{out}[i0 * 96 + i1 * {row} + i2] = t2"""


@pytest.mark.parametrize("batch", [1, 5, 70])
@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_rows(dtype: str, batch: int) -> None:
    """Rows with what is the same in all, in a stride, of a known number and of one that the call says."""
    graph = Graph()
    graph.precision = dtype
    leaves = []
    for length in LENGTHS:
        x, c = (
            leaf(graph, f"{name}{length}", dims, dtype)
            for name, dims in (("x", f"batch, 5, {length}"), ("c", f"{length}"))
        )
        leaves += [x, c]
        stored = apply("square", x)
        graph.results[parse_result(f"value.stored{length}")] = stored
        graph.results[parse_result(f"value.less{length}")] = apply("relu", stored - c) * c
        graph.results[parse_result(f"value.same{length}")] = apply("broadcast", c, dims=x.type.dims)
        padded = apply("pad", stored - c, axes=(1,), before=(1,), after=(2,), step=(1,))
        graph.results[parse_result(f"value.padded{length}")] = padded
        graph.results[parse_result(f"value.first{length}")] = apply("slice", stored, axis=1, start=1, stop=4) + c
    check_agreement(graph, leaves, batch, dtype)


@pytest.mark.parametrize("row", [4, 8, 24])
@pytest.mark.parametrize("target", TARGETS)
def test_short_rows_are_vectors(target: str, row: int) -> None:
    """Rows that whole vectors fill have no instruction of a single element."""
    lines = ROWS.format(row=row, stride=row + 8, out=2).splitlines()
    source = generic_of(parse_kernel(lines, (0, 1, 2))[0]).source
    assert f"in row({row})" in source.text
    assert not re.search(r"\bv?(mulss|movss)\b", Kernel(source, machine_for(target)).assembly)


def test_rows_that_may_overlap_are_loops() -> None:
    """A result in the place of an operand whose elements lie elsewhere: the order of the elements counts."""
    for stride, hint in ((24, True), (32, False)):
        lines = ROWS.format(row=24, stride=stride, out=0).splitlines()
        assert ("in row(24)" in generic_of(parse_kernel(lines, (0, 1))[0]).source.text) == hint


ACROSS = """\
for i0 < n0 = rows
for i1 < {short}
for i2 < {long}
t0 = {dtype} p0[i0 * {size} + i1 + i2 * {short}]
t1 = {dtype} p1[i1]
t2 = t0 + t1
{dtype} p2[i0 * {size} + i1 * {long} + i2] = t2"""


@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("target", TARGETS)
def test_short_rows_that_are_read_across(target: str, dtype: str) -> None:
    """They are the innermost loop if LLVM can load so many at once, beside rows of any length."""
    for short, long in ((2, 8), (3, 200), (6, 24), (8, 17), (9, 24), (6, 7)):
        text = ACROSS.format(dtype=dtype, short=short, long=long, size=short * long)
        kernel = parse_kernel(text.splitlines(), (0, 1, 2))[0]
        assert isinstance(kernel, Nest)
        assert reads_short_rows_across(kernel) == (short <= 8 and long >= 8)
        rng = np.random.default_rng(0)
        x, c = (rng.normal(size=shape).astype(FLOATS[dtype]) for shape in ((5, long, short), (short, 1)))
        result = np.zeros((5, short, long), FLOATS[dtype])
        generic = generic_of(kernel)
        code = Kernel(generic.source, machine_for(target))
        code.call(*(array.ctypes.data for array in (x, c, result)), 5, *generic.numbers)
        np.testing.assert_array_equal(result, x.transpose(0, 2, 1) + c)


def test_rows_in_place_keep_their_order() -> None:
    lines = ACROSS.format(dtype="f32", short=6, long=24, size=144).replace("p2", "p0").splitlines()
    kernel = parse_kernel(lines, (0, 1))[0]
    assert isinstance(kernel, Nest)
    assert not reads_short_rows_across(kernel)


SUMS = """\
for i0 < n0 = rows
for i1 < {row}, folded
t0 = {dtype} p0[i0 * {row} + i1]
t1 = exp.{dtype}(t0)
t2 = tanh.{dtype}(t1)
{dtype} p1[i0 * {row} + i1] = t2
{dtype} p2[i0] = fold of t2 from {dtype}(0.0) by a + b"""


@pytest.mark.parametrize("row", [8, 11, 16])
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("target", TARGETS)
def test_sums_of_functions_along_short_rows(target: str, dtype: str, row: int) -> None:
    """The functions are computed in vectors where these fill a row, and their elements added one after the other."""
    source = generic_of(parse_kernel(SUMS.format(row=row, dtype=dtype).splitlines(), (0, 1, 2))[0]).source
    assert f"in row({row})" in source.text
    code, x = Kernel(source, machine_for(target)), np.random.default_rng(row).standard_normal((7, row))
    x, stored, sums = x.astype(FLOATS[dtype]), np.empty((7, row), FLOATS[dtype]), np.full(8, 7, FLOATS[dtype])
    code.call(x.ctypes.data, stored.ctypes.data, sums.ctypes.data, 7)
    np.testing.assert_allclose(stored, np.tanh(np.exp(x)), rtol=1e-6)
    np.testing.assert_array_equal(sums[:7], [np.add.accumulate(values)[-1] for values in stored])
    assert sums[7] == 7
    packed = {"sse2": r"\bmulp[sd]\b"}.get(target, r"\bv(fmadd\d+|mul)p[sd]\b")
    assert row % 8 or re.search(packed, code.assembly)


def test_sums_of_functions_that_are_written_out_stay_a_loop() -> None:
    """LLVM finds vectors of several rows in what it writes out."""
    source = generic_of(parse_kernel(SUMS.format(row=4, dtype="f32").splitlines(), (0, 1, 2))[0]).source
    assert "in row(" not in source.text


SQUARES = """\
for i0 < n0 = batch
for i1 < {rows}
for i2 < {row}, folded
t0 = {dtype} p0[i0 * {size} + i1 * {row} + i2]
t1 = {dtype} p1[i1 * {row} + i2]
t2 = t0 * t1
t3 = t0 - t1
{dtype} p2[i0 * {rows} + i1] = fold of t2 from {dtype}(0.0) by a + b
{dtype} p3[i0 * {rows} + i1] = fold of t3 from {dtype}(0.5) by a + b"""
STORED = "\n{dtype} p0[i0 * {size} + i1 * {row} + i2] = t3"


def nest_of_squares(rows: int, row: int, dtype: str, stores: bool = False) -> Nest:
    text = (SQUARES + STORED * stores).format(rows=rows, row=row, size=rows * row, dtype=dtype)
    nest = parse_kernel(text.splitlines(), (0, 1, 2, 3))[0]
    assert isinstance(nest, Nest)
    return nest


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("target", TARGETS)
def test_sums_of_short_rows_in_squares(target: str, dtype: str) -> None:
    """Whole squares of rows and the rows behind them: each sum gets its elements one after the other. Elements may be
    stored in the place of operands."""
    for rows, row, stores in ((33, 11, False), (16, 16, True), (19, 6, True)):
        nest = nest_of_squares(rows, row, dtype, stores)
        assert has_sums_in_squares(nest)
        rng, kind = np.random.default_rng(row), FLOATS[dtype]
        x, c = rng.normal(size=(3, rows, row)).astype(kind), rng.normal(size=(rows, row)).astype(kind)
        results, read = np.full((2, 3 * rows + 1), 7, kind), x.copy()
        generic = generic_of(nest)
        code = Kernel(generic.source, machine_for(target))
        code.call(*(array.ctypes.data for array in (read, c, *results)), 3, *generic.numbers)
        np.testing.assert_array_equal(read, x - c if stores else x)
        for result, terms, first in zip(results, (x * c, x - c), (0.0, 0.5), strict=True):
            begin = np.full((3, rows, 1), first, kind)
            sums = np.add.accumulate(np.concatenate([begin, terms], axis=2), axis=2)[..., -1]
            np.testing.assert_array_equal(result[:-1].reshape(3, rows), sums)
            assert result[-1] == 7


def test_few_rows_and_functions_of_rows_that_fill_no_vector_stay_out_of_squares() -> None:
    for rows, row, stores, is_taken in (
        (16, 9, False, True),
        (40, 8, False, False),
        (40, 8, True, True),
        (15, 16, False, False),
        (7, 8, True, False),
        (40, 17, False, False),
    ):
        assert has_sums_in_squares(nest_of_squares(rows, row, "f32", stores)) == is_taken
    for row, is_taken in ((16, True), (12, False)):
        text = SUMS.format(row=row, dtype="f32").replace("f32 p1[i0 * ROW + i1] = t2\n".replace("ROW", str(row)), "")
        nest = parse_kernel(text.replace("p2", "p1").splitlines(), (0, 1))[0]
        assert isinstance(nest, Nest)
        assert has_sums_in_squares(nest) == is_taken


OUTER = """\
for i0 < n0 = rows
for i1 < {row}
t0 = {dtype} p0[i0]
t1 = {dtype} p1[i1]
t2 = t0 * t1
{dtype} p2[i0 * {row} + i1] = t2"""


@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_a_long_row_is_read_once_for_four_results(dtype: str) -> None:
    itemsize = FLOATS[dtype]().itemsize
    for row, steps in ((4096 * 4 // itemsize, 4), (1000, 1)):
        kernel = parse_kernel(OUTER.format(row=row, dtype=dtype).splitlines(), (0, 1, 2))[0]
        assert isinstance(kernel, Nest)
        assert rows_side_by_side(kernel).steps == steps
        x, y = (np.random.default_rng(0).normal(size=size).astype(FLOATS[dtype]) for size in (7, row))
        result, generic = np.zeros((7, row), FLOATS[dtype]), generic_of(kernel)
        code = Kernel(generic.source, machine_for(TARGETS[0]))
        code.call(*(array.ctypes.data for array in (x, y, result)), 7, *generic.numbers)
        np.testing.assert_array_equal(result, np.outer(x, y))


# Two operands, interleaved to an image of twice the height and the width; the second one is doubled.
IMAGE = """\
for i0 < n0 = rows
for i1 < 3
for i2 < 5
for i3 < {c}
t0 = f32 p0[i0 * {small} + i1 * {row} + i2 * {c} + i3]
t1 = f32 p1[i0 * {small} + i1 * {row} + i2 * {c} + i3]
t2 = t1 + t1
{outputs}"""


@pytest.mark.parametrize("target", TARGETS)
def test_rows_of_an_interleaved_image_are_written_one_after_another(target: str) -> None:
    for c in (4, 19, 32, 200):
        store = f"[i0 * {60 * c} + i1 * {20 * c} + i2 * {2 * c} + i3]"
        outputs = "\n".join(f"f32 p{i + 2}{store} = {line}" for i, line in enumerate(("t0", "t2", "t2", "t0")))
        text = IMAGE.format(c=c, small=15 * c, row=5 * c, outputs=outputs)
        kernel = parse_kernel(text.splitlines(), (0, 1, 2, 2, 2, 2))[0]
        assert isinstance(kernel, Nest)
        first, second = dense_parts(kernel)
        assert [[output.line for output in part.outputs] for part in (first, second)] == [["t0", "t2"], ["t2", "t0"]]
        x, y = (np.random.default_rng(seed).normal(size=(2, 3, 5, c)).astype(np.float32) for seed in range(2))
        image = np.zeros((2, 3, 2, 5, 2, c), np.float32)
        corners = [image[:, :, i, :, j].ctypes.data for i in range(2) for j in range(2)]
        generic = generic_of(kernel)
        code = Kernel(generic.source, machine_for(target))
        code.call(x.ctypes.data, y.ctypes.data, *corners, 2, *generic.numbers)
        expected = np.stack([np.stack([x, 2 * y], 3), np.stack([2 * y, x], 3)], 2)
        np.testing.assert_array_equal(image, expected)


def test_parts_have_only_the_lines_that_they_need() -> None:
    """Outputs that fill one row, or lie in several buffers, have no parts."""
    store = "[i0 * 240 + i1 * 80 + i2 * 8 + i3]"
    text = IMAGE.format(c=4, small=60, row=20, outputs=f"f32 p2{store} = t0\nf32 p3{store} = t2")
    for buffers in ((0, 1, 2, 2), (0, 1, 2, 3)):
        kernel = parse_kernel(text.splitlines(), buffers)[0]
        assert isinstance(kernel, Nest)
        assert dense_parts(kernel) == [kernel]
    apart = text.replace("i2 * 8", "i2 * 4").replace("i1 * 80", "i1 * 40")
    kernel = parse_kernel(apart.splitlines(), (0, 1, 2, 2))[0]
    assert isinstance(kernel, Nest)
    assert [[line.name for line in part.lines] for part in dense_parts(kernel)] == [["t0"], ["t1", "t2"]]
