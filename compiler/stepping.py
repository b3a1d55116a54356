"""A model of sequences as one step of it: what a row gives from that row and from states that go from step to step.

Each scan becomes its body, its carries become states, and so does what `shift` holds back; the proof that no step sees a later one is that this can be
done. A token then costs the same, however long the text before it is.
"""

from dataclasses import dataclass, field, replace

from netc.compiler.ir.attributes import Dims
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.roles import Role
from netc.compiler.ir.rows import PREFIX, asked
from netc.compiler.ir.types import BATCH, Type
from netc.compiler.ir.value import Value
from netc.compiler.operations.scan import Part, Scan
from netc.compiler.operations.shape import gather
from netc.dsl.diagnostics import fault

STATE = "state."
STEP = f"{PREFIX}step"  # the leaf that says which step it is, from 0


@dataclass(slots=True)
class Stepping:
    """`graph` is one step: results `state.N` are the next values of its inputs of these names. `begins` are results of another graph: their first values."""

    graph: Graph
    begins: Graph
    states: dict[str, Type] = field(default_factory=dict)


def stepping(graph: Graph, dim: str) -> Stepping:
    """One step of a graph along a dimension. Faults E0506 where a step would see a later one."""
    return _Stepped(graph, dim).run()


class _Stepped:
    def __init__(self, graph: Graph, dim: str) -> None:
        self.graph, self.dim = graph, dim
        self.one = Graph()
        self.one.precision = graph.precision
        self.made: dict[Value, Value] = {}
        self.parts: dict[Value, dict[str, Value]] = {}
        self.begins: dict[str, Value] = {}
        self.states: dict[str, Type] = {}

    def run(self) -> Stepping:
        live = self.graph.live()
        for value in self.graph.values():
            if value in live:
                with self.one.at(value.span):
                    self.step(value)
        self.one.results.update({name: self.made[value] for name, value in self.graph.results.items()})
        begins, _ = self.graph.subgraph(self.begins)
        if any(value.type.is_varying for value in begins.values()):
            late = next(value for value in begins.values() if value.type.is_varying)
            self.refuse(late, "a state begins with what needs the whole sequence")
        return Stepping(self.one, begins, self.states)

    def refuse(self, value: Value, told: str) -> None:
        fault(
            "E0506",
            "a step would see a later one",
            value.span,
            told,
            hint="what generates goes from the first step to the last",
        )

    def state(self, type_: Type, begin: Value | None) -> tuple[str, Value]:
        """A new state: its name, and the leaf that holds it."""
        name = f"{STATE}{len(self.states)}"
        self.states[name] = type_
        if begin is not None:
            self.begins[name] = begin
        return name, self.one.leaf("input", name, type_)

    def at_step(self, type_: Type) -> Type:
        """The type of a row, for a value that has a row for each step."""
        return type_.with_dims((BATCH, *type_.dims[1:])) if type_.is_varying else type_

    def step(self, value: Value) -> None:
        """Make what a value is at one step."""
        name = value.name
        kind = asked(name)[0] if name.startswith(PREFIX) else ""
        if value.type.is_varying and value.type.rows != self.dim:
            self.refuse(value, f"it runs along {value.type.rows}, not along {self.dim}")
        if kind == "step":
            self.made[value] = self.one.leaf("input", STEP, self.at_step(value.type))
        elif kind:
            return  # a table: whoever reads it knows what it means
        elif value.role is Role.SCAN:
            self.scan(Scan.of(value))
        elif value.role is Role.PART:
            self.made[value] = self.parts[value.operands[0]][value.attributes_as(Part).of]
        elif tables := [one for one in value.operands if one.name.startswith(PREFIX)]:
            self.moved(value, asked(tables[-1].name)[0])
        else:
            attributes, type_ = value.attributes, self.at_step(value.type)
            if value.type.is_varying and isinstance(attributes, Dims):
                attributes = replace(attributes, dims=type_.dims)
            operands = [self.made[operand] for operand in value.operands]
            self.made[value] = self.one.add_copy(value, operands, attributes, type_)

    def moved(self, value: Value, kind: str) -> None:
        """What goes along steps by an index table."""
        if kind == "step":
            operands = [self.made[operand] for operand in value.operands]
            self.made[value] = self.one.add_copy(value, operands, type_=self.at_step(value.type))
        elif value.definition is gather and kind == "sample":
            self.made[value] = self.made[value.operands[0]]
        elif value.definition is gather and kind == "previous":
            name, held = self.state(self.at_step(value.type), None)
            self.made[value], self.one.results[name] = held, self.made[value.operands[0]]
        else:
            told = {"reverse": "it goes from the last step to the first", "last": "it waits for the last step"}
            self.refuse(value, told.get(kind, "it takes all steps together"))

    def scan(self, one: Scan) -> None:
        if one.is_reversed:
            self.refuse(one.value, "it goes from the last step to the first")
        inside: dict[Value, Value] = {}
        operands = one.operand_of()
        names: dict[str, str] = {}
        for leaf in one.body.values("given"):
            own = leaf.name
            if own.startswith("c"):
                names[own], inside[leaf] = self.state(leaf.type, operands[own])
            else:
                inside[leaf] = self.made[operands[own]]
        for value in one.body.values():
            if value not in inside:
                parts = [inside[operand] for operand in value.operands]
                inside[value] = self.one.add_copy(value, parts)
        for own, name in names.items():
            self.one.results[name] = inside[one.body.results[f"next.{own[1:]}"]]
        self.parts[one.value] = {name: inside[value] for name, value in one.body.results.items()}
