"""Lets attention read packed rows, so that no value is stored at the bound of a varying dimension for it.

    q = gather(rows, held)             [batch, time <= 1024, heads, width]
    attend(q, ...)                ->   gather(attend(rows, ..., index tables), held)     rows: [time, heads, width]

Queries, keys and values are held at a bound only because they meet another varying dimension in attention. This pass
gives `attend` their rows, and the index tables that say which rows a sample has. Memory and time then follow the steps
that a batch has. What is still held along a dimension without a declared bound (`undeclared`) gets the length of the
data's longest sample as its bound (`at_length`) when that is known.
"""

from typing import Any

from msgspec.structs import asdict

from netc.compiler.ir.graph import Body, Graph
from netc.compiler.ir.index_tables import TableKind, parse_table, table, table_of
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import BATCH, UNDECLARED, Bounded, Type, is_undeclared
from netc.compiler.ir.value import Value, apply
from netc.compiler.operations.attention import attend
from netc.compiler.operations.elementwise import less, where
from netc.compiler.operations.gathering import gather
from netc.compiler.operations.scan import pack as to_steps
from netc.compiler.operations.shape import Order
from netc.compiler.passes.attention_pattern import unshaped
from netc.compiler.passes.simplify import rebuild
from netc.dsl.structs import replace


def packed(graph: Graph) -> Graph:
    """attend(gather(q, held), ...) -> gather(attend(q, ...), held), and to_steps(gather(y, held)) -> y.

    Runs after `attend`, before `differentiate`: gradients of rows are rows too.
    """
    if not graph.values(attend):
        return graph
    with_rows = {value.type.rows for value in graph.values()}

    def rule(copy: Graph, value: Value, operands: list[Value]) -> Value:
        if value.definition is attend:
            return _attend(copy, value, operands, with_rows)
        if value.definition is to_steps:
            rows = _rows(operands[0], str(value.type.rows))
            if rows is not None:
                return rows
        return copy.add_copy(value, operands)

    after = rebuild(graph, rule)
    return after.subgraph(after.results)[0]


def _attend(copy: Graph, value: Value, operands: list[Value], with_rows: set[str | None]) -> Value:
    """Adds `attend` over the rows of each side that has some."""
    q, k, v, *lengths = operands
    query_dim, key_dim = (_dim_of(side.type, with_rows) for side in (q, k))
    if query_dim is None and key_dim is None:
        return copy.add_copy(value, operands)
    counts = [
        _length(copy, side, dim, lengths[number : number + 1])
        for number, (side, dim) in enumerate(((k, key_dim), (q, query_dim)))
    ]
    tables = [
        table(copy, kind, dim.name)
        for dim in (key_dim, query_dim)
        if dim is not None
        for kind in (TableKind.START, TableKind.ORDERED)
    ]
    q = q if query_dim is None else _packed(q, query_dim)
    k, v = (side if key_dim is None else _packed(side, key_dim) for side in (k, v))
    result = apply("attend", q, k, v, *counts, *tables, **value.keywords)
    if query_dim is None:
        return result
    return apply("gather", result, table(copy, TableKind.PADDED, query_dim.name, size=query_dim))


def _dim_of(type_: Type, with_rows: set[str | None]) -> Bounded | None:
    """The varying dimension of queries or keys, if their steps can be packed: the model has rows of that dimension."""
    dim = type_.dims[1]
    return dim if isinstance(dim, Bounded) and dim.name in with_rows else None


def _length(copy: Graph, side: Value, dim: Bounded | None, lengths: list[Value]) -> Value:
    """The number of steps of a side for each sample, i32[batch]: from a table, as it is known, or all stored steps."""
    if dim is not None:
        return table(copy, TableKind.LENGTH, dim.name)
    if lengths:
        return lengths[0]
    count = copy.constant(int(side.type.dims[1]), Type("i32"))
    return apply("broadcast", apply("reshape", count, dims=(1,)), dims=(BATCH,))


