"""Element-wise values and sums go inside of an interleaved image: f(interleave(a, b, ...), x) -> interleave(f(a, x[0::2]), f(b, x[1::2]), ...).

The gradient of a pool is an image each part of which is made of the same few small values. Where only element-wise values and sums read it (the
gradient of a normalisation before the pool), they are computed part by part, and the image itself is never in memory.
"""

from netc.compiler.ir.attributes import Over
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.value import OPERATIONS, Scalar, Value, apply
from netc.compiler.operations.pooling import Interleave
from netc.compiler.operations.reduce import sum_
from netc.compiler.operations.window import Pair, image_axes, parts_of
from netc.compiler.passes.simplify import rebuild, simplify

_FEW_CHANNELS = 8  # a part's elements are that many apart from the next ones: a vector of less is not worth a load


def lift(graph: Graph) -> Graph:
    """One walk from the leaves; an image that anything else reads too stays whole."""
    opened = _opened(graph)
    if not opened:
        return graph
    parts: dict[Value, tuple[Value, ...]] = {}  # of the copy's images that are open

    def in_parts(value: Value, like: Value, size: Pair) -> tuple[Value, ...]:
        """An operand at each part of an image; what does not run over its places is the same in all."""
        if value in parts and value.attributes_as(Interleave).size == size:
            return parts[value]
        if value.type.dims != like.type.dims:
            return (value,) * (size[0] * size[1])
        return tuple(part for _, part in parts_of(value, size, size))

    def rule(copy: Graph, value: Value, operands: list[Value]) -> Value:
        image = next((one for one in operands if one in parts), None)
        if image is None:
            made = copy.add_copy(value, operands)
        elif value.definition is sum_:
            total = parts[image][0]
            for part in parts[image][1:]:
                total = total + part
            made = apply("sum", total, **value.keywords)
        else:
            size = image.attributes_as(Interleave).size
            columns = [in_parts(one, image, size) for one in operands]
            each = [apply(value.operation, *column, **value.keywords) for column in zip(*columns, strict=True)]
            made = apply("interleave", *each, size=size)
        if value in opened:
            parts[made] = made.operands
        return made

    return simplify(rebuild(graph, rule))


def _opened(graph: Graph) -> set[Value]:
    """The interleaved images, and what is computed from them, that are read by parts alone."""
    opened: set[Value] = set()
    roots = set(graph.results.values())
    for value in graph.values():
        is_image = isinstance(value.attributes, Interleave) or (
            _is_scalar(value) and any(one in opened for one in value.operands)
        )
        if is_image and value not in roots and _channels(value) >= _FEW_CHANNELS:
            users = graph.users(value)
            if users and all(_takes_parts(user, value) for user in users):
                opened.add(value)
    return opened


def _takes_parts(user: Value, image: Value) -> bool:
    """Whether a value can be computed from the parts of an image: element by element, or as a sum over both sides."""
    if user.definition is sum_:
        return set(image_axes(image.type)) <= set(user.attributes_as(Over).over)
    fits = all(one.type.dims == image.type.dims or _is_same_everywhere(one, image) for one in user.operands)
    return _is_scalar(user) and user.type.dims == image.type.dims and fits


def _is_scalar(value: Value) -> bool:
    return bool(value.operands) and isinstance(OPERATIONS[value.operation].lower, Scalar)


def _is_same_everywhere(value: Value, image: Value) -> bool:
    """Whether an operand is repeated along both sides of an image."""
    return all(dim == 1 for dim in value.type.dims[-3:-1])


def _channels(value: Value) -> int:
    channels = value.type.dims[-1]
    return channels if isinstance(channels, int) else 0
