"""Tests the definition of an operation or a pass: type rule, reference, kernel, first and second gradients.

They are tested on the definition's examples and on wider types made from them. `netc ops --test NAME` prints the
findings, and a plug-in's own tests call `check`. netc's built-in operations are tested in the same way.
"""

import ast
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from netc.compiler import pipeline
from netc.compiler.backends import Backend, target_of
from netc.compiler.ir.forms import Custom, Expansion, Scalar, SplitMetric
from netc.compiler.ir.graph import Graph, verify
from netc.compiler.ir.results import Result, ResultKind
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import DTypeName, Type, parse_type
from netc.compiler.ir.value import OPERATIONS, Operation, Value, apply
from netc.compiler.operations import elementwise  # noqa: F401  registers the operations
from netc.compiler.passes.differentiate import differentiate
from netc.compiler.pipeline import Pass
from netc.compiler.program.custom import definition
from netc.compiler.reference import attributes_of, evaluate
from netc.compiler.targets.cpu.math.functions import FUNCTIONS
from netc.dsl.diagnostics import nearest
from netc.runtime.execution.resources import Resources, State
from netc.runtime.execution.step import Step
from netc.runtime.execution.workers import Workers
from netc.runtime.plugin_faults import attributes_problem
from netc.runtime.verification.findings import BATCH, Array, Failure, Finding, at, compare
from netc.runtime.verification.pass_definitions import findings_of_pass

_SIZE = r"(?<![\w.])([2-9])(?=[,\]])"  # matches the size of an axis in a type's text
_WIDER = 14  # axes of generated types are larger by this, so that they exceed a vector
_TOLERANCE: dict[DTypeName, float] = {"f32": 2e-5, "f64": 1e-12}
_SLOPE_STEP, _SLOPE_TOLERANCE = 1e-6, 1e-6
Arrays = Mapping[str, Array]


def check(subject: Operation | Pass, backend: Backend = "cpu") -> None:
    """Raises an AssertionError with all findings about an operation or a pass. For tests.

    Kernels are compiled. The backend "plan" emulates them instead, which is faster than compiling them.
    """
    problems = list(findings_of_pass(subject) if isinstance(subject, Pass) else findings(subject, backend))
    if problems:
        raise AssertionError("\n".join(map(str, problems)))


def findings(operation: Operation, backend: Backend = "cpu") -> Iterator[Finding]:
    """Yields at most one finding for each case; none if the definition is correct."""
    if not operation.name.isidentifier():
        yield Finding("name", repr(operation.name), "this is not a name")
        return
    problem, hint = attributes_problem(operation)
    if problem:
        yield Finding("attributes", operation.name, f"{problem}: {hint}")
        return
    if not operation.doc:
        yield Finding("doc", operation.name, "there is no description")
    if not operation.examples:
        yield Finding("examples", operation.name, "there is none to test it with")
    with _registered(operation):
        for types, attributes, precisions in cases(operation):
            arguments = ", ".join([*types, *(f"{key} = {value}" for key, value in attributes.items())])
            try:
                _test(operation, types, attributes, precisions, backend)
            except Failure as failure:
                yield Finding(failure.point, f"{operation.name}({arguments})", failure.message)


def cases(operation: Operation) -> Iterator[tuple[tuple[str, ...], dict[str, Any], tuple[DTypeName, ...]]]:
    """Yields types, attributes and precisions: the operation's examples in both precisions.

    Unless its attributes contain sizes, also types with wider axes in f32, which exceed a vector.
    """
    for types, attributes in operation.examples:
        says_sizes = any(isinstance(value, tuple) for key, value in attributes.items() if key != "over")
        wider = types if says_sizes else tuple(re.sub(_SIZE, _widened, text) for text in types)
        yield types, attributes, ("f64", "f32")
        if wider != types and _fits(operation, wider, attributes):
            yield wider, attributes, ("f32",)


def _widened(size: re.Match[str]) -> str:
    return str(int(size[1]) + _WIDER)


def _fits(operation: Operation, types: tuple[str, ...], attributes: Mapping[str, Any]) -> bool:
    try:
        graph_of(operation, types, attributes)
    except Exception:  # the operation does not take these types; a faulty definition fails on its example
        return False
    return True


@contextmanager
def _registered(operation: Operation) -> Iterator[None]:
    """Within this context, the operation is registered."""
    before = OPERATIONS.get(operation.name)
    OPERATIONS[operation.name] = operation
    try:
        yield
    finally:
        if before is None:
            del OPERATIONS[operation.name]
        else:
            OPERATIONS[operation.name] = before


