"""Moves element-wise values and sums inside of an interleaved image, so that the image is never in memory.

    f(interleave(a, b, ...), x)   ->   interleave(f(a, x[0::2]), f(b, x[1::2]), ...)
    sum(interleave(a, b, ...))    ->   sum(a + b + ...)

The gradient of a pool is such an image: its parts are computed from the same few small values. If only element-wise
values and sums read it, as the gradient of a normalisation before the pool does, they are computed part by part.
"""

from netc.compiler.ir.attributes import Over
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.value import Value, apply
from netc.compiler.operations.pooling import Interleave
from netc.compiler.operations.reduce import sum_
from netc.compiler.operations.window import Pair, image_axes, parts_of
from netc.compiler.passes.simplify import rebuild, simplify
from netc.compiler.passes.sink import is_scalar

_FEW_CHANNELS = 8  # contiguous elements of a part; a shorter vector is not worth a load


def lift(graph: Graph) -> Graph:
    """Rewrites images in one walk from the leaves; an image that anything else reads stays as it is."""
    opened = _opened(graph)
    if not opened:
        return graph
    parts: dict[Value, tuple[Value, ...]] = {}  # the parts of images in the copy

    def in_parts(value: Value, like: Value, size: Pair) -> tuple[Value, ...]:
        """Returns an operand at each part of an image; one that is constant over the image is the same at all parts."""
        if value in parts and value.attributes_as(Interleave).size == size:
            return parts[value]
        if value.type.dims != like.type.dims:
            return (value,) * (size[0] * size[1])
        return tuple(part for _, part in parts_of(value, size, size))

    def rule(copy: Graph, value: Value, operands: list[Value]) -> Value:
        image = next((operand for operand in operands if operand in parts), None)
        if image is None:
            lifted = copy.add_copy(value, operands)
        elif value.definition is sum_:
            total = parts[image][0]
            for part in parts[image][1:]:
                total = total + part
            lifted = apply("sum", total, **value.keywords)
        else:
            size = image.attributes_as(Interleave).size
            columns = [in_parts(operand, image, size) for operand in operands]
            each = [apply(value.operation, *column, **value.keywords) for column in zip(*columns, strict=True)]
            lifted = apply("interleave", *each, size=size)
        if value in opened:
            parts[lifted] = lifted.operands
        return lifted

    return simplify(rebuild(graph, rule))


def _opened(graph: Graph) -> set[Value]:
    """Returns the interleaved images, and element-wise values of them, whose users can be computed from their parts."""
    opened: set[Value] = set()
    roots, users = set(graph.results.values()), graph.all_users()
    for value in graph.values():
        is_image = isinstance(value.attributes, Interleave) or (
            is_scalar(value) and any(operand in opened for operand in value.operands)
        )
        is_opened = is_image and value not in roots and _channels(value) >= _FEW_CHANNELS
        if is_opened and users[value] and all(_takes_parts(user, value) for user in users[value]):
            opened.add(value)
    return opened


def _takes_parts(user: Value, image: Value) -> bool:
    """Whether a value can be computed from the parts of an image: element by element, or as a sum over both sides."""
    if user.definition is sum_:
        return set(image_axes(image.type)) <= set(user.attributes_as(Over).over)
    fits = all(operand.type.dims == image.type.dims or _is_same_everywhere(operand, image) for operand in user.operands)
    return is_scalar(user) and user.type.dims == image.type.dims and fits


def _is_same_everywhere(value: Value, image: Value) -> bool:
    """Whether an operand is repeated along both sides of an image."""
    return all(dim == 1 for dim in value.type.dims[-3:-1])


def _channels(value: Value) -> int:
    channels = value.type.dims[-1]
    return channels if isinstance(channels, int) else 0
