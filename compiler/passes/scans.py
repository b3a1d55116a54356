"""What passes do to scans: all that a body computes is opened to the derivative, and what nobody asked for is closed again; a pass runs on bodies too."""

from collections.abc import Callable
from dataclasses import replace

from netc.compiler.ir.attributes import Attributes, Over
from netc.compiler.ir.dims import names_in, order_of
from netc.compiler.ir.graph import Body, Graph
from netc.compiler.ir.roles import Role
from netc.compiler.ir.rows import table
from netc.compiler.ir.types import BATCH
from netc.compiler.ir.value import Value, apply
from netc.compiler.operations.elementwise import add
from netc.compiler.operations.scan import LEAVES, Part, Scan, ScanAttributes, scan
from netc.compiler.passes.simplify import rebuild


def opened(graph: Graph, is_frugal: bool = False) -> Graph:
    """Every body yields each value of a sample that it computes or is given, as `yield.N`: the derivative reads some of them. What `is_frugal` yields its
    carries and sums alone, from which the derivative computes the others again."""
    if not graph.values("scan"):
        return graph

    def rule(copy: Graph, value: Value, operands: list[Value]) -> Value:
        if value.role is not Role.SCAN:
            return copy.add_copy(value, operands)
        body = Scan.of(value).body
        inner = gathered(body) if is_frugal else body.subgraph(body.results)[0]  # again in the same order
        known = {one for name, one in inner.results.items() if name.startswith("yield.")}
        for one in inner.values():
            is_leaf = one.role is Role.GIVEN
            is_carry = is_leaf and one.name.startswith("c")
            is_wanted = is_carry or (_is_reduction(one) if is_frugal else not is_leaf)
            if one.type.is_batched and one not in known and is_wanted:
                inner.results[f"yield.{len(inner.results)}.{one.number}"] = one
        return copy.add_copy(value, operands, replace(value.attributes_as(ScanAttributes), body=Body(inner)))

    return rebuild(graph, rule)


def _is_reduction(value: Value) -> bool:
    """Whether a value is little, and made of much."""
    return isinstance(value.attributes, Over) and value.type.size(1) < value.operands[0].type.size(1)


def trimmed(graph: Graph) -> Graph:
    """Scans without what nobody reads: results, what only those need of the body, and operands whose leaf is gone."""
    if not graph.values("scan"):
        return graph
    asked: dict[Value, set[str]] = {}
    live = graph.live()
    for one in graph.values("part"):
        if one in live:
            asked.setdefault(one.operands[0], set()).add(one.attributes_as(Part).of)
    renamed: dict[Value, dict[str, str]] = {}

    def rule(copy: Graph, value: Value, operands: list[Value]) -> Value:
        if value.role is Role.PART:
            name = renamed[value.operands[0]].get(value.attributes_as(Part).of, value.attributes_as(Part).of)
            return copy.add_copy(value, operands, replace(value.attributes_as(Part), of=name))
        if value.role is not Role.SCAN:
            return copy.add_copy(value, operands)
        one = Scan.of(value)
        wanted = asked.get(value, set())
        results = {name: made for name, made in one.body.results.items() if name in wanted}
        needed = _carries(one, results, {int(name[len("last.") :]) for name in wanted if name.startswith("last.")})
        for i in needed:
            results[f"next.{i}"] = one.body.results[f"next.{i}"]
        body, _ = one.body.subgraph(results)
        given = dict(zip(one.operand_of(), operands, strict=True))
        leaves = {leaf.name for leaf in body.values("given")}
        kept = {
            kind: [name for name in given if name.startswith(kind) and (name in leaves or int(name[1:]) in needed)]
            if kind == "c"
            else [name for name in given if name.startswith(kind) and name in leaves]
            for kind in LEAVES
        }
        names = {name: f"{kind}{i}" for kind, some in kept.items() for i, name in enumerate(some)}
        renamed[value] = {f"last.{name[1:]}": f"last.{new[1:]}" for name, new in names.items() if name.startswith("c")}
        body = _with_names(body, names)
        sequences, begins, captured = ([given[name] for name in kept[kind]] for kind in LEAVES)
        own = value.attributes_as(ScanAttributes)
        called = own.carries or ()
        carries = [called[int(name[1:])] for name in kept["c"]] if called else ()
        is_whole = bool(own.whole)
        return scan(copy, body, one.dim, sequences, begins, captured, one.is_reversed, carries, is_whole)

    return rebuild(graph, rule)


