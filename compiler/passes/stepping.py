"""One step of a model of sequences: a graph from one row, and from states that go from step to step.

A scan becomes its body, and its carries become states; so does the value that `shift` delays. A model that can be
written so never sees a later step. A generated token then costs the same, however long the text before it is.
"""

from dataclasses import dataclass, field, replace

from netc.compiler.ir.attributes import Dims
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.index_tables import IndexTable, TableKind, table_of
from netc.compiler.ir.results import Result, ResultKind
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import BATCH, Type
from netc.compiler.ir.value import Value
from netc.compiler.operations.gathering import gather
from netc.compiler.operations.scan import Part, Scan, SlotKind
from netc.dsl.diagnostics import fault

STEP = str(IndexTable(TableKind.STEP, ""))  # the leaf that says which step it is, from 0


@dataclass(slots=True)
class Stepping:
    """A step as a graph: its results `state.N` are the next values of its inputs of these names.

    The results of `begins` are the first values of those states that do not begin with zero.
    """

    graph: Graph
    begins: Graph
    states: dict[str, Type] = field(default_factory=dict)


def stepping(graph: Graph, dim: str) -> Stepping:
    """One step of a graph along a dimension. Faults E0506 if a step would need a later one."""
    return _Builder(graph, dim).run()


class _Builder:
    """Makes the graph of a step: `steps` are its values, by the values of the whole graph."""

    def __init__(self, graph: Graph, dim: str) -> None:
        self.graph, self.dim = graph, dim
        self.step_graph = Graph()
        self.step_graph.precision = graph.precision
        self.steps: dict[Value, Value] = {}
        self.parts: dict[Value, dict[Result, Value]] = {}
        self.begins: dict[Result, Value] = {}
        self.states: dict[str, Type] = {}

    def run(self) -> Stepping:
        """Adds all values that a result needs. Faults E0506 if one of them needs a later step."""
        live = self.graph.live()
        for value in self.graph.values():
            if value in live:
                with self.step_graph.at(value.span):
                    self.step(value)
        self.step_graph.results.update({result: self.steps[value] for result, value in self.graph.results.items()})
        begins, _ = self.graph.subgraph(self.begins)
        if any(value.type.is_varying for value in begins.values()):
            late = next(value for value in begins.values() if value.type.is_varying)
            self.refuse(late, "a state begins with what needs the whole sequence")
        return Stepping(self.step_graph, begins, self.states)

    def refuse(self, value: Value, reason: str) -> None:
        """Faults E0506 at a value."""
        fault(
            "E0506",
            "a step would see a later one",
            value.span,
            reason,
            hint="what generates goes from the first step to the last",
        )

    def state(self, type_: Type, begin: Value | None) -> tuple[Result, Value]:
        """A new state: the result for its next value, and its leaf."""
        result = ResultKind.STATE.named(len(self.states))
        name = str(result)
        self.states[name] = type_
        if begin is not None:
            self.begins[result] = begin
        return result, self.step_graph.leaf(Role.INPUT, name, type_)

    def at_step(self, type_: Type) -> Type:
        """The type of a row, for a value that has a row for each step."""
        return type_.with_dims((BATCH, *type_.dims[1:])) if type_.is_varying else type_

    def step(self, value: Value) -> None:
        """Adds a value of the whole graph as it is at one step."""
        table = table_of(value)
        if value.type.is_varying and value.type.rows != self.dim:
            self.refuse(value, f"it runs along {value.type.rows}, not along {self.dim}")
        if table is not None and table.kind is TableKind.STEP:
            self.steps[value] = self.step_graph.leaf(Role.INPUT, STEP, self.at_step(value.type))
        elif table is not None:
            return  # an index table: the value that reads it is translated with it
        elif value.role is Role.SCAN:
            self.scan(Scan.of(value))
        elif value.role is Role.PART:
            self.steps[value] = self.parts[value.operands[0]][value.attributes_as(Part).result]
        elif tables := [read for operand in value.operands if (read := table_of(operand)) is not None]:
            self.moved(value, tables[-1].kind)
        else:
            attributes, type_ = value.attributes, self.at_step(value.type)
            if value.type.is_varying and isinstance(attributes, Dims):
                attributes = replace(attributes, dims=type_.dims)
            operands = [self.steps[operand] for operand in value.operands]
            self.steps[value] = self.step_graph.add_copy(value, operands, attributes, type_)

    def moved(self, value: Value, kind: TableKind) -> None:
        """Adds a value that is moved along steps by an index table of a kind."""
        if kind is TableKind.STEP:
            operands = [self.steps[operand] for operand in value.operands]
            self.steps[value] = self.step_graph.add_copy(value, operands, type_=self.at_step(value.type))
        elif value.definition is gather and kind is TableKind.SAMPLE:
            self.steps[value] = self.steps[value.operands[0]]
        elif value.definition is gather and kind is TableKind.PREVIOUS:
            result, leaf = self.state(self.at_step(value.type), None)
            self.steps[value], self.step_graph.results[result] = leaf, self.steps[value.operands[0]]
        else:
            reasons = {
                TableKind.REVERSE: "it goes from the last step to the first",
                TableKind.LAST: "it waits for the last step",
            }
            self.refuse(value, reasons.get(kind, "it takes all steps together"))

    def scan(self, scan: Scan) -> None:
        """Adds the body of a scan, its carries as states."""
        if scan.is_reversed:
            self.refuse(scan.value, "it goes from the last step to the first")
        inside: dict[Value, Value] = {}
        operands = scan.operand_of()
        states: dict[int, Result] = {}
        for slot, leaf in scan.leaves().items():
            if slot.kind is SlotKind.CARRY:
                states[slot.index], inside[leaf] = self.state(leaf.type, operands[slot])
            else:
                inside[leaf] = self.steps[operands[slot]]
        for value in scan.body.values():
            if value not in inside:
                parts = [inside[operand] for operand in value.operands]
                inside[value] = self.step_graph.add_copy(value, parts)
        for index, state in states.items():
            self.step_graph.results[state] = inside[scan.body.results[ResultKind.NEXT.named(index)]]
        self.parts[scan.value] = {result: inside[value] for result, value in scan.body.results.items()}
