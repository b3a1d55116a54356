"""What elaboration knows at any moment: the graph so far, the way into it, what was found wrong.

Every function of these rooms takes a Context first. It knows nothing of the syntax of a model; `apply` is how an expression
applies what a name stands for without knowing blocks, and `forms` the special ones (application.py and special.py, which need expressions, are above it).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TypeVar

from netc.compiler.elaborate.bindings import (
    Applied,
    Assigned,
    BlockFunction,
    Item,
    LayerInstance,
    Length,
    Namespace,
    ParameterPath,
    Results,
    Scope,
    UserOperation,
    Weighted,
)
from netc.compiler.ir.graph import Graph, needed_by
from netc.compiler.ir.roles import Role
from netc.compiler.ir.rows import PREFIX
from netc.compiler.ir.types import BATCH, Mismatch, Type, describe_sample
from netc.compiler.ir.value import Attribute, Attributes, Operation, Value, apply
from netc.compiler.model import Application, Equal, ParameterInfo
from netc.compiler.operations import (
    bounded,
    elementwise,  # noqa: F401  registers the operations
    sequence,
)
from netc.compiler.operations.random import RANDOM
from netc.dsl import syntax
from netc.dsl.diagnostics import Diagnostic, Diagnostics, Label, fault
from netc.dsl.source import NOWHERE, Span

_DEEPEST = 64
T = TypeVar("T")
ClassCount = Callable[[str, Span], int]  # how many classes the data gives a field, and who asks
Apply = Callable[["Context", syntax.Expression, Sequence[syntax.Argument], Span, Scope], Item]


class BrokenName(Exception):
    """An expression uses a name whose own statement was at fault: that was told already."""


class Frame(Graph):
    """The body of a scan along `dim` while it is elaborated: the graph around it, which sequences it walks, and which leaf stands for which value of
    outside."""

    has_rows = False

    def __init__(self, outside: Graph, dim: str) -> None:
        super().__init__()
        self.outside, self.dim = outside, dim
        self.walked: list[Value] = []
        self.precision, self.bounds, self.lengths = outside.precision, outside.bounds, outside.lengths
        self.captured: dict[Value, Value] = {}

    def walk(self, rows: Value) -> Value:
        """The leaf for a sequence's element at each step."""
        self.walked.append(rows)
        return super().leaf("given", f"x{len(self.walked) - 1}", rows.type.with_dims((BATCH, *rows.type.dims[1:])))

    def add(
        self,
        operation: str,
        operands: Sequence[Value],
        attributes: Attributes | Mapping[str, Attribute],
        type_: Type,
        span: Span | None = None,
    ) -> Value:
        """As Graph.add; random numbers are drawn outside, for all steps, and whether this is training is known there."""
        if operation == "training":
            return self.capture(self.outside.add(operation, operands, attributes, type_, span))
        if operation in RANDOM:
            if not type_.lead:
                told = "a random value in a scan is one of each sample: of what no sample changes it does not run yet"
                raise Mismatch(told, code="E0901")
            dims = (self.dim, *type_.dims[1:])
            like = apply("broadcast", self.outside.constant(0.0, type_), dims=dims)
            return self.walk(self.outside.add(operation, [like], attributes, like.type, span or self.span))
        return super().add(operation, operands, attributes, type_, span)

    def leaf(self, kind: str, name: str, type_: Type, **attributes: Attribute) -> Value:
        """As Graph.leaf; an index table is one of the graph around."""
        if kind == "given" and name.startswith(PREFIX):
            return self.capture(self.outside.leaf(kind, name, type_, **attributes))
        return super().leaf(kind, name, type_, **attributes)

    def local(self, value: Value) -> Value:
        """A value, or the leaf for one of outside: of a sequence, all of its steps behind the sample. Raises Mismatch where it has no bound."""
        return value if value.graph is self else self.capture(value)

    def stands_for(self, leaf: Value) -> Value:
        """The value of outside that a leaf is."""
        return next((outer for outer, own in self.captured.items() if own is leaf), leaf)

    def capture(self, value: Value) -> Value:
        with self.outside.at(value.span if self.span is NOWHERE else self.span):
            value = bounded.hold(value)
        if value.role is Role.TRAINING:  # one for all
            value = next((one for one in self.captured if one.role is Role.TRAINING), value)
        if value not in self.captured:
            self.captured[value] = super().leaf("given", f"k{len(self.captured)}", value.type)
        return self.captured[value]


MOST_WRITTEN_OUT = 30_000
MOST_OPERATIONS = 50_000


class Exhausted(Exception):
    """Elaboration would go on for too long. No Fault, after which it goes on with the next statement."""

    def __init__(self, diagnostic: Diagnostic) -> None:
        super().__init__(diagnostic.title)
        self.diagnostic = diagnostic


