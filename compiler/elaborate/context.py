"""Elaboration's state: the graph so far, the way into it, and the faults found on the way.

Every function of this folder takes a Context first. This file knows nothing of the syntax of a model.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TypeVar

from msgspec import Struct, field

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
from netc.compiler.elaborate.scans.frame import Dimensions, Frame
from netc.compiler.ir.attributes import Constant
from netc.compiler.ir.graph import Graph, needed_by
from netc.compiler.ir.results import Result
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import Mismatch, Type, describe_sample
from netc.compiler.ir.value import Operation, Value, apply
from netc.compiler.model import Application, Equal, ParameterInfo
from netc.compiler.operations import (
    elementwise,  # noqa: F401  registers the operations
    sequence,
)
from netc.dsl import syntax
from netc.dsl.diagnostics import Diagnostic, Diagnostics, Label, fault
from netc.dsl.hints import Hint
from netc.dsl.source import NOWHERE, Span

_DEEPEST = 64  # blocks in blocks
T = TypeVar("T")
ClassCount = Callable[[str, Span], int]  # how many classes the data gives a field, and who asks
Form = Callable[["Context", Sequence[syntax.Argument], Span, Scope], Item]


MOST_WRITTEN_OUT = 30_000
MOST_OPERATIONS = 50_000


class BrokenName(Exception):
    """Raised where an expression uses a name whose own statement was at fault, for which there is a message already."""


class Exhausted(Exception):
    """Raised where elaboration would take too long. Not a Fault, because after one the next statement is tried."""

    def __init__(self, diagnostic: Diagnostic) -> None:
        super().__init__(diagnostic.title)
        self.diagnostic = diagnostic


class Rules(Struct, frozen=True):
    """The parts of expressions that are elaborated in files above expressions.py, each a function of the context and
    the scope."""

    apply: "Callable[[Context, syntax.Expression, Sequence[syntax.Argument], Span, Scope], Item]"
    index: "Callable[[Context, syntax.Index, Scope], Item]"
    scan: "Callable[[Context, syntax.Scan, Scope], Item]"
    forms: Mapping[str, Form]


_KINDS = {
    BlockFunction: "a block",
    LayerInstance: "a layer",
    UserOperation: "an operation",
    Operation: "an operation",
    Namespace: "an imported file",
    str: "a text",
}


class Context(Struct):
    """Everything that elaboration knows while it walks a file.

    `graph` is the graph that values are added to: the model's own, or the body of the innermost of `frames`.
    """

    rules: Rules
    globals: Scope  # the file's own definitions
    dimensions: Dimensions
    graph: Graph
    class_count: ClassCount | None = None
    fields: Mapping[str, syntax.Expression] = field(default_factory=dict)  # of the file's `data` block
    statements: Sequence[syntax.Statement] = ()  # of the file's `model` block
    diagnostics: Diagnostics = field(default_factory=Diagnostics)

    # the model so far
    parameters: dict[str, ParameterInfo] = field(default_factory=dict)
    states: dict[str, ParameterInfo] = field(default_factory=dict)
    inputs: dict[str, Type] = field(default_factory=dict)
    targets: dict[str, Type] = field(default_factory=dict)
    declared: dict[str, Span] = field(default_factory=dict)
    replaceable: dict[Result, Value] = field(default_factory=dict)  # updates by earlier applications of a shared layer
    states_of: dict[Value, Value] = field(default_factory=dict)  # the state that a value after its update stands for
    axis_names: dict[Value, tuple[str | None, ...]] = field(default_factory=dict)  # as declared types name them
    equal: list[Equal] = field(default_factory=list)
    freeze: tuple[str, ...] = ()  # patterns of parameters that training leaves as they are
    counted: dict[str, int] = field(default_factory=dict)  # the classes that `class(auto)` stands for, by field
    named: dict[str, Value] = field(default_factory=dict)  # the values that the model itself assigns
    imported: dict[Path, Scope] = field(default_factory=dict)

    # where elaboration is
    path: ParameterPath = field(default_factory=ParameterPath)
    layer: LayerInstance | None = None  # the shared layer that is being applied
    calls: list[tuple[str, Span]] = field(default_factory=list)  # the blocks that are being applied, outermost first
    frames: list[Frame] = field(default_factory=list)
    may_own: bool = True  # whether parameters and states may be declared here

    # records for those who look at the model
    applied: list[Applied] = field(default_factory=list)  # for advice/model.py
    applications: list[Application] = field(default_factory=list)  # for the outline
    written: list[tuple[Span, int]] = field(default_factory=list)  # of applications: where, and its end in the graph
    assigned: list[Assigned] = field(default_factory=list)  # for the editor
    read: set[str] = field(default_factory=set)  # the names that the user's own expressions read
    outputs: set[str] = field(default_factory=set)  # the names of outputs so far
    settings: dict[str, Span] = field(default_factory=dict)  # where the `train` block sets what
    train: tuple[syntax.Setting, ...] = ()

    # counters and limits
    streams: int = 0  # random values
    written_out: int = 0  # statements, and applications of operations that the file defines
    operations: int = 0  # applications to values
    levels: int = 0  # expressions around the current one
    ready: dict[tuple[int, int], Item] = field(default_factory=dict)  # links of chains, by the ids of node and scope

    @classmethod
    def of(cls, rules: Rules, globals: Scope) -> "Context":
        """The context of a file before anything of it is elaborated."""
        dimensions = Dimensions()
        return cls(rules, globals, dimensions, Graph(dimensions))

    def count(self, span: Span) -> None:
        """Counts a statement or an application of an `op` that is written out. Raises Exhausted at the limit."""
        self.written_out += 1
        if self.written_out > MOST_WRITTEN_OUT:
            raise self.exhausted(f"this model has more than {MOST_WRITTEN_OUT:,} statements", span)

    def count_operations(self, count: int, span: Span) -> None:
        """Counts operations on values. Raises Exhausted at the limit."""
        self.operations += count
        if self.operations > MOST_OPERATIONS:
            raise self.exhausted(f"this model has more than {MOST_OPERATIONS:,} operations", span)

    def exhausted(self, reason: str, span: Span) -> Exhausted:
        """The exception for a model that is too large."""
        hint = "fewer turns of loops, or blocks in blocks; `scan` repeats a step without writing it out"
        label = Label(self.user_span(span), "the limit was reached here")
        return Exhausted(Diagnostic("E0206", f"written out, {reason}", label, (), hint))

    def guard(self, span: Span, build: Callable[[], T], others: Callable[[], Iterable[Label]] = tuple) -> T:
        """The result of `build`, whose values belong to a span of the text.

        If it raises Mismatch, a fault is raised at that span, with the labels that `others` returns.
        """
        self.count_operations(1, span)
        with self.graph.at(self.user_span(span)):
            try:
                return build()
            except Mismatch as mismatch:
                labels = [*others(), *self._declared(mismatch.about)]
                fault(mismatch.code, mismatch.message, span, others=labels, hint=mismatch.hint)

    def _declared(self, dim: str | None) -> list[Label]:
        """The span where a varying dimension was named first."""
        return [Label(self.dimensions.spans[dim], "declared here")] if dim in self.dimensions.spans else []

    @property
    def outermost(self) -> Graph:
        """The model's own graph, where parameters are."""
        return self.frames[0].outside if self.frames else self.graph

    def local(self, item: Item) -> Item:
        """The item as the current graph has it: in a scan, a leaf of the body stands for a value from outside."""
        if not isinstance(item, Value) or not self.frames:
            return item
        frame, span = self.frames[-1], self.user_span(item.span)
        try:
            return frame.local(item)
        except Mismatch as mismatch:
            labels = self._declared(mismatch.about)
            fault(mismatch.code, mismatch.message, span, describe_sample(item.type), others=labels, hint=mismatch.hint)

    def depends_on_training_alone(self, value: Value) -> bool:
        """Whether a value is computed only from constants and `training`."""
        leaves = [leaf for leaf in needed_by([value]) if not leaf.operands]
        for frame in reversed(self.frames):
            leaves = [frame.stands_for(leaf) for leaf in leaves]
        return all(leaf.role in (Role.TRAINING, Role.CONSTANT) for leaf in leaves)

    def origins(self, values: Iterable[Value], at: Span) -> list[Label]:
        """The spans where values got their shapes, except those in the library and on the line of `at`."""
        labels: dict[Span, Label] = {}
        for value in values:
            span = value.span
            if not span.source.is_library and (span.source, span.line) != (at.source, at.line):
                labels.setdefault(span, Label(span, f"{describe_sample(value.type)} comes from here"))
        return list(labels.values())

    def user_span(self, span: Span) -> Span:
        """The span in the user's own text: that of the innermost call there, if the span itself is in the library."""
        if not span.source.is_library:
            return span
        return next((call_span for _, call_span in reversed(self.calls) if not call_span.source.is_library), NOWHERE)

    def as_value(self, item: Item, span: Span, like: Item | None = None) -> Value:
        """The item as a value of the graph; a number takes the type of `like`. Raises E0205 if it is not a value."""
        if isinstance(item, Results):
            item = item.items[0]
        if isinstance(item, Value):
            return item
        if isinstance(item, bool | int | float):
            with self.graph.at(self.user_span(span)):
                return self._constant(item, like)
        if isinstance(item, Length):
            with self.graph.at(self.user_span(span)):
                return sequence.length(self.graph, item.dim)
        if isinstance(item, tuple) and item and all(isinstance(number, int | float) for number in item):
            self.count_operations(len(item), span)
            parts = [apply("reshape", self.as_value(float(number), span), dims=(1,)) for number in item]
            return apply("concat", *parts, axis=0)
        if isinstance(item, Weighted):
            fault(
                "E0503",
                "`weighted` is a loss or a metric of its own",
                span,
                "or one that is multiplied by a number",
                hint="loss weighted(error, weight)",
            )
        if isinstance(item, tuple):
            are_vectors = any(isinstance(part, Value) and part.type.sample for part in item)
            joined = f"concat({span.text.strip()[1:-1].strip()})"
            hint = Hint.code(joined) if are_vectors and span.text[:1] in "[(" else None
            fault("E0205", "a list is not a value", span, hint=hint)
        kind = _KINDS.get(type(item), "this")
        if isinstance(item, str) and (item in self.declared or item in self.named):
            fault("E0205", "a text is not a value", span, hint=f"names of values have no quotes: `{item}`")
        fault("E0205", f"{kind} is not a value", span, "it has to be applied to something" if kind != "a text" else "")

    def _constant(self, number: bool | int | float, like: Item | None) -> Value:
        """A number as a value: an integer only beside integers."""
        if isinstance(number, bool):
            return self.graph.add("constant", (), Constant(number), Type("bool"))
        if isinstance(number, int) and isinstance(like, Value) and like.type.dtype == "i32":
            return self.graph.add("constant", (), Constant(number), Type("i32"))
        return self.graph.add("constant", (), Constant(float(number)), Type(self.graph.precision))

    @property
    def is_frozen(self) -> bool:
        """Whether the parameters of the running block are frozen; `training` is false in it then."""
        inside = ".".join((*self.path.prefix, "any"))
        return any(fnmatchcase(inside, pattern) for pattern in self.freeze)

    @contextmanager
    def inside(self, name: str, span: Span, is_builtin: bool) -> Iterator[None]:
        """Values added meanwhile belong to this block or `op`. Raises E0204 if it is nested too deep."""
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
        """Values added meanwhile belong to an application of this name, except values of its `arguments`."""
        first, before = self.graph.size, len(self.written)
        yield
        end = self.graph.size
        for written_span, last in self.written[before:]:
            if any(_is_within(written_span, argument) for argument in arguments):
                first = max(first, last)
        if not self.frames and end > first:
            self.written.append((span, end))
            self.applications.append(Application(name, is_builtin, first, end, self.user_span(span)))


def _is_within(inner: Span, outer: Span) -> bool:
    return inner.source is outer.source and outer.start <= inner.start and inner.end <= outer.end
