"""Runs the graph of a golden case as an emulated plan, in several orders and for several workers.

Results are compared with the interpreter's. No kernel is compiled.
"""

from typing import Any

import numpy as np

from netc.compiler.backends import Backend, target_of
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.index_tables import table_of
from netc.compiler.ir.results import ResultKind
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import DTYPES, Type
from netc.compiler.program.plan import layout
from netc.compiler.targets.emulator.run import random_order
from netc.compiler.targets.machine import Machine
from netc.runtime.data.stored import Ragged
from netc.runtime.execution.memory import Memory
from netc.runtime.execution.resources import Resources, State
from netc.runtime.execution.sequences import SequenceStep
from netc.runtime.execution.step import Step
from netc.runtime.execution.workers import Workers

_WORKERS, _ORDERS, _LONGEST = 3, 2, 3


def check_emulated(graph: Graph, batch: int, machine: Machine, tolerance: float) -> None:
    """Asserts that two steps, the second one smaller, give the same results and leave the same states."""
    count = batch + max(1, batch // 3)
    rng = np.random.default_rng(3)
    fields = {
        value.name: _field(value.type, count, rng)
        for kind in (Role.INPUT, Role.TARGET, Role.GIVEN)
        for value in graph.values(kind)
        if table_of(value) is None
    }
    expected = _run(graph, fields, batch, count, machine, "reference")
    for seed in range(_ORDERS):
        with random_order(seed):
            results = _run(graph, fields, batch, count, machine, "plan")
        assert results.keys() == expected.keys()
        for name, array in expected.items():
            np.testing.assert_allclose(
                results[name], array, rtol=tolerance, atol=tolerance, err_msg=f"{name}, in the order {seed}"
            )


def _run(
    graph: Graph, fields: dict[str, Any], batch: int, count: int, machine: Machine, backend: Backend
) -> dict[str, np.ndarray[Any, Any]]:
    """The results of all samples, and the persistent values after them."""
    state = _state(graph)
    rng = np.random.default_rng(4)
    for array in state.arrays.values():
        array[...] = rng.standard_normal(array.shape)
    resources = Resources(state, Workers(_WORKERS), target_of(backend, machine))
    varying = {name: str(graph_type.rows) for name, graph_type in _varying(graph).items()}
    step = SequenceStep(graph, resources, batch, varying) if varying else Step(graph, resources, batch)
    results = step.run(fields, np.arange(count))
    return {
        **{name: _rows(value) for name, value in results.items()},
        **{f"update.{name}": array for name, array in state.arrays.items()},
    }


def _state(graph: Graph) -> State:
    """Memory for all persistent values, also for those whose old value nothing reads."""
    leaves = {value.name: value.type for kind in (Role.PARAMETER, Role.STATE) for value in graph.values(kind)}
    updates = {name: value.type for name, value in graph.results_of(ResultKind.UPDATE).items()}
    types = {**updates, **leaves}
    offsets, size = layout((name, type_.nbytes(1)) for name, type_ in types.items())
    memory = Memory(size)
    return State(memory, offsets, {name: memory.view(offsets[name], type_, 1) for name, type_ in types.items()})


def _varying(graph: Graph) -> dict[str, Type]:
    return {value.name: value.type for value in graph.values(Role.INPUT) if value.type.is_varying}


def _rows(value: Any) -> np.ndarray[Any, Any]:
    return value.rows if isinstance(value, Ragged) else np.asarray(value)


def _field(type_: Type, count: int, rng: np.random.Generator) -> Any:
    """Random samples of a type."""

    def numbers(shape: tuple[int, ...]) -> Any:
        if type_.is_float:
            return rng.standard_normal(shape).astype(DTYPES[type_.dtype].numpy)
        return rng.integers(0, type_.classes or 2, shape).astype(DTYPES[type_.dtype].numpy)

    dims = type_.shape(1)[1:] if type_.is_batched else type_.shape(1)
    if type_.is_varying:
        lengths = rng.integers(1, _LONGEST + 1, count)
        return Ragged.of([numbers((length, *dims)) for length in lengths], DTYPES[type_.dtype].numpy)
    return numbers((count, *dims) if type_.is_batched else dims)