@dataclass(slots=True)
class Context:
    """`globals` holds the file's own definitions, `calls` the blocks being applied now, `layer` the shared layer among them;
    `freeze` are patterns of names that training leaves as they are; `may_own` is whether parameters may be made here; `streams` counts random values; `counted` is what `class(auto)` came to; `named` are the values that the model itself assigns; `applied` is what advice.py reads, `applications` what a picture folds (`written`: where each stands, and the number after its last value), `assigned` what an editor tells of each name, `settings` where the `train` block sets what; `imported` are the definitions of other files; `axis_names` is what declared types call a value's axes, `lengths` where varying dimensions were named first, `bounds` how long they are at most, `equal` which are said to be equal."""

    apply: Apply
    forms: "Mapping[str, Callable[[Context, Sequence[syntax.Argument], Span, Scope], Item]]"
    globals: Scope
    scan: "Callable[[Context, syntax.Scan, Scope], Item] | None" = None
    class_count: ClassCount | None = None
    diagnostics: Diagnostics = field(default_factory=Diagnostics)
    graph: Graph = field(default_factory=Graph)
    path: ParameterPath = field(default_factory=ParameterPath)
    parameters: dict[str, ParameterInfo] = field(default_factory=dict)
    states: dict[str, ParameterInfo] = field(default_factory=dict)
    inputs: dict[str, Type] = field(default_factory=dict)
    targets: dict[str, Type] = field(default_factory=dict)
    declared: dict[str, Span] = field(default_factory=dict)
    axis_names: dict[Value, tuple[str | None, ...]] = field(default_factory=dict)
    lengths: dict[str, Span] = field(default_factory=dict)
    bounds: dict[str, int] = field(default_factory=dict)
    equal: list[Equal] = field(default_factory=list)
    layer: LayerInstance | None = None
    calls: list[tuple[str, Span]] = field(default_factory=list)
    may_own: bool = True
    streams: int = 0
    freeze: tuple[str, ...] = ()
    counted: dict[str, int] = field(default_factory=dict)
    named: dict[str, Value] = field(default_factory=dict)
    applied: list[Applied] = field(default_factory=list)
    applications: list[Application] = field(default_factory=list)
    written: list[tuple[Span, int]] = field(default_factory=list)
    assigned: list[Assigned] = field(default_factory=list)
    settings: dict[str, Span] = field(default_factory=dict)
    imported: dict[Path, Scope] = field(default_factory=dict)
    frames: list[Frame] = field(default_factory=list)
    written_out: int = 0  # statements, and applications of operations that the file defines
    operations: int = 0  # that were applied to values
    levels: int = 0  # expressions in which the one at hand stands
    ready: dict[tuple[int, int], Item] = field(default_factory=dict)  # links of chains, by the ids of node and scope

    def count(self, span: Span) -> None:
        """One more statement, or application of an operation that the file defines: loops, blocks and imports are written out. Raises Exhausted beyond the most."""
        self.written_out += 1
        if self.written_out > MOST_WRITTEN_OUT:
            raise self.exhausted(f"this model has more than {MOST_WRITTEN_OUT:,} statements", span)

    def count_operations(self, count: int, span: Span) -> None:
        """So many more operations on values. Raises Exhausted beyond the most."""
        self.operations += count
        if self.operations > MOST_OPERATIONS:
            raise self.exhausted(f"this model has more than {MOST_OPERATIONS:,} operations", span)

    def exhausted(self, told: str, span: Span) -> Exhausted:
        """What to raise where elaboration has gone too far."""
        hint = "fewer turns of loops, or blocks in blocks; `scan` repeats a step without writing it out"
        place = Label(self.user_span(span), "it was here by then")
        return Exhausted(Diagnostic("E0206", f"written out, {told}", place, (), hint))

    def guard(self, span: Span, build: Callable[[], T], others: Callable[[], Iterable[Label]] = tuple) -> T:
        """Run `build` at a place of the text; types that do not fit become a fault there, with the places that `others` then says."""
        self.count_operations(1, span)
        with self.graph.at(self.user_span(span)):
            try:
                return build()
            except Mismatch as mismatch:
                labels = [*others(), *self._declared(mismatch.about)]
                fault(mismatch.code, mismatch.message, span, others=labels, hint=mismatch.hint)

    def _declared(self, dim: str | None) -> list[Label]:
        """Where a varying dimension was named first."""
        return [Label(self.lengths[dim], "declared here")] if dim in self.lengths else []

    @property
    def outermost(self) -> Graph:
        """The model's own graph, where parameters are."""
        return self.frames[0].outside if self.frames else self.graph

    def __post_init__(self) -> None:
        self.graph.bounds = self.bounds

    def local(self, item: Item) -> Item:
        """An item as the graph at hand has it: in a scan, a value from outside is a leaf of the body."""
        if not isinstance(item, Value) or not self.frames:
            return item
        frame, span = self.frames[-1], self.user_span(item.span)
        try:
            return frame.local(item)
        except Mismatch as mismatch:
            labels = self._declared(mismatch.about)
            fault(mismatch.code, mismatch.message, span, describe_sample(item.type), others=labels, hint=mismatch.hint)

    def depends_on_training_alone(self, value: Value) -> bool:
        """Whether a value is known as soon as it is known whether this is training."""
        leaves = [one for one in needed_by([value]) if not one.operands]
        for frame in reversed(self.frames):
            leaves = [frame.stands_for(one) for one in leaves]
        return all(one.role in (Role.TRAINING, Role.CONSTANT) for one in leaves)

    def origins(self, values: Iterable[Value], at: Span) -> list[Label]:
        """Where values got their shapes, of those that were made elsewhere in the user's text than on the line `at`."""
        found: dict[Span, Label] = {}
        for value in values:
            span = value.span
            if not span.source.is_library and (span.source, span.line) != (at.source, at.line):
                found.setdefault(span, Label(span, f"{describe_sample(value.type)} comes from here"))
        return list(found.values())

    def user_span(self, span: Span) -> Span:
        """The place in the user's own text: the call, where the place itself is in the library."""
        if not span.source.is_library:
            return span
        return next((place for _, place in reversed(self.calls) if not place.source.is_library), NOWHERE)

    def as_value(self, item: Item, span: Span, like: Item | None = None) -> Value:
        """The item as a value of the graph; a number takes the type of what stands beside it."""
        if isinstance(item, Results):
            item = item.items[0]
        if isinstance(item, Value):
            return item
        if isinstance(item, bool | int | float):
            beside = like.type if isinstance(like, Value) else Type(self.graph.precision)
            is_whole = isinstance(item, int) and not isinstance(item, bool) and beside.dtype == "i32"
            with self.graph.at(self.user_span(span)):
                return self.graph.add(
                    "constant",
                    (),
                    {"value": item if is_whole or isinstance(item, bool) else float(item)},
                    Type("i32" if is_whole else "bool" if isinstance(item, bool) else self.graph.precision),
                )
        if isinstance(item, Length):
            with self.graph.at(self.user_span(span)):
                return sequence.length(self.graph, item.dim)
        if isinstance(item, tuple) and item and all(isinstance(one, int | float) for one in item):
            self.count_operations(len(item), span)
            parts = [apply("reshape", self.as_value(float(one), span), dims=(1,)) for one in item]
            return apply("concat", *parts, axis=0)
        if isinstance(item, Weighted):
            fault(
                "E0503",
                "`weighted` is a loss or a metric of its own",
                span,
                "or one that is multiplied by a number",
                hint="loss weighted(error, weight)",
            )
        what = {
            BlockFunction: "a block",
            LayerInstance: "a layer",
            UserOperation: "an operation",
            Operation: "an operation",
            Namespace: "an imported file",
            str: "a text",
        }.get(type(item), "this")
        fault("E0205", f"{what} is no value", span, "it has to be applied to something" if what != "a text" else "")

    @property
    def is_frozen(self) -> bool:
        """Whether what the running block owns is frozen: then it is in use, not in training."""
        inside = ".".join((*self.path.prefix, "any"))
        return any(fnmatchcase(inside, pattern) for pattern in self.freeze)

    @contextmanager
    def inside(self, name: str, span: Span, is_builtin: bool) -> Iterator[None]:
        """What is made meanwhile is made inside of this block, or `op`."""
        if len(self.calls) >= _DEEPEST:
            fault("E0204", f"`{name}` applies itself", span, "a block that contains itself has no end")
        self.calls.append((name, span))
        try:
            with self.applying(name, span, is_builtin):
                yield
        finally:
            self.calls.pop()

    @contextmanager
    def applying(
        self, name: str, span: Span, is_builtin: bool = True, arguments: Sequence[Span] = ()
    ) -> Iterator[None]:
        """What is made meanwhile is made by an application of this name, but for what is written in its arguments."""
        first, known = self.graph.network.number_of_nodes(), len(self.written)
        yield
        end = self.graph.network.number_of_nodes()
        for place, last in self.written[known:]:
            if any(
                place.source is one.source and one.start <= place.start and place.end <= one.end for one in arguments
            ):
                first = max(first, last)
        if not self.frames and end > first:
            self.written.append((span, end))
            self.applications.append(Application(name, is_builtin, first, end, self.user_span(span)))
