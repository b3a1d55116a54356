"""A sum of rows has one order, which depends on its own axes alone: groups of 8 rows along the last one, as trees."""

import numpy as np
import pytest
from both import compiled

from netc.compiler.ir.graph import Graph
from netc.compiler.ir.results import parse_result
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import Type
from netc.compiler.ir.value import apply
from netc.compiler.targets.named import machine_for, runnable

RNG = np.random.default_rng(7)
BATCH = 13
KINDS = {"f32": np.float32, "f64": np.float64}
# the dimensions behind the batch, and the axes that are summed
SHAPES = (
    ((4,), (0,)),
    ((36, 4), (0, 1)),
    ((7, 3), (0, 1)),
    ((12, 2), (0, 1)),
    ((9, 7), (0, 1)),
    ((9, 16), (0, 1)),
    ((8, 17), (0, 1)),
    ((5, 14, 3), (0, 1, 2)),
    ((3, 16, 33), (0, 1, 2)),
    ((28, 70), (0, 1)),
    ((19, 6), (1,)),
    ((4, 24, 40), (1, 2)),
    ((4, 11, 9), (1, 2)),
    ((10, 2, 130), (1,)),
    ((300, 5), (1,)),
)


def in_groups(x: np.ndarray, over: tuple[int, ...]) -> np.ndarray:
    """The sum over some axes in the order that the compiler promises, in NumPy."""
    kept = [axis for axis in range(x.ndim) if axis not in over]
    *outer, last = over
    rows = x.transpose([*outer, last, *kept]).reshape(-1, x.shape[last], *(x.shape[axis] for axis in kept))
    total = np.zeros(rows.shape[2:], x.dtype)
    for part in rows:
        full = len(part) // 8 * 8
        for i in range(0, full, 8):
            group = part[i : i + 8]
            while len(group) > 1:
                group = group[::2] + group[1::2]
            total = total + group[0]
        for row in part[full:]:
            total = total + row
    return total


@pytest.mark.parametrize("target", [name for name in runnable() if name in ("sse2", "avx2", "avx512")])
@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_a_sum_of_rows_has_the_bits_of_its_definition(dtype: str, target: str) -> None:
    """For every vector width and number of threads: of elements, of expressions, beside another reduction, and of a
    part of an image, whose strides keep axes apart."""
    graph, expected, arrays = Graph(), dict[str, np.ndarray](), dict[str, np.ndarray]()
    graph.precision = dtype
    for number, (dims, over) in enumerate(SHAPES):
        leaf = graph.leaf(Role.INPUT, f"x{number}", Type(dtype, ("batch", *dims)))
        x = RNG.standard_normal((BATCH, *dims)).astype(KINDS[dtype])
        first = int(dims[-1] > 2)  # one column alone would be a sum along a row
        inside, part = apply("slice", leaf, axis=len(dims), start=first, stop=dims[-1]), x[..., first:]
        if len(dims) > 1:
            inside, part = apply("slice", inside, axis=1, start=1, stop=dims[0]), part[:, 1:]
        values = {"plain": (leaf, x), "square": (leaf * leaf, x * x), "inside": (inside, part)}
        arrays[leaf.name] = x
        for name, (value, elements) in values.items():
            result = f"{name}{number}"
            graph.results[parse_result(result)] = apply("sum", value, over=over)
            expected[result] = in_groups(elements, over)
        graph.results[parse_result(f"largest{number}")] = apply("max", leaf * leaf, over=over)
    for threads in (1, 3):
        results = compiled(graph, arrays, BATCH, machine_for(target), threads)
        for name, total in expected.items():
            np.testing.assert_array_equal(results[name], total, err_msg=f"{name} on {threads} threads")
