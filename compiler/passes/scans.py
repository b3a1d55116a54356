"""Changes to scans that several passes share.

- `opened` makes a scan yield the values of its body, for the derivative to read
- `trimmed` removes what nothing reads from scans
- `in_bodies` runs a pass on the bodies of scans
- `gathered` reorders sums of a body so that `hoist` can move a part of them
- `in_ranks` orders the samples of scans as machine code needs them
"""

from collections.abc import Callable

from netc.compiler.ir.attributes import Attributes, Over
from netc.compiler.ir.dims import names_in, order_of
from netc.compiler.ir.graph import Body, Graph
from netc.compiler.ir.index_tables import TableKind, table
from netc.compiler.ir.results import Result, ResultKind
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import BATCH
from netc.compiler.ir.value import Value, apply
from netc.compiler.operations.elementwise import add
from netc.compiler.operations.scan import (
    Part,
    Scan,
    ScanAttributes,
    ScanOperands,
    Slot,
    SlotKind,
    depending,
    leaves_of,
    scan,
    slot_of,
)
from netc.compiler.operations.wide_states import has_wide_states
from netc.compiler.passes.simplify import rebuild
from netc.dsl.structs import replace


def opened(graph: Graph, rematerialises: bool = False) -> Graph:
    """Makes every scan yield each batched value that its body computes, and its carries, for the derivative to read.

    The new results are called `yield.N`. With `rematerialises`, and if its states are wide, a scan yields only its
    carries and reductions, and the derivative computes the other values again. Runs before `differentiate`; `trimmed`
    removes values that the derivative did not read.
    """
    if not graph.values(Role.SCAN):
        return graph

    def rule(copy: Graph, value: Value, operands: list[Value]) -> Value:
        if value.role is not Role.SCAN:
            return copy.add_copy(value, operands)
        body = Scan.of(value).body
        inner = gathered(body) if rematerialises else body.subgraph(body.results)[0]  # again in the same order
        yields_little = rematerialises or has_wide_states(body)
        yielded = set(inner.results_of(ResultKind.YIELD).values())
        for inner_value in inner.values():
            is_leaf = inner_value.role is Role.GIVEN
            slot = slot_of(inner_value)
            is_carry = slot is not None and slot.kind is SlotKind.CARRY
            is_yielded = is_carry or (_is_reduction(inner_value) if yields_little else not is_leaf)
            if inner_value.type.is_batched and inner_value not in yielded and is_yielded:
                inner.results[ResultKind.YIELD.named(f"{len(inner.results)}.{inner_value.number}")] = inner_value
        return copy.add_copy(value, operands, replace(value.attributes_as(ScanAttributes), body=Body(inner)))

    return rebuild(graph, rule)


def _is_reduction(value: Value) -> bool:
    """Whether a value is a reduction that is smaller than its operand."""
    return isinstance(value.attributes, Over) and value.type.size(1) < value.operands[0].type.size(1)


def trimmed(graph: Graph) -> Graph:
    """Removes from scans the results that no value reads, the values and carries of the body that only these need,
    and their operands.

    The remaining leaves and results of a body get new numbers.
    """
    if not graph.values(Role.SCAN):
        return graph
    results_read: dict[Value, set[Result]] = {}
    live = graph.live()
    for selection in graph.values(Role.PART):
        if selection in live:
            results_read.setdefault(selection.operands[0], set()).add(selection.attributes_as(Part).result)
    renamed: dict[Value, dict[Result, Result]] = {}

    def rule(copy: Graph, value: Value, operands: list[Value]) -> Value:
        if value.role is Role.PART:
            taken = value.attributes_as(Part).result
            new = renamed[value.operands[0]].get(taken, taken)
            return copy.add_copy(value, operands, replace(value.attributes_as(Part), of=str(new)))
        if value.role is not Role.SCAN:
            return copy.add_copy(value, operands)
        trimmed_scan, renamed[value] = _trimmed_scan(copy, Scan.of(value), operands, results_read.get(value, set()))
        return trimmed_scan

    return rebuild(graph, rule)


