"""A long sum has one order, which depends on its own axes alone: the same bits in every row and in every loop."""

import numpy as np
import pytest
from both import compiled

from netc.compiler.ir.graph import Graph
from netc.compiler.ir.results import parse_result
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import Type
from netc.compiler.ir.value import Value, apply
from netc.compiler.program.kernel_parser import parse_kernel
from netc.compiler.program.nests import Nest
from netc.compiler.targets.cpu.nests.jam import jam_of

RNG = np.random.default_rng(7)
SIZES = (1, 2, 15, 16, 17, 31, 33, 63, 64, 65, 127, 255, 256, 257, 300, 511, 513, 1030)


def input_of(dtype: str, dims: tuple[int, ...]) -> tuple[Graph, Value]:
    """A graph with one input `x`, whose samples have these dimensions."""
    graph = Graph()
    graph.precision = dtype
    return graph, graph.leaf(Role.INPUT, "x", Type(dtype, ("batch", *dims)))


def in_blocks(row: np.ndarray) -> np.ndarray:
    """The sum of a row in the order that sums.py defines, in NumPy."""
    lanes, total = 32 // row.itemsize, row.dtype.type(0)
    for start in range(0, len(row), 256):
        block = row[start : start + 256]
        count = len(block) // lanes
        chunks = block[: count * lanes].reshape(count, lanes)
        sums = np.zeros((4, lanes), row.dtype)
        for i in range(0, count // 4 * 4, 4):
            sums = sums + chunks[i : i + 4]
        lane = (sums[0] + sums[1]) + (sums[2] + sums[3])
        for chunk in chunks[count // 4 * 4 :]:
            lane = lane + chunk
        while len(lane) > 1:
            lane = lane[: len(lane) // 2] + lane[len(lane) // 2 :]
        block_sum = lane[0]
        for element in block[count * lanes :]:
            block_sum = block_sum + element
        total = total + block_sum
    return total


@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("size", SIZES)
def test_a_sum_has_the_bits_of_its_definition(size: int, dtype: str) -> None:
    """At most 16 elements are added one after the other."""
    x = RNG.standard_normal((5, size)).astype({"f32": np.float32, "f64": np.float64}[dtype])
    graph, leaf = input_of(dtype, (size,))
    graph.results[parse_result("s")] = apply("sum", leaf, over=(1,))
    expected = [in_blocks(row) if size > 16 else np.add.accumulate(row)[-1] for row in x]
    np.testing.assert_array_equal(compiled(graph, {"x": x}, 5)["s"], expected)


@pytest.mark.parametrize("dims", [(40,), (5, 8), (3, 7, 5), (2, 300), (16, 1)])
def test_a_sum_has_the_same_bits_in_every_loop(dims: tuple[int, ...]) -> None:
    """Alone, beside a value that is stored, beside other reductions, and with strides that keep axes apart."""
    x = RNG.standard_normal((4, *dims)).astype(np.float32)
    over = tuple(range(1, 1 + len(dims)))
    graph, leaf = input_of("f32", dims)
    graph.results[parse_result("s")] = apply("sum", leaf * leaf, over=over)
    alone = compiled(graph, {"x": x}, 4)["s"]
    graph, leaf = input_of("f32", dims)
    square = leaf * leaf
    turned = apply("transpose", apply("exp", leaf), order=(0, *reversed(over)))
    graph.results[parse_result("turned")] = apply("copied", turned)
    graph.results[parse_result("stored")] = square + apply("transpose", turned, order=(0, *reversed(over)))
    graph.results[parse_result("s")] = apply("sum", square, over=over)
    graph.results[parse_result("largest")] = apply("max", square, over=over)
    graph.results[parse_result("total")] = apply("sum", graph.results[parse_result("stored")], over=over)
    np.testing.assert_array_equal(compiled(graph, {"x": x}, 4)["s"], alone)


@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_the_maximum_equals_an_element(dtype: str) -> None:
    """A value that two loops compute has the same bits in both, so its maximum equals one of its elements."""
    x = RNG.standard_normal((9, 40)).astype({"f32": np.float32, "f64": np.float64}[dtype])
    graph, leaf = input_of(dtype, (40,))
    p = leaf * leaf
    v = p - leaf
    largest = apply("reshape", apply("max", v, over=(1,)), dims=("batch", 1))
    graph.results[parse_result("count")] = apply(
        "sum", apply("cast", apply("equal", v, largest), dtype=dtype), over=(1,)
    )
    graph.results[parse_result("s")] = apply("sum", p, over=(1,))
    assert (compiled(graph, {"x": x}, 9)["count"] >= 1).all()


@pytest.mark.parametrize("size", [17, 24, 100, 256, 600])
@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_sums_of_expressions_have_the_bits_of_their_definition(dtype: str, size: int) -> None:
    """Choices, comparisons of floats and of whole numbers, conversions, and operands of one number for each row."""
    kind = {"f32": np.float32, "f64": np.float64}[dtype]
    x, y = (RNG.standard_normal((5, size)).astype(kind) for _ in range(2))
    x[0, 3] = np.nan
    row, column = RNG.standard_normal((5, 1)).astype(kind), np.arange(5, dtype=np.int32)
    graph, leaf = input_of(dtype, (size,))
    other = graph.leaf(Role.INPUT, "y", leaf.type)
    of_row = graph.leaf(Role.INPUT, "row", Type(dtype, ("batch", 1)))
    of_place = graph.leaf(Role.INPUT, "place", Type("i32", ("batch",)))
    is_place = apply("equal", apply("one_hot", of_place, n=size), 1)
    larger = apply("greater", leaf, other)
    either = apply("logical_or", larger, apply("less_equal", apply("abs", other), of_row))
    chosen = {
        "picked": (
            apply("where", is_place, leaf * leaf, of_row - other),
            np.where(np.arange(size) == column[:, None], x * x, row - y),
        ),
        "counted": (apply("cast", larger, dtype=dtype) / (leaf * leaf + 1), (x > y).astype(kind) / (x * x + 1)),
        "largest": (apply("maximum", leaf, -other), np.maximum(x, -y)),
        "tested": (
            apply("where", either, other, 0 * of_row + 2),
            np.where((x > y) | (np.abs(y) <= row), y, kind(2) + 0 * y),
        ),
    }
    for name, (value, _) in chosen.items():
        graph.results[parse_result(name)] = apply("sum", value, over=(1,))
    results = compiled(graph, {"x": x, "y": y, "row": row, "place": column}, 5)
    for name, (_, elements) in chosen.items():
        np.testing.assert_array_equal(results[name], [in_blocks(line) for line in elements], err_msg=name)


@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize("size", [17, 64, 66, 135, 256, 600])
@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_sums_of_tested_elements_have_the_bits_of_their_definition(dtype: str, size: int, beside: bool) -> None:
    """Elements that pass a test, with zeros of either sign in place of the others, and how many pass, also if all sums
    share a loop: `beside` each other."""
    kind = {"f32": np.float32, "f64": np.float64}[dtype]
    x, y = (RNG.standard_normal((9, size)).astype(kind) for _ in range(2))
    x[0], x[1, 1], x[2, 2], x[3, 3] = kind(-0.0), np.nan, np.inf, -np.inf
    is_marked = RNG.random((9, size)) < 0.5
    is_marked[4], is_marked[5] = True, False
    graph, leaf = input_of(dtype, (size,))
    other = graph.leaf(Role.INPUT, "y", leaf.type)
    marked = graph.leaf(Role.INPUT, "marked", Type("bool", ("batch", size)))
    larger, zero, one = leaf > other, kind(0), kind(1)
    both = apply("logical_and", marked, larger)
    chosen = {
        "kept": (apply("where", marked, leaf, 0.0), np.where(is_marked, x, zero)),
        "left": (apply("where", marked, 0.0, leaf * other), np.where(is_marked, zero, x * y)),
        "negative": (apply("where", larger, leaf, -0.0), np.where(x > y, x, -zero)),
        "passing": (apply("where", both, 1.0, 0.0), np.where(is_marked & (x > y), one, zero)),
        "failing": (apply("where", marked, 0.0, 1.0), np.where(is_marked, zero, one)),
        "converted": (apply("cast", larger, dtype=dtype), (x > y).astype(kind)),
        "twice": (apply("where", larger, 2.0, 0.0), np.where(x > y, 2 * one, zero)),
    }
    arrays = {"x": x, "y": y, "marked": is_marked}
    for name, (value, _) in chosen.items():
        if not beside:
            graph.results.clear()
        graph.results[parse_result(name)] = apply("sum", value, over=(1,))
        if not beside or len(graph.results) == len(chosen):
            results = compiled(graph, arrays, 9)
            for result in graph.results:
                expected = [in_blocks(line) for line in chosen[result.name][1]]
                np.testing.assert_array_equal(results[result.name], expected, err_msg=result.name)


@pytest.mark.parametrize("size", [17, 24, 100, 256, 600])
@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_what_is_stored_beside_a_sum_has_the_same_bits(dtype: str, size: int) -> None:
    """Differences from a number for each row are kept, and their squares are summed, as a layer norm does."""
    kind = {"f32": np.float32, "f64": np.float64}[dtype]
    x, row = RNG.standard_normal((5, size)).astype(kind), RNG.standard_normal((5, 1)).astype(kind)
    graph, leaf = input_of(dtype, (size,))
    difference = leaf - graph.leaf(Role.INPUT, "row", Type(dtype, ("batch", 1)))
    graph.results[parse_result("difference")] = difference
    graph.results[parse_result("s")] = apply("sum", difference * difference, over=(1,))
    results = compiled(graph, {"x": x, "row": row}, 5)
    np.testing.assert_array_equal(results["difference"], x - row)
    np.testing.assert_array_equal(results["s"], [in_blocks(line) for line in (x - row) * (x - row)])


@pytest.mark.parametrize("name", ["max", "min"])
def test_extremes_over_rows_find_nan_and_keep_the_first_of_equals(name: str) -> None:
    """Rows are compared in pairs; a NaN in any of them is the result, and the first of two zeros remains."""
    rows = 9
    x = RNG.standard_normal((rows, rows, 20)).astype(np.float32)
    for column in range(rows):
        x[column, column, 3] = np.nan
    x[0, :, 7] = [0.0, -0.0] * 4 + [0.0]
    x[1, :, 7] = [-0.0, 0.0] * 4 + [-0.0]
    graph, leaf = input_of("f32", (rows, 20))
    graph.results[parse_result("y")] = apply(name, leaf, over=(1,))
    y = compiled(graph, {"x": x}, rows)["y"]
    np.testing.assert_array_equal(y, getattr(x, name)(axis=1))
    np.testing.assert_array_equal(np.signbit(y[:2, 7]), [False, True])


@pytest.mark.parametrize("name", ["max", "min"])
@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("size", [3, 4, 7, 8, 15, 16, 31, 32, 33, 100, 128, 257])
def test_extremes_along_rows(size: int, dtype: str, name: str) -> None:
    """Of elements and of expressions: a NaN or the extreme at any place, and infinities whose sum is NaN."""
    x = RNG.standard_normal((size + 3, size)).astype({"f32": np.float32, "f64": np.float64}[dtype])
    x[np.arange(size), np.arange(size)] = 9 if name == "max" else -9
    x[-1, size // 2] = np.nan
    x[-2, [0, -1]] = np.inf, -np.inf
    x[-3] = -np.inf if name == "max" else np.inf
    graph, leaf = input_of(dtype, (size,))
    graph.results[parse_result("y")] = apply(name, leaf, over=(1,))
    graph.results[parse_result("z")] = apply(
        name, apply("where", apply("less", leaf, 0.0), leaf * leaf, leaf), over=(1,)
    )
    results = compiled(graph, {"x": x}, len(x))
    np.testing.assert_array_equal(results["y"], getattr(x, name)(axis=1))
    np.testing.assert_array_equal(results["z"], getattr(np.where(x < 0, x * x, x), name)(axis=1))


ROWS = """\
for i0 < n0 = rows
for i1 < 32, folded
for i2 < {length}
t0 = f32 p0[i0 * {size} + i1 * {length} + i2]
f32 p1[i0 * {length} + i2] = fold of t0 from f32(0.0) by a + b"""


def test_a_sum_of_long_rows_reads_few_side_by_side() -> None:
    """So many rows as 32 are only read at once where they are short."""
    for length, complete in ((16, {1: 32}), (256, {})):
        nest = parse_kernel(ROWS.format(length=length, size=32 * length).splitlines(), (0, 1))[0]
        assert isinstance(nest, Nest)
        assert jam_of(nest, [0], [1]).complete == complete
        x = RNG.integers(-9, 9, (5, 32, length)).astype(np.float32)
        graph, leaf = input_of("f32", (32, length))
        graph.results[parse_result("s")] = apply("sum", leaf, over=(1,))
        np.testing.assert_array_equal(compiled(graph, {"x": x}, 5)["s"], x.sum(axis=1))
