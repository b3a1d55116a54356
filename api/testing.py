"""What an operation, or a pass, says of itself, tested: type rule, reference, kernel, gradients of first and second order, on its examples and on types made from them.

`netc ops --test NAME` prints it, a plug-in's own tests call `check`, and netc's built-in operations go through the same.
"""

import ast
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from netc.compiler import pipeline
from netc.compiler.elaborate.elaborator import elaborate
from netc.compiler.ir.graph import Graph, print_graph, verify
from netc.compiler.ir.types import DTypeName, Type, parse_type
from netc.compiler.ir.value import OPERATIONS, Expansion, Operation, Own, Scalar, Value, Whole, apply
from netc.compiler.kernels.math import WORDS
from netc.compiler.kernels.own import definition
from netc.compiler.operations import elementwise  # noqa: F401  registers the operations
from netc.compiler.passes.differentiate import differentiate
from netc.compiler.pipeline import Pass
from netc.compiler.reference import attributes_of, evaluate
from netc.dsl.diagnostics import nearest
from netc.dsl.parser import parse
from netc.dsl.source import Source
from netc.runtime.data.madeup import made_up
from netc.runtime.program import Program
from netc.runtime.step import Backend, State, Step
from netc.runtime.workers import Workers

BATCH = 5  # samples
_SIZE = r"(?<![\w.])([2-9])(?=[,\]])"  # of an axis, in a type's text
_WIDER = 14  # by so much axes grow in generated types: past a vector's end
_TOLERANCE: dict[DTypeName, float] = {"f32": 2e-5, "f64": 1e-12}
_SLOPE_STEP, _SLOPE_TOLERANCE = 1e-6, 1e-6
Array = np.ndarray[Any, Any]
Arrays = Mapping[str, Array]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong: at which `point` of the definition, in which `case`, and what was found."""

    point: str
    case: str
    told: str

    def __str__(self) -> str:
        return f"{self.point}, {self.case}: {self.told}"


class _Found(Exception):
    def __init__(self, point: str, told: str) -> None:
        super().__init__(told)
        self.point, self.told = point, told


def check(one: Operation | Pass, backend: Backend = "numba") -> None:
    """For a test: raises an AssertionError that says at which point the definition of an operation or a pass is wrong, in which case, with the numbers that
    differ. Kernels are compiled; the backend "plan" emulates them, which is quicker than to compile them."""
    found = list(findings(one, backend) if isinstance(one, Operation) else findings_of_pass(one))
    if found:
        raise AssertionError("\n".join(map(str, found)))


def findings(operation: Operation, backend: Backend = "numba") -> Iterator[Finding]:
    """What is wrong with a definition, one finding a case at most; none if it keeps its word."""
    if not operation.name.isidentifier():
        yield Finding("name", repr(operation.name), "this is no name")
        return
    if not operation.doc:
        yield Finding("doc", operation.name, "nothing says what it is")
    if not operation.examples:
        yield Finding("examples", operation.name, "there is none to test it with")
    with _known(operation):
        for types, attributes, precisions in cases(operation):
            told = ", ".join([*types, *(f"{key} = {value}" for key, value in attributes.items())])
            try:
                _test(operation, types, attributes, precisions, backend)
            except _Found as found:
                yield Finding(found.point, f"{operation.name}({told})", found.told)


def findings_of_pass(one: Pass) -> Iterator[Finding]:
    """What is wrong with a pass: on its example, where it must find something to do, and on models of every kind. In f64, by the interpreter: what a training step
    comes to must be what it came to without the pass."""
    if not one.example:
        yield Finding("example", one.name, "there is none to test it with")
    for text in (*([one.example] if one.example else ()), *_MODELS):
        case = "its example" if text == one.example else text.split("\n")[0].lstrip("# ")
        try:
            _test_pass(one, text, must_act=text == one.example)
        except _Found as found:
            yield Finding(found.point, f"{one.name}, {case}", found.told)


# what a pass may meet
_MODELS = (
    """# a dense network
