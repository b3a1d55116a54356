"""Graph: a networkx MultiDiGraph of typed values, from leaves (inputs, parameters, constants) to named results.

Values are only ever added to a graph; a pass makes a new graph. An edge runs from operand to user, and its key is the
operand's position. This file knows no particular operation except the leaves.
"""

import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from netc.compiler.ir.attributes import Attribute, Attributes, Constant, Given, Named, Nested
from netc.compiler.ir.results import Result, ResultKind
from netc.compiler.ir.roles import LEAVES, Role
from netc.compiler.ir.types import Bounded, DTypeName, Type, is_undeclared
from netc.compiler.ir.value import Operation, Surroundings, Value, make_attributes
from netc.dsl.source import NOWHERE, Span
from netc.dsl.structs import replace

T = TypeVar("T")
_ADDING = threading.Lock()  # a finished graph is read by several threads
if hasattr(os, "register_at_fork"):  # a process is not forked while a network is half complete
    os.register_at_fork(before=_ADDING.acquire, after_in_parent=_ADDING.release, after_in_child=_ADDING.release)
_TYPED_FREELY = (*LEAVES.values(), Role.EXTENT, Role.RANGE)  # values whose type no rule determines


class NoSurroundings:
    """Surroundings of a finished graph: no bounds, lengths from the data, every value in the graph itself."""

    def bound(self, dim: str) -> int | None:
        return None

    def length(self, dim: str) -> Value | None:
        return None

    def has_rows(self, dim: str) -> bool:
        return True

    def add_outside(self, *_: object, **__: object) -> Value | None:
        return None


NO_SURROUNDINGS = NoSurroundings()


