"""A model as boxes in boxes: its values, those that a block made folded into a box of its own, and what goes from which to which.

What says nothing in a picture is left out: parameters and states are told of the box that reads them, constants and changes of form passed over.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from netc.compiler.cost import flops
from netc.compiler.ir.dims import lengths_of, names_in
from netc.compiler.ir.graph import Graph, needed_by
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import BATCH, describe_sample
from netc.compiler.ir.value import Value
from netc.compiler.model import FITTED, Application, Model
from netc.compiler.operations.elementwise import cast, where
from netc.compiler.operations.linear import Subscripts
from netc.compiler.operations.scan import Part, Scan, ScanAttributes
from netc.compiler.operations.shape import broadcast, extent
from netc.compiler.passes.simplify import expand
from netc.dsl.source import Span

_OWNED = (Role.PARAMETER, Role.STATE)
_UNSEEN = (Role.CONSTANT, Role.GIVEN, Role.TRAINING, *_OWNED)
_PASSED_OVER = (broadcast, cast, extent)
_SYMBOLS = {
    "add": "+",
    "subtract": "-",
    "multiply": "*",
    "divide": "/",
    "power": "**",
    "less": "<",
    "less_equal": "<=",
    "greater": ">",
    "greater_equal": ">=",
    "equal": "==",
    "not_equal": "!=",
}
RESULTS = ("output", "loss", "metric", "watch")


@dataclass(frozen=True, slots=True)
class Box:
    """A value, a result of the model, or a block or scan with boxes `inside`. `kind` is an input, a target, an operation, a block, a scan, a carry, a state's next value, or one of RESULTS; `type`
    says what a sample of it is, `reads` which parameters and states it reads, `flops` the work of a sample (None where that depends on its length)."""

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
        """Itself and all that is inside."""
        yield self
        for box in self.inside:
            yield from box.all()


@dataclass(frozen=True, slots=True)
class Folds:
    """The boxes of a model, outermost first, and its edges: keys of boxes that hold no other, from and to."""

    boxes: tuple[Box, ...]
    edges: tuple[tuple[int, int], ...]

    def all(self) -> Iterator[Box]:
        for box in self.boxes:
            yield from box.all()


def folds_of(model: Model) -> Folds:
    """The values that results of the model need, in the order of its text."""
    making, graph = _Making({value: name for name, value in reversed(model.names.items())}), model.graph
    results = {name: [value] for name, value in graph.results.items() if name.partition(".")[0] in RESULTS}
    for name, values in results.items():
        values += [graph.results[f"weight.{name}"]] if f"weight.{name}" in graph.results else []
    updates = {value: name for name, value in graph.results.items() if name.startswith(("update.", FITTED))}
    wanted = [*updates, *(value for values in results.values() for value in values)]
    boxes = making.boxes(graph, needed_by(wanted), model.applications, updates)
    for name, values in results.items():
        (kind, _, own), key = name.partition("."), making.key()
        boxes.append(Box(key, kind, own, describe_sample(values[0].type), values[0].span))
        making.connect(values, key)
    return _without_dead_ends(boxes, list(dict.fromkeys(making.edges)))


def _without_dead_ends(boxes: Sequence[Box], edges: Sequence[tuple[int, int]]) -> Folds:
    """Without operations from which no way leads to a result, a state or a carry: what a scan counts, and does not read."""
    before: dict[int, list[int]] = {}
    for begin, end in edges:
        before.setdefault(end, []).append(begin)
    waiting = [one.key for box in boxes for one in box.all() if not one.inside and one.kind != "operation"]
    reached = set(waiting)
    while waiting:
        more = [key for key in before.get(waiting.pop(), ()) if key not in reached]
        reached.update(more)
        waiting += more

    def kept(those: Iterable[Box]) -> tuple[Box, ...]:
        found = (replace(box, inside=kept(box.inside)) if box.inside else box for box in those)
        return tuple(box for box in found if box.inside or box.key in reached)

    return Folds(kept(boxes), tuple(edge for edge in edges if {*edge} <= reached))


@dataclass(slots=True)
class _Making:
    """`names` are what the model calls values; `sources` says for a value which boxes it comes from, `owned` which parameters and states it is made of
    before any box; `ends` are the boxes of carries where a step ends."""

    names: Mapping[Value, str]
    sources: dict[Value, tuple[int, ...]] = field(default_factory=dict)
    owned: dict[Value, tuple[str, ...]] = field(default_factory=dict)
    ends: dict[tuple[Value, str], int] = field(default_factory=dict)
    edges: list[tuple[int, int]] = field(default_factory=list)
    keys: int = 0

    def key(self) -> int:
        self.keys += 1
        return self.keys

    def connect(self, values: Iterable[Value], key: int) -> None:
        self.edges += [(source, key) for value in values for source in self.sources[value]]

    def boxes(
        self,
        graph: Graph,
        live: set[Value],
        applications: Sequence[Application] = (),
        updates: Mapping[Value, str] | None = None,
    ) -> list[Box]:
        """The boxes of a graph's values, blocks folded; those of `updates` are states' next values."""
        found: list[tuple[float, Box]] = []
        for value in graph.values():
            if value not in live or value in self.sources:
                continue
            if (box := self._box(value)) is not None:
                found.append((value.number, box))
            if updates and value in updates:  # outside of what made the value, inside of what updates the state
                key, own = self.key(), updates[value].rpartition(".")[2]
                title = own if updates[value].startswith(FITTED) else f"next {own}"
                found.append((value.number + 0.5, Box(key, "state", title, describe_sample(value.type), value.span)))
                self.connect([value], key)
        order = sorted(range(len(applications)), key=lambda i: (applications[i].first, -applications[i].end, -i))
        return self._folded(found, [applications[i] for i in order])

    def _box(self, value: Value) -> Box | None:
        """The box of a value, or None if it has none: then it comes from where its operands come."""
        owned = tuple(dict.fromkeys(name for one in value.operands for name in self.owned[one]))
        self.owned[value] = (value.name,) if value.role in _OWNED else owned
        if value.role is Role.PART:
            one, of = Scan.of(value.operands[0]), value.attributes_as(Part).of
            is_last = of.startswith("last.")
            self.sources[value] = (self.ends[one.value, of],) if is_last else self.sources[one.body.results[of]]
            self.owned[value] = ()
            return None
        if value.role in _UNSEEN or value.definition in _PASSED_OVER:
            self.sources[value] = tuple(dict.fromkeys(key for one in value.operands for key in self.sources[one]))
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
        return Box(key, "operation", title, describe_sample(value.type), value.span, name, owned, _work(value))

    def _scan(self, value: Value) -> Box:
        """A box with the body inside; each carry is a box where a step begins, and one where it ends."""
        one, key, inside = Scan.of(value), self.key(), list[Box]()
        carries = value.attributes_as(ScanAttributes).carries or ()
        called = [str(carries[i]) if i < len(carries) else f"carry {i}" for i in range(len(one.begins))]
        operands = one.operand_of()
        for name, leaf in one.leaves().items():
            if name not in operands:
                continue
            self.sources[leaf], self.owned[leaf] = self.sources[operands[name]], self.owned[operands[name]]
            if name.startswith("c"):
                start = self.key()
                inside.append(Box(start, "carry", called[int(name[1:])], describe_sample(leaf.type), value.span))
                self.connect([leaf], start)
                self.sources[leaf], self.owned[leaf] = (start,), ()
        inside += self.boxes(one.body, needed_by(one.body.results.values()))
        for i, name in enumerate(called):
            end, last = self.key(), one.body.results[f"next.{i}"]
            inside.append(Box(end, "carry", f"next {name}", describe_sample(last.type), last.span))
            self.connect([last], end)
            self.ends[value, f"last.{i}"] = end
        self.sources[value] = ()
        title = f"scan over {one.dim}, backwards" if one.is_reversed else f"scan over {one.dim}"
        made = _block(key, "scan", title, value.span, inside)
        steps = None if names_in(one.dim) else int(lengths_of(one.dim, {}, 1)[0])
        parts = (
            [describe_sample(user.type) for user in value.graph.users(value)] if isinstance(value.graph, Graph) else []
        )
        work = None if steps is None or made.flops is None else steps * made.flops
        return replace(made, type=parts[0] if parts else "", name="", flops=work)

    def _folded(self, found: Sequence[tuple[float, Box]], applications: Sequence[Application]) -> list[Box]:
        """Boxes by the number of their value (a state's next value is half a number behind), those of each outermost application in a box of its own."""
        boxes: list[Box] = []
        at = 0
        while at < len(found):
            number, box = found[at]
            one = next((one for one in applications if one.first <= number < one.end - 0.5), None)
            if one is None:
                boxes.append(box)
                at += 1
                continue
            stop = next((i for i in range(at, len(found)) if found[i][0] >= one.end - 0.5), len(found))
            within = [
                other
                for other in applications
                if other is not one and one.first <= other.first and other.end <= one.end
            ]
            inside = self._folded(found[at:stop], within)
            if len(inside) == 1 and (one.is_builtin or not inside[0].inside):
                boxes.append(replace(inside[0], title=one.name, span=one.span))
            else:
                boxes.append(_block(self.key(), "block", one.name, one.span, inside))
            at = stop
        return boxes


def _block(key: int, kind: str, title: str, span: Span, inside: Sequence[Box]) -> Box:
    """A box of boxes; what it gives is what the model gives a name, or the last that is inside."""
    named = next((box for box in reversed(inside) if box.name), inside[-1])
    reads = tuple(dict.fromkeys(name for box in inside for name in box.reads))
    work = [box.flops for box in inside]
    total = None if None in work else sum(one for one in work if one is not None)
    return Box(key, kind, title, named.type, span, named.name, reads, total, tuple(inside))


def _written(value: Value) -> str:
    """An operation as it is written."""
    if value.definition is where and value.operands[0].role is Role.TRAINING:
        return "if training"
    if value.role is Role.CONTRACTION:
        left, right = value.attributes_as(Subscripts).subscripts.split("->")[0].split(",")
        return "@" if len(right) <= 2 and len({*left} & {*right}) == 1 else "einsum"
    return _SYMBOLS.get(value.operation, value.operation)


def _work(value: Value) -> int | None:
    """FLOPs of a sample; of a sequence that depends on its length."""
    if any(one.type.is_varying for one in (value, *value.operands)):
        return None
    alone = Graph()
    given = [alone.leaf("input", f"x{i}", one.type) for i, one in enumerate(value.operands)]
    alone.results["y"] = alone.add_copy(value, given)
    return flops(expand(alone), {BATCH: 1})
