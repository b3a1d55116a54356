"""Products of all sizes around that of the register tile, for every instruction set that this machine has."""

from collections.abc import Mapping

import numpy as np
import pytest
from both import BATCH, compiled

from netc.compiler.ir.graph import Graph
from netc.compiler.ir.results import parse_result
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import Type
from netc.compiler.ir.value import apply
from netc.compiler.lowering.lower import lower
from netc.compiler.program.kernels import Contraction
from netc.compiler.targets.machine import host
from netc.compiler.targets.named import machine_for, runnable

MACHINES = {"host": host(), **{name: machine_for(name) for name in runnable()}}
ROWS, COLUMNS, DEPTHS = (1, 3, 12, 13, 23), (3, 16, 31, 33, 65), (1, 7, 1030)


@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("machine", MACHINES)
def test_products_of_sizes_around_the_tile(machine: str, dtype: str) -> None:
    graph, arrays, rng = Graph(), {}, np.random.default_rng(0)
    graph.precision = dtype
    for rows in ROWS:
        for columns in COLUMNS:
            for depth in DEPTHS:
                key = f"{rows}_{columns}_{depth}"
                a, b = (
                    graph.leaf(Role.INPUT, f"a{key}", Type(dtype, (rows, depth))),
                    graph.leaf(Role.INPUT, f"b{key}", Type(dtype, (depth, columns))),
                )
                graph.results[parse_result(key)] = apply("einsum", a, b, subscripts="ik,kj->ij")
                arrays[f"a{key}"], arrays[f"b{key}"] = (
                    rng.standard_normal((rows, depth)).astype(a.type.dtype.replace("f", "float")),
                    rng.standard_normal((depth, columns)).astype(dtype.replace("f", "float")),
                )
    for key, result in compiled(graph, arrays, machine=MACHINES[machine]).items():
        expected = arrays[f"a{key}"].astype(np.float64) @ arrays[f"b{key}"].astype(np.float64)
        np.testing.assert_allclose(result, expected, atol=2e-4 if dtype == "f32" else 1e-11, err_msg=key)


def checked_einsum(subscripts: str, sizes: Mapping[str, int]) -> Graph:
    """Compares a compiled einsum of random f64 operands, whose axes have these sizes, with NumPy's. B is the batch."""
    names = subscripts.partition("->")[0].split(",")
    graph, rng = Graph(), np.random.default_rng(0)
    graph.precision = "f64"
    arrays = {f"x{i}": rng.standard_normal([sizes[name] for name in letters]) for i, letters in enumerate(names)}
    leaves = [
        graph.leaf(Role.INPUT, f"x{i}", Type("f64", tuple("batch" if name == "B" else sizes[name] for name in letters)))
        for i, letters in enumerate(names)
    ]
    graph.results[parse_result("y")] = apply("einsum", *leaves, subscripts=subscripts)
    np.testing.assert_allclose(compiled(graph, arrays)["y"], np.einsum(subscripts, *arrays.values()), atol=1e-12)
    return graph


@pytest.mark.parametrize(
    "subscripts",
    [
        "ki,kj->ij",
        "ik,jk->ij",
        "ki,jk->ij",
        "aik,akj->aij",
        "aik,kj->aij",
        "abk,akj->abj",
        "ij,jk->k",
        "i,j->ij",
        "ij,ij->i",
        "ij,ij->",
        "iaj,jk->aik",
        "ik,akj->iaj",
        "ki,kaj->aij",
        "abi,aji->bj",
        "bi,abi->a",
    ],
)
def test_einsum_with_axes_in_any_order(subscripts: str) -> None:
    sizes = dict(zip("aibjk", (2, 9, 3, 34, 5), strict=True))
    checked_einsum(subscripts, sizes)


@pytest.mark.parametrize(
    "subscripts", ["ik,akj->aij", "ik,ajk->aij", "aik,akj->aij", "bmik,bjamk->amij", "ik,kaj->aij"]
)
def test_last_index_of_one_element(subscripts: str) -> None:
    """Columns of the tile are neighbours in the result. If its last index has one element, the one before is none."""
    sizes = dict(zip("aibjkm", (7, 3, 2, 1, 5, 4), strict=True))
    checked_einsum(subscripts, sizes)


@pytest.mark.parametrize("columns", [1, 2, 3, 7, 33])
@pytest.mark.parametrize("subscripts", ["ik,Bkj->Bij", "ki,Bkj->Bij", "ik,Bjk->Bij", "Bkj,ik->Bij", "k,Bkj->Bj"])
def test_weights_times_each_sample(subscripts: str, columns: int) -> None:
    """Products whose left operand all samples share, such as a layer along the steps of a mixer."""
    graph = checked_einsum(subscripts, {"B": BATCH, "i": 9, "k": 13, "j": columns})
    if "i" in subscripts:
        tasks = lower(graph, BATCH, host()).tasks
        assert any(isinstance(task.kernel, Contraction) for task in tasks) == (columns > 2)


@pytest.mark.parametrize(("start", "is_start"), [((7,), True), ((9, 7), True), ((9, 1), False), ((), False)])
def test_products_start_from_a_term_that_varies_along_their_columns(start: tuple[int, ...], is_start: bool) -> None:
    """A tile does not start from one number for each row, such as the bias of a layer along the steps: a product of its
    own is added to that, rather than all of it being a plain loop."""
    graph, rng = Graph(), np.random.default_rng(0)
    graph.precision = "f64"
    arrays = {
        "w": rng.standard_normal((9, 13)),
        "x": rng.standard_normal((BATCH, 13, 7)),
        "b": rng.standard_normal(start),
    }
    w, x, b = (
        graph.leaf(Role.INPUT, name, Type("f64", ("batch", *array.shape[1:]) if name == "x" else array.shape))
        for name, array in arrays.items()
    )
    product = apply("einsum", w, x, subscripts="ik,Bkj->Bij")
    graph.results[parse_result("y")] = product + b
    np.testing.assert_allclose(compiled(graph, arrays)["y"], arrays["w"] @ arrays["x"] + arrays["b"], atol=1e-12)
    lowered = lower(graph, BATCH, host())
    (task,) = (task for task in lowered.tasks if isinstance(task.kernel, Contraction))
    assert (len(task.values) == 2) == is_start


@pytest.mark.parametrize(("depth", "panels", "copies"), [(1024, 8, True), (1024, 3, False), (650, 8, False)])
def test_rows_that_share_sets_are_copied_once_for_all_panels(depth: int, panels: int, copies: bool) -> None:
    """A product by panels of a weight has memory for a copy of rows that lie whole pages apart, if there are many
    panels, and none for a copy of the panels themselves."""
    machine, graph = machine_for("avx512"), Graph()
    h = graph.leaf(Role.INPUT, "h", Type("f32", ("batch", depth)))
    weight = graph.leaf(Role.INPUT, "w", Type("f32", (panels, depth, machine.panel("f32"))))
    graph.results[parse_result("y")] = apply("einsum", h, weight, subscripts="Bk,pkj->Bpj")
    (task,) = (task for task in lower(graph, 64, machine).tasks if isinstance(task.kernel, Contraction))
    scratch = [buffer.type.size(1) for buffer in task.writes if buffer.kind == "scratch"]
    assert scratch == [machine.pack_elements("f32", 0)] * copies
