"""Finds attention in a graph and makes one `attend` of it (operations/attention.py).

Attention is a softmax of scores, which is multiplied by values. The scores are a product of queries and keys; between
the product and the softmax there may be constant factors, a mask of the keys behind each query's number, and the mask
of the steps beyond a sample's end. Nothing else may read the scores or the weights: a model that returns its weights,
or drops some of them, keeps them in memory anyway.
"""

from netc.compiler.ir.graph import Graph
from netc.compiler.ir.index_tables import TableKind, table, table_of
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import BATCH, Bounded
from netc.compiler.ir.value import Value, apply
from netc.compiler.operations.gathering import gather
from netc.compiler.operations.reduce import softmax
from netc.compiler.passes.attention_pattern import AttentionMatch, Layout, match_attention
from netc.compiler.passes.simplify import rebuild

_Order = tuple[int, ...]


def attended(graph: Graph) -> Graph:
    """softmax(scale * q k^T) v -> attend(q, k, v), where a head has many scores and nothing else reads them.

    Runs before `differentiate`, on the forward graph, so that the gradient needs no weights either.
    """
    if not graph.values(softmax):
        return graph
    users = graph.all_users()
    roots = set(graph.results.values())
    copies: dict[Value, Value] = {}

    def is_private(value: Value) -> bool:
        return len(users[value]) == 1 and value not in roots

    def rule(copy: Graph, value: Value, operands: list[Value]) -> Value:
        match = match_attention(value, is_private) if value.role is Role.CONTRACTION else None
        copies[value] = _replaced(copy, match, copies) if match else copy.add_copy(value, operands)
        return copies[value]

    return rebuild(graph, rule)


def _replaced(copy: Graph, match: AttentionMatch, copies: dict[Value, Value]) -> Value:
    """Adds `attend` with the operands' axes in its order, and brings its result into the order that is asked for."""
    q, k, v = (
        _with_axes(copies[operand], layout) for operand, layout in zip(match.operands, match.layouts, strict=False)
    )
    lengths = [] if match.key_lengths is None else [copies[match.key_lengths], *_query_lengths(copy, match, copies)]
    result = apply("attend", q, k, v, *lengths, scale=match.scale, causal=match.is_causal)
    dims = tuple(dim for dim, number in zip(result.type.dims, match.layouts[3], strict=True) if number is not None)
    result = result if len(dims) == len(result.type.dims) else apply("reshape", result, dims=dims)
    present = [number for number in match.layouts[3] if number is not None]
    return _transposed(result, tuple(present.index(number) for number in range(len(present))))


def _transposed(value: Value, order: _Order) -> Value:
    return value if order == tuple(range(len(order))) else apply("transpose", value, order=order)


def _with_axes(value: Value, layout: Layout) -> Value:
    """The value as [batch, steps, heads, columns]: an axis that it lacks has one element, or is the batch."""
    value = _transposed(value, tuple(axis for axis in layout if axis is not None))
    if None not in layout:
        return value
    dims_left = iter(value.type.dims)
    dims = tuple(1 if axis is None else next(dims_left) for axis in layout)
    value = apply("reshape", value, dims=dims)
    return value if layout[0] is not None else apply("broadcast", value, dims=(BATCH, *dims[1:]))


def _query_lengths(copy: Graph, match: AttentionMatch, copies: dict[Value, Value]) -> list[Value]:
    """The number of queries of each sample, if it varies and is known; without it all stored queries count."""
    (queries, keys, _), query_axis, key_axis = match.operands, match.layouts[0][1], match.layouts[1][1]
    dim = 1 if query_axis is None else queries.type.dims[query_axis]
    key_dim = 1 if key_axis is None else keys.type.dims[key_axis]
    if not isinstance(dim, Bounded):
        return []
    if isinstance(key_dim, Bounded) and key_dim.name == dim.name and match.key_lengths is not None:
        return [copies[match.key_lengths]]
    rows = table_of(queries.operands[1]) if queries.definition is gather else None
    return [table(copy, TableKind.LENGTH, rows.dim)] if rows is not None and rows.kind is TableKind.PADDED else []
