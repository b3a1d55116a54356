"""Moves values out of a recurrence that need not be in it.

    scan over time:                                     xw = einsum(x, W)        # one product for all steps
        c = tanh(einsum(x[t], W) + einsum(c, U))   ->   scan over time:
                                                            c = tanh(xw[t] + einsum(c, U))

A value that does not depend on a carry is computed before the scan, unless the scan would then read more: an outer
product of a step's row and a weight stays, and so does the product of a sequence of single numbers. A value that no
carry needs is computed after it, from the rows that the scan stacks: so the gradient of a weight becomes one product
over all steps. Sums of wide states stay, too (operations/wide_states.py).
"""

from netc.compiler.ir.attributes import Dims
from netc.compiler.ir.graph import Graph, needed_by
from netc.compiler.ir.results import Result, ResultKind
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import BATCH, Type
from netc.compiler.ir.value import Value, apply, viewed
from netc.compiler.operations.linear import Subscripts, is_outer, multiplied
from netc.compiler.operations.scan import (
    Part,
    Scan,
    ScanAttributes,
    ScanOperands,
    Slot,
    SlotKind,
    add_leaf,
    depending,
    part,
    scan,
    slot_of,
)
from netc.compiler.operations.sequence import spread
from netc.compiler.operations.shape import broadcast
from netc.compiler.operations.wide_states import has_wide_states
from netc.compiler.passes.panels import panels_for, product_of_panels
from netc.compiler.passes.scans import gathered, trimmed
from netc.compiler.passes.simplify import rebuild, simplify
from netc.compiler.passes.sink import is_scalar, steps_of
from netc.dsl.structs import replace

# Elements of a row: an LSTM of 64 units over single numbers then takes 0.8 of the time for 64 samples. For one sample
# an RNN of 128 units would take 1.5 times the time.
_WIDE = 256
_CHEAP = 4  # operations of an element, which take about as long as reading it


def hoist(graph: Graph) -> Graph:
    """Splits each scan into the values before it, its core, and the values after it.

    Runs after `differentiate`, so it serves forward and backward scans alike.
    """
    if not graph.values(Role.SCAN):
        return graph
    split: dict[Value, _Split] = {}

    def rule(copy: Graph, value: Value, operands: list[Value]) -> Value:
        if value.role is Role.SCAN:
            split[value] = _Split(copy, Scan.of(value), operands)
            return split[value].core
        if value.role is Role.PART:
            return split[value.operands[0]].part(value.attributes_as(Part).result)
        return copy.add_copy(value, operands)

    return simplify(trimmed(simplify(rebuild(graph, rule))))