def _packed(x: Value, dim: Bounded) -> Value:
    rows = _rows(x, dim.name)
    if rows is not None:
        return rows
    return apply("to_steps", x, table(x.graph, TableKind.SLOT, dim.name, size=int(dim)))


def _rows(x: Value, dim: str) -> Value | None:
    """The rows of a dimension that a value holds at a bound, perhaps in another shape; None if it holds none."""
    if x.definition is gather:
        index = table_of(x.operands[1])
        is_held = index is not None and index.kind is TableKind.PADDED and index.dim == dim
        return x.operands[0] if is_held else None
    dims = x.type.dims
    if x.definition is where and x.operands[1].type.dims == dims and _is_inside(x.operands[0], dim):
        return _rows(x.operands[1], dim)  # no row lies beyond the end of its sample
    if x.role is Role.SHAPE and x.operands[0].type.dims[:2] == dims[:2]:
        rows = _rows(x.operands[0], dim)
        return None if rows is None else apply("reshape", rows, dims=(dim, *dims[2:]))
    source, order = x, tuple(range(len(dims)))
    while isinstance(source.attributes, Order):
        order = tuple(source.attributes.order[axis] for axis in order)
        (source,) = source.operands
    rows = _rows(source, dim) if source is not x and order[:2] == (0, 1) else None
    packed = tuple(axis - 1 for axis in order[1:])
    return (
        rows
        if rows is None or packed == tuple(range(len(packed)))
        else apply("transpose", rows, order=(0, *packed[1:]))
    )


def _is_inside(mask: Value, dim: str) -> bool:
    """Whether a mask is true for the steps before each sample's end, along the first axis behind the batch."""
    compared = unshaped(mask)
    if compared.definition is not less or mask.type.dims[:1] != (BATCH,) or not set(mask.type.dims[2:]) <= {1}:
        return False
    end = table_of(unshaped(compared.operands[1]))
    is_end = end is not None and end.kind is TableKind.LENGTH and end.dim == dim
    return is_end and unshaped(compared.operands[0]).role is Role.RANGE


def undeclared(graph: Graph) -> list[Value]:
    """The values of a graph that are held along a dimension whose bound is not declared."""
    return [value for value in graph.values() if any(map(is_undeclared, value.type.dims))]


def at_length(graph: Graph, steps: int) -> tuple[Graph, dict[Value, Value]]:
    """Returns a copy in which no sample has more than so many steps along dimensions without a declared bound, and the
    copy of each value; the graph itself if all bounds are declared.

    So a value that attention does not need packed has a size as soon as the lengths of the data are known.
    """
    if not undeclared(graph):
        return graph, {value: value for value in graph.values()}
    return _copy_at_length(graph, steps)


def _copy_at_length(graph: Graph, steps: int) -> tuple[Graph, dict[Value, Value]]:
    """The copy that `at_length` returns."""
    copy, copies = Graph(), dict[Value, Value]()
    copy.precision = graph.precision
    for value in graph.values():
        attributes = replace(
            value.attributes,
            **{name: _at_length(attribute, steps) for name, attribute in asdict(value.attributes).items()},
        )
        operands = [copies[operand] for operand in value.operands]
        type_ = value.type.with_dims(_at_length(value.type.dims, steps))
        with copy.at(value.span):
            copies[value] = copy.add_copy(value, operands, attributes, type_)
    copy.results = {result: copies[value] for result, value in graph.results.items()}
    return copy, copies


def _at_length(item: Any, steps: int) -> Any:
    """A part of a type or of attributes with a number in the place of UNDECLARED."""
    match item:
        case tuple():
            return tuple(_at_length(part, steps) for part in item)
        case Bounded() if item == UNDECLARED:
            return Bounded(steps, item.name)
        case bool():
            return item
        case int() if item and item % UNDECLARED == 0:  # a prime number: it is a factor, as in the count of an array
            return steps * _at_length(item // UNDECLARED, steps)
        case str() if (index := parse_table(item)) is not None and index.size == UNDECLARED:
            return str(replace(index, size=steps))
        case Body():
            return Body(_copy_at_length(item.graph, steps)[0])
    return item
