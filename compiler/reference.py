"""The meaning of a graph: a NumPy interpreter, one operation at a time, slow and obviously right."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from netc.compiler.ir.attributes import Constant
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.results import Result
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import DTYPES, Sizes
from netc.compiler.ir.value import OPERATIONS, Value
from netc.compiler.operations import scan
from netc.compiler.operations.scan import Part

Array = np.ndarray[Any, Any]
Evaluate = Callable[[Graph, Mapping[str, Array], Sizes], dict[str, Array]]


def evaluate(graph: Graph, leaves: Mapping[str, Array], sizes: Sizes) -> dict[str, Array]:
    """Returns every result of the graph by its printed form, such as `output.y`.

    `leaves` are the arrays of its inputs, targets, parameters and states by name; `sizes` those of named dimensions.
    """
    memory = values_of(graph, leaves, sizes, evaluate)
    return {str(result): memory[value] for result, value in graph.results.items()}


def values_of(graph: Graph, leaves: Mapping[str, Array], sizes: Sizes, body: Evaluate) -> dict[Value, Array]:
    """Returns every value of the graph except scans. `body` evaluates a scan's body at each step."""
    memory: dict[Value, Array] = {}
    parts: dict[Value, dict[Result, Array]] = {}
    with np.errstate(all="ignore"):
        for value in graph.values():
            if value.role is Role.SCAN:
                parts[value] = scan.compute([memory[operand] for operand in value.operands], value, leaves, body)
            elif value.role is Role.PART:
                memory[value] = parts[value.operands[0]][value.attributes_as(Part).result]
            else:
                memory[value] = _compute(value, [memory[operand] for operand in value.operands], leaves, sizes)
    return memory


def attributes_of(value: Value, sizes: Sizes) -> dict[str, Any]:
    """Returns the keyword arguments of a reference: the attributes, and `sizes` if the reference takes it."""
    keywords = value.keywords
    if value.definition is not None and value.definition.takes_sizes:
        keywords["sizes"] = sizes
    return keywords


def _compute(value: Value, operands: list[Array], leaves: Mapping[str, Array], sizes: Sizes) -> Array:
    """Computes one value from its operands; not for scans and their parts."""
    dtype = DTYPES[value.type.dtype].numpy
    if value.role is Role.CONSTANT:
        return np.asarray(value.attributes_as(Constant).value, dtype)
    if value.name:
        return np.asarray(leaves[value.name], dtype)
    result = np.asarray(OPERATIONS[value.operation].reference(*operands, **attributes_of(value, sizes)))
    assert result.shape == value.type.shape(sizes), f"{value}: {result.shape}"
    return result.astype(dtype, copy=False)
