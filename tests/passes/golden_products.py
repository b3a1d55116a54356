"""What the calls of the register tile come to, by NumPy's strided views in place of the tile: a product's counts and strides must name the right elements."""

from math import prod
from typing import Any

import numpy as np
from golden_numbers import SAMPLES, Numbers, results_of

from netc.compiler.graph import Graph
from netc.compiler.kernels.schedule import PRODUCT
from netc.compiler.passes.tasks import Buffer, Pointer, Task, Tasks

Array = np.ndarray[Any, Any]
# the loops around an element of the result, then those of its sum, with the stride of each operand
_LOOPS = (
    ("outer", ("a_outer", "b_outer", "c_outer", "start_outer")),
    ("middle", ("a_middle", "b_middle", "c_middle", "start_middle")),
    ("inner", ("a_inner", "b_inner", "c_inner", "start_inner")),
    ("rows", ("a_row", None, "c_row", "start_row")),
    ("columns", (None, "b_column", 1, 1)),
    ("turns", ("a_turn", "b_turn", None, None)),
    ("runs", ("a_run", "b_run", None, None)),
    ("depth", ("a_step", "b_row", None, None)),
)
_SUMMED = 3  # of these loops


def check_products(graph: Graph, program: Tasks) -> None:
    """Each result that a product computes must be what the interpreter says."""
    numbers = Numbers(graph)
    expected = results_of(graph, numbers)
    memory: dict[Buffer, Array] = {}
    for task in program.tasks:
        if task.kernel.form != "product":
            return  # a loop is not run here
        for pointer in task.pointers:
            if pointer.buffer not in memory:
                size = pointer.buffer.type.size(SAMPLES)
                held = numbers.leaves.get(pointer.buffer.name)
                memory[pointer.buffer] = np.full(size, np.nan) if held is None else held.astype(np.float64).ravel()
        _multiply(task, memory)
    for name, buffer in program.results.items():
        np.testing.assert_allclose(memory[buffer], expected[name].ravel(), rtol=1e-4, atol=1e-4, err_msg=name)


def _multiply(task: Task, memory: dict[Buffer, Array]) -> None:
    """One call on all rows of the task's axis."""
    rows = SAMPLES if isinstance(task.axis, str) else task.axis or 1
    pointers = dict(zip(PRODUCT, task.pointers, strict=False))
    counts = {
        name: count.factor * {"one": 1, "rows": rows}.get(count.per, SAMPLES)
        for name, count in zip(PRODUCT[len(task.pointers) :], task.counts, strict=True)
    }
    shape = tuple(counts[loop] for loop, _ in _LOOPS)

    def view(name: str, number: int) -> Array:
        """An operand over all loops, those where it stays included."""
        steps = [strides[number] for _, strides in _LOOPS]
        return _strided(
            memory, pointers[name], shape, [counts[step] if isinstance(step, str) else step or 0 for step in steps]
        )

    over = tuple(range(len(shape) - _SUMMED, len(shape)))
    total = (view("a", 0) * view("b", 1)).sum(axis=over)
    first = (..., *(0,) * _SUMMED)
    view("c", 2)[first] = total + (view("start", 3)[first] if counts["has_start"] else 0.0)


def _strided(memory: dict[Buffer, Array], pointer: Pointer, shape: tuple[int, ...], steps: list[int]) -> Array:
    flat = memory[pointer.buffer][pointer.offset :]
    last = sum((count - 1) * step for count, step in zip(shape, steps, strict=True))
    assert not prod(shape) or last < flat.size, "a product reaches beyond its operand"
    return np.lib.stride_tricks.as_strided(flat, shape, [step * flat.itemsize for step in steps])
