"""Makes one step of a model of sequences: a graph from one row, and from states that go from step to step.

A scan becomes its body, and its carries become states; so does the value that `shift` delays. A value that is read at
all steps, such as the keys of an attention, becomes a history: a state with the rows of all earlier steps. A model
that can be written so never sees a later step. A generated token then costs its own products and a look at the
histories, however long the text before it is.
"""

from netc.compiler.ir.attributes import Dims
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.index_tables import IndexTable, TableKind, table_of
from netc.compiler.ir.results import Result, ResultKind
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import BATCH, Bounded, Dim, Precision, Type
from netc.compiler.ir.value import Value, apply
from netc.compiler.operations.attention import attend
from netc.compiler.operations.gathering import gather
from netc.compiler.operations.linear import Subscripts
from netc.compiler.operations.scan import Part, Scan, SlotKind
from netc.compiler.operations.scan import pack as to_steps
from netc.compiler.operations.shape import Order
from netc.compiler.passes.stepping.axes import (
    EVERY,
    NONE,
    NeedsAll,
    follows_from_step,
    names_of_steps,
    needed_axes,
    operand_axes,
    other_steps,
)
from netc.compiler.passes.stepping.graph import STEP, Stepping, refuse
from netc.compiler.passes.stepping.histories import (
    Growing,
    Multiplied,
    attention,
    for_all_samples,
    merged,
    numbers,
    product,
)
from netc.compiler.passes.stepping.later_steps import prove
from netc.dsl.structs import replace


def stepping(graph: Graph, dim: str, capacity: int = 1, precision: Precision = "f32") -> Stepping:
    """Returns one step of a graph along a dimension, with histories of `capacity` steps.

    Its products read operands of a precision. Raises E0506 if a step would need a later one.
    """
    return _Builder(graph, dim, capacity, precision).run().narrowed(precision)