model {
  input x: float[5]
  target y: class(3)
  z = x -> dense(7) -> relu -> dense(3)
  loss cross_entropy(z, y)
}
""",
    """# a convolutional network with normalisation and dropout
model {
  input x: float[6, 6, 2]
  target y: class(3)
  z = x -> conv(4) -> batchnorm -> relu -> maxpool(2) -> flatten -> dropout(0.3) -> dense(3)
  loss cross_entropy(z, y)
}
""",
    """# a recurrent network over sequences
model {
  input x: float[time <= 8, 3]
  target y: float
  z = last(gru(x, 4)) + sum(mean(attention(x, x, x), over = time))
  loss mse(mean(z), y)
}
""",
    """# a derivative in a loss
model {
  input x: float[3]
  target y: float
  z = x -> dense(6) -> tanh -> dense(1) -> squeeze
  loss mse(z, y)
  loss slope = mean(square(grad(z, x)))
}
""",
)


def _test_pass(one: Pass, text: str, must_act: bool) -> None:
    """Raises _Found where a step comes to something else with the pass."""
    file = parse(Source("model.net", text + "train {\n  optimizer = adam(lr = 0.1)\n  precision = f64\n}\n"))
    model = elaborate(file, {}, lambda *_: 3)
    graph = pipeline.training_graph(model)
    if must_act:
        with _at("pass"), _in_the_pipeline(one):
            stages = dict[str, Graph]()
            pipeline.run_passes(graph, stages.__setitem__)
            if print_graph(stages[one.name]) == print_graph(stages[one.after]):
                raise _Found("pass", "it changes nothing")
    fields = made_up(model, BATCH, longest=6)
    plain = Program(model, backend="reference", batch=BATCH, threads=1)
    expected = plain.step(fields)
    with _at("pass"), _in_the_pipeline(one):
        changed = Program(model, backend="reference", batch=BATCH, threads=1)
        found = changed.step(fields)
    for name, loss in expected.items():
        _compare("pass", np.asarray(found[name]), np.asarray(loss), 1e-9, f"with it the loss `{name}` is", "without it")
    for name, value in plain.persistent.items():
        _compare("pass", changed.persistent[name], value, 1e-6, f"with it `{name}` becomes", "without it")


@contextmanager
def _in_the_pipeline(one: Pass) -> Iterator[None]:
    """The pass in its place meanwhile, registered or not."""
    before = dict(pipeline.PASSES)
    pipeline.PASSES.pop(one.name, None)
    try:
        pipeline.register_pass(one)
        yield
    finally:
        pipeline.PASSES.clear()
        pipeline.PASSES.update(before)


def cases(operation: Operation) -> Iterator[tuple[tuple[str, ...], dict[str, Any], tuple[DTypeName, ...]]]:
    """Its examples, in both precisions; where attributes say nothing of sizes, also with wider axes in f32: past a vector's end."""
    for types, attributes in operation.examples:
        says_sizes = any(isinstance(value, tuple) for key, value in attributes.items() if key != "over")
        wider = (
            types if says_sizes else tuple(re.sub(_SIZE, lambda one: str(int(one[1]) + _WIDER), text) for text in types)
        )
        yield types, attributes, ("f64", "f32")
        if wider != types and _fits(operation, wider, attributes):
            yield wider, attributes, ("f32",)


def _fits(operation: Operation, types: tuple[str, ...], attributes: Mapping[str, Any]) -> bool:
    try:
        graph_of(operation, types, attributes)
    except Exception:  # of the definition: its example says it, or that it does not take such types
        return False
    return True