class _Split:
    """One scan while it is split, in the new graph."""

    def __init__(self, graph: Graph, original: Scan, operands: list[Value]) -> None:
        self.body = gathered(original.body)
        self.graph, self.dim, self.is_reversed = graph, original.dim, original.is_reversed
        self.operand_by_slot = dict(zip(original.operand_of(), operands, strict=True))
        # A scan that recomputes stays in one piece: only values that are the same at every step leave it, and products
        # of what it yields anyway. So a sum to which a product is added begins with the same number as without a limit
        # on memory, and has the same bits.
        self.recomputes = bool(original.value.attributes_as(ScanAttributes).recomputes)
        in_core = (SlotKind.CARRY, SlotKind.STEP_INPUT) if self.recomputes else (SlotKind.CARRY,)
        self.carried = depending(self.body, *in_core)
        self.moving = depending(self.body, SlotKind.STEP_INPUT, SlotKind.CARRY)
        self.expansions = _expansions(self.body, self.moving)
        self.from_leaves = depending(self.body, *SlotKind)
        self.needed = self.of_core()
        self.outer: dict[Value, Value] = {}  # values of the body -> values outside
        self.copies: dict[Value, Value] = {}  # values of the body -> values in the core
        self.inner = Graph()
        self.inner.precision = self.body.precision
        self.operands: dict[SlotKind, list[Value]] = {kind: [] for kind in SlotKind}
        self.carries: dict[Slot, Value] = {}
        for slot, begin in self.operand_by_slot.items():
            if slot.kind is SlotKind.CARRY:
                self.operands[SlotKind.CARRY].append(begin)
                self.carries[slot] = add_leaf(self.inner, slot, begin.type)
        self.yields: dict[Value, Result] = {}
        for name, value in self.body.results_of(ResultKind.NEXT).items():
            self.inner.results[ResultKind.NEXT.named(name)] = self.copy(value)
        for value in self.body.results_of(ResultKind.YIELD).values():
            self.reach(value)
        inner_operands = ScanOperands(*self.operands.values())
        self.core = scan(graph, self.inner, self.dim, inner_operands, self.is_reversed, recomputes=self.recomputes)

    def of_core(self) -> set[Value]:
        """Returns the values that stay in the core if they depend on a carry. Sums of wide states do, so that nothing
        reads the states from memory."""
        if self.recomputes:
            return set(self.body.values()) - self.of_yields()
        return set(self.body.values()) if has_wide_states(self.body) else self.of_carries()

    def of_carries(self) -> set[Value]:
        """Returns the values that the next carries are computed from."""
        return needed_by(self.body.results_of(ResultKind.NEXT).values())

    def of_yields(self) -> set[Value]:
        """Returns the yielded products of values that are yielded too, or that are the same at every step."""
        users, yields = self.body.all_users(), set(self.body.results_of(ResultKind.YIELD).values())
        yields -= set(self.body.results_of(ResultKind.NEXT).values())
        return {
            value
            for value in yields
            if value.role is Role.CONTRACTION
            and not users[value]
            and all(operand in yields or operand not in self.carried for operand in value.operands)
        }

    def stays(self, value: Value) -> bool:
        """Whether a value stays in the core: it depends on a carry, and a carry depends on it or it cannot be moved."""
        return value in self.carried and (value in self.needed or not _may_leave(value))

    # -------------------------------------------------------------- the core

    def copy(self, value: Value) -> Value:
        """Returns a value in the core.

        One that does not depend on a carry becomes an operand of the scan, unless it is a constant, or a step's
        operands have fewer elements (`_expansions`).
        """
        if value in self.copies:
            return self.copies[value]
        slot = slot_of(value)
        if slot is not None and slot.kind is SlotKind.CARRY:
            inner_value = self.carries[slot]
        elif slot is not None and slot.kind is SlotKind.STEP_INPUT and self.recomputes:
            inner_value = self.operand(SlotKind.STEP_INPUT, self.operand_by_slot[slot], value.type)
        elif (
            value not in self.carried
            and (value in self.from_leaves or _is_computed(value))
            and value not in self.expansions
        ):
            outer = self.outside(value, for_step=False)
            kind = SlotKind.STEP_INPUT if outer.type.rows == self.dim else SlotKind.CAPTURED
            inner_value = self.operand(kind, outer, value.type)
        else:
            operands = [self.copy(operand) for operand in value.operands]
            if value.role is Role.CONTRACTION and is_outer(value):
                with self.inner.at(value.span):
                    inner_value = multiplied(value, operands)
            elif value.role is Role.CONTRACTION:
                inner_value = self.product(value, operands)
            else:
                inner_value = self.inner.add_copy(value, operands, span=value.span)
        self.copies[value] = inner_value
        return inner_value

    def operand(self, kind: SlotKind, outer: Value, type_: Type) -> Value:
        """Adds an operand to the core, and returns its leaf."""
        self.operands[kind].append(outer)
        return add_leaf(self.inner, kind.slot(len(self.operands[kind]) - 1), type_)

    def product(self, value: Value, operands: list[Value]) -> Value:
        """Adds a product to the core. A weight is copied before all steps into an order that tiles read as it lies:
        into panels if that pays (panels.py); else it is transposed, if the columns of the result are not columns of
        it."""
        inputs, _, out = value.attributes_as(Subscripts).subscripts.partition("->")
        parts = inputs.split(",")
        for n, operand in enumerate(operands):
            slot = slot_of(operand)
            if slot is None or operand.type.is_batched or operand.type.rank != 2 or out[-1:] not in {*parts[n]}:
                continue
            weight, is_turned = self.operands[SlotKind.CAPTURED][slot.index], parts[n][-1] != out[-1]
            if is_turned:
                weight = apply("transpose", weight, order=(1, 0))
            panels = panels_for(value, n, weight)
            if panels is not None:
                factors = [*operands[:n], self.operand(SlotKind.CAPTURED, panels, panels.type), *operands[n + 1 :]]
                with self.inner.at(value.span):
                    return product_of_panels(value, n, factors)
            if is_turned:
                weight = apply("copied", weight)
                turned = apply("transpose", self.operand(SlotKind.CAPTURED, weight, weight.type), order=(1, 0))
                operands = [*operands[:n], turned, *operands[n + 1 :]]
        return self.inner.add_copy(value, operands, span=value.span)

    def keep(self, value: Value) -> Result:
        """Returns the result by which the core yields a value."""
        if value not in self.yields:
            self.yields[value] = ResultKind.YIELD.named(len(self.yields))
            self.inner.results[self.yields[value]] = self.copy(value)
        return self.yields[value]

    # -------------------------------------------------------------- outside

    def reach(self, value: Value) -> None:
        """Makes the core yield all that is needed to compute a value after it."""
        waiting, seen = [value], {value}
        while waiting:
            current = waiting.pop()
            if self.stays(current):
                self.keep(current)
            elif current in self.carried:
                new = [operand for operand in current.operands if operand not in seen]
                seen.update(new)
                waiting.extend(new)

    def outside(self, value: Value, for_step: bool = True) -> Value:
        """Returns a value of the body, computed outside of the scan.

        It has a row for each step if it changes from step to step; with `for_step`, one row for each sample is
        repeated for its steps.
        """
        if value not in self.outer:
            self.outer[value] = self.build(value)
        outer = self.outer[value]
        return spread(outer, self.dim) if for_step and outer.type.rows == BATCH else outer

    def build(self, value: Value) -> Value:
        if self.stays(value):
            return part(self.core, self.yields[value])
        slot = slot_of(value)
        if slot is not None:
            return self.operand_by_slot[slot]
        is_moving = value in self.moving
        operands = [self.outside(operand, for_step=is_moving) for operand in value.operands]
        attributes, dims = value.attributes, value.type.dims
        if is_moving and value.type.is_batched:
            dims = (self.dim, *dims[1:])
            if isinstance(attributes, Dims):
                attributes = replace(attributes, dims=dims)
        return self.graph.add_copy(value, operands, attributes, value.type.with_dims(dims), value.span)

    def part(self, result: Result) -> Value:
        """Returns the value that replaces a part of the old scan."""
        if result.kind is ResultKind.LAST:
            return part(self.core, result)
        return self.outside(self.body.results[result])


