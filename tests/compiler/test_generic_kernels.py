"""Kernels whose shapes differ share machine code: the numbers of a shape are arguments of its generic form."""

from collections.abc import Iterator, Sequence

import numpy as np
import pytest

import netc
from netc.compiler import pipeline
from netc.compiler.lowering.lower import lower
from netc.compiler.program.kernel_parser import parse_kernel
from netc.compiler.program.kernels import Kernel as AnyKernel
from netc.compiler.program.nests import Nest
from netc.compiler.targets.cpu.source import KernelSource, generic_of, source_of
from netc.compiler.targets.named import machine_for
from netc.runtime.execution.step_cost import sizes_of
from tests.compiler.native import TARGETS, Kernel

ELEMENTWISE = """\
for i0 < n0 = rows
for i1 < {rows}
for i2 < {columns}
t0 = f32 p0[i0 * {size} + i1 * {columns} + i2]
t1 = f32 p1[i2]
t2 = t0 * t1
f32 p2[i0 * {size} + i1 * {columns} + i2] = t2"""

GENERIC = """\
def kernel(p0, p1, p2, n0, e1, e2, s0_2, s1_3):
    for i0 in range(n0):
        for i1 in range(e1):
            for i2 in range(e2):
                t0 = load_f32_0(p0, i0 * s0_2 + i1 * s1_3 + i2)
                t1 = load_f32_1(p1, i2)
                t2 = t0 * t1
                store_f32_2(p2, i0 * s0_2 + i1 * s1_3 + i2, t2)
"""

ACROSS = """\
for i0 < {count}
for i1 < n1 = rows
for i2 < {columns}
t0 = {dtype} p0[i0 * -{size} + i1 + i2 * {apart}]
t1 = {value}
{dtype} p1[i0 * {size} + i1 * {columns} + i2] = t1"""
BORDER = """\
for i0 < n0 = rows
for i1 < {count}
for i2 < {columns}
t0 = {dtype}(2.5)
{dtype} p0[i0 * {size} + i1 * {apart} + i2] = t0"""
SUM = """\
for i0 < 16, folded
for i1 < n1 = columns
t0 = f32 p0[i0 * {apart} + i1]
f32 p1[i1] = fold of t0 from f32(0.0) by a + b"""

NETWORK = """
model {{
  input x: float[{inputs}]
  target y: class(10)
  h = x -> dense({hidden}) -> gelu -> dense({hidden}) -> relu
  z = h -> dense(10)
  loss cross_entropy(z, y)
}}
train {{
  optimizer = adam(lr = 0.01)
  batch = 64
}}
"""


def elementwise(rows: int, columns: int, size: int) -> AnyKernel:
    """An array of rows x columns a sample, between whose samples there is room, times a number for each column."""
    return parse_kernel(ELEMENTWISE.format(rows=rows, columns=columns, size=size).splitlines(), (0, 1, 2))[0]


def test_the_generic_form_takes_the_numbers_of_a_shape() -> None:
    generic = generic_of(elementwise(3, 128, 384))
    assert generic.source == KernelSource(GENERIC, 8)
    assert generic.numbers == (3, 128, 384, 128)


def test_short_rows_keep_their_numbers() -> None:
    kernel = elementwise(3, 8, 50)
    generic = generic_of(kernel)
    source = source_of(kernel)
    hinted = KernelSource(source.text.replace("for i2 in range(8)", "for i2 in row(8)"), source.arguments)
    assert (generic.source, generic.numbers) == (hinted, ())


@pytest.mark.parametrize("target", TARGETS)
def test_one_code_computes_all_shapes(target: str) -> None:
    samples, rng, source = 4, np.random.default_rng(0), generic_of(elementwise(3, 128, 384)).source
    code = Kernel(source, machine_for(target))
    for rows, columns, size in ((1, 128, 128), (3, 130, 390), (5, 200, 1000), (2, 3000, 8000)):
        generic = generic_of(elementwise(rows, columns, size))
        assert generic.source == source
        x = rng.normal(size=(samples, size)).astype(np.float32)
        factors = rng.normal(size=columns).astype(np.float32)
        result, expected = np.full_like(x, 7), np.full_like(x, 7)  # what lies between samples stays
        code.call(x.ctypes.data, factors.ctypes.data, result.ctypes.data, samples, *generic.numbers)
        used = rows * columns
        expected[:, :used] = (x[:, :used].reshape(samples, rows, columns) * factors).reshape(samples, used)
        np.testing.assert_array_equal(result, expected)