@contextmanager
def _known(operation: Operation) -> Iterator[None]:
    """The operation under its name meanwhile, registered or not."""
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
    """Raises _Found at the first point that is wrong; gradients are looked at where f64 is."""
    for dtype in precisions:
        with _at("type rule"):
            graph, leaves, *results = graph_of(operation, types, attributes, dtype)
        graph.results = {f"y{i}": one for i, one in enumerate(results)}
        result, arrays = results[0], _arrays(leaves, operation, np.random.default_rng(1))
        _test_reference(operation, leaves, result, arrays)
        expected = evaluate(graph, arrays, BATCH)
        if isinstance(operation.lower, Scalar):
            _test_words(operation.lower.expression)
        if isinstance(operation.lower, Own):
            _test_bounds(operation.lower, graph, result, leaves, arrays)
        with _at("kernel"):
            found, again = (compiled(graph, arrays, threads=count, backend=backend) for count in (1, 2))
        tolerance = max(_TOLERANCE[dtype], _TOLERANCE["f32"] if "f32" in attributes.values() else 0.0)
        for name in graph.results:
            kernel = f"result {name[1:]} of the kernel" if len(results) > 1 else "the kernel"
            _compare("kernel", found[name], expected[name], tolerance, f"{kernel} in {dtype} gives", "the reference")
            _compare("kernel", again[name], found[name], 0.0, f"{kernel} on two threads gives", "on one")
    if "f64" not in precisions:
        return
    if operation.gradient is not None or (_is_made_of_others(operation) and _is_smooth(operation, types, attributes)):
        _test_gradients(operation, types, attributes, backend)


def _test_reference(operation: Operation, leaves: list[Value], result: Value, arrays: Arrays) -> None:
    """The shape and the kind of numbers that the type rule promises, from operands that stay as they are."""
    if _is_made_of_others(operation):
        return  # it has no meaning of its own
    given = [arrays[leaf.name].copy() for leaf in leaves]
    with _at("reference"):
        made = np.asarray(operation.reference(*given, **attributes_of(result, BATCH)))
    for one, leaf in zip(given, leaves, strict=True):
        if not np.array_equal(one, arrays[leaf.name], equal_nan=one.dtype.kind == "f"):
            raise _Found("reference", f"it changes its operand {leaves.index(leaf) + 1}")
    promised = result.type.shape(BATCH)
    if made.shape != promised:
        told = f"the type rule says {result.type}, {list(promised)} for {BATCH} samples; the reference gives {list(made.shape)}"
        raise _Found("type rule", told)
    kinds = {"f": "a float", "i": "a whole number", "u": "a whole number", "b": "a truth"}
    wanted = "f" if result.type.is_float else "b" if result.type.dtype == "bool" else "i"
    if kinds.get(made.dtype.kind) != kinds[wanted]:
        told = f"the type rule says {result.type}; the reference gives {kinds.get(made.dtype.kind, made.dtype)}"
        raise _Found("type rule", told)


def _test_words(expression: str) -> None:
    """Every function of a kernel is a word of kernels/math.py."""
    with _at("kernel"):
        calls = [
            node.func.id
            for node in ast.walk(ast.parse(expression))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        ]
    known = {"abs", "max", "min", "T", *(word.rpartition("_")[0] for word in WORDS)}
    for word in calls:
        if word not in known:
            hint = nearest(word, known)
            raise _Found("kernel", f"no word of kernels is called `{word}`" + (f", {hint}" if hint else ""))


class _Guarded:
    """An array that is read and written within its bounds, element by element, or it raises."""

    def __init__(self, name: str, array: Array) -> None:
        self.name, self.array, self.shape = name, array, array.shape

    def __len__(self) -> int:
        return len(self.array)

    def _within(self, index: Any) -> tuple[int, ...]:
        found = index if isinstance(index, tuple) else (index,)
        if len(found) != len(self.shape) or any(not 0 <= i < size for i, size in zip(found, self.shape, strict=True)):
            raise _Found(
                "kernel", f"it goes to {self.name}{[int(i) for i in found]}, beyond its end: {list(self.shape)}"
            )
        return found

    def __getitem__(self, index: Any) -> Any:
        return self.array[self._within(index)]

    def __setitem__(self, index: Any, value: Any) -> None:
        self.array[self._within(index)] = value