class _Builder:
    """Makes the graph of a step.

    `steps` has its values, by the values of the original graph and the axes at which they are needed (axes.py).
    `growing` has the values of all steps so far, each as a history and the row of this step.
    """

    def __init__(self, graph: Graph, dim: str, capacity: int, precision: Precision) -> None:
        self.graph, self.dim, self.capacity, self.precision = graph, dim, capacity, precision
        self.step_graph = Graph()
        self.step_graph.precision = graph.precision
        self.steps: dict[tuple[Value, int], Value] = {}
        self.growing: dict[tuple[Value, int], Growing] = {}
        self.parts: dict[Value, dict[Result, Value]] = {}
        self.begins: dict[Result, Value] = {}
        self.stepping = Stepping(self.step_graph, Graph())
        self.number: Value | None = None

    def run(self) -> Stepping:
        """Adds all values that a result needs. Raises E0506 if one of them needs a later step."""
        try:
            axes = needed_axes(self.graph)
            self.check_names(axes)
            prove(self.graph, axes)
        except NeedsAll as need:
            refuse(need)
        for value in self.graph.values():
            with self.step_graph.at(value.span):
                for axis in axes.get(value, ()):
                    self.step(value, axis)
        results = {result: self.steps[value, 0] for result, value in self.graph.results.items()}
        self.step_graph.results.update(results)
        begins, _ = self.graph.subgraph(self.begins)
        if any(value.type.is_varying for value in begins.values()):
            late = next(value for value in begins.values() if value.type.is_varying)
            refuse(NeedsAll(late, "a state begins with what needs the whole sequence"))
        self.stepping.begins = begins
        return self.stepping

    def check_names(self, axes: dict[Value, list[int]]) -> None:
        """Raises E0506 at a value along another dimension."""
        for value in self.graph.values():
            names = names_of_steps(value) - {self.dim} if value in axes else set()
            if names:
                refuse(NeedsAll(value, f"it runs along {min(names)}, not along {self.dim}"))

    # -------------------------------------------------------------- states

    def named_state(self, type_: Type) -> tuple[Result, str]:
        """The result and the name of a new state."""
        result = ResultKind.STATE.named(len(self.stepping.states) + len(self.stepping.histories))
        return result, str(result)

    def state(self, type_: Type, begin: Value | None) -> tuple[Result, Value]:
        """A new state: the result for its next value, and its leaf."""
        result, name = self.named_state(type_)
        self.stepping.states[name] = type_
        if begin is not None:
            self.begins[result] = begin
        return result, self.step_graph.leaf(Role.INPUT, name, type_)

    def history(self, row: Value) -> Growing:
        """A new history, of which this is the current row."""
        type_ = row.type.with_dims((BATCH, self.capacity, *row.type.dims[1:]))
        result, name = self.named_state(type_)
        self.stepping.histories[name] = type_
        new = apply("reshape", row, dims=(BATCH, 1, *row.type.dims[1:]))
        self.step_graph.results[result] = new
        return Growing(self.step_graph.leaf(Role.GIVEN, name, type_, per="batch"), new, 1)

    # -------------------------------------------------------------- types and numbers

    def type_at(self, type_: Type, axis: int, size: int | None = None) -> Type:
        """The type of a value at one step. Its other axes along steps have `size` elements, by default the capacity."""
        size = self.capacity if size is None else size
        dims: list[Dim] = [size if isinstance(dim, Bounded) else dim for dim in type_.dims]
        if type_.is_varying:
            dims[0] = self.capacity if axis == EVERY else BATCH
        elif axis != NONE:
            dims[axis] = 1
        return type_.with_dims(tuple(dims))

    def number_of_step(self) -> Value:
        """The number of this step, one for all samples."""
        if self.number is None:
            self.number = self.step_graph.leaf(Role.GIVEN, STEP, Type("i32"))
        return self.number

    # -------------------------------------------------------------- values

    def step(self, value: Value, axis: int) -> None:
        """Adds a value of the whole graph as it is at one step."""
        tables = [read for operand in value.operands if (read := table_of(operand)) is not None]
        match value.role:
            case Role.SCAN:
                self.scan(Scan.of(value))
            case Role.PART:
                self.steps[value, axis] = self.parts[value.operands[0]][value.attributes_as(Part).result]
            case _ if self.is_counted(value):
                self.steps[value, axis] = self.counted(value, axis)
            case _ if value.definition is attend:
                self.steps[value, axis] = self.attention(value, axis)
            case _ if tables:
                self.moved(value, axis, tables[-1])
            case _ if table_of(value) is None and not self.in_parts(value, axis):  # a table is translated with its user
                self.copy(value, axis, [self.merged(*operand) for operand in self.operands(value, axis)])

    def is_counted(self, value: Value) -> bool:
        """Whether a leaf follows from the number of the step."""
        table = table_of(value)
        if table is not None:
            return follows_from_step(table)
        return value.role is Role.RANGE and bool(other_steps(value, NONE))

    def counted(self, value: Value, axis: int) -> Value:
        """The number of the step, the numbers of all steps, the number of steps so far, or whether an earlier step
        exists."""
        table, number = table_of(value), self.number_of_step()
        if axis == EVERY or (table is None and axis == NONE):
            return numbers(self.step_graph, self.capacity)
        if table is not None and table.delay is not None:
            number = apply("cast", apply("greater_equal", number, table.delay), dtype="i32")
        elif table is not None and table.kind is TableKind.LENGTH:
            number = apply("add", number, 1)
        return apply("reshape", number, dims=(1,)) if table is None else for_all_samples(number)

    def operands(self, value: Value, axis: int) -> list[tuple[Value, int]]:
        """The operands of a value, each with the axis at which it is needed."""
        axes = operand_axes(value, axis)
        return [(operand, of) for operand, of in zip(value.operands, axes, strict=True) if of is not None]

    def copy(self, value: Value, axis: int, operands: list[Value]) -> None:
        """Adds a value that is computed as in the whole graph, from these operands."""
        self.steps[value, axis] = self.copied(value, operands, self.type_at(value.type, axis))

    def copied(self, value: Value, operands: list[Value], type_: Type) -> Value:
        attributes = value.attributes
        if isinstance(attributes, Dims) and value.operands:
            attributes = replace(attributes, dims=type_.dims)
        return self.step_graph.add_copy(value, operands, attributes, type_)

    def merged(self, value: Value, axis: int) -> Value:
        """A value at all steps so far in one piece, or a value at one step."""
        if (value, axis) not in self.steps:
            self.steps[value, axis] = merged(self.growing[value, axis], self.number_of_step())
        return self.steps[value, axis]

    def moved(self, value: Value, axis: int, table: IndexTable) -> None:
        """Adds a value that is moved along steps by an index table."""
        (operand, of), type_, kind = self.operands(value, axis)[0], self.type_at(value.type, axis), table.kind
        if follows_from_step(table):
            self.copy(value, axis, [self.merged(*operand) for operand in self.operands(value, axis)])
        elif kind is TableKind.PREVIOUS:
            self.steps[value, axis] = self.delayed(self.steps[operand, of], 1)
        elif kind is TableKind.FIRST:
            self.steps[value, axis] = self.first(self.steps[operand, of])
        elif table.delay is not None:
            self.steps[value, axis] = self.delayed(self.steps[operand, of], table.delay)
        elif kind is TableKind.PADDED and axis == NONE and of == 0:
            self.growing[value, axis] = self.history_of(operand)
        elif kind is TableKind.PADDED and axis == NONE:
            rows = self.steps[operand, of]
            rows = apply("reshape", rows, dims=(1, *rows.type.dims))
            self.steps[value, axis] = apply("broadcast", rows, dims=type_.dims)
        elif kind is TableKind.SAMPLE:
            self.steps[value, axis] = self.steps[operand, of]
        else:  # the same row, with or without an axis of one step
            assert value.definition in (gather, to_steps), value
            self.steps[value, axis] = apply("reshape", self.merged(operand, of), dims=type_.dims)

    def first(self, row: Value) -> Value:
        """The row of the first step, which is a state from then on."""
        result, leaf = self.state(row.type, None)
        is_first = apply("equal", self.number_of_step(), 0)
        self.step_graph.results[result] = apply("where", is_first, row, leaf)
        return self.step_graph.results[result]

    def delayed(self, row: Value, steps: int) -> Value:
        """The row of some steps before: zeros until there are so many, which a mask hides in the whole graph."""
        if steps == 0:
            return row
        if steps == 1:
            result, leaf = self.state(row.type, None)
            self.step_graph.results[result] = row
            return leaf
        dims = row.type.dims[1:]
        result, rows = self.state(row.type.with_dims((BATCH, steps, *dims)), None)
        later = [apply("slice", rows, axis=1, start=1, stop=steps), apply("reshape", row, dims=(BATCH, 1, *dims))]
        self.step_graph.results[result] = apply("concat", *later, axis=1)
        first = apply("slice", rows, axis=1, start=0, stop=1)
        return apply("reshape", first, dims=row.type.dims)

    def history_of(self, rows: Value) -> Growing:
        """The history of a value with a row for each step, one for all that read it."""
        key = (rows, NONE)
        if key not in self.growing:
            self.growing[key] = self.history(self.steps[rows, 0])
        return self.growing[key]

    # -------------------------------------------------------------- values at all steps so far

    def in_parts(self, value: Value, axis: int) -> bool:
        """Whether a value reads a history in its two parts. Then it has been added."""
        operands = self.operands(value, axis)
        growing = [number for number, operand in enumerate(operands) if operand in self.growing]
        if not growing:
            return False
        if isinstance(value.attributes, Subscripts):
            self.steps[value, axis] = self.product(value, axis, growing[-1])
            return True
        if value.role is Role.SHAPE or isinstance(value.attributes, Order):
            parts = self.growing[operands[0]]
            (along,) = other_steps(value, axis)
            old = self.copied(value, [parts.old], self.type_at(value.type, axis))
            new = self.copied(value, [parts.new], self.type_at(value.type, axis, size=1))
            self.growing[value, axis] = Growing(old, new, along)
            return True
        return False

    def product(self, value: Value, axis: int, number: int) -> Value:
        """A sum of products, in which the operand of this number is a history."""
        operands = self.operands(value, axis)
        factors = [self.merged(*operand) for operand in operands if operand is not operands[number]]
        parts, type_ = self.growing[operands[number]], self.type_at(value.type, axis)
        return product(Multiplied(value, type_, number, parts, factors[0]), self.number_of_step())

    def attention(self, value: Value, axis: int) -> Value:
        """Attention of one step's query: to the keys up to its own if it is causal, else to fixed ones."""
        operands = self.operands(value, axis)
        keys, values = (self.growing.get(operand) for operand in operands[1:3])
        if keys is not None and values is not None:
            query, number = self.merged(*operands[0]), self.number_of_step()
            return attention(value, query, keys, values, number, self.precision)
        q, k, v, *lengths = (self.merged(*operand) for operand in operands)
        if axis == NONE or not value.keywords["causal"]:
            return apply("attend", q, k, v, *lengths, **value.keywords)
        seen = for_all_samples(apply("add", self.number_of_step(), 1))  # of as many: all are of this dimension
        return apply("attend", q, k, v, seen, scale=value.keywords["scale"], causal=False)

    def scan(self, scan: Scan) -> None:
        """Adds the body of a scan, its carries as states."""
        if scan.is_reversed:
            refuse(NeedsAll(scan.value, "it goes from the last step to the first"))
        inside: dict[Value, Value] = {}
        operands = scan.operand_of()
        states: dict[int, Result] = {}
        for slot, leaf in scan.leaves().items():
            if slot.kind is SlotKind.CARRY:
                states[slot.index], inside[leaf] = self.state(leaf.type, operands[slot])
            else:
                operand = operands[slot]
                inside[leaf] = self.steps[operand, 0 if operand.type.is_varying else NONE]
        for value in scan.body.values():
            if value not in inside:
                parts = [inside[operand] for operand in value.operands]
                inside[value] = self.step_graph.add_copy(value, parts)
        for index, state in states.items():
            self.step_graph.results[state] = inside[scan.body.results[ResultKind.NEXT.named(index)]]
        self.parts[scan.value] = {result: inside[value] for result, value in scan.body.results.items()}