class Graph:
    """Values, and the results that the program computes.

    The key of a result has a kind and a name (ir/results.py). It prints as `output.digit`, `loss.main`, `update.W`.
    `surroundings` are used while a model is elaborated into the graph, also by operations that are expanded during
    elaboration. Copies of the graph do not have them.
    """

    def __init__(self, surroundings: Surroundings = NO_SURROUNDINGS) -> None:
        self._values: list[Value] = []  # by number
        self._network: Any = None  # of the first `_in_network` of these values, once it is asked for
        self._in_network = 0
        self.results: dict[Result, Value] = {}
        self.span: Span = NOWHERE
        self.precision: DTypeName = "f32"
        self.surroundings = surroundings
        self.printed: tuple[object, str] | None = None  # the last printed form, and of what: see print_graph

    def add(
        self,
        operation: str,
        operands: Sequence[Value],
        attributes: Attributes | Mapping[str, Attribute],
        type_: Type,
        span: Span | None = None,
    ) -> Value:
        """Adds a value and returns it.

        Its span is the current one (see `at`) if `span` is None. A mapping of attributes is turned into an object of
        the class that the operation declares.
        """
        if not isinstance(attributes, Attributes):
            attributes = make_attributes(operation, attributes)
        if self.surroundings is not NO_SURROUNDINGS:  # of a finished graph, to which passes add thousands of values
            outer = self.surroundings.add_outside(operation, operands, attributes, type_, span)
            if outer is not None:
                return outer
        value = Value(self, len(self._values), operation, tuple(operands), attributes, type_, span or self.span)
        self._values.append(value)
        return value

    @property
    def network(self) -> Any:
        """The values as a networkx MultiDiGraph, for its algorithms.

        Values are added to it when it is asked for: most graphs of passes are only read in order, and adding edges
        takes longer than all else that a pass does. Importing networkx takes as long as compiling a small model.
        """
        if self._network is None or self._in_network < self.size:
            import networkx as nx

            with _ADDING:
                if self._network is None:
                    self._network = nx.MultiDiGraph()
                added = self._values[self._in_network :]
                self._network.add_nodes_from(added)
                self._network.add_edges_from(
                    [(operand, value, position) for value in added for position, operand in enumerate(value.operands)]
                )
                self._in_network += len(added)
        return self._network

    @property
    def size(self) -> int:
        """The number of values."""
        return len(self._values)

    def add_copy(
        self,
        value: Value,
        operands: Sequence[Value],
        attributes: Attributes | Mapping[str, Attribute] | None = None,
        type_: Type | None = None,
        span: Span | None = None,
    ) -> Value:
        """Adds a copy of a value of any graph, with other operands.

        Attributes and type are those of `value` unless they are passed. Its span is the current one, as in `add`.
        """
        return self.add(
            value.operation,
            operands,
            value.attributes if attributes is None else attributes,
            value.type if type_ is None else type_,
            span,
        )

    def constant(self, number: float, like: Type) -> Value:
        """Adds a number, with the element type of `like`, or f64 if that cannot represent it."""
        dtype = like.dtype if like.is_float or (like.dtype == "i32" and isinstance(number, int)) else "f64"
        return self.add("constant", (), Constant(number), Type(dtype))

    def leaf(self, role: Role, name: str, type_: Type, per: str | None = None) -> Value:
        """Adds a leaf: a value that comes from outside the graph and is identified by its name.

        `per` is for leaves that the runtime computes: see Given.
        """
        return self.add(role.value, (), Given(name, per) if role is Role.GIVEN else Named(name), type_)

    @contextmanager
    def at(self, span: Span) -> Iterator[None]:
        """Within this context, added values get this span."""
        before, self.span = self.span, span
        try:
            yield
        finally:
            self.span = before

    def values(self, kind: Role | Operation | None = None) -> list[Value]:
        """All values in the order they were added (operands before users), or those of one role or operation."""
        if kind is None:
            return list(self._values)
        is_of_kind: dict[str, bool] = {}  # by operation
        for value in self._values:
            if value.operation not in is_of_kind:
                is_of_kind[value.operation] = value.role is kind or value.definition is kind
        return [value for value in self._values if is_of_kind[value.operation]]

    def users(self, value: Value) -> list[Value]:
        """The values that read a value, in order."""
        return list(self.network.successors(value))

    def all_users(self) -> dict[Value, list[Value]]:
        """The users of every value. For a pass, this is faster than to fill the network and ask it for each value."""
        users: dict[Value, list[Value]] = {value: [] for value in self._values}
        for value in self._values:
            for operand in dict.fromkeys(value.operands):
                users[operand].append(value)
        return users

    def live(self) -> set[Value]:
        """The values that some result needs."""
        return needed_by(self.results.values())

    def results_of(self, kind: ResultKind) -> dict[str, Value]:
        """The results of a kind, by name."""
        return {result.name: value for result, value in self.results.items() if result.kind is kind}

    def has(self, *kinds: ResultKind) -> bool:
        """Whether there is a result of one of these kinds."""
        return any(result.kind in kinds for result in self.results)

    def penalties(self) -> list[str]:
        """The names of the losses that do not depend on data. If no loss does, there are none."""
        losses = self.results_of(ResultKind.LOSS)
        others = [
            name
            for name, value in losses.items()
            if not value.type.is_batched and self.weight_of(ResultKind.LOSS.named(name)) is None
        ]
        return others if len(others) < len(losses) else []

    def weight_of(self, result: Result) -> Value | None:
        """The weight of a loss or a metric, if it has one."""
        return self.results.get(result.weight) if result.weight is not None else None

    def printed_results(self) -> dict[str, Value]:
        """All results by their printed form, by which arrays and tables of a plan are called."""
        return {str(result): value for result, value in self.results.items()}

    def select(self, kind: ResultKind, arrays: Mapping[str, T]) -> dict[str, T]:
        """The results of a kind by name, as they are in `arrays`, which has all results by their printed form."""
        return {result.name: arrays[str(result)] for result in self.results if result.kind is kind}

    def of(self, *kinds: ResultKind) -> "Graph":
        """A copy with only the results of these kinds, and the values that they need."""
        return self.subgraph({result: value for result, value in self.results.items() if result.kind in kinds})[0]

    def only(self, *results: Result) -> "Graph":
        """A copy with only these results, and the values that they need."""
        return self.subgraph({result: self.results[result] for result in results})[0]

    def subgraph(
        self, results: Mapping[Result, Value], names: Mapping[str, str] | None = None
    ) -> tuple["Graph", dict[Value, Value]]:
        """Returns a copy with these results and the values that they need, and a mapping from each value to its copy.

        `names` maps names of leaves to new names.
        """
        copy, copies = Graph(), dict[Value, Value]()
        copy.precision = self.precision
        live = needed_by(results.values())
        for value in self.values():
            if value in live:
                attributes = value.attributes
                if names is not None and isinstance(attributes, Named) and attributes.name in names:
                    attributes = replace(attributes, name=names[attributes.name])
                operands = [copies[operand] for operand in value.operands]
                copies[value] = copy.add_copy(value, operands, attributes, span=value.span)
        copy.results = {result: copies[value] for result, value in results.items()}
        return copy, copies


