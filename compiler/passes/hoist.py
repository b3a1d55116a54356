"""What need not be in a recurrence leaves it: whatever does not depend on a carry is computed for all steps at once before the scan, and whatever no
carry needs after it, from the rows that the scan stacks. `x @ W` of all steps becomes one product, and so do the gradients of the weights.
"""

from dataclasses import replace

from netc.compiler.ir.attributes import Dims
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import BATCH
from netc.compiler.ir.value import OPERATIONS, Value, View, apply
from netc.compiler.operations.linear import Subscripts
from netc.compiler.operations.scan import LEAVES, Part, Scan, ScanAttributes, part, scan
from netc.compiler.operations.sequence import spread
from netc.compiler.passes.scans import depending, gathered, trimmed
from netc.compiler.passes.simplify import rebuild, simplify


def hoist(graph: Graph) -> Graph:
    """Each scan as what comes before it, its core, and what comes after."""
    if not graph.values("scan"):
        return graph
    split: dict[Value, _Split] = {}

    def rule(copy: Graph, value: Value, operands: list[Value]) -> Value:
        if value.role is Role.SCAN:
            split[value] = _Split(copy, Scan.of(value), operands)
            return split[value].core
        if value.role is Role.PART:
            return split[value.operands[0]].part(value.attributes_as(Part).of)
        return copy.add_copy(value, operands)

    return simplify(trimmed(simplify(rebuild(graph, rule))))


