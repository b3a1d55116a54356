"""One graph run both ways: compiled, and by the reference interpreter."""

import numpy as np

from netc.compiler import pipeline
from netc.compiler.graph import Graph, verify
from netc.compiler.reference import evaluate
from netc.compiler.types import Type, parse_type
from netc.compiler.value import OPERATIONS, Operation, Value
from netc.runtime.program import State, Step
from netc.runtime.workers import Workers

BATCH = 5


def random_array(type_: Type, rng: np.random.Generator, domain: tuple[float, float] = (-2.0, 2.0), batch: int = BATCH):
    shape = type_.shape(batch)
    if type_.classes is not None:
        return rng.integers(0, type_.classes, shape).astype(np.int32)
    if type_.dtype == "bool":
        return rng.random(shape) > 0.5
    if type_.dtype == "i32":
        return rng.integers(int(domain[0]), int(domain[1]), shape).astype(np.int32)
    return rng.uniform(*domain, shape).astype({"f32": np.float32, "f64": np.float64, "i32": np.int32}[type_.dtype])


def graph_of(
    operation: Operation, types: tuple[str, ...], attributes: dict, precision: str = "f64"
) -> tuple[Graph, list[Value], Value]:
    graph = Graph()
    graph.precision = precision
    leaves = [graph.leaf("input", f"x{i}", parse_type(text.replace("f64", precision))) for i, text in enumerate(types)]
    attributes = {key: precision if value == "f64" else value for key, value in attributes.items()}
    return graph, leaves, operation(*leaves, **attributes)


def compiled(graph: Graph, arrays: dict, batch: int = BATCH, machine=None, threads: int = 1) -> dict:
    """Every result, by the kernels. The graph goes through the passes first, verified after each."""
    verify(graph)
    pipeline.run_passes(graph, lambda name, one: verify(one))
    step = Step(graph, State.of(None, graph), batch, Workers(threads), machine=machine)
    return {
        name: value if graph.results[name].type.is_batched else value[0]
        for name, value in step.run(arrays, np.arange(batch)).items()
    }


def examples():
    for name, operation in OPERATIONS.items():
        for i, (types, attributes) in enumerate(operation.examples):
            yield name, i, types, attributes


__all__ = ["BATCH", "compiled", "evaluate", "examples", "graph_of", "random_array"]
