"""Sums of products whose rows are sums of rows: the innermost loop runs along an index that the result keeps.

All numbers are small whole numbers, so that sums are exact in any order and a wrong index shows.
"""

import numpy as np
import pytest
from both import compiled, evaluate

import netc
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.results import parse_result
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import Dim, Type, parse_type
from netc.compiler.ir.value import Value, apply
from netc.compiler.lowering.lower import lower
from netc.compiler.operations import elementwise  # noqa: F401  registers the operations
from netc.compiler.passes.differentiate import differentiate
from netc.compiler.pipeline import run_passes, training_graph
from netc.compiler.program.nests import Nest
from netc.compiler.program.tasks import SHARDS
from netc.compiler.targets.cpu.nests.jam import rows_apart
from netc.compiler.targets.named import NAMED, machine_for

# the subscripts, the operands without their element type, and the batch
PRODUCTS = (
    ("bc,bc->c", ("batch, 19", "batch, 19"), 37),
    ("btc,btc->c", ("batch, 5, 33", "batch, 5, 33"), 300),  # in shards
    ("bhwc,bhwkc->kc", ("batch, 5, 7, 12", "batch, 5, 7, 3, 12"), 13),
    ("bhiwjc,ijc->bhwc", ("batch, 4, 3, 11, 2, 9", "3, 2, 9"), 3),
    ("bk,bl->kl", ("batch, 40", "batch, 2"), 70),
    ("bk,bl->kl", ("batch, 40", "batch, 1"), 70),
    ("btgc,btgc->bgc", ("batch, 7, 3, 10", "batch, 7, 3, 10"), 5),
    ("tc,tkc->kc", ("9, 65", "9, 2, 65"), 1),
)
# the subscripts, the operands and the other term of a sum, and the batch
SUMS = (
    ("bhiwjc,ijc->bhwc", ("batch, 4, 3, 11, 2, 9", "3, 2, 9"), "9", 3),  # rows of sums
    ("bhiwjc,ijc->bhwc", ("batch, 4, 3, 11, 2, 9", "3, 2, 9"), "batch, 4, 11, 9", 3),
    ("btc,btc->c", ("batch, 5, 33", "batch, 5, 33"), "33", 9),
    ("btc,btc->c", ("batch, 5, 33", "batch, 5, 33"), "33", 300),  # in shards
    ("bck,bck->bc", ("batch, 9, 40", "batch, 9, 40"), "9", 5),  # each sum in a register, in blocks
    ("bck,bck->bc", ("batch, 9, 40", "batch, 9, 40"), "batch, 1", 5),
    ("bc,bc->bc", ("batch, 9", "batch, 9"), "batch, 9", 5),  # without a sum
)
# image, weights, stride, dilation, padding and groups of convolutions whose groups have few channels
CONVOLUTIONS = (
    ("batch, 5, 7, 5", "3, 3, 1, 5", (1, 1), (1, 1), (1, 1, 1, 1), 5),
    ("batch, 9, 7, 16", "3, 3, 1, 16", (2, 2), (1, 1), (0, 1, 0, 1), 16),
    ("batch, 9, 11, 33", "6, 5, 1, 33", (1, 2), (1, 2), (1, 1, 2, 1), 33),
    ("batch, 6, 5, 6", "3, 3, 1, 12", (1, 1), (1, 1), (1, 1, 1, 1), 6),
    ("batch, 14, 1, 40", "5, 1, 1, 40", (1, 1), (1, 1), (0, 0, 0, 0), 40),
    ("batch, 1, 15, 33", "1, 4, 1, 33", (1, 2), (1, 2), (0, 0, 3, 2), 33),
)


def check_agreement(graph: Graph, leaves: list[Value], batch: int, dtype: str) -> None:
    """Asserts that one and two threads give exactly what the interpreter gives."""
    rng = np.random.default_rng(3)
    kind = {"f32": np.float32, "f64": np.float64}[dtype]
    arrays = {leaf.name: rng.integers(-3, 4, leaf.type.shape(batch)).astype(kind) for leaf in leaves}
    expected = evaluate(graph, arrays, batch)
    for threads in (1, 2):
        for name, result in compiled(graph, arrays, batch, threads=threads).items():
            np.testing.assert_array_equal(result, expected[name], err_msg=f"{name} on {threads} threads")


