"""The gradient of a scan: a backward scan that walks the other way over the values that the forward scan kept.

The body of the backward scan is the derivative of the forward body. Its carries are the gradients of the forward
carries. The forward values that a step needs (operands and results of the derivative's rules) are read from parts of
the forward scan. A captured value that all samples share, such as a weight matrix, gets its gradient as one sum over
all rows after the scan: dU is one product of all states with all gradients, instead of one product per step. If the
states are wide (wide_states.py), a carry adds up the gradient of each sample instead, so that the gradients of the
states need not be in memory.
"""

from collections.abc import Callable, Mapping, Sequence

from netc.compiler.ir.attributes import Over
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.results import Result, ResultKind
from netc.compiler.ir.roles import Role
from netc.compiler.ir.value import Value, apply
from netc.compiler.operations.reduce import sum_
from netc.compiler.operations.scan import Scan, ScanOperands, SlotKind, add_leaf, leaves_of, part, scan, slot_of
from netc.compiler.operations.wide_states import has_wide_states

Adjoints = Callable[[Graph, Mapping[Value, Value], Sequence[Value]], dict[Value, Value]]


def scan_gradient(part_gradients: Mapping[Result, Value], value: Value, adjoints: Adjoints) -> list[Value | None]:
    """Returns the gradient of each operand of the scan `value`, or None where there is none.

    `part_gradients` are the gradients of the scan's parts. The scan yields everything that its body computes,
    or only its carries (passes/scans.py). `adjoints` differentiates the body.
    """
    return _Backward(Scan.of(value), part_gradients, adjoints).run()


