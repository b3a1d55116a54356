"""Sums of products of neighbouring elements: running sums in lanes, in one order on every target."""

import numpy as np
import pytest

from netc.compiler.ir.graph import Graph
from netc.compiler.ir.results import parse_result
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import Type
from netc.compiler.ir.value import apply
from netc.compiler.lowering.lower import lower
from netc.compiler.program.kernel_listing import kernel_lines
from netc.compiler.program.kernel_parser import parse_kernel
from netc.compiler.program.kernels import form_of
from netc.compiler.program.nests import LANES, Nest
from netc.compiler.program.schedule import Count
from netc.compiler.targets.cpu.source import generic_of, source_of
from netc.compiler.targets.named import machine_for
from tests.compiler.native import FLOATS, TARGETS, Kernel

# Windows of 3 rows of an image: each result is the sum of a window's products with weights, and of a number.
WINDOWS = """\
for i0 < n0 = rows
for i1 < 3, folded
for i2 < {c}, folded
sums in lanes
t0 = {dtype} p0[i0 * {c} + i1 * {c} + i2]
t1 = {dtype} p1[i1 * {c} + i2]
{dtype} p2[i0] = fold of t0 from {dtype} p3[0] by fma.{dtype}(b, t1, a)"""
ROWS = 11
WIDTHS = (8, 16, 19, 57)


def windows(dtype: str, c: int) -> Nest:
    kernel = parse_kernel(WINDOWS.format(dtype=dtype, c=c).splitlines(), (0, 1, 2, 3))[0]
    assert isinstance(kernel, Nest)
    return kernel


def by_definition(x: np.ndarray, w: np.ndarray, first: np.ndarray) -> np.ndarray:
    """The sums of windows in the stated order, for products and sums that f32 and f64 hold exactly."""
    lanes, (_, c) = LANES[{4: "f32", 8: "f64"}[x.itemsize]], w.shape
    filled = np.pad(np.stack([x[i : i + 3] * w for i in range(ROWS)]), ((0, 0), (0, 0), (0, -c % lanes)))
    totals = np.zeros((ROWS, lanes), x.dtype)
    for start in range(0, c, lanes):
        for row in range(3):
            totals = totals + filled[:, row, start : start + lanes]
    while totals.shape[1] > 1:
        totals = totals[:, : totals.shape[1] // 2] + totals[:, totals.shape[1] // 2 :]
    return first + totals[:, 0]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("dtype", FLOATS)
def test_sums_have_the_bits_of_their_definition(target: str, dtype: str) -> None:
    """Products have few digits, so that they are exact, but their sums are rounded."""
    rng, kind = np.random.default_rng(0), FLOATS[dtype]
    for c in WIDTHS:
        x = (rng.integers(1, 64, (ROWS + 2, c)) * 2.0 ** rng.integers(-20, 20, (ROWS + 2, c))).astype(kind)
        w, first = rng.integers(-3, 4, (3, c)).astype(kind), np.array([0.125], kind)
        kernel = windows(dtype, c)
        code = Kernel(generic_of(kernel).source, machine_for(target))
        result = np.full(ROWS + 1, 7, kind)
        code.call(x.ctypes.data, w.ctypes.data, result.ctypes.data, first.ctypes.data, ROWS)
        np.testing.assert_array_equal(result[:ROWS], by_definition(x, w, first), err_msg=f"{c} elements")
        assert result[ROWS] == 7
        for row in range(ROWS):  # a row alone has the same bits as one of several
            code.call(x[row:].ctypes.data, w.ctypes.data, result[ROWS:].ctypes.data, first.ctypes.data, 1)
            assert result[ROWS] == result[row]


def test_the_order_is_part_of_a_listing() -> None:
    kernel = windows("f32", 19)
    assert kernel.sums == "in lanes"
    assert "sums in lanes" in list(kernel_lines(kernel, [Count(1, "rows")]))
    assert "total0 = fma_f32(t0, t1, total0)" in source_of(kernel).text  # the emulator adds in any order


@pytest.mark.parametrize(
    ("subscripts", "columns", "form"),
    [
        *(("ij,j->i", 256, "loop"), ("ij,i->j", 40, "loop"), ("ij,i->j", 80, "loop"), ("ij,i->j", 256, "product")),
        *(("bij,bj->bi", 256, "loop"), ("bij,bi->bj", 80, "loop"), ("bij,bi->bj", 256, "product")),
    ],
)
def test_a_matrix_times_a_vector_is_a_loop_unless_its_rows_share_sets(subscripts: str, columns: int, form: str) -> None:
    """The register tile would have to turn a matrix whose rows are summed, and does nothing else than read it once.
    Along rows of the result it is better if those of the matrix are a multiple of 1 KB apart: a loop reads several of
    them side by side, and they share sets of the first cache."""
    sizes: dict[str, str | int] = {"b": "batch", "i": 40, "j": columns}
    graph = Graph()
    a, x = (
        graph.leaf(Role.PARAMETER, name, Type("f32", tuple(sizes[letter] for letter in letters)))
        for name, letters in zip("ax", subscripts.partition("->")[0].split(","), strict=True)
    )
    graph.results[parse_result("y")] = apply("einsum", a, x, subscripts=subscripts)
    tasks = lower(graph, {"batch": 4}, machine_for("avx2")).tasks
    assert form_of(tasks[-1].kernel) == form