def _may_leave(value: Value) -> bool:
    """Whether a value can be computed for all steps at once."""
    return value.role not in (Role.GIVEN, Role.SCAN, Role.PART)


def _expansions(body: Graph, moving: set[Value]) -> set[Value]:
    """Returns the values of a step that have more elements than each of their operands, and take few cheap operations.

    A row that is repeated, its outer product with a weight or another row, or a number times a row of weights: to
    compute it again reads less than to read it.
    """
    steps: dict[Value, int] = {}
    for value in body.values():
        if value not in moving or not value.type.is_batched:
            continue
        if value.definition is broadcast:
            steps[value] = 0
        elif (is_scalar(value) and steps_of(value) == 1) or _is_wide_outer(value):
            parts = [steps.get(operand, 0) for operand in value.operands]
            is_small = all(operand in steps or operand.type.dims != value.type.dims for operand in value.operands)
            if is_small and sum(parts) < _CHEAP:
                steps[value] = sum(parts) + 1
    return set(steps)


def _is_wide_outer(value: Value) -> bool:
    """Whether a value is a product that sums nothing, and so wide that reading it takes longer than a loop more in each
    step."""
    return value.role is Role.CONTRACTION and is_outer(value) and value.type.size(1) >= _WIDE


def _is_computed(value: Value) -> bool:
    """Whether a value is computed from others: not a constant, a range or another leaf, nor a view of one."""
    return bool(viewed(value).operands)