class _Backward:
    """Builds the backward scan of one forward scan.

    The joint graph holds a copy of the forward body, followed by its derivative. The body of the backward scan is
    copied from there, value by value, as it is needed.
    """

    def __init__(self, forward_scan: Scan, part_gradients: Mapping[Result, Value], adjoints: Adjoints) -> None:
        self.scan, self.part_gradients = forward_scan, part_gradients
        self.outside: Graph = forward_scan.value.graph  # type: ignore[assignment]
        body = forward_scan.body
        self.joint, joint_values = body.subgraph(body.results)
        self.is_wide = has_wide_states(body)
        self.forward = set(self.joint.values())
        self.leaves = leaves_of(self.joint)
        self.kept = {joint_values[value]: key for key, value in body.results.items() if key.kind is not ResultKind.NEXT}
        self.seeds: dict[Value, Value] = {}
        self.sequences: dict[Value, Value] = {}  # joint leaves that stand for an element of an outer sequence
        self.seed()
        float_leaves = [leaf for leaf in self.leaves.values() if leaf.type.is_float]
        self.gradients = adjoints(self.joint, self.seeds, float_leaves)
        self.of_step: set[Value] = set()  # the values that change from step to step
        for value in self.joint.values():
            if value.type.is_batched or any(operand in self.of_step for operand in value.operands):
                self.of_step.add(value)
        self.reached: set[Value] = set()
        self.sums: dict[Value, Value] = {}  # joint values to their sums over all steps
        # the body of the backward scan, the joint values copied to it, and the scan's operands by kind (x, c, k)
        self.body = Graph()
        self.body.precision = self.joint.precision
        self.copies: dict[Value, Value] = {}
        self.recomputes = False
        self.operands: tuple[list[Value], list[Value], list[Value]] = ([], [], [])

    def seed(self) -> None:
        """Adds leaves for the incoming gradients: of the yielded values (one row per step) and of the carries."""
        for key, gradient in self.part_gradients.items():
            if key.kind is ResultKind.YIELD:
                result = self.joint.results[key]
                leaf = self.joint.leaf(Role.GIVEN, f"g.{key}", result.type)
                self.sequences[leaf] = gradient
                self.add_seed(result, leaf)
        self.carried: list[Value | None] = []
        for i, begin in enumerate(self.scan.begins):
            carry = self.joint.leaf(Role.GIVEN, f"gc{i}", begin.type) if begin.type.is_float else None
            self.carried.append(carry)
            if carry is not None:
                self.add_seed(self.joint.results[ResultKind.NEXT.named(i)], carry)

    def add_seed(self, result: Value, leaf: Value) -> None:
        """Adds a leaf to the gradient of a result of the forward body."""
        with self.joint.at(result.span):
            self.seeds[result] = self.seeds[result] + leaf if result in self.seeds else leaf

    # -------------------------------------------------------------- the backward body

    def run(self) -> list[Value | None]:
        """Returns the gradient of each operand of the forward scan."""
        with self.outside.at(self.scan.value.span):
            return self.build()

    def build(self) -> list[Value | None]:
        """Adds the scan that runs backwards, if anything has a gradient, and what it sums after its steps."""
        carries = self.carries_of_states()
        steps = self.gradients_of_steps()
        of_samples, of_batches, sums = self.gradients_of_captured()
        if not self.body.results:
            return [None] * len(self.scan.value.operands)
        back = scan(
            self.outside,
            self.body,
            self.scan.dim,
            ScanOperands(*self.operands),
            is_reversed=not self.scan.is_reversed,
            recomputes=self.recomputes,
        )

        def of_part(results: Mapping[int, Result], i: int) -> Value | None:
            return part(back, results[i]) if i in results else None

        def of_captured(i: int) -> Value | None:
            if i in of_batches:
                return apply("sum", part(back, of_batches[i]), over=(0,))
            return self.summed(sums[i], back) if i in sums else of_part(of_samples, i)

        return [
            *(of_part(steps, i) for i in range(len(self.scan.sequences))),
            *(of_part(carries, i) for i in range(len(self.scan.begins))),
            *(of_captured(i) for i in range(len(self.scan.captured))),
        ]

    def carries_of_states(self) -> dict[int, Result]:
        """Adds a carry for the gradient of each float carry. Returns the results with the gradients of first values."""
        floats = [(i, leaf) for i, leaf in enumerate(self.carried) if leaf is not None]
        for n, (i, leaf) in enumerate(floats):
            begin = self.part_gradients.get(ResultKind.LAST.named(i))
            self.operands[1].append(begin if begin is not None else self.zeros(self.scan.begins[i]))
            self.copies[leaf] = add_leaf(self.body, SlotKind.CARRY.slot(n), leaf.type)
        for n, (i, leaf) in enumerate(floats):
            forward_leaf = self.leaves.get(SlotKind.CARRY.slot(i))
            gradient = self.gradients.get(forward_leaf) if forward_leaf is not None else None
            self.body.results[ResultKind.NEXT.named(n)] = (
                self.copy(gradient) if gradient is not None else self.zeros(leaf, self.body)
            )
        return {i: ResultKind.LAST.named(n) for n, (i, _) in enumerate(floats)}

    def gradients_of_steps(self) -> dict[int, Result]:
        """Yields the gradient of each sequence's element. Returns the results with the gradients of sequences."""
        steps: dict[int, Result] = {}
        for i in range(len(self.scan.sequences)):
            element = self.leaves.get(SlotKind.STEP_INPUT.slot(i))
            if element is not None and element in self.gradients and element.type.is_float:
                steps[i] = self.yielded(self.gradients[element])
        return steps

    def gradients_of_captured(self) -> tuple[dict[int, Result], dict[int, Result], dict[int, Value]]:
        """Returns the results with gradients of captured values that each sample has, those whose sum over the samples
        is a gradient, and the gradients of other values at a step, which are summed over all steps afterwards.

        A carry sums the gradient of a value of a sample, step by step.
        """
        of_samples: dict[int, Result] = {}
        of_batches: dict[int, Result] = {}
        sums: dict[int, Value] = {}
        for i, captured in enumerate(self.scan.captured):
            outer = self.leaves.get(SlotKind.CAPTURED.slot(i))
            if outer is None or outer not in self.gradients or not outer.type.is_float:
                continue
            gradient = self.gradients[outer]
            if captured.type.is_batched:
                of_samples[i] = self.added_up(gradient)
            elif (summand := self.summand(gradient)) is not None:
                of_batches[i] = self.added_up(summand)
            else:
                sums[i] = gradient
        for gradient in sums.values():
            self.reach(gradient)
        return of_samples, of_batches, sums

    def added_up(self, value: Value) -> Result:
        """Adds a carry that is the sum of a value over the steps of each sample. Returns the result with it."""
        n = len(self.operands[1])
        sum_so_far = add_leaf(self.body, SlotKind.CARRY.slot(n), value.type)
        self.operands[1].append(self.zeros(value))
        self.body.results[ResultKind.NEXT.named(n)] = sum_so_far + self.copy(value)
        return ResultKind.LAST.named(n)

    def summand(self, gradient: Value) -> Value | None:
        """The value whose sum over the samples is a gradient, if the states are wide and it is such a sum."""
        if not self.is_wide or gradient.definition is not sum_:
            return None
        (operand,), over = gradient.operands, gradient.attributes_as(Over).over
        if not operand.type.is_batched or 0 not in over:
            return None
        others = tuple(axis for axis in over if axis)
        if not others:
            return operand
        with self.joint.at(gradient.span):
            return apply("sum", operand, over=others)

    def zeros(self, like: Value, graph: Graph | None = None) -> Value:
        """Zeros of the same type as `like`, in `graph` or else outside."""
        target = graph or self.outside
        zero = target.constant(0.0, like.type)
        return apply("broadcast", zero, dims=like.type.dims) if like.type.dims else zero

    def yielded(self, value: Value) -> Result:
        """Makes the backward scan yield a value of the joint graph, and returns the key of that result."""
        copy = self.copy(value)
        yields = self.body.results_of(ResultKind.YIELD)
        for name, result in yields.items():
            if result is copy:
                return ResultKind.YIELD.named(name)
        key = ResultKind.YIELD.named(len(yields))
        self.body.results[key] = copy
        return key

    def copy(self, value: Value) -> Value:
        """Returns the copy of a joint value in the backward body. Values that the forward scan kept are read."""
        pending = [value]
        while pending:
            current = pending[-1]
            if current in self.copies:
                pending.pop()
            elif current in self.forward and self.is_kept(current):
                self.copies[current] = self.from_forward(current)
            elif current in self.sequences:
                self.copies[current] = self.element(self.sequences[current], current)
            elif missing := [operand for operand in current.operands if operand not in self.copies]:
                pending.extend(missing)
            else:
                self.recomputes |= current in self.forward and current.type.is_batched
                operands = [self.copies[operand] for operand in current.operands]
                self.copies[current] = self.body.add_copy(current, operands, span=current.span)
        return self.copies[value]

    def is_kept(self, value: Value) -> bool:
        """Whether the forward scan has a value at each step; the backward body computes all other values again."""
        return not value.operands or value in self.kept

    def from_forward(self, value: Value) -> Value:
        """Reads a value that the forward scan has (`is_kept`) in the backward body."""
        slot = slot_of(value)
        if slot is not None and slot.kind is SlotKind.CAPTURED:
            self.operands[2].append(self.scan.captured[slot.index])
            return add_leaf(self.body, SlotKind.CAPTURED.slot(len(self.operands[2]) - 1), value.type)
        if not value.operands and value.role is not Role.GIVEN:
            return self.body.add_copy(value, (), span=value.span)
        return self.element(self.rows_of(value), value)

    def has_rows(self, value: Value) -> bool:
        """Whether the forward scan has a row of a value for each step. Captured values are the same at all steps."""
        slot = slot_of(value)
        return value in self.kept or (slot is not None and slot.kind is SlotKind.STEP_INPUT)

    def rows_of(self, value: Value) -> Value:
        """The rows of a value for which `has_rows` is true: a sequence or a part of the forward scan."""
        slot = slot_of(value)
        if slot is not None and slot.kind is SlotKind.STEP_INPUT:
            return self.scan.sequences[slot.index]
        return part(self.scan.value, self.kept[value])

    def element(self, sequence: Value, like: Value) -> Value:
        """A leaf of the backward body that stands for the current element of a sequence."""
        self.operands[0].append(sequence)
        return add_leaf(self.body, SlotKind.STEP_INPUT.slot(len(self.operands[0]) - 1), like.type)

    # -------------------------------------------------------------- sums over all steps

    def reach(self, gradient: Value) -> None:
        """Makes the backward scan yield the values that `summed` needs for the sum of a gradient over all steps."""
        if gradient.type.is_batched:
            if not self.has_rows(gradient):
                self.yielded(gradient)
            return
        if gradient in self.of_step and gradient not in self.reached:
            self.reached.add(gradient)
            for operand in gradient.operands:
                self.reach(operand)

    def summed(self, gradient: Value, back: Value) -> Value:
        """Returns the sum over all steps of a gradient that each step contributes to, as a value outside the scan.

        The gradient consists of reductions over the samples and operations that are linear in these. Taking the
        reductions over all rows instead gives the sum over the steps.
        """
        if gradient.type.is_batched:
            if self.has_rows(gradient):
                return self.rows_of(gradient)
            if gradient in self.sequences:
                return self.sequences[gradient]
            return part(back, self.yielded(gradient))
        if gradient in self.sums:
            return self.sums[gradient]
        if gradient not in self.of_step:
            return self.constant_outside(gradient)
        operands = [self.summed(operand, back) for operand in gradient.operands]
        rule = gradient.operation
        assert rule in _LINEAR or any(operand.type.is_batched for operand in gradient.operands), gradient
        self.sums[gradient] = self.outside.add_copy(gradient, operands, span=gradient.span)
        return self.sums[gradient]

    def constant_outside(self, value: Value) -> Value:
        """Copies a value of the joint graph that is the same at all steps to the graph outside the scan."""
        slot = slot_of(value)
        if slot is not None:
            return self.scan.captured[slot.index]
        operands = [self.constant_outside(operand) for operand in value.operands]
        return self.outside.add_copy(value, operands, span=value.span)


# operations that are linear in the operand that changes from step to step: a sum over steps passes through them
_LINEAR = (
    *("add", "subtract", "neg", "multiply", "divide", "where", "cast", "copied"),
    *("reshape", "transpose", "broadcast", "slice", "pad", "sum", "einsum", "concat", "gather", "scatter_add"),
)