def _test_bounds(lower: Own, graph: Graph, result: Value, leaves: list[Value], arrays: Arrays) -> None:
    """The function itself, in Python, on the first sample, with arrays that watch where it goes; every element of the result must be written."""
    with _at("kernel"):
        node = definition(lower.function)
        names = [argument.arg for argument in node.args.args]
        made = np.full(result.type.shape(1)[result.type.lead :], np.nan if result.type.is_float else -1, np.float64)
        given = [np.asarray(arrays[leaf.name], np.float64) for leaf in leaves]
        samples = [array[0] if leaf.type.lead else array for array, leaf in zip(given, leaves, strict=True)]
        watched = [_Guarded(name, array) for name, array in zip(names, [made, *samples], strict=False)]
        numbers = [result.keywords[name] for name in names[len(watched) :]]
        space: dict[str, Any] = {"math": math}
        exec(compile(ast.Module([node], []), "<kernel>", "exec"), space)
        space[node.name](*watched, *numbers)
    if result.type.is_float and np.isnan(made).any() and not np.isnan(evaluate(graph, arrays, BATCH)["y0"]).any():
        raise _Found("kernel", f"it leaves {names[0]}{[int(i) for i in np.argwhere(np.isnan(made))[0]]} unwritten")


def _test_gradients(
    operation: Operation, types: tuple[str, ...], attributes: Mapping[str, Any], backend: Backend
) -> None:
    """In f64: the gradient of a random direction, and that of a random direction of this, each against differences of what it is the gradient of."""
    graph, leaves, *results = graph_of(operation, types, attributes)
    results = [one if one.type.dtype == "f64" else apply("cast", one, dtype="f64") for one in results]
    rng = np.random.default_rng(2)
    arrays = dict(_arrays(leaves, operation, rng))
    wrt = [leaf for leaf in leaves if leaf.type.is_float]
    if not wrt:
        return

    def along(name: str, value: Value) -> Value:
        """A value's sum along a random direction, so that no component hides."""
        arrays[name] = random_array(value.type, rng)
        directed = value * graph.leaf("input", name, value.type)
        return apply("sum", directed, over=tuple(range(value.type.rank))) if value.type.rank else directed

    loss = along("direction", results[0])
    for i, one in enumerate(results[1:], 1):
        loss = loss + along(f"direction {i}", one)
    graph.results["loss"] = loss
    with _at("gradient"):
        first = differentiate(graph, loss, wrt)
    for i, (leaf, gradient) in enumerate(first.items(), 1):
        if gradient.type.dims != leaf.type.dims:
            raise _Found("gradient", f"of operand {i} it is {gradient.type}, the operand {leaf.type}")
        graph.results[f"first.{leaf.name}"] = gradient
    total: Value | None = None
    for i, gradient in enumerate(first.values()):
        one = along(f"turned {i}", gradient)
        total = one if total is None else total + one
    assert total is not None
    graph.results["slope"] = total
    with _at("second gradient"):
        for leaf, gradient in differentiate(graph, total, wrt).items():
            graph.results[f"second.{leaf.name}"] = gradient
    with _at("gradient"):  # the second by the interpreter: it is made of operations whose kernels are tested themselves
        found = compiled(graph.of("first."), arrays, backend=backend) | evaluate(graph.of("second."), arrays, BATCH)
    for order, of in (("first", "loss"), ("second", "slope")):
        for i, leaf in enumerate(wrt, 1):
            name = leaf.name
            expected = _differences(graph.of(of), arrays, name, of, attributes)
            point = "gradient" if order == "first" else "second gradient"
            loose = 1e-3 if "f32" in attributes.values() else _SLOPE_TOLERANCE
            scale = max(float(np.abs(expected).max(initial=0.0)), 1e-3) * (1 if order == "first" else 10)
            _compare(
                point,
                found[f"{order}.{name}"],
                expected,
                loose * scale,
                f"of operand {i} the rule gives",
                "differences",
                is_absolute=True,
            )


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