def _carries(one: Scan, results: dict[str, Value], ends: set[int]) -> list[int]:
    """The carries that results need, or whose end is asked for, those that these need, and so on."""
    needed = ends
    while True:
        waiting = [*results.values(), *(one.body.results[f"next.{i}"] for i in needed)]
        body = one.body.subgraph({str(i): value for i, value in enumerate(waiting)})[0]
        found = {int(leaf.name[1:]) for leaf in body.values("given") if leaf.name.startswith("c")}
        if found <= needed:
            return sorted(needed)
        needed = needed | found


def _with_names(body: Graph, names: dict[str, str]) -> Graph:
    """A body whose leaves, and the carries' next values with them, have other names."""

    results = {
        f"next.{names['c' + name[5:]][1:]}" if name.startswith("next.") else name: value
        for name, value in body.results.items()
    }
    return body.subgraph(results, names)[0]


def with_body(value: Value, change: Callable[[Graph], Graph]) -> Attributes:
    """The attributes of a value; those of a scan with another body."""
    if not isinstance(value.attributes, ScanAttributes):
        return value.attributes
    return replace(value.attributes, body=Body(change(value.attributes.body.graph)))


def in_bodies(graph: Graph, one: Callable[[Graph], Graph]) -> Graph:
    """The graph, its scans' bodies gone through a pass."""
    if not graph.values("scan"):
        return graph

    def rule(copy: Graph, value: Value, operands: list[Value]) -> Value:
        return copy.add_copy(value, operands, with_body(value, one))

    return rebuild(graph, rule)


def first_dim(graph: Graph) -> str | None:
    """The declared dimension whose lengths give a batch its order: the first one in the graph. None where all are as long in every sample."""
    varying = (str(value.type.rows) for value in graph.values() if value.type.is_varying)
    return next((names_in(dim)[0] for dim in varying if names_in(dim)), None)


def in_ranks(graph: Graph) -> Graph:
    """Scans for machine code, which take samples by rank: along another dimension than the batch is in the order of, what is a sample's own is brought into
    the order of that dimension's lengths, and what carries end as back."""
    order = first_dim(graph)
    turned = {
        one for one in graph.values("scan") if order_of(one.attributes_as(ScanAttributes).dim) not in (None, order)
    }
    if not turned:
        return graph

    def rule(copy: Graph, value: Value, operands: list[Value]) -> Value:
        if value in turned:
            ranked = table(copy, "ranked", value.attributes_as(ScanAttributes).dim)
            operands = [apply("gather", one, ranked) if one.type.rows == BATCH else one for one in operands]
        made = copy.add_copy(value, operands)
        if value.role is Role.PART and value.operands[0] in turned and value.attributes_as(Part).of.startswith("last."):
            dim = value.operands[0].attributes_as(ScanAttributes).dim
            return apply("gather", made, table(copy, "first", dim))  # a sample's first row is its rank
        return made

    return rebuild(graph, rule)


def gathered(body: Graph) -> Graph:
    """A body with sums taken in another order: what does not depend on a carry first."""
    depends = depending(body, "c")
    users = {value: body.users(value) for value in body.values()}
    roots = set(body.results.values())

    def addends(value: Value, top: bool) -> list[Value]:
        is_inner = top or (len(users[value]) == 1 and value not in roots)
        if value.definition is not add or not is_inner:
            return [value]
        return [term for operand in value.operands for term in addends(operand, False)]

    made: dict[Value, Value] = {}

    def rule(copy: Graph, value: Value, operands: list[Value]) -> Value:
        terms = addends(value, True) if value.definition is add else []
        free = [term for term in terms if term not in depends]
        if len(terms) > 2 and 0 < len(free) < len(terms):
            total = made[free[0]]
            for term in (*free[1:], *(term for term in terms if term in depends)):
                total = total + made[term]
            made[value] = total if total.type.dims == value.type.dims else copy.add("add", operands, {}, value.type)
        else:
            made[value] = copy.add_copy(value, operands)
        return made[value]

    return rebuild(body, rule)


def depending(body: Graph, *kinds: str) -> set[Value]:
    """The values that depend on leaves whose name begins so."""
    found: set[Value] = set()
    for value in body.values():
        is_leaf = value.role is Role.GIVEN and value.name.startswith(kinds)
        if is_leaf or any(operand in found for operand in value.operands):
            found.add(value)
    return found