class _Split:
    """One scan, in the graph of the pass."""

    def __init__(self, graph: Graph, one: Scan, operands: list[Value]) -> None:
        self.body = gathered(one.body)
        self.graph, self.dim, self.is_reversed = graph, one.dim, one.is_reversed
        self.given = dict(zip(one.operand_of(), operands, strict=True))
        self.is_whole = bool(
            one.value.attributes_as(ScanAttributes).whole
        )  # then only what is the same at every step leaves it
        self.carried = depending(self.body, *("cx" if self.is_whole else "c"))
        self.moving = depending(self.body, "x", "c")
        self.given_from = depending(self.body, *LEAVES)
        self.needed = set(self.body.values()) if self.is_whole else self.of_carries()
        self.known: dict[Value, Value] = {}  # values of the body, outside
        self.copies: dict[Value, Value] = {}  # in the core
        self.inner = Graph()
        self.inner.precision = self.body.precision
        self.operands: dict[str, list[Value]] = {"x": [], "c": [], "k": []}
        self.carries: dict[str, Value] = {}
        for name, begin in self.given.items():
            if name.startswith("c"):
                self.operands["c"].append(begin)
                self.carries[name] = self.inner.leaf("given", name, begin.type)
        self.names: dict[Value, str] = {}
        for name, value in self.body.results.items():
            if name.startswith("next."):
                self.inner.results[name] = self.copy(value)
        for name, value in self.body.results.items():
            if name.startswith("yield."):
                self.reach(value)
        sequences, begins, captured = self.operands.values()
        self.core = scan(
            graph, self.inner, self.dim, sequences, begins, captured, self.is_reversed, recomputes=self.is_whole
        )

    def of_carries(self) -> set[Value]:
        """What the next carries are made of."""
        found = {value for name, value in self.body.results.items() if name.startswith("next.")}
        waiting = list(found)
        while waiting:
            for operand in waiting.pop().operands:
                if operand not in found:
                    found.add(operand)
                    waiting.append(operand)
        return found

    def stays(self, value: Value) -> bool:
        """Whether a value is computed in the core: it depends on a carry, and a carry on it, or it cannot leave."""
        return value in self.carried and (value in self.needed or not _may_leave(value))

    # -------------------------------------------------------------- the core

    def copy(self, value: Value) -> Value:
        """A value in the core; what does not depend on a carry comes from outside, but for a number, in whatever shape."""
        if value in self.copies:
            return self.copies[value]
        name = value.name
        if value.role is Role.GIVEN and name.startswith("c"):
            made = self.carries[name]
        elif value.role is Role.GIVEN and name.startswith("x") and self.is_whole:
            self.operands["x"].append(self.given[name])
            made = self.inner.leaf("given", f"x{len(self.operands['x']) - 1}", value.type)
        elif value not in self.carried and (value in self.given_from or _is_computed(value)):
            outer = self.outside(value, for_step=False)
            kind = "x" if outer.type.rows == self.dim else "k"
            self.operands[kind].append(outer)
            made = self.inner.leaf("given", f"{kind}{len(self.operands[kind]) - 1}", value.type)
        else:
            operands = [self.copy(operand) for operand in value.operands]
            if value.role is Role.CONTRACTION:
                operands = [self.in_order(value, n, one) for n, one in enumerate(operands)]
            made = self.inner.add_copy(value, operands, span=value.span)
        self.copies[value] = made
        return made

    def in_order(self, product: Value, n: int, operand: Value) -> Value:
        """A weight of a product as its tile reads it, rows of columns: turned round once, before all steps."""
        inputs, _, out = product.attributes_as(Subscripts).subscripts.partition("->")
        letters = inputs.split(",")[n]
        is_weight = operand.role is Role.GIVEN and not operand.type.is_batched and operand.type.rank == 2
        if not is_weight or not out or letters[-1] == out[-1] or out[-1] not in letters:
            return operand
        outer = self.operands["k"][int(operand.name[1:])]
        turned = apply("copied", apply("transpose", outer, order=(1, 0)))
        self.operands["k"].append(turned)
        leaf = self.inner.leaf("given", f"k{len(self.operands['k']) - 1}", turned.type)
        return apply("transpose", leaf, order=(1, 0))

    def keep(self, value: Value) -> str:
        """The name by which the core yields a value."""
        if value not in self.names:
            self.names[value] = f"yield.{len(self.names)}"
            self.inner.results[self.names[value]] = self.copy(value)
        return self.names[value]

    # -------------------------------------------------------------- outside

    def reach(self, value: Value) -> None:
        """See that the core yields what is needed to compute a value after it."""
        waiting, seen = [value], {value}
        while waiting:
            one = waiting.pop()
            if self.stays(one):
                self.keep(one)
            elif one in self.carried:
                new = [operand for operand in one.operands if operand not in seen]
                seen.update(new)
                waiting.extend(new)

    def outside(self, value: Value, for_step: bool = True) -> Value:
        """A value of the body outside: for all steps at once if it changes from step to step (or is wanted so, `for_step`)."""
        if value not in self.known:
            self.known[value] = self.build(value)
        made = self.known[value]
        return spread(made, self.dim) if for_step and made.type.rows == BATCH else made

    def build(self, value: Value) -> Value:
        if self.stays(value):
            return part(self.core, self.names[value])
        name = value.name
        if value.role is Role.GIVEN:
            return self.given[name]
        is_moving = value in self.moving
        operands = [self.outside(operand, for_step=is_moving) for operand in value.operands]
        attributes, dims = value.attributes, value.type.dims
        if is_moving and value.type.is_batched:
            dims = (self.dim, *dims[1:])
            if isinstance(attributes, Dims):
                attributes = replace(attributes, dims=dims)
        return self.graph.add_copy(value, operands, attributes, value.type.with_dims(dims), value.span)

    def part(self, name: str) -> Value:
        """What stands outside for a part of the scan."""
        if name.startswith("last."):
            return part(self.core, name)
        return self.outside(self.body.results[name])


def _may_leave(value: Value) -> bool:
    """Whether a value can be computed for all steps at once."""
    return value.role not in (Role.GIVEN, Role.SCAN, Role.PART)


def _is_computed(value: Value) -> bool:
    """Whether a value is more than a number, or numbers counted, seen in another shape."""
    while value.operands and isinstance(OPERATIONS[value.operation].lower, View):
        value = value.operands[0]
    return bool(value.operands)