@contextmanager
def _at(point: str) -> Iterator[None]:
    """What the definition raises meanwhile is a finding at this point."""
    try:
        yield
    except _Found:
        raise
    except Exception as error:
        first = (str(error).strip() or "no message").splitlines()[0]
        raise _Found(point, f"it raises {type(error).__name__}: {first}") from error


def _compare(
    point: str, found: Array, expected: Array, tolerance: float, gives: str, other: str, is_absolute: bool = False
) -> None:
    """Raises _Found where two arrays differ most, if that is too much."""
    found, expected = np.asarray(found), np.asarray(expected)
    if found.shape != expected.shape:
        raise _Found(point, f"{gives} the shape {list(found.shape)}, {other} {list(expected.shape)}")
    one, two = found.astype(np.float64), expected.astype(np.float64)
    allowed = tolerance if is_absolute else tolerance * (1 + np.abs(two))
    with np.errstate(invalid="ignore"):
        fits = (one == two) | (np.abs(one - two) <= allowed) | (np.isnan(one) & np.isnan(two))
    if not fits.all():
        with np.errstate(invalid="ignore"):
            apart = np.where(fits, 0.0, np.nan_to_num(np.abs(one - two), nan=np.inf))
        at = np.unravel_index(int(apart.argmax()), apart.shape)
        place = f" at {[int(i) for i in at]}" if at else ""
        raise _Found(point, f"{gives} {one[at]:.9g}{place}, {other} {two[at]:.9g}")


# ------------------------------------------------------------------ graphs of one operation


def _is_made_of_others(operation: Operation) -> bool:
    """Whether a graph never holds it: it is expanded where it is applied."""
    return isinstance(operation.lower, Expansion) and operation.gradient is None


def _is_smooth(operation: Operation, types: tuple[str, ...], attributes: Mapping[str, Any]) -> bool:
    """Whether all that it is made of has a gradient."""
    graph, _, *results = graph_of(operation, types, attributes)
    parts = [value for value in graph.values() if value.operands]
    return all(one.type.is_float for one in results) and not any(
        isinstance(OPERATIONS[value.operation].lower, Whole) for value in parts
    )


def graph_of(
    operation: Operation, types: tuple[str, ...], attributes: Mapping[str, Any], precision: DTypeName = "f64"
) -> tuple[Graph, list[Value], *tuple[Value, ...]]:
    """The operation applied to inputs x0, x1, ... of these types, f64 in them being the precision: the graph, the inputs, each result."""
    graph = Graph()
    graph.precision = precision
    leaves = [graph.leaf("input", f"x{i}", parse_type(text.replace("f64", precision))) for i, text in enumerate(types)]
    given = {key: precision if value == "f64" else value for key, value in attributes.items()}
    made: Value | tuple[Value, ...] = operation(*leaves, **given)
    return graph, leaves, *(made if isinstance(made, tuple) else (made,))


def random_array(
    type_: Type, rng: np.random.Generator, domain: tuple[float, float] = (-2.0, 2.0), batch: int = BATCH
) -> Array:
    """Numbers of a type, uniform in the domain."""
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
    backend: Backend = "numba",
) -> dict[str, Array]:
    """Every result of a graph, by its kernels. The graph goes through the passes first, verified after each."""
    verify(graph)
    pipeline.run_passes(graph, lambda name, one: verify(one))
    step = Step(graph, State.of(None, graph), batch, Workers(threads), backend, machine)
    return {
        name: np.asarray(value) if graph.results[name].type.is_batched else np.asarray(value)[0]
        for name, value in step.run(arrays, np.arange(batch)).items()
    }