def leaf(graph: Graph, name: str, dims: str, dtype: str) -> Value:
    return graph.leaf(Role.INPUT, name, parse_type(f"{dtype}[{dims}]"))


@pytest.mark.parametrize("number", range(len(PRODUCTS)))
def test_products(number: int) -> None:
    subscripts, dims, batch = PRODUCTS[number]
    dtype = ("f32", "f64")[number % 2]
    graph = Graph()
    graph.precision = dtype
    leaves = [leaf(graph, name, text, dtype) for name, text in zip("xy", dims, strict=True)]
    graph.results[parse_result("value.r")] = apply("einsum", *leaves, subscripts=subscripts)
    check_agreement(graph, leaves, batch, dtype)


@pytest.mark.parametrize("number", range(len(SUMS)))
def test_products_that_start_from_another_term(number: int) -> None:
    subscripts, dims, other, batch = SUMS[number]
    dtype = ("f32", "f64")[number % 2]
    graph = Graph()
    graph.precision = dtype
    leaves = [leaf(graph, name, text, dtype) for name, text in zip("xyz", (*dims, other), strict=True)]
    total = apply("einsum", *leaves[:2], subscripts=subscripts) + leaves[2]
    graph.results[parse_result("value.r")] = total * 2.0
    check_agreement(graph, leaves, batch, dtype)


@pytest.mark.parametrize("number", range(len(CONVOLUTIONS)))
def test_convolutions_and_their_gradients(number: int) -> None:
    image, weights, stride, dilation, pad, groups = CONVOLUTIONS[number]
    dtype = ("f32", "f64")[number % 2]
    graph = Graph()
    graph.precision = dtype
    x, w = leaf(graph, "x", image, dtype), leaf(graph, "w", weights, dtype)
    bias = leaf(graph, "bias", str(w.type.dims[-1]), dtype)
    y = apply("conv2d", x, w, stride=stride, dilation=dilation, pad=pad, groups=groups) + bias
    direction = graph.leaf(Role.INPUT, "g", y.type)
    gradients = differentiate(graph, apply("sum", y * direction, over=tuple(range(y.type.rank))), [x, w])
    graph.results = {parse_result("value.y"): y}
    graph.results |= {parse_result(f"gradient.{leaf.name}"): gradient for leaf, gradient in gradients.items()}
    check_agreement(graph, [x, w, bias, direction], 70, dtype)


@pytest.mark.parametrize("image", ["14, 1", "1, 14", "7, 2"])
def test_depthwise_gradients_run_along_channels(image: str) -> None:
    kernel = ", ".join("1" if size == "1" else "2" for size in image.split(", "))
    model = netc.parse(
        f"block depthwise(x: float[h, w, c]) {{\n  param W: float[{kernel}, 1, c] = he_uniform\n"
        "  return conv2d(x, W, groups = c)\n}\n"
        "model {\n  input x: float[14, 40]\n  target y: float[3]\n"
        f"  z = reshape(x, {image}, 40) -> depthwise -> flatten -> dense(3)\n  loss mse(z, y)\n}}\n"
        "train { batch = 64 }\n"
    )
    tasks = lower(run_passes(training_graph(model)), 64, NAMED["avx2"]).tasks
    sums = [task.kernel for task in tasks if "einsum" in {value.operation for value in task.values}]
    nests = [kernel for kernel in sums if isinstance(kernel, Nest)]
    assert len(nests) >= 2
    assert not any(nest.folded[-1] for nest in nests), [nest.folded for nest in nests]


@pytest.mark.parametrize("channels", [1, 3, 12])
def test_small_windows_are_summed_by_loops(channels: int) -> None:
    """The gradient of the weights is a sum in shards."""
    model = netc.parse(
        f"model {{\n  input x: float[20, 20, {channels}]\n  target y: float[3]\n"
        "  z = x -> conv(16) -> flatten -> dense(3)\n  loss mse(z, y)\n}\ntrain { batch = 64 }\n"
    )
    tasks = lower(run_passes(training_graph(model)), 64, NAMED["avx2"]).tasks
    sums = [task for task in tasks if any(value.operation == "einsum" for value in task.values)]
    windows = [task for task in sums if len(task.values[0].operands[0].type.dims) == 6]
    assert all(isinstance(task.kernel, Nest) for task in windows) == (channels < 12)