# ------------------------------------------------------------------ one case


def _test(
    operation: Operation,
    types: tuple[str, ...],
    attributes: Mapping[str, Any],
    precisions: tuple[DTypeName, ...],
    backend: Backend,
) -> None:
    """Raises Failure at the first point that is wrong. Gradients are tested in f64 only."""
    for dtype in precisions:
        with at("type rule"):
            graph, leaves, *results = graph_of(operation, types, attributes, dtype)
        graph.results = {ResultKind.VALUE.named(f"y{i}"): value for i, value in enumerate(results)}
        result, arrays = results[0], _arrays(leaves, operation, np.random.default_rng(1))
        _test_reference(operation, leaves, result, arrays)
        expected = evaluate(graph, arrays, BATCH)
        if isinstance(operation.lower, Scalar):
            _test_words(operation.lower.expression)
        if isinstance(operation.lower, Custom):
            _test_bounds(operation.lower, graph, result, leaves, arrays)
        with at("kernel"):
            first, second = (compiled(graph, arrays, threads=count, backend=backend) for count in (1, 2))
        tolerance = max(_TOLERANCE[dtype], _TOLERANCE["f32"] if "f32" in attributes.values() else 0.0)
        for i, name in enumerate(graph.printed_results()):
            kernel = f"result {i} of the kernel" if len(results) > 1 else "the kernel"
            compare("kernel", first[name], expected[name], tolerance, f"{kernel} in {dtype} gives", "the reference")
            compare("kernel", second[name], first[name], 0.0, f"{kernel} on two threads gives", "on one")
    if "f64" not in precisions:
        return
    if operation.gradient is not None or (_is_made_of_others(operation) and _is_smooth(operation, types, attributes)):
        _test_gradients(operation, types, attributes, backend)


def _test_reference(operation: Operation, leaves: list[Value], result: Value, arrays: Arrays) -> None:
    """The reference must give the shape and kind of numbers that the type rule states, and not change its operands."""
    if _is_made_of_others(operation):
        return  # it has no reference
    operands = [arrays[leaf.name].copy() for leaf in leaves]
    with at("reference"):
        computed = np.asarray(operation.reference(*operands, **attributes_of(result, BATCH)))
    for operand, leaf in zip(operands, leaves, strict=True):
        if not np.array_equal(operand, arrays[leaf.name], equal_nan=operand.dtype.kind == "f"):
            raise Failure("reference", f"it changes its operand {leaves.index(leaf) + 1}")
    promised = result.type.shape(BATCH)
    if computed.shape != promised:
        stated = f"the type rule says {result.type}, {list(promised)} for {BATCH} samples"
        raise Failure("type rule", f"{stated}; the reference gives {list(computed.shape)}")
    kinds = {"f": "a float", "i": "a whole number", "u": "a whole number", "b": "a truth"}
    expected = "f" if result.type.is_float else "b" if result.type.dtype == "bool" else "i"
    if kinds.get(computed.dtype.kind) != kinds[expected]:
        kind = kinds.get(computed.dtype.kind, computed.dtype)
        raise Failure("type rule", f"the type rule says {result.type}; the reference gives {kind}")


def _test_words(expression: str) -> None:
    """Every function that a kernel calls must be defined in targets/cpu/math/."""
    with at("kernel"):
        calls = [
            node.func.id
            for node in ast.walk(ast.parse(expression))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        ]
    declared = {"abs", "max", "min", "T", *(word.rpartition("_")[0] for word in FUNCTIONS)}
    for word in calls:
        if word not in declared:
            hint = nearest(word, declared)
            raise Failure("kernel", f"no word of kernels is called `{word}`" + (f", {hint}" if hint else ""))


class _Guarded:
    """An array that raises Failure if an element outside of its bounds is read or written."""

    def __init__(self, name: str, array: Array) -> None:
        self.name, self.array, self.shape = name, array, array.shape

    def __len__(self) -> int:
        return len(self.array)

    def _within(self, index: Any) -> tuple[int, ...]:
        indices = index if isinstance(index, tuple) else (index,)
        is_inside = len(indices) == len(self.shape) and all(
            0 <= i < n for i, n in zip(indices, self.shape, strict=True)
        )
        if not is_inside:
            element = f"{self.name}{[int(i) for i in indices]}"
            raise Failure("kernel", f"it goes to {element}, beyond its end: {list(self.shape)}")
        return indices

    def __getitem__(self, index: Any) -> Any:
        return self.array[self._within(index)]

    def __setitem__(self, index: Any, value: Any) -> None:
        self.array[self._within(index)] = value


