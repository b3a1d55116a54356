"""Changes to scans that several passes share.

`opened` makes the values of a body readable for the derivative and `trimmed` removes what is not read. `in_bodies`
runs a pass on the bodies of scans, and `in_ranks` orders their samples for machine code.
"""

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
from netc.compiler.operations.scan import LEAVES, Part, Scan, ScanAttributes, ScanOperands, scan
from netc.compiler.passes.simplify import rebuild


def opened(graph: Graph, is_frugal: bool = False) -> Graph:
    """Makes every scan yield each batched value that its body computes, and its carries, for the derivative to read.

    The new results are called `yield.N`. With rematerialisation on (`is_frugal`), a scan yields only its carries and
    reductions; the derivative computes the other values again. Runs before `differentiate`; `trimmed` removes what
    the derivative did not read.
    """
    if not graph.values("scan"):
        return graph

    def rule(copy: Graph, value: Value, operands: list[Value]) -> Value:
        if value.role is not Role.SCAN:
            return copy.add_copy(value, operands)
        body = Scan.of(value).body
        inner = gathered(body) if is_frugal else body.subgraph(body.results)[0]  # again in the same order
        yielded = {inner_value for name, inner_value in inner.results.items() if name.startswith("yield.")}
        for inner_value in inner.values():
            is_leaf = inner_value.role is Role.GIVEN
            is_carry = is_leaf and inner_value.name.startswith("c")
            is_yielded = is_carry or (_is_reduction(inner_value) if is_frugal else not is_leaf)
            if inner_value.type.is_batched and inner_value not in yielded and is_yielded:
                inner.results[f"yield.{len(inner.results)}.{inner_value.number}"] = inner_value
        return copy.add_copy(value, operands, replace(value.attributes_as(ScanAttributes), body=Body(inner)))

    return rebuild(graph, rule)


def _is_reduction(value: Value) -> bool:
    """Whether a value is a reduction that is smaller than its operand."""
    return isinstance(value.attributes, Over) and value.type.size(1) < value.operands[0].type.size(1)


def trimmed(graph: Graph) -> Graph:
    """Removes from scans the results that no value reads, the values and carries of the body that only these need,
    and their operands.

    The remaining leaves and results of a body are numbered anew.
    """
    if not graph.values("scan"):
        return graph
    names_read: dict[Value, set[str]] = {}
    live = graph.live()
    for selection in graph.values("part"):
        if selection in live:
            names_read.setdefault(selection.operands[0], set()).add(selection.attributes_as(Part).of)
    renamed: dict[Value, dict[str, str]] = {}

    def rule(copy: Graph, value: Value, operands: list[Value]) -> Value:
        if value.role is Role.PART:
            name = renamed[value.operands[0]].get(value.attributes_as(Part).of, value.attributes_as(Part).of)
            return copy.add_copy(value, operands, replace(value.attributes_as(Part), of=name))
        if value.role is not Role.SCAN:
            return copy.add_copy(value, operands)
        trimmed_scan, renamed[value] = _trimmed_scan(copy, Scan.of(value), operands, names_read.get(value, set()))
        return trimmed_scan

    return rebuild(graph, rule)


def _trimmed_scan(
    graph: Graph, original: Scan, operands: list[Value], names_read: set[str]
) -> tuple[Value, dict[str, str]]:
    """Adds a copy of a scan that has only the parts `names_read`.

    Returns it and the new names of its parts `last.N`.
    """
    results = {name: result for name, result in original.body.results.items() if name in names_read}
    ends = {int(name.removeprefix("last.")) for name in names_read if name.startswith("last.")}
    carries = _carries(original, results, ends)
    for i in carries:
        results[f"next.{i}"] = original.body.results[f"next.{i}"]
    body, _ = original.body.subgraph(results)
    leaves = {leaf.name for leaf in body.values("given")} | {f"c{i}" for i in carries}
    operand_by_leaf = dict(zip(original.operand_of(), operands, strict=True))
    kept = {kind: [name for name in operand_by_leaf if name[0] == kind and name in leaves] for kind in LEAVES}
    names = {name: f"{kind}{i}" for kind, old_names in kept.items() for i, name in enumerate(old_names)}
    attributes = original.value.attributes_as(ScanAttributes)
    trimmed_scan = scan(
        graph,
        _with_names(body, names),
        original.dim,
        ScanOperands(*([operand_by_leaf[name] for name in kept[kind]] for kind in LEAVES)),
        original.is_reversed,
        [attributes.carries[int(name[1:])] for name in kept["c"]] if attributes.carries else (),
        bool(attributes.whole),
    )
    return trimmed_scan, {f"last.{name[1:]}": f"last.{names[name][1:]}" for name in kept["c"]}