def _trimmed_scan(
    graph: Graph, original: Scan, operands: list[Value], results_read: set[Result]
) -> tuple[Value, dict[Result, Result]]:
    """Adds a copy of a scan that has only the parts `results_read`.

    Returns it and the new names of its parts `last.N`.
    """
    results = {result: value for result, value in original.body.results.items() if result in results_read}
    ends = {result.number for result in results_read if result.kind is ResultKind.LAST}
    carries = _carries(original, results, ends)
    for i in carries:
        results[ResultKind.NEXT.named(i)] = original.body.results[ResultKind.NEXT.named(i)]
    body, _ = original.body.subgraph(results)
    operand_by_slot = dict(zip(original.operand_of(), operands, strict=True))
    slots = {*leaves_of(body), *(SlotKind.CARRY.slot(i) for i in carries)}
    kept = {kind: [slot for slot in operand_by_slot if slot.kind is kind and slot in slots] for kind in SlotKind}
    new_slots = {slot: kind.slot(i) for kind, old_slots in kept.items() for i, slot in enumerate(old_slots)}
    attributes = original.value.attributes_as(ScanAttributes)
    trimmed_scan = scan(
        graph,
        _with_slots(body, new_slots),
        original.dim,
        ScanOperands(*([operand_by_slot[slot] for slot in kept[kind]] for kind in SlotKind)),
        original.is_reversed,
        [attributes.carries[slot.index] for slot in kept[SlotKind.CARRY]] if attributes.carries else (),
        bool(attributes.recomputes),
    )
    last = ResultKind.LAST.named
    return trimmed_scan, {last(slot.index): last(new_slots[slot].index) for slot in kept[SlotKind.CARRY]}


def _carries(original: Scan, results: dict[Result, Value], ends: set[int]) -> list[int]:
    """Returns the numbers of the carries that must stay: those that `results` read, those in `ends`, and all that
    these depend on.

    `ends` are the carries whose last value is read.
    """
    needed = ends
    while True:
        waiting = [*results.values(), *(original.body.results[ResultKind.NEXT.named(i)] for i in needed)]
        body = original.body.subgraph({ResultKind.VALUE.named(i): value for i, value in enumerate(waiting)})[0]
        carries_read = {slot.index for slot in leaves_of(body) if slot.kind is SlotKind.CARRY}
        if carries_read <= needed:
            return sorted(needed)
        needed = needed | carries_read


def _with_slots(body: Graph, new_slots: dict[Slot, Slot]) -> Graph:
    """Returns a copy of a body in which leaves have their new slots, and the next values of carries their numbers."""
    new_index = {slot.index: new.index for slot, new in new_slots.items() if slot.kind is SlotKind.CARRY}
    results = {
        ResultKind.NEXT.named(new_index[result.number]) if result.kind is ResultKind.NEXT else result: value
        for result, value in body.results.items()
    }
    return body.subgraph(results, {str(slot): str(new) for slot, new in new_slots.items()})[0]


def with_body(value: Value, change: Callable[[Graph], Graph]) -> Attributes:
    """Returns the attributes of a value; if it is a scan, `change` is applied to its body."""
    if not isinstance(value.attributes, ScanAttributes):
        return value.attributes
    return replace(value.attributes, body=Body(change(value.attributes.body.graph)))


def in_bodies(graph: Graph, run_pass: Callable[[Graph], Graph]) -> Graph:
    """Returns the graph with a pass applied to the body of each scan."""
    if not graph.values(Role.SCAN):
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
        for value in graph.values(Role.SCAN)
        if order_of(value.attributes_as(ScanAttributes).dim) not in (None, order)
    }
    if not turned:
        return graph

    def rule(copy: Graph, value: Value, operands: list[Value]) -> Value:
        if value in turned:
            ranked = table(copy, TableKind.RANKED, value.attributes_as(ScanAttributes).dim)
            operands = [
                apply("gather", operand, ranked) if operand.type.rows == BATCH else operand for operand in operands
            ]
        result = copy.add_copy(value, operands)
        is_part = value.role is Role.PART and value.operands[0] in turned
        if is_part and value.attributes_as(Part).result.kind is ResultKind.LAST:
            dim = value.operands[0].attributes_as(ScanAttributes).dim
            return apply("gather", result, table(copy, TableKind.FIRST, dim))  # a sample's first row is its rank
        return result

    return rebuild(graph, rule)


def gathered(body: Graph) -> Graph:
    """Reorders sums of a body: addends that depend on no carry are added first, so that `hoist` can move their sum."""
    depends = depending(body, SlotKind.CARRY)
    users = body.all_users()
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