def _test_bounds(lower: Custom, graph: Graph, result: Value, leaves: list[Value], arrays: Arrays) -> None:
    """Runs a custom kernel's function in Python, on the first sample, with arrays that check every access.

    It must write every element of its result.
    """
    with at("kernel"):
        node = definition(lower.function)
        names = [argument.arg for argument in node.args.args]
        output = np.full(result.type.shape(1)[result.type.lead :], np.nan if result.type.is_float else -1, np.float64)
        operands = [np.asarray(arrays[leaf.name], np.float64) for leaf in leaves]
        samples = [array[0] if leaf.type.lead else array for array, leaf in zip(operands, leaves, strict=True)]
        watched = [_Guarded(name, array) for name, array in zip(names, [output, *samples], strict=False)]
        numbers = [result.keywords[name] for name in names[len(watched) :]]
        space: dict[str, Any] = {"math": math}
        exec(compile(ast.Module([node], []), "<kernel>", "exec"), space)
        space[node.name](*watched, *numbers)
    if result.type.is_float and np.isnan(output).any() and not np.isnan(evaluate(graph, arrays, BATCH)["y0"]).any():
        raise Failure("kernel", f"it leaves {names[0]}{[int(i) for i in np.argwhere(np.isnan(output))[0]]} unwritten")


_LOSS, _SLOPE = ResultKind.VALUE.named("loss"), ResultKind.VALUE.named("slope")


def _order(order: str, leaf: Value) -> Result:
    """The result that holds the first or the second gradient of a leaf."""
    return ResultKind.VALUE.named(f"{order}.{leaf.name}")


def _test_gradients(
    operation: Operation, types: tuple[str, ...], attributes: Mapping[str, Any], backend: Backend
) -> None:
    """Compares first and second gradients in f64, along random directions, with central differences."""
    graph, leaves, *results = graph_of(operation, types, attributes)
    results = [value if value.type.dtype == "f64" else apply("cast", value, dtype="f64") for value in results]
    rng = np.random.default_rng(2)
    arrays = dict(_arrays(leaves, operation, rng))
    wrt = [leaf for leaf in leaves if leaf.type.is_float]
    if not wrt:
        return
    _add_gradients(graph, results, wrt, arrays, rng)
    with at("gradient"):  # second gradients are interpreted: the kernels of their operations are tested separately
        firsts, seconds = (
            graph.only(*(key for leaf in wrt if (key := _order(order, leaf)) in graph.results))
            for order in ("first", "second")
        )
        gradients = compiled(firsts, arrays, backend=backend) | evaluate(seconds, arrays, BATCH)
    tolerance = 1e-3 if "f32" in attributes.values() else _SLOPE_TOLERANCE
    orders = (("first", "gradient", _LOSS, 1), ("second", "second gradient", _SLOPE, 10))
    for order, point, of, factor in orders:
        for i, leaf in enumerate(wrt, 1):
            name = leaf.name
            expected = _differences(graph.only(of), arrays, name, str(of), attributes)
            scale = max(float(np.abs(expected).max(initial=0.0)), 1e-3) * factor
            gives = f"of operand {i} the rule gives"
            computed = gradients[str(_order(order, leaf))]
            compare(point, computed, expected, tolerance * scale, gives, "differences", is_absolute=True)


def _add_gradients(
    graph: Graph, results: Sequence[Value], wrt: Sequence[Value], arrays: dict[str, Array], rng: np.random.Generator
) -> None:
    """Adds a loss and its gradients to a graph, then a scalar of these (the slope) and its gradients.

    The loss and the slope are dot products with random directions, which are added to `arrays`.
    """

    def along(name: str, value: Value) -> Value:
        """The dot product of a value with a random direction, which depends on every element."""
        arrays[name] = random_array(value.type, rng)
        directed = value * graph.leaf(Role.INPUT, name, value.type)
        return apply("sum", directed, over=tuple(range(value.type.rank))) if value.type.rank else directed

    loss = along("direction", results[0])
    for i, value in enumerate(results[1:], 1):
        loss = loss + along(f"direction {i}", value)
    graph.results[_LOSS] = loss
    with at("gradient"):
        first = differentiate(graph, loss, wrt)
    for i, (leaf, gradient) in enumerate(first.items(), 1):
        if gradient.type.dims != leaf.type.dims:
            raise Failure("gradient", f"of operand {i} it is {gradient.type}, the operand {leaf.type}")
        graph.results[_order("first", leaf)] = gradient
    slope: Value | None = None
    for i, gradient in enumerate(first.values()):
        value = along(f"turned {i}", gradient)
        slope = value if slope is None else slope + value
    assert slope is not None
    graph.results[_SLOPE] = slope
    with at("second gradient"):
        for leaf, gradient in differentiate(graph, slope, wrt).items():
            graph.results[_order("second", leaf)] = gradient


