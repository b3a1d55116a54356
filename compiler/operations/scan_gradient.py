"""The gradient of a scan: a scan that walks the other way over what the forward one kept.

Its body is the derivative of the forward body. Its carries are the gradients of the forward carries; what a step reads of the forward one (operands and
results of the derivative's rules) are parts of the forward scan. What a value from outside, the same for all samples, gets from all steps is one sum over
rows after the scan: dU is a product of all states with all gradients, not a product a step.
"""

from collections.abc import Callable, Mapping, Sequence

from netc.compiler.ir.graph import Graph
from netc.compiler.ir.value import Value, apply
from netc.compiler.operations.scan import Scan, part, scan

Adjoints = Callable[[Graph, Mapping[Value, Value], Sequence[Value]], dict[Value, Value]]


def scan_gradient(given: Mapping[str, Value], value: Value, adjoints: Adjoints) -> list[Value | None]:
    """The gradient of each operand of a scan, from those of its parts by name. The scan yields all that its body
    computes, or only its carries (passes/scans.py)."""
    one = Scan.of(value)
    return _Backward(one, given, adjoints).run()


class _Backward:
    def __init__(self, one: Scan, given: Mapping[str, Value], adjoints: Adjoints) -> None:
        self.scan, self.given = one, given
        self.outside: Graph = one.value.graph  # type: ignore[assignment]
        # the forward body, its derivative after it
        self.joint, made = one.body.subgraph(one.body.results)
        self.forward = set(self.joint.values())
        self.leaves = {leaf.name: leaf for leaf in self.joint.values("given")}
        self.kept = {made[kept]: name for name, kept in one.body.results.items() if not name.startswith("next.")}
        self.seeds: dict[Value, Value] = {}
        self.sequences: dict[Value, Value] = {}  # leaves of the joint graph that are elements of sequences outside
        self.seed(given)
        wanted = [leaf for leaf in self.leaves.values() if leaf.type.is_float]
        self.gradients = adjoints(self.joint, self.seeds, wanted)
        self.of_step: set[Value] = set()  # what changes from step to step
        for value in self.joint.values():
            if value.type.is_batched or any(operand in self.of_step for operand in value.operands):
                self.of_step.add(value)
        self.reached: set[Value] = set()
        self.known_sums: dict[Value, Value] = {}
        # what the backward body is made of
        self.body = Graph()
        self.body.precision = self.joint.precision
        self.copies: dict[Value, Value] = {}
        self.recomputes = False
        self.operands: tuple[list[Value], list[Value], list[Value]] = ([], [], [])

    def seed(self, given: Mapping[str, Value]) -> None:
        """Leaves for the gradients that come in: of what was yielded, a row a step, and of the carries."""
        for name, gradient in given.items():
            if name.startswith("yield."):
                made = self.joint.results[name]
                leaf = self.joint.leaf("given", f"g.{name}", made.type)
                self.sequences[leaf] = gradient
                self.add_seed(made, leaf)
        self.carried: list[Value | None] = []
        for i, begin in enumerate(self.scan.begins):
            carry = self.joint.leaf("given", f"gc{i}", begin.type) if begin.type.is_float else None
            self.carried.append(carry)
            if carry is not None:
                self.add_seed(self.joint.results[f"next.{i}"], carry)

    def add_seed(self, made: Value, leaf: Value) -> None:
        with self.joint.at(made.span):
            self.seeds[made] = self.seeds[made] + leaf if made in self.seeds else leaf

    # -------------------------------------------------------------- the backward body

    def run(self) -> list[Value | None]:
        with self.outside.at(self.scan.value.span):
            return self.build()

    def build(self) -> list[Value | None]:
        floats = [(i, leaf) for i, leaf in enumerate(self.carried) if leaf is not None]
        for n, (i, leaf) in enumerate(floats):
            begin = self.given.get(f"last.{i}")
            self.operands[1].append(begin if begin is not None else self.zeros(self.scan.begins[i]))
            self.copies[leaf] = self.body.leaf("given", f"c{n}", leaf.type)
        for n, (i, leaf) in enumerate(floats):
            own = self.leaves.get(f"c{i}")
            gradient = self.gradients.get(own) if own is not None else None
            self.body.results[f"next.{n}"] = (
                self.copy(gradient) if gradient is not None else self.zeros(leaf, self.body)
            )
        steps: dict[int, str] = {}
        for i in range(len(self.scan.sequences)):
            element = self.leaves.get(f"x{i}")
            if element is not None and element in self.gradients and element.type.is_float:
                steps[i] = self.yielded(self.gradients[element])
        of_sample: dict[int, int] = {}
        sums: dict[int, Value] = {}
        for i, captured in enumerate(self.scan.captured):
            outer = self.leaves.get(f"k{i}")
            if outer is None or outer not in self.gradients or not outer.type.is_float:
                continue
            if captured.type.is_batched:  # each sample's own: added up step by step
                n = of_sample[i] = len(self.operands[1])
                held = self.body.leaf("given", f"c{n}", outer.type)
                self.operands[1].append(self.zeros(captured))
                self.body.results[f"next.{n}"] = held + self.copy(self.gradients[outer])
            else:
                sums[i] = self.gradients[outer]
        for gradient in sums.values():
            self.reach(gradient)
        if not self.body.results:
            return [None] * len(self.scan.value.operands)
        back = scan(
            self.outside,
            self.body,
            self.scan.dim,
            *self.operands,
            is_reversed=not self.scan.is_reversed,
            is_whole=self.recomputes,
        )
        carries = {i: n for n, (i, _) in enumerate(floats)}
        found: list[Value | None] = [
            part(back, steps[i]) if i in steps else None for i in range(len(self.scan.sequences))
        ]
        found += [part(back, f"last.{carries[i]}") if i in carries else None for i in range(len(self.scan.begins))]
        for i in range(len(self.scan.captured)):
            if i in of_sample:
                found.append(part(back, f"last.{of_sample[i]}"))
            else:
                found.append(self.summed(sums[i], back) if i in sums else None)
        return found

    def zeros(self, like: Value, graph: Graph | None = None) -> Value:
        target = graph or self.outside
        zero = target.constant(0.0, like.type)
        return apply("broadcast", zero, dims=like.type.dims) if like.type.dims else zero

    def yielded(self, value: Value) -> str:
        """The name of the backward result that holds a value of the joint graph."""
        made = self.copy(value)
        for name, known in self.body.results.items():
            if known is made and name.startswith("yield."):
                return name
        name = f"yield.{sum(one.startswith('yield.') for one in self.body.results)}"
        self.body.results[name] = made
        return name

    def copy(self, value: Value) -> Value:
        """A value of the joint graph in the backward body; what the forward body computed is read from what it kept."""
        waiting = [value]
        while waiting:
            one = waiting[-1]
            if one in self.copies:
                waiting.pop()
            elif one in self.forward and self.is_kept(one):
                self.copies[one] = self.from_forward(one)
            elif one in self.sequences:
                self.copies[one] = self.element(self.sequences[one], one)
            elif missing := [operand for operand in one.operands if operand not in self.copies]:
                waiting.extend(missing)
            else:
                self.recomputes |= one in self.forward and one.type.is_batched
                operands = [self.copies[operand] for operand in one.operands]
                self.copies[one] = self.body.add_copy(one, operands, span=one.span)
        return self.copies[value]

    def is_kept(self, value: Value) -> bool:
        """Whether the forward scan has a value at each step; what it has not is computed again from what it has."""
        return not value.operands or value in self.kept

    def from_forward(self, value: Value) -> Value:
        name = value.name
        if value.operation == "given" and name.startswith("k"):
            self.operands[2].append(self.scan.captured[int(name[1:])])
            return self.body.leaf("given", f"k{len(self.operands[2]) - 1}", value.type)
        if not value.operands and value.operation != "given":
            return self.body.add_copy(value, (), span=value.span)
        return self.element(self.rows_of(value), value)

    def has_rows(self, value: Value) -> bool:
        """Whether the forward scan has a row of a value for each step. What is captured from outside has one for all steps."""
        return value in self.kept or (
            value.operation == "given" and value in self.forward and value.name.startswith("x")
        )

    def rows_of(self, value: Value) -> Value:
        """What the forward scan had of a value at each step, if it `has_rows`."""
        name = value.name
        if value.operation == "given" and name.startswith("x"):
            return self.scan.sequences[int(name[1:])]
        return part(self.scan.value, self.kept[value])

    def element(self, sequence: Value, like: Value) -> Value:
        """A leaf of the backward body that walks a sequence."""
        self.operands[0].append(sequence)
        return self.body.leaf("given", f"x{len(self.operands[0]) - 1}", like.type)

    # -------------------------------------------------------------- sums over all steps

    def reach(self, gradient: Value) -> None:
        """See that the backward scan yields what a sum over all steps needs of it."""
        if gradient.type.is_batched:
            if not self.has_rows(gradient):
                self.yielded(gradient)
            return
        if gradient in self.of_step and gradient not in self.reached:
            self.reached.add(gradient)
            for operand in gradient.operands:
                self.reach(operand)

    def summed(self, gradient: Value, back: Value) -> Value:
        """The sum over all steps of a gradient that each step gives, as a value outside.

        It is made of reductions over the samples, which are taken over all rows instead, and of what is linear in them.
        """
        if gradient.type.is_batched:
            if self.has_rows(gradient):
                return self.rows_of(gradient)
            if gradient in self.sequences:
                return self.sequences[gradient]
            return part(back, self.yielded(gradient))
        if gradient in self.known_sums:
            return self.known_sums[gradient]
        if gradient not in self.of_step:
            return self.constant_outside(gradient)
        operands = [self.summed(operand, back) for operand in gradient.operands]
        rule = gradient.operation
        assert rule in _LINEAR or any(operand.type.is_batched for operand in gradient.operands), gradient
        made = self.outside.add_copy(gradient, operands, span=gradient.span)
        self.known_sums[gradient] = made
        return made

    def constant_outside(self, value: Value) -> Value:
        """A value of the joint graph that no step changes."""
        name = value.name
        if value.operation == "given":
            return self.scan.captured[int(name[1:])]
        operands = [self.constant_outside(operand) for operand in value.operands]
        return self.outside.add_copy(value, operands, span=value.span)


# what a sum over steps goes through, one operand changing from step to step
_LINEAR = (
    *("add", "subtract", "neg", "multiply", "divide", "where", "cast", "copied"),
    *("reshape", "transpose", "broadcast", "slice", "pad", "sum", "einsum", "concat", "gather", "scatter_add"),
)
