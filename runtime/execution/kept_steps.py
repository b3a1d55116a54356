"""Steps in the cache: what passes, lowering, planning and code generation made of a graph.

A record is found by all that decides it (`KeptSteps.of`): the graph before the passes as text, the offsets of its
arrays, the batch, the target's machine, and a fingerprint of netc's files, the installed packages and the host. So
neither the file nor its settings need to be known. A record that is missing or damaged is a miss. It is data of
declared types and object code, as those of kernels are: nothing in it is unpickled.

Nothing is kept in the debugging mode, which verifies every plan; with plug-ins, whose code the fingerprint does not
contain; and for targets other than machine code, which have nothing to keep.
"""

import msgspec
from msgspec import Struct

from netc.compiler.backends import target_of
from netc.compiler.ir.graph import Graph, print_graph
from netc.compiler.ir.index_tables import dims_of
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import Sizes, parse_type
from netc.compiler.passes.scans import first_dim
from netc.compiler.program.gathers import Gathers
from netc.compiler.program.plan import CallLayout, Table
from netc.compiler.targets.target import Code, Target
from netc.dsl.quoting import json_text
from netc.dsl.storage import records
from netc.runtime.environment import fingerprint
from netc.runtime.execution.memory import is_debugging
from netc.runtime.typed_json import parsed

# The fingerprint of the files that this process was started from. It is taken when they are imported: a process that
# runs for hours would otherwise keep the plans of its old files under the fingerprint of new ones.
_ENVIRONMENT = fingerprint()


class Facts(msgspec.Struct, frozen=True):
    """The facts that the runtime needs about a graph after the passes.

    `given` are the leaves that the runtime computes, and `per_step` those of them with a value for each step; `dims`
    are the varying dimensions, and `first` is the one by whose lengths samples are ordered.
    """

    given: tuple[str, ...]
    per_step: tuple[str, ...]
    dims: tuple[str, ...]
    first: str | None

    @classmethod
    def of(cls, graph: Graph) -> "Facts":
        leaves = graph.values(Role.GIVEN)
        return cls(
            tuple(value.name for value in leaves),
            tuple(value.name for value in leaves if value.is_per_step),
            dims_of(graph.values()),
            first_dim(graph),
        )


class PlanFacts(msgspec.Struct, frozen=True):
    """The floating-point operations of a step, and the bytes of the shared arena and of each worker's own."""

    flops: int
    shared: int
    private: int


class KeptPlan(Struct, frozen=True):
    """A plan's facts, and its code if that is kept too."""

    facts: PlanFacts
    code: Code | None


_Table = tuple[int, str]  # an index and a type


class _Layout(msgspec.Struct, frozen=True):
    """A CallLayout without the bytes of its arenas."""

    sizes: int | dict[str, int]
    step_bytes: tuple[tuple[int, int], ...]
    dims: tuple[str, ...]
    inputs: dict[str, _Table]
    results: dict[str, _Table]
    gathers: Gathers | None = None
    phases: int = 0


class _Record(msgspec.Struct, frozen=True):
    """A plan. Behind it in the file is the object code of its schedule, if it has a layout."""

    facts: PlanFacts
    layout: _Layout | None = None
    kernels: tuple[str, ...] = ()


class KeptSteps(Struct, frozen=True):
    """The records of one graph on one target. `key` is the hash of all that decides them but the sizes of a plan."""

    key: str

    @classmethod
    def of(
        cls, graph: Graph, offsets: dict[str, int], target: Target, batch: int, has_ranks: bool = False
    ) -> "KeptSteps | None":
        """The records of a graph, or None if nothing is kept of it."""
        machine = target.machine
        if _ENVIRONMENT is None or is_debugging() or _has_plugins() or target != target_of("cpu", machine):
            return None
        sizes = f"{batch}{' among ranks' if has_ranks else ''}"
        return cls(records.key_of(_ENVIRONMENT, repr(machine), sizes, repr([*offsets.items()]), print_graph(graph)))

    def facts(self) -> Facts | None:
        """The facts about the graph, if the cache has them."""
        content = records.read(self._name("graph"))
        try:
            return parsed(content, Facts) if content is not None else None
        except ValueError:
            return None

    def save_facts(self, facts: Facts) -> None:
        self._write(self._name("graph"), json_text(msgspec.to_builtins(facts)).encode())

    def plan(self, capacity: Sizes) -> KeptPlan | None:
        """The plan for these sizes, if one is kept."""
        content = records.read(self._name("plan", capacity))
        if content is None:
            return None
        head, _, step = content.partition(b"\n")
        try:
            record: _Record = parsed(head, _Record)
            code = Code(step, record.kernels, _call_layout(record)) if record.layout is not None else None
        except ValueError:
            return None
        return KeptPlan(record.facts, code)

    def save_plan(self, capacity: Sizes, facts: PlanFacts, code: Code | None) -> None:
        """Keeps the facts of a plan, and its code if there is any."""
        record = _Record(facts)
        if code is not None:
            record = _Record(facts, _layout_record(code.layout), code.kernels)
            assert _call_layout(record) == code.layout, "a type reads back to an equal one"
        head = json_text(msgspec.to_builtins(record)).encode()
        self._write(self._name("plan", capacity), head + b"\n" + (code.step if code is not None else b""))

    def _name(self, kind: str, capacity: Sizes | None = None) -> str:
        sizes = capacity if capacity is None or isinstance(capacity, int) else sorted(capacity.items())
        return f"step-{records.key_of(self.key, kind, repr(sizes))}"

    def _write(self, name: str, content: bytes) -> None:
        """Writes a record, unless netc's files have changed since this process imported them."""
        if fingerprint() == _ENVIRONMENT:
            records.write(name, content)


def _layout_record(layout: CallLayout) -> _Layout:
    sizes = layout.sizes if isinstance(layout.sizes, int) else dict(layout.sizes)
    inputs, results = (
        {name: (table.index, str(table.type)) for name, table in tables.items()}
        for tables in (layout.inputs, layout.results)
    )
    return _Layout(sizes, layout.step_bytes, layout.dims, inputs, results, layout.gathers, layout.phases)


def _call_layout(record: _Record) -> CallLayout:
    """The layout of a plan that has code. Raises ValueError for a text that is not a type."""
    layout, facts = record.layout, record.facts
    assert layout is not None
    inputs, results = (
        {name: Table(index, parse_type(text)) for name, (index, text) in tables.items()}
        for tables in (layout.inputs, layout.results)
    )
    arenas = facts.shared, facts.private
    return CallLayout(
        layout.sizes, *arenas, layout.step_bytes, layout.dims, inputs, results, layout.gathers, layout.phases
    )


def _has_plugins() -> bool:
    from netc.runtime import plugins

    return plugins.are_any()