def _differences(graph: Graph, arrays: Arrays, name: str, of: str, attributes: Mapping[str, Any]) -> Array:
    """Slopes by central differences, element by element."""
    step = 1e-3 if "f32" in attributes.values() else _SLOPE_STEP
    slopes = np.zeros(arrays[name].shape)
    for index in np.ndindex(slopes.shape):
        sides = []
        for sign in (1, -1):
            moved = arrays[name].copy()
            moved[index] += sign * step
            sides.append(float(evaluate(graph, {**arrays, name: moved}, BATCH)[of]))
        slopes[index] = (sides[0] - sides[1]) / (2 * step)
    return slopes


# ------------------------------------------------------------------ graphs of one operation


def _is_made_of_others(operation: Operation) -> bool:
    """Whether the operation never occurs in a graph, because it is expanded where it is applied."""
    return isinstance(operation.lower, Expansion) and operation.gradient is None


def _is_smooth(operation: Operation, types: tuple[str, ...], attributes: Mapping[str, Any]) -> bool:
    """Whether all operations that it expands to have gradients."""
    graph, _, *results = graph_of(operation, types, attributes)
    parts = [value for value in graph.values() if value.operands]
    return all(result.type.is_float for result in results) and not any(
        isinstance(value.lower, SplitMetric) for value in parts
    )


def graph_of(
    operation: Operation, types: tuple[str, ...], attributes: Mapping[str, Any], precision: DTypeName = "f64"
) -> tuple[Graph, list[Value], *tuple[Value, ...]]:
    """Applies the operation to inputs x0, x1, ... of these types. Returns the graph, the inputs and each result.

    `precision` replaces f64 in the types.
    """
    graph = Graph()
    graph.precision = precision
    leaves = [
        graph.leaf(Role.INPUT, f"x{i}", parse_type(text.replace("f64", precision))) for i, text in enumerate(types)
    ]
    arguments = {key: precision if value == "f64" else value for key, value in attributes.items()}
    results: Value | tuple[Value, ...] = operation(*leaves, **arguments)
    return graph, leaves, *(results if isinstance(results, tuple) else (results,))


def random_array(
    type_: Type, rng: np.random.Generator, domain: tuple[float, float] = (-2.0, 2.0), batch: int = BATCH
) -> Array:
    """Random numbers of a type, uniform in the domain."""
    shape = type_.shape(batch)
    if type_.classes is not None:
        return rng.integers(0, type_.classes, shape).astype(np.int32)
    if type_.dtype == "bool":
        return rng.random(shape) > 0.5
    if type_.dtype == "i32":
        return rng.integers(int(domain[0]), int(domain[1]), shape).astype(np.int32)
    return rng.uniform(*domain, shape).astype(np.float32 if type_.dtype == "f32" else np.float64)


def _arrays(leaves: list[Value], operation: Operation, rng: np.random.Generator) -> dict[str, Array]:
    return {leaf.name: random_array(leaf.type, rng, operation.domain) for leaf in leaves}


def compiled(
    graph: Graph,
    arrays: Arrays,
    batch: int = BATCH,
    machine: Any = None,
    threads: int = 1,
    backend: Backend = "cpu",
) -> dict[str, Array]:
    """Runs the passes, verifying the graph after each, and computes every result of the graph with kernels."""
    verify(graph)
    pipeline.run_passes(graph, lambda name, stage: verify(stage))
    resources = Resources(State.of(None, graph), Workers(threads), target_of(backend, machine))
    step, values = Step(graph, resources, batch), graph.printed_results()
    return {
        name: np.asarray(value) if values[name].type.is_batched else np.asarray(value)[0]
        for name, value in step.run(arrays, np.arange(batch)).items()
    }


__all__ = [
    "BATCH",
    "Finding",
    "cases",
    "check",
    "compiled",
    "findings",
    "findings_of_pass",
    "graph_of",
    "random_array",
]