def across(count: int, columns: int, size: int, apart: int, value: str = "t0", dtype: str = "f32") -> AnyKernel:
    """Arrays of which each row is read across the rows of an operand, from the last array to the first."""
    lines = ACROSS.format(count=count, columns=columns, size=size, apart=apart, value=value, dtype=dtype)
    return parse_kernel(lines.splitlines(), (0, 1))[0]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(("side", "value"), [(8, "t0"), (16, "t0"), (16, "t0 * t0")])
def test_one_code_transposes_all_sizes(target: str, side: int, value: str) -> None:
    shapes = [(9, 16, 8), (1, 5, 8), (3, 40, 8)] if side == 8 else [(9, 16, 16), (2, 40, 35), (4, 5, 16), (1, 17, 64)]
    rng, sources = np.random.default_rng(0), set()
    for count, rows, columns in shapes:
        apart, size = rows + 3, (rows + 3) * columns
        generic = generic_of(across(count, columns, size, apart, value))
        sources.add(generic.source)
        x = rng.normal(size=(count, columns, apart)).astype(np.float32)
        result = np.full((count, size), 7, np.float32)
        expected = result.copy()
        moved = x[::-1, :, :rows].transpose(0, 2, 1).reshape(count, rows * columns)
        expected[:, : rows * columns] = moved if value == "t0" else moved * moved
        last = x[-1:].ctypes.data
        code = Kernel(generic.source, machine_for(target))
        code.call(last, result.ctypes.data, rows, *generic.numbers)
        np.testing.assert_array_equal(result, expected)
    assert len(sources) == 1


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("columns", [8, 16])
def test_squares_are_moved_in_vectors(target: str, dtype: str, columns: int) -> None:
    source = generic_of(across(3, columns, 40 * columns, 40, dtype=dtype)).source
    alone = f"load {'float' if dtype == 'f32' else 'double'},"
    text = Kernel(source, machine_for(target)).text
    assert text.count(alone) < 8, "only the points right of the squares and below them are moved one by one"


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("lengths", [(1, 2, 3, 5, 7), (16, 17, 21, 31, 32, 33, 40, 480)], ids=["short", "long"])
def test_one_code_fills_all_borders(target: str, dtype: str, lengths: Sequence[int]) -> None:
    sources = set()
    for count, columns in enumerate(lengths, 2):
        apart = columns + 3
        lines = BORDER.format(count=count, columns=columns, size=count * apart, apart=apart, dtype=dtype).splitlines()
        generic = generic_of(parse_kernel(lines, (0,))[0])
        sources.add(generic.source)
        result = np.full((5, count, apart), 7, np.float32 if dtype == "f32" else np.float64)
        expected = result.copy()
        expected[:4, :, :columns] = 2.5
        code = Kernel(generic.source, machine_for(target))
        code.call(result.ctypes.data, 4, *generic.numbers)
        np.testing.assert_array_equal(result, expected)
    assert len(sources) == 1


@pytest.mark.parametrize("target", TARGETS)
def test_one_code_adds_rows_of_all_lengths(target: str) -> None:
    rng, sources = np.random.default_rng(0), set()
    for columns, apart in ((3, 10), (10, 10), (16, 20), (30, 30), (100, 101), (1000, 1000)):
        generic = generic_of(parse_kernel(SUM.format(apart=apart).splitlines(), (0, 1))[0])
        sources.add(generic.source)
        x = rng.normal(size=(16, apart)).astype(np.float32)
        result, expected = np.full(columns + 1, 7, np.float32), np.zeros(columns, np.float32)
        for row in x:
            expected += row[:columns]  # in order
        code = Kernel(generic.source, machine_for(target))
        code.call(x.ctypes.data, result.ctypes.data, columns, *generic.numbers)
        np.testing.assert_array_equal(result, [*expected, 7])
    assert len(sources) == 1


def loops_of(inputs: int, hidden: int) -> Iterator[KernelSource]:
    """The sources of the loops of a training step."""
    model = netc.parse(NETWORK.format(inputs=inputs, hidden=hidden))
    graph = pipeline.run_passes(pipeline.training_graph(model))
    for task in lower(graph, sizes_of(graph, model.train.batch, {}), machine_for("avx2")).tasks:
        if isinstance(task.kernel, Nest):
            yield generic_of(task.kernel).source


def test_another_width_needs_no_other_kernels() -> None:
    wide = set(loops_of(160, 144))
    assert len(wide) > 4
    assert set(loops_of(100, 200)) == wide
