"""The outline of a model: its values as boxes, a block as a box of the boxes inside of it, and the edges between boxes.

Some values have no box: parameters and states are named in the box that reads them, and edges pass through constants
and changes of form.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from msgspec import Struct, field

from netc.compiler.analysis.cost import flops, flops_of
from netc.compiler.ir.dims import lengths_of, names_in
from netc.compiler.ir.forms import Expansion
from netc.compiler.ir.graph import Graph, needed_by
from netc.compiler.ir.results import Result, ResultKind
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import BATCH, Bounded, describe_sample, is_undeclared
from netc.compiler.ir.value import Value
from netc.compiler.model import Application, Model
from netc.compiler.operations.elementwise import COMPARISONS, cast, where
from netc.compiler.operations.linear import Subscripts
from netc.compiler.operations.scan import Part, Scan, ScanAttributes, SlotKind
from netc.compiler.operations.shape import broadcast
from netc.compiler.passes.pack import at_length
from netc.compiler.passes.simplify import expand
from netc.dsl.source import Span
from netc.dsl.structs import replace

_OWNED = (Role.PARAMETER, Role.STATE)
_UNSEEN = (Role.CONSTANT, Role.GIVEN, Role.TRAINING, Role.EXTENT, *_OWNED)
_PASSED_OVER = (broadcast, cast)
_SYMBOLS = {
    "add": "+",
    "subtract": "-",
    "multiply": "*",
    "divide": "/",
    "power": "**",
    **COMPARISONS,
}
_RESULT_KINDS = (ResultKind.OUTPUT, ResultKind.LOSS, ResultKind.METRIC, ResultKind.WATCH)
RESULTS = tuple(kind.value for kind in _RESULT_KINDS)


class Box(Struct, frozen=True):
    """A value, a result of the model, or a block or scan with boxes `inside`.

    `kind` is "input", "target", "operation", "block", "scan", "carry", "state" (a next value), or one of RESULTS.
    `type` is the type of a sample, as the language writes it; `reads` names the parameters and states that the box
    reads; `flops` is the work of a sample, None if that depends on the sample's length and the length is not given.
    """

    key: int
    kind: str
    title: str
    type: str
    span: Span
    name: str = ""
    reads: tuple[str, ...] = ()
    flops: int | None = 0
    inside: tuple["Box", ...] = ()

    def all(self) -> Iterator["Box"]:
        """The box itself, and all boxes inside of it."""
        yield self
        for box in self.inside:
            yield from box.all()


class Outline(Struct, frozen=True):
    """The outermost boxes of a model, and its edges: from and to keys of boxes that have none inside."""

    boxes: tuple[Box, ...]
    edges: tuple[tuple[int, int], ...]

    def all(self) -> Iterator[Box]:
        """All boxes, at any depth."""
        for box in self.boxes:
            yield from box.all()


def outline_of(model: Model, steps: Mapping[str, int] | None = None) -> Outline:
    """The outline of the values that the model's results need, in the order of its text.

    `steps` is the length of the sample whose FLOPs are counted, by declared varying dimension.
    """
    lengths = None if steps is None else {dim: np.array([count]) for dim, count in steps.items()}
    builder, graph = _Builder({value: name for name, value in reversed(model.names.items())}, lengths), model.graph
    results = {result: [value] for result, value in graph.results.items() if result.kind in _RESULT_KINDS}
    for result, values in results.items():
        weight = graph.weight_of(result)
        values += [weight] if weight is not None else []
    kinds = (ResultKind.UPDATE, ResultKind.FITTED)
    updates = {value: result for result, value in graph.results.items() if result.kind in kinds}
    shown = [*updates, *(value for values in results.values() for value in values)]
    boxes = builder.boxes(graph, needed_by(shown), model.applications, updates)
    for result, values in results.items():
        key, kind = builder.key(), result.kind.value
        boxes.append(Box(key, kind, result.name, describe_sample(values[0].type), values[0].span))
        builder.connect(values, key)
    return _without_dead_ends(boxes, list(dict.fromkeys(builder.edges)))


def _without_dead_ends(boxes: Sequence[Box], edges: Sequence[tuple[int, int]]) -> Outline:
    """The outline without operations that lead to no result, state or carry, such as a step count that is not read."""
    sources: dict[int, list[int]] = {}
    for begin, end in edges:
        sources.setdefault(end, []).append(begin)
    leaves = [inner for box in boxes for inner in box.all() if not inner.inside]
    pending = [box.key for box in leaves if box.kind != "operation"]
    reached = set(pending)
    while pending:
        more = [key for key in sources.get(pending.pop(), ()) if key not in reached]
        reached.update(more)
        pending += more

    def kept(candidates: Iterable[Box]) -> tuple[Box, ...]:
        pruned = (replace(box, inside=kept(box.inside)) if box.inside else box for box in candidates)
        return tuple(box for box in pruned if box.inside or box.key in reached)

    return Outline(kept(boxes), tuple(edge for edge in edges if {*edge} <= reached))


class _Builder(Struct):
    """Makes boxes and edges.

    `names` are the model's names of values, and `lengths` those of the sample whose FLOPs are counted. For each value,
    `sources` has the boxes that it comes from, and `owned` the parameters and states that it is made of without a box
    between. `ends` are the boxes of carries at the end of a step.
    """

    names: Mapping[Value, str]
    lengths: Mapping[str, np.ndarray] | None
    sources: dict[Value, tuple[int, ...]] = field(default_factory=dict)
    owned: dict[Value, tuple[str, ...]] = field(default_factory=dict)
    ends: dict[tuple[Value, Result], int] = field(default_factory=dict)
    edges: list[tuple[int, int]] = field(default_factory=list)
    keys: int = 0

    def key(self) -> int:
        """The key of a new box."""
        self.keys += 1
        return self.keys

    def connect(self, values: Iterable[Value], key: int) -> None:
        """Adds an edge to the box `key` from each box that the values come from."""
        self.edges += [(source, key) for value in values for source in self.sources[value]]

    def boxes(
        self,
        graph: Graph,
        live: set[Value],
        applications: Sequence[Application] = (),
        updates: Mapping[Value, Result] | None = None,
    ) -> list[Box]:
        """The boxes of a graph's values, grouped by block; `updates` names the next values of states."""
        numbered: list[tuple[float, Box]] = []
        for value in graph.values():
            if value not in live or value in self.sources:
                continue
            if (box := self._box(value)) is not None:
                numbered.append((value.number, box))
            if updates and value in updates:  # outside the block that made the value, inside the one that updates
                key, state = self.key(), updates[value].name.rpartition(".")[2]
                title = state if updates[value].kind is ResultKind.FITTED else f"next {state}"
                numbered.append((value.number + 0.5, Box(key, "state", title, describe_sample(value.type), value.span)))
                self.connect([value], key)
        order = sorted(range(len(applications)), key=lambda i: (applications[i].first, -applications[i].end, -i))
        return self._grouped(numbered, [applications[i] for i in order])

    def _box(self, value: Value) -> Box | None:
        """The box of a value, or None if it has none: then its sources are those of its operands."""
        owned = tuple(dict.fromkeys(name for operand in value.operands for name in self.owned[operand]))
        self.owned[value] = (value.name,) if value.role in _OWNED else owned
        if value.role is Role.PART:
            scan, of = Scan.of(value.operands[0]), value.attributes_as(Part).result
            is_last = of.kind is ResultKind.LAST
            self.sources[value] = (self.ends[scan.value, of],) if is_last else self.sources[scan.body.results[of]]
            self.owned[value] = ()
            return None
        if value.role in _UNSEEN or value.definition in _PASSED_OVER:
            keys = [key for operand in value.operands for key in self.sources[operand]]
            self.sources[value] = tuple(dict.fromkeys(keys))
            return None
        self.owned[value] = ()
        if value.role is Role.SCAN:
            return self._scan(value)
        key = self.key()
        self.sources[value] = (key,)
        self.connect(value.operands, key)
        if value.role in (Role.INPUT, Role.TARGET):
            name = value.name
            return Box(key, value.operation, name, describe_sample(value.type), value.span)
        title, name = _written(value), self.names.get(value, "")
        return Box(key, "operation", title, describe_sample(value.type), value.span, name, owned, self._work(value))

    def _steps(self, dim: str) -> int | None:
        """The steps of a sample along a varying dimension; None if that depends on the sample and it is not given."""
        if self.lengths is None and names_in(dim):
            return None
        return int(lengths_of(dim, self.lengths or {}, 1)[0])

    def _work(self, value: Value) -> int | None:
        """The FLOPs of a sample; None if they depend on its length, which is not given."""
        types = [each.type for each in (value, *value.operands)]
        stored = {dim.name for type_ in types for dim in type_.dims if isinstance(dim, Bounded) and is_undeclared(dim)}
        dims = stored | {str(type_.rows) for type_ in types if type_.is_varying}
        lengths = {dim: count for dim in dims if (count := self._steps(dim)) is not None}
        if len(lengths) < len(dims):
            return None
        if not stored and not (value.definition and isinstance(value.definition.lower, Expansion)):
            return flops_of(value, {BATCH: 1, **lengths})
        alone = Graph()
        leaves = [alone.leaf(Role.INPUT, f"x{i}", operand.type) for i, operand in enumerate(value.operands)]
        alone.results[ResultKind.VALUE.named("y")] = alone.add_copy(value, leaves)
        if stored:  # at a bound that the file does not declare: that of this sample is its own length
            alone, _ = at_length(alone, max(lengths[dim] for dim in stored))
        return flops(expand(alone), {BATCH: 1, **lengths})

    def _scan(self, value: Value) -> Box:
        """A box with the body inside; each carry has a box where a step begins, and one where it ends."""
        scan, key, inside = Scan.of(value), self.key(), list[Box]()
        carries = value.attributes_as(ScanAttributes).carries or ()
        names = [str(carries[i]) if i < len(carries) else f"carry {i}" for i in range(len(scan.begins))]
        operands = scan.operand_of()
        for slot, leaf in scan.leaves().items():
            self.sources[leaf], self.owned[leaf] = self.sources[operands[slot]], self.owned[operands[slot]]
            if slot.kind is SlotKind.CARRY:
                start = self.key()
                inside.append(Box(start, "carry", names[slot.index], describe_sample(leaf.type), value.span))
                self.connect([leaf], start)
                self.sources[leaf], self.owned[leaf] = (start,), ()
        inside += self.boxes(scan.body, needed_by(scan.body.results.values()))
        for i, name in enumerate(names):
            end, last = self.key(), scan.body.results[ResultKind.NEXT.named(i)]
            inside.append(Box(end, "carry", f"next {name}", describe_sample(last.type), last.span))
            self.connect([last], end)
            self.ends[value, ResultKind.LAST.named(i)] = end
        self.sources[value] = ()
        title = f"scan over {scan.dim}, backwards" if scan.is_reversed else f"scan over {scan.dim}"
        box = _block(key, "scan", title, value.span, inside)
        steps = self._steps(scan.dim)
        users = value.graph.all_users()[value] if isinstance(value.graph, Graph) else []
        type_ = describe_sample(users[0].type) if users else ""
        work = None if steps is None or box.flops is None else steps * box.flops
        return replace(box, type=type_, name="", flops=work)

    def _grouped(self, numbered: Sequence[tuple[float, Box]], applications: Sequence[Application]) -> list[Box]:
        """Boxes in the order of their values' numbers, those of each outermost application in a box of its own.

        A state's next value has the number of its value, and a half.
        """
        boxes: list[Box] = []
        position = 0
        while position < len(numbered):
            number, box = numbered[position]
            outer = next((each for each in applications if each.first <= number < each.end - 0.5), None)
            if outer is None:
                boxes.append(box)
                position += 1
                continue
            stop = next((i for i in range(position, len(numbered)) if numbered[i][0] >= outer.end - 0.5), len(numbered))
            inner = [
                each
                for each in applications
                if each is not outer and outer.first <= each.first and each.end <= outer.end
            ]
            inside = self._grouped(numbered[position:stop], inner)
            if len(inside) == 1 and (outer.is_builtin or not inside[0].inside):
                boxes.append(replace(inside[0], title=outer.name, span=outer.span))
            else:
                boxes.append(_block(self.key(), "block", outer.name, outer.span, inside))
            position = stop
        return boxes


def _block(key: int, kind: str, title: str, span: Span, inside: Sequence[Box]) -> Box:
    """A box of boxes.

    Its type and name are those of the last box inside that the model gives a name, or of the last one.
    """
    named = next((box for box in reversed(inside) if box.name), inside[-1])
    reads = tuple(dict.fromkeys(name for box in inside for name in box.reads))
    work = [box.flops for box in inside]
    total = None if None in work else sum(number for number in work if number is not None)
    return Box(key, kind, title, named.type, span, named.name, reads, total, tuple(inside))


def _written(value: Value) -> str:
    """The operation as the language writes it."""
    if value.definition is where and value.operands[0].role is Role.TRAINING:
        return "if training"
    if value.role is Role.CONTRACTION:
        left, right = value.attributes_as(Subscripts).subscripts.split("->")[0].split(",")
        return "@" if len(right) <= 2 and len({*left} & {*right}) == 1 else "einsum"
    return _SYMBOLS.get(value.operation, value.operation)