def needed_by(values: Iterable[Value]) -> set[Value]:
    """The values and all that they are computed from."""
    seen = set(values)
    waiting = list(seen)
    while waiting:
        for operand in waiting.pop().operands:
            if operand not in seen:
                seen.add(operand)
                waiting.append(operand)
    return seen


def dependents(graph: Graph, sources: Iterable[Value]) -> set[Value]:
    """The sources and all values of the graph that are computed from one of them."""
    reached = set(sources)
    for value in graph.values():
        if not reached.isdisjoint(value.operands):
            reached.add(value)
    return reached


def print_graph(graph: Graph) -> str:
    """Prints one line per value, `%3 = add(%1, %2) : f32[batch, 10]  # model.net:7`, then the results.

    A scan's body follows in braces, indented. The first line of a graph whose precision is not f32 states it:
    `precision f64`. `parse_graph` (graph_parser.py) reads the text back.
    """
    state = (graph.precision, graph.size, tuple(graph.results.items()))
    if graph.printed is None or graph.printed[0] != state:  # keys of the cache ask for a graph's text several times
        graph.printed = state, _printed(graph)
    return graph.printed[1]


def _printed(graph: Graph) -> str:
    lines = [] if graph.precision == "f32" else [f"precision {graph.precision}"]
    locations: dict[int, str] = {}  # most spans are those of several values
    for value in graph.values():
        if (location := locations.get(id(value.span))) is None:
            location = locations[id(value.span)] = _location(value.span)
        lines += _lines(value, location)
    return "\n".join([*lines, *(f"{result} = %{value.number}" for result, value in graph.results.items())]) + "\n"


def print_value(value: Value) -> list[str]:
    """The lines of one value: the first is its own, those of a body follow."""
    return _lines(value, _location(value.span))


def _location(span: Span) -> str:
    return f"  # {span.source.name}:{span.line}" if span is not NOWHERE else ""


def _lines(value: Value, location: str) -> list[str]:
    keywords = value.keywords
    plain = [f"{key}={literal(item)}" for key, item in keywords.items() if not isinstance(item, Body)]
    attributes = f"[{', '.join(plain)}]" if plain else ""
    operands = ", ".join(f"%{operand.number}" for operand in value.operands)
    line = f"%{value.number} = {value.operation}{attributes}({operands}) : {value.type}"
    body = next((item for item in keywords.values() if isinstance(item, Body)), None)
    if body is None:
        return [f"{line}{location}"]
    return [f"{line} {{{location}", *(f"  {inner}" for inner in print_graph(body.graph).splitlines()), "}"]


def literal(item: Attribute) -> str:
    """An attribute as text; a varying dimension at its bound as `'time' <= 40`, or `<= None`."""
    if isinstance(item, tuple):
        return f"({', '.join(map(literal, item))}{',' * (len(item) == 1)})"
    if isinstance(item, Bounded):
        return f"{item.name!r} <= {'None' if is_undeclared(item) else int(item)}"
    return repr(item)


class Body(Nested):
    """The graph that a scan runs at each step: its attribute `body` (operations/scan.py). It is never changed."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    def __repr__(self) -> str:
        return f"Body({print_graph(self.graph)!r})"


def verify(graph: Graph) -> None:
    """Asserts what holds for every graph.

    Operands come before their users, edges agree with operands, and types agree with the operations' rules.
    """
    for value in graph.values():
        assert all(operand.number < value.number and operand.graph is graph for operand in value.operands), value
        edges = sorted((key, source.number) for source, _, key in graph.network.in_edges(value, keys=True))
        assert edges == [(i, operand.number) for i, operand in enumerate(value.operands)], value
        assert all(isinstance(dim, int) for dim in value.type.dims[1:]), f"rows are not the first dimension: {value}"
        definition = value.definition
        if value.role not in _TYPED_FREELY:
            assert definition is not None, value
            expected = definition.type(*(operand.type for operand in value.operands), **value.keywords)
            assert (expected.dtype, expected.dims) == (value.type.dtype, value.type.dims), (
                f"{value}: its rule says {expected}"
            )
    assert all(value.graph is graph for value in graph.results.values())
