"""Numbers for the graphs of golden cases: random leaves, results by the reference interpreter, finite differences."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from netc.compiler.ir.dims import lengths_of, names_in
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.index_tables import IndexTable, TableKind, parse_table, table_of
from netc.compiler.ir.results import parse_result
from netc.compiler.ir.roles import Role
from netc.compiler.ir.rows import Rows
from netc.compiler.ir.supplied import parse_supplied
from netc.compiler.ir.types import BATCH, DTYPES, UNDECLARED, Type
from netc.compiler.ir.value import OPERATIONS, Value
from netc.compiler.operations.elementwise import stop_gradient
from netc.compiler.operations.scan import scans
from netc.compiler.passes.pack import at_length
from netc.compiler.passes.scans import first_dim
from netc.compiler.passes.simplify import expand, rebuild
from netc.compiler.reference import evaluate

Array = np.ndarray[Any, Any]
SAMPLES = 4
_LENGTHS = (
    (4, 3, 2, 1),
    (2, 3, 1, 4),
    (1, 4, 3, 2),
)  # lengths of the samples along each declared dimension; the batch is in the order of the first dimension
SPECIAL = (np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0)
_STEP = 1e-4  # the step of a finite difference


class Numbers:
    """Random numbers for the leaves of a graph, by name, and the sizes of its named dimensions.

    With a number `special`, every second element is infinite, NaN, a zero of either sign, or 1; the number shifts which
    one is where. With `steps`, all sequences have that length.
    """

    def __init__(self, graph: Graph, special: int | None = None, steps: int | None = None) -> None:
        self.rng = np.random.default_rng(7)
        self.special = special
        self.rows = _rows_of(graph, steps)
        self.sizes = {BATCH: SAMPLES, **{dim: rows.count for dim, rows in self.rows.items()}}
        self.leaves: dict[str, Array] = {}
        for dim in self.rows:
            for kind in (TableKind.SAMPLE, TableKind.STEP):
                self.leaves[str(IndexTable(kind, dim))] = self.rows[dim].table(kind)
        self.add(graph)

    def add(self, graph: Graph) -> None:
        """Adds numbers for leaves of another graph that have none yet.

        A table of a length that nobody has declared has none: no graph that is computed reads it (`at_length`).
        """
        for value in graph.values():
            name = value.name
            table = parse_table(name) if name else None
            if name and name not in self.leaves and (table is None or table.size != UNDECLARED):
                self.leaves[name] = self.random(value.type, name) if table is None else self.table(table)

    def table(self, table: IndexTable) -> Array:
        rows = self.rows[table.dim]
        if table.other is None:
            return rows.table(table.kind, table.size)
        return rows.of_other(table.kind, table.other, self.rows)

    def random(self, type_: Type, name: str) -> Array:
        shape = type_.shape(self.sizes)
        if type_.is_float:
            array = self.rng.standard_normal(shape)
            if self.special is not None:
                flat = array.reshape(-1)
                first = self.special + len(self.leaves)
                flat[first % 2 :: 2] = np.resize(np.roll(SPECIAL, first), len(flat[first % 2 :: 2]))
            return array.astype(DTYPES[type_.dtype].numpy)
        high = 2 if type_.dtype == "bool" else 256 if type_.dtype == "u8" else type_.classes or 2
        words = 2**31 if parse_supplied(name) is not None else high
        return self.rng.integers(0, words, shape).astype(DTYPES[type_.dtype].numpy)


def _rows_of(graph: Graph, steps: int | None = None) -> dict[str, Rows]:
    """The rows of every varying dimension in a graph or in its bodies."""
    dims = [str(value.type.rows) for value in graph.values() if value.type.is_varying]
    dims += [scan.dim for scan in scans(graph)]
    for value in graph.values():
        if (table := table_of(value)) is not None:
            dims += table.dims[:1]
    first = first_dim(graph)
    names = [name for dim in dims for name in names_in(dim)]
    declared = list(dict.fromkeys([*(name for name in names if name == first), *names]))
    lengths = {name: np.array(_LENGTHS[n] if steps is None else [steps] * SAMPLES) for n, name in enumerate(declared)}
    inner = [dim for scan in scans(graph) for dim in _rows_of(scan.body, steps)]
    return {dim: Rows.of(lengths_of(dim, lengths, SAMPLES)) for dim in dict.fromkeys([*declared, *dims, *inner])}


def in_f64(text: str) -> str:
    """A printed graph with f64 in place of every f32."""
    return "precision f64\n" + text.replace("f32", "f64")


def evaluable(graph: Graph, training: bool | None) -> Graph:
    """The graph in a form for the interpreter: `training` is a constant, and random values are expanded."""

    def rule(copy: Graph, value: Value, operands: list[Value]) -> Value:
        if value.operation == "training":
            assert training is not None, "the heading says neither training nor use"
            return copy.add("constant", (), {"value": training}, value.type)
        return copy.add_copy(value, operands)

    return expand(
        rebuild(graph, rule), kept={operation for operation in OPERATIONS.values() if operation.role is not Role.RANDOM}
    )


def results_of(graph: Graph, numbers: Numbers, training: bool | None = None) -> dict[str, Array]:
    ready = evaluable(graph, training)
    longest = max((rows.steps for rows in _rows_of(ready).values()), default=1)
    ready, _ = at_length(ready, longest)
    numbers.add(ready)
    return evaluate(ready, numbers.leaves, numbers.sizes)


# ------------------------------------------------------------------ derivatives, without the compiler's own


def with_leaf(graph: Graph, replaced: Mapping[Value, str]) -> Graph:
    """The graph with leaves of these names in place of some values."""

    def rule(copy: Graph, value: Value, operands: list[Value]) -> Value:
        if value in replaced:
            return copy.leaf(Role.INPUT, replaced[value], value.type)
        return copy.add_copy(value, operands)

    return rebuild(graph, rule)


def without_stopped(graph: Graph, numbers: Numbers) -> Graph:
    """The graph with a leaf in place of each `stop_gradient`.

    The leaf holds its value, so that a derivative treats it as a constant.
    """
    stopped = {value: f"stopped.{value.number}" for value in graph.values(stop_gradient)}
    stopped_at = evaluate(
        graph.subgraph({parse_result(name): value for value, name in stopped.items()})[0], numbers.leaves, numbers.sizes
    )
    numbers.leaves.update(stopped_at)
    return with_leaf(graph, stopped)


def finite_differences(function: Callable[[Array], Array], at: Array) -> Array:
    """The gradient of a scalar function."""
    gradient = np.zeros(at.shape)
    for index in np.ndindex(at.shape):
        after, before = at.copy(), at.copy()
        after[index] += _STEP
        before[index] -= _STEP
        gradient[index] = (function(after) - function(before)) / (2 * _STEP)
    return gradient


def gradient_of(graph: Graph, result: str, wrt: str, numbers: Numbers) -> Array:
    """The gradient of the sum of a result's elements with respect to a leaf."""
    still = without_stopped(graph, numbers)

    def function(array: Array) -> Array:
        return evaluate(still, {**numbers.leaves, wrt: array}, numbers.sizes)[result].sum()

    return finite_differences(function, numbers.leaves[wrt])


def evaluate_with_derivatives(graph: Graph, leaves: Mapping[str, Array], sizes: Mapping[str, int]) -> dict[str, Array]:
    """The results of a graph with `grad(y, x)`, of any order, by finite differences.

    Samples do not mix, so the derivative of a sample is that of the sum over all samples.
    """
    derivatives, names = dict[str, Array](), dict[Value, str]()
    for value in graph.values(Role.DERIVATIVE):
        y, x = value.operands
        copy, copies = graph.subgraph({parse_result("y"): y, parse_result("x"): x})
        point = evaluate_with_derivatives(graph.subgraph({parse_result("x"): x})[0], leaves, sizes)["x"]
        leaf = f"cut.{len(leaves)}"
        cut = with_leaf(copy, {copies[x]: leaf})

        def function(array: Array, cut: Graph = cut, leaf: str = leaf) -> Array:
            return evaluate_with_derivatives(cut, {**leaves, leaf: array}, sizes)["y"].sum()

        names[value] = f"derivative.{value.number}"
        derivatives[names[value]] = finite_differences(function, point)
    return evaluate(with_leaf(graph, names), {**leaves, **derivatives}, sizes)