@pytest.mark.parametrize("dims", [("9, 8, 1", "3, 3, 1, 5"), ("8, 9, 2", "3, 2, 2, 20"), ("11, 10, 3", "3, 3, 3, 33")])
def test_convolutions_of_few_channels(dims: tuple[str, str]) -> None:
    for dtype, stride in (("f32", (1, 1)), ("f64", (2, 2))):
        graph = Graph()
        graph.precision = dtype
        x, w = leaf(graph, "x", f"batch, {dims[0]}", dtype), leaf(graph, "w", dims[1], dtype)
        y = apply("conv2d", x, w, stride=stride, dilation=(1, 1), pad=(1, 1, 1, 1), groups=1)
        direction = graph.leaf(Role.INPUT, "g", y.type)
        gradients = differentiate(graph, apply("sum", y * direction, over=(0, 1, 2, 3)), [x, w])
        graph.results = {parse_result("value.y"): y}
        graph.results |= {parse_result(f"gradient.{leaf.name}"): gradient for leaf, gradient in gradients.items()}
        check_agreement(graph, [x, w, direction], 70, dtype)


@pytest.mark.parametrize("row", [3, 16, 33])
def test_sums_whose_rows_lie_apart_are_read_as_they_lie(row: int) -> None:
    """The loop over the samples is outside of that over results, and the rows of a result are short."""
    for dtype, dims in (("f32", f"batch, 64, {row}"), ("f64", f"batch, 5, 40, {row}")):
        graph = Graph()
        graph.precision = dtype
        x, y = leaf(graph, "x", dims, dtype), leaf(graph, "y", f"{dims.rsplit(',', 1)[0]}, 1", dtype)
        over = tuple(range(x.type.rank - 2))
        graph.results[parse_result("value.p")] = apply("sum", x * y, over=over)
        graph.results[parse_result("value.q")] = apply("sum", y * (x - 1.0), over=over)
        kernels = [task.kernel for task in lower(run_passes(graph), 300, NAMED["avx512"]).tasks]
        assert any(isinstance(kernel, Nest) and any(kernel.folded) and rows_apart(kernel) for kernel in kernels)
        check_agreement(graph, [x, y], 300, dtype)


def test_an_outer_product_is_a_loop() -> None:
    """It sums nothing, so a tile would only write its result, in another order than that of memory."""
    graph = Graph()
    leaves = [leaf(graph, "x", "batch, 5", "f32"), leaf(graph, "y", "batch, 40", "f32")]
    graph.results[parse_result("value.y")] = apply("einsum", *leaves, subscripts="bi,bj->bij")
    assert all(isinstance(task.kernel, Nest) for task in lower(run_passes(graph), 7, NAMED["avx512"]).tasks)
    check_agreement(graph, leaves, 7, "f32")


def test_a_convolution_to_one_channel_is_a_loop() -> None:
    """One output fills no vector of a tile, nor of Winograd's."""
    graph = Graph()
    x, w = leaf(graph, "x", "batch, 20, 20, 32", "f32"), leaf(graph, "w", "3, 3, 32, 1", "f32")
    y = apply("conv2d", x, w, stride=(1, 1), dilation=(1, 1), pad=(1, 1, 1, 1), groups=1)
    graph.results[parse_result("value.y")] = y
    tasks = lower(run_passes(graph), 64, NAMED["avx512"]).tasks
    assert all(isinstance(task.kernel, Nest) for task in tasks)


@pytest.mark.parametrize(("rows", "batch", "axis"), [(3, 4, None), (8, 4, 8), (3, 100_000, SHARDS)])
def test_a_small_sum_over_the_batch_with_few_rows_is_done_at_once(rows: int, batch: int, axis: Dim | None) -> None:
    """A loop of a known number of rows keeps more sums in registers; many rows, or much work, are shared out."""
    graph = Graph()
    x, g = (graph.leaf(Role.INPUT, name, Type("f32", ("batch", rows, 5))) for name in "xg")
    graph.results[parse_result("y")] = apply("einsum", x, g, subscripts="bic,bic->ic")
    tasks = lower(graph, {"batch": batch}, machine_for("avx2")).tasks
    task = next(task for task in tasks if any(value.operation == "einsum" for value in task.values))
    assert task.axis == axis
    assert isinstance(task.kernel, Nest)
    assert task.kernel.extents == (rows if axis != rows else None, None, 5)
