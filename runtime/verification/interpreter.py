"""An interpreter of a graph at any stage, from before the first pass to after the last one, in which every value can be
watched, replaced or disturbed.

Independent of compiler/reference.py except for the operations: it draws random values itself, so that it needs no pass.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from netc.compiler.ir.attributes import Constant
from netc.compiler.ir.bf16 import as_bf16 as rounded_to_bf16
from netc.compiler.ir.forms import Expansion, Scalar, View
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.results import Result, ResultKind
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import DTYPES, Sizes
from netc.compiler.ir.value import OPERATIONS, Value
from netc.compiler.operations import scan
from netc.compiler.operations.convolution import conv2d, conv2d_input, conv2d_weights
from netc.compiler.operations.elementwise import as_bf16
from netc.compiler.operations.scan import Part
from netc.compiler.operations.window import window
from netc.compiler.reference import attributes_of
from netc.runtime.data.stored import Array

# takes a value, the arrays of its operands and its own array; returns the array to use in its place
Hook = Callable[[Value, list[Array], Array], Array]
_ULPS = 4  # of noise
_CONVOLUTIONS = (conv2d, conv2d_input, conv2d_weights)
_NEAR_HALF = 2.0**-14  # numbers that are so close to the middle between two bf16 numbers may be rounded either way


def interpret(graph: Graph, leaves: Mapping[str, Array], sizes: Sizes, hook: Hook | None = None) -> dict[Value, Array]:
    """The array of each value but scans. The hook sees the values in the bodies of scans too, once a step."""
    memory: dict[Value, Array] = {}
    parts: dict[Value, dict[Result, Array]] = {}

    def body(inner: Graph, inner_leaves: Mapping[str, Array], count: Sizes) -> dict[str, Array]:
        inner_memory = interpret(inner, inner_leaves, count, hook)
        return {str(result): inner_memory[value] for result, value in inner.results.items()}

    with np.errstate(all="ignore"):
        for value in graph.values():
            if value.role is Role.SCAN:
                parts[value] = scan.compute([memory[operand] for operand in value.operands], value, leaves, body)
                continue
            operands = [memory[operand] for operand in value.operands if operand in memory]
            if value.role is Role.PART:
                array = parts[value.operands[0]][value.attributes_as(Part).result]
            else:
                array = _compute(value, operands, leaves, sizes)
            memory[value] = array if hook is None else hook(value, operands, array)
    return memory


def results(graph: Graph, leaves: Mapping[str, Array], sizes: Sizes, hook: Hook | None = None) -> dict[str, Array]:
    """The results of the graph by their printed form."""
    memory = interpret(graph, leaves, sizes, hook)
    return {str(result): memory[value] for result, value in graph.results.items()}


def _compute(value: Value, operands: list[Array], leaves: Mapping[str, Array], sizes: Sizes) -> Array:
    """The array of a value that is neither a scan nor a part of one."""
    dtype = DTYPES[value.type.dtype].numpy
    if value.role is Role.CONSTANT:
        return np.asarray(value.attributes_as(Constant).value, dtype)
    if value.name:
        return np.asarray(leaves[value.name], dtype)
    if value.role is Role.RANDOM:
        return _drawn(value, leaves, sizes).astype(dtype, copy=False)
    result = np.asarray(OPERATIONS[value.operation].reference(*operands, **attributes_of(value, sizes)))
    assert result.shape == value.type.shape(sizes), f"{value}: {result.shape}"
    return result.astype(dtype, copy=False)


def _drawn(value: Value, leaves: Mapping[str, Array], sizes: Sizes) -> Array:
    """A random value, computed by the operations into which it is expanded."""
    small = Graph()
    small.precision = value.graph.precision
    lower = value.lowered_as(Expansion)
    like = small.constant(0.0, value.type) if not value.type.dims else small.leaf(Role.INPUT, "like", value.type)
    small.results[ResultKind.VALUE.named("drawn")] = lower.build(like, **value.keywords)
    shape = np.zeros(value.type.shape(sizes), DTYPES[value.type.dtype].numpy)
    names = {leaf.name for leaf in small.values() if leaf.name}
    return results(small, {name: shape if name == "like" else leaves[name] for name in names}, sizes)["drawn"]


class Noise:
    """A hook that disturbs every rounded result by a few units in the last place, or in that of the terms of a sum.

    This is Monte Carlo arithmetic (Parker 1997). By as much as the results of a graph move, rounding may separate two
    correct programs, which is far near a tie or a change of sign.
    """

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)

    def __call__(self, value: Value, operands: list[Array], array: Array) -> Array:
        if not operands or array.dtype.kind != "f" or not array.size or _is_exact(value, operands, array):
            return array
        if value.definition is as_bf16:
            (x,) = operands
            return np.asarray(rounded_to_bf16(x + x * self.random.uniform(-_NEAR_HALF, _NEAR_HALF, x.shape)), x.dtype)
        size = np.abs(array)
        if not isinstance(value.lower, Scalar):
            size = np.maximum(size, _size_of_terms(value, operands, array))
        if _convolves(value):  # Winograd's filtering adds terms of neighbouring elements, which then cancel
            size = np.maximum(size, size.mean())
        noise = self.random.uniform(-1, 1, array.shape) * _ULPS * np.finfo(array.dtype).eps
        return np.asarray(array + noise * size, array.dtype)


def _is_exact(value: Value, operands: list[Array], array: Array) -> bool:
    """Whether the value only moves or chooses elements of its operands, and so is not rounded."""
    if value.role is Role.PART or isinstance(value.lower, View):
        return True
    floats = [operand.ravel() for operand in operands if operand.dtype.kind == "f"]
    if not floats:
        return False
    elements = np.concatenate([*floats, *(-array for array in floats), np.array([0, 1], array.dtype)])
    return bool(np.isin(array.ravel(), elements).all())


def _convolves(value: Value) -> bool:
    """Whether a value is a product with windows of an image, before or after `expand`."""
    if value.role is Role.CONTRACTION:
        return any(map(_shows_windows, value.operands))
    return value.definition in _CONVOLUTIONS


def _shows_windows(value: Value) -> bool:
    """Whether a value is a view of windows of an image."""
    while value.role is Role.SHAPE or isinstance(value.lower, View):
        if value.definition is window:
            return True
        value = value.operands[0]
    return False


def _size_of_terms(value: Value, operands: list[Array], array: Array) -> Any:
    """The size of a sum or a matrix product if all its terms were positive; 0 if that cannot be computed."""
    sizes = {name: size for name, size in zip(value.type.dims, array.shape, strict=True) if isinstance(name, str)}
    unsigned = [np.abs(operand) if operand.dtype.kind == "f" else operand for operand in operands]
    try:
        terms = np.asarray(OPERATIONS[value.operation].reference(*unsigned, **attributes_of(value, sizes)))
    except (KeyError, ValueError, AssertionError, IndexError):  # the operation does not take positive operands
        return 0.0
    return np.abs(terms) if terms.shape == array.shape else 0.0