def _carries(original: Scan, results: dict[str, Value], ends: set[int]) -> list[int]:
    """Returns the numbers of the carries that must stay: those that `results` read, those in `ends`, and all that
    these depend on.

    `ends` are the carries whose last value is read.
    """
    needed = ends
    while True:
        waiting = [*results.values(), *(original.body.results[f"next.{i}"] for i in needed)]
        body = original.body.subgraph({str(i): value for i, value in enumerate(waiting)})[0]
        carries_read = {int(leaf.name[1:]) for leaf in body.values("given") if leaf.name.startswith("c")}
        if carries_read <= needed:
            return sorted(needed)
        needed = needed | carries_read


def _with_names(body: Graph, names: dict[str, str]) -> Graph:
    """Returns a copy of a body in which leaves, and the results `next.N` of renamed carries, have their new names."""
    results = {
        f"next.{names['c' + name[5:]][1:]}" if name.startswith("next.") else name: value
        for name, value in body.results.items()
    }
    return body.subgraph(results, names)[0]


def with_body(value: Value, change: Callable[[Graph], Graph]) -> Attributes:
    """Returns the attributes of a value; if it is a scan, `change` is applied to its body."""
    if not isinstance(value.attributes, ScanAttributes):
        return value.attributes
    return replace(value.attributes, body=Body(change(value.attributes.body.graph)))


def in_bodies(graph: Graph, run_pass: Callable[[Graph], Graph]) -> Graph:
    """Returns the graph with a pass applied to the body of each scan."""
    if not graph.values("scan"):
        return graph

    def rule(copy: Graph, value: Value, operands: list[Value]) -> Value:
        return copy.add_copy(value, operands, with_body(value, run_pass))

    return rebuild(graph, rule)


def first_dim(graph: Graph) -> str | None:
    """Returns the declared dimension by whose lengths the samples of a batch are ordered: the first that varies in
    the graph.

    None if no dimension varies from sample to sample.
    """
    varying = (str(value.type.rows) for value in graph.values() if value.type.is_varying)
    return next((names_in(dim)[0] for dim in varying if names_in(dim)), None)


def in_ranks(graph: Graph) -> Graph:
    """Brings the samples of each scan into the order of the lengths of its dimension, as machine code needs them.

    A batch is ordered by the lengths of one dimension (`first_dim`). For a scan along another one, operands with a
    row for each sample are gathered into that dimension's order, and the last values of the carries are gathered
    back. Runs when a graph is lowered.
    """
    order = first_dim(graph)
    turned = {
        value
        for value in graph.values("scan")
        if order_of(value.attributes_as(ScanAttributes).dim) not in (None, order)
    }
    if not turned:
        return graph

    def rule(copy: Graph, value: Value, operands: list[Value]) -> Value:
        if value in turned:
            ranked = table(copy, "ranked", value.attributes_as(ScanAttributes).dim)
            operands = [
                apply("gather", operand, ranked) if operand.type.rows == BATCH else operand for operand in operands
            ]
        result = copy.add_copy(value, operands)
        if value.role is Role.PART and value.operands[0] in turned and value.attributes_as(Part).of.startswith("last."):
            dim = value.operands[0].attributes_as(ScanAttributes).dim
            return apply("gather", result, table(copy, "first", dim))  # a sample's first row is its rank
        return result

    return rebuild(graph, rule)


def gathered(body: Graph) -> Graph:
    """Reorders sums of a body: addends that depend on no carry are added first, so that `hoist` can move their sum."""
    depends = depending(body, "c")
    users = {value: body.users(value) for value in body.values()}
    roots = set(body.results.values())

    def addends(value: Value, top: bool) -> list[Value]:
        is_inner = top or (len(users[value]) == 1 and value not in roots)
        if value.definition is not add or not is_inner:
            return [value]
        return [term for operand in value.operands for term in addends(operand, False)]

    copies: dict[Value, Value] = {}

    def rule(copy: Graph, value: Value, operands: list[Value]) -> Value:
        terms = addends(value, True) if value.definition is add else []
        free = [term for term in terms if term not in depends]
        if len(terms) > 2 and 0 < len(free) < len(terms):
            total = copies[free[0]]
            for term in (*free[1:], *(term for term in terms if term in depends)):
                total = total + copies[term]
            copies[value] = total if total.type.dims == value.type.dims else copy.add("add", operands, {}, value.type)
        else:
            copies[value] = copy.add_copy(value, operands)
        return copies[value]

    return rebuild(body, rule)


def depending(body: Graph, *kinds: str) -> set[Value]:
    """Returns the values that depend on leaves of some kinds: `x` a sequence, `c` a carry, `k` a captured value."""
    dependent: set[Value] = set()
    for value in body.values():
        is_leaf = value.role is Role.GIVEN and value.name.startswith(kinds)
        if is_leaf or any(operand in dependent for operand in value.operands):
            dependent.add(value)
    return dependent
