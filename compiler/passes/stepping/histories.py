"""A value at all steps so far, in two parts: a history of the earlier steps, and the row of the current one.

    keys so far [batch, capacity, ...]  =  old: the rows of earlier steps, then zeros  +  new: the row of this step

A history is a state of a graph of one step (step.py). A product is computed with each part, so that the history
need not be copied to add a row.
"""

from collections.abc import Collection, Iterator

from msgspec import Struct

from netc.compiler.ir.graph import Graph
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import BATCH, Precision, Type, fixed_size
from netc.compiler.ir.value import Builder, Value, apply
from netc.compiler.operations.elementwise import as_bf16
from netc.compiler.operations.linear import Subscripts
from netc.compiler.passes.narrow import is_view
from netc.compiler.passes.simplify import rebuild


class Growing(Struct, frozen=True):
    """`old` has the earlier steps along `axis`, then zeros up to its capacity. `new` has only this step."""

    old: Value
    new: Value
    axis: int

    @property
    def capacity(self) -> int:
        return fixed_size(self.old.type.dims[self.axis])


class Multiplied(Struct, frozen=True):
    """A product of the original graph, `value`, at one step, where it has another type.

    The operand `number` is the history `parts`, and the other operand is `factor`.
    """

    value: Value
    type: Type
    number: int
    parts: Growing
    factor: Value


def numbers(graph: Builder, capacity: int) -> Value:
    """Returns the numbers of steps, 0 to capacity - 1."""
    return graph.add("arange", (), {"n": capacity}, Type("i32", (capacity,)))


def for_all_samples(number: Value) -> Value:
    """Returns the number of a step, repeated for each sample."""
    return apply("broadcast", apply("reshape", number, dims=(1,)), dims=(BATCH,))


def attention(of: Value, query: Value, keys: Growing, values: Growing, step: Value, precision: Precision) -> Value:
    """Returns the attention of the current step's query to the steps up to its own.

    It is the attention to earlier steps and the step's own value, weighted by their shares of the sum of exponentials:

        share  = exp(score) / (exp(score) + exp(sums)) = sigmoid(score - sums)
        result = earlier + share * (value - earlier)

    with `sums`, the logarithm of the sum of the earlier exponentials. Nothing reads the space behind the earlier steps.
    Here the step's own value is the operand of no product, so it is rounded to `precision` by itself.
    """
    current = apply("as_bf16", values.new) if precision == "bf16" else values.new
    scale, lengths = of.keywords["scale"], for_all_samples(step)
    earlier = apply("attend", query, keys.old, values.old, lengths, scale=scale, causal=False)
    sums = apply("attend_sums", earlier, query, keys.old, lengths, scale=scale, causal=False)
    score = apply("einsum", query, keys.new, subscripts="bthd,bthd->bth") * scale
    share = apply("sigmoid", score - apply("transpose", sums, order=(0, 2, 1)))
    share = apply("reshape", share, dims=(*share.type.dims, 1))
    return earlier + share * (current - earlier)


def merged(parts: Growing, step: Value) -> Value:
    """Returns both parts as one value. `step` is the number of the current step."""
    return apply("where", _is_now(step, parts.capacity, parts.old.type.rank, parts.axis), parts.new, parts.old)


def _is_now(step: Value, capacity: int, rank: int, axis: int) -> Value:
    """Whether an element along an axis of a value belongs to the current step."""
    dims = tuple(capacity if other == axis else 1 for other in range(rank))
    return apply("reshape", apply("equal", numbers(step.graph, capacity), step), dims=dims)


def product(of: Multiplied, step: Value) -> Value:
    """Returns a sum of products with a history: with the earlier steps, plus with the current one."""
    subscripts = of.value.attributes_as(Subscripts)
    letters = subscripts.inputs.split(",")
    letter, others = letters[of.number][of.parts.axis], letters[1 - of.number]
    capacity = of.parts.capacity
    old = _with_part(of, of.parts.old, of.factor, of.type)
    if letter in subscripts.out:
        along = subscripts.out.index(letter)
        dims = tuple(1 if axis == along else dim for axis, dim in enumerate(of.type.dims))
        new = _with_part(of, of.parts.new, of.factor, of.type.with_dims(dims))
        return apply("where", _is_now(step, capacity, of.type.rank, along), new, old)
    factor = of.factor
    if letter in others:
        factor = _element_now(factor, step, others.index(letter))
    return old + _with_part(of, of.parts.new, factor, of.type)


def _with_part(of: Multiplied, part: Value, factor: Value, type_: Type) -> Value:
    """The product with one part of the history."""
    operands = (part, factor) if of.number == 0 else (factor, part)
    return part.graph.add_copy(of.value, operands, type_=type_)


def _element_now(value: Value, step: Value, axis: int) -> Value:
    """The element of a value at the current step along an axis, which keeps one element."""
    is_now = _is_now(step, fixed_size(value.type.dims[axis]), value.type.rank, axis)
    chosen = apply("sum", apply("where", is_now, value, 0.0), over=(axis,))
    dims = tuple(1 if other == axis else dim for other, dim in enumerate(value.type.dims))
    return apply("reshape", chosen, dims=dims)


def readers(graph: Graph, leaf: Value) -> Iterator[tuple[Value, Value]]:
    """Yields the values that read a leaf, or one of the views of it, each with the operand that it reads."""
    pending = [leaf]
    while pending:
        value = pending.pop()
        for user in graph.users(value):
            if is_view(user):
                pending.append(user)
            else:
                yield user, value


def with_rounded(graph: Graph, histories: Collection[str]) -> Graph:
    """Rounds rows to bf16 when they enter a history that is read only so: else each step would round all of them."""
    leaves = {leaf.name: leaf for leaf in graph.values(Role.GIVEN) if leaf.name in histories}
    rounded = {
        name: {reader for reader, _ in readers(graph, leaf)}
        for name, leaf in leaves.items()
        if all(reader.definition is as_bf16 for reader, _ in readers(graph, leaf))
    }
    if not any(rounded.values()):
        return graph
    superfluous = set().union(*rounded.values())

    def rule(copy: Graph, value: Value, operands: list[Value]) -> Value:
        return operands[0] if value in superfluous else copy.add_copy(value, operands)

    copy = rebuild(graph, rule)
    for result, value in list(copy.results.items()):
        if str(result) in rounded:
            copy.results[result] = apply("as_bf16", value)
    return copy
