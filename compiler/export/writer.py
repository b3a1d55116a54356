"""What both kinds of file have in common: the walk over the graph, its element-wise operations, and the rows of varying dimensions.

A value with a varying dimension has a row for each step of each sample, as everywhere in netc, but here the rows of a sample stand together: the first
sample's steps, then the second's. The tables that the graph asks for (compiler/ir/rows.py) are computed from the samples' lengths by the file itself.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NoReturn

import numpy as np

from netc.compiler.export.scalar import Term, translate
from netc.compiler.ir.attributes import Constant
from netc.compiler.ir.dims import names_in, value_of
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.roles import Role
from netc.compiler.ir.rows import PREFIX, Other, asked
from netc.compiler.ir.types import Bounded, Dim, Type
from netc.compiler.ir.value import OPERATIONS, Scalar, Value
from netc.compiler.operations.random import SAMPLE
from netc.compiler.operations.scan import Part, Scan
from netc.compiler.passes.scans import in_bodies, trimmed
from netc.compiler.passes.simplify import expand, simplify
from netc.dsl.diagnostics import fault

Array = np.ndarray[Any, Any]
WHOLE = frozenset(
    {"conv2d", "conv2d_input", "maxpool2d", "avgpool2d", "softmax", "log_softmax", "logsumexp"}
)  # what both files have a word of their own for


@dataclass(frozen=True, slots=True)
class Exported:
    """What is to be written: the graph of a model in use, the numbers of its parameters and
    states, and for whoever reads the file what its inputs and outputs mean, and what their classes are called."""

    name: str
    graph: Graph
    inputs: Mapping[str, Type]
    outputs: Mapping[str, Type]
    arrays: Mapping[str, Array]
    notes: Mapping[str, str]
    labels: Mapping[str, tuple[str, ...]]


def exportable(graph: Graph) -> Graph:
    """The graph in few and well-known operations: what is built of others is written out, but for what both files have a word for."""
    graph = trimmed(graph)
    for one in (lambda graph: expand(graph, WHOLE), simplify):
        graph = in_bodies(one(graph), one)
    return graph


@dataclass(frozen=True, slots=True)
class Index:
    """Whole numbers, one a sample or one a row, and arithmetic on them in the file's words."""

    writer: "Writer"
    term: Term

    def _with(self, name: str, other: "Index | int", gives: str = "i64") -> "Index":
        term = other.term if isinstance(other, Index) else self.writer.number(other, "i64")
        return Index(self.writer, self.writer.word(name, [self.term, term], gives))

    def __add__(self, other: "Index | int") -> "Index":
        return self if isinstance(other, int) and other == 0 else self._with("add", other)

    def __radd__(self, other: int) -> "Index":
        return self + other

    def __sub__(self, other: "Index | int") -> "Index":
        return self._with("subtract", other)

    def __mul__(self, other: "Index | int") -> "Index":
        return self if isinstance(other, int) and other == 1 else self._with("multiply", other)

    def __rmul__(self, other: int) -> "Index":
        return self * other

    def __floordiv__(self, other: int) -> "Index":
        return self if other == 1 else self._with("floor_divide", other)

    def __neg__(self) -> "Index":
        return self * -1

    def minimum(self, other: "Index | int") -> "Index":
        return self._with("min", other)

    def maximum(self, other: "Index | int") -> "Index":
        return self._with("max", other)

    def __getitem__(self, index: "Index") -> "Index":
        return Index(self.writer, self.writer.take(self.term, index.term))


@dataclass(frozen=True, slots=True)
class Rows:
    """Of one varying dimension: how many steps each sample has, the row of its first, and of each row the sample and the step."""

    length: Index
    first: Index
    sample: Index
    step: Index
    most: Term  # the longest length, a number


class Writer(ABC):
    """A file in the making. A subclass gives the words: of element-wise arithmetic, of whole operations (`FORMS`), of rows and scans."""

    FORMS: ClassVar[Mapping[str, Callable[..., Term]]]
    KIND: ClassVar[str]  # what the file is called in messages

    def __init__(self, exported: Exported) -> None:
        self.exported = exported
        self.rows_of: dict[str, Rows] = {}
        self.tables: dict[str, Term] = {}

    # ------------------------------------------------------------ words that a subclass gives

    @abstractmethod
    def number(self, value: float | int | bool, dtype: str) -> Term: ...

    @abstractmethod
    def cast(self, x: Term, dtype: str) -> Term: ...

    @abstractmethod
    def word(self, name: str, operands: list[Term], dtype: str) -> Term: ...

    @abstractmethod
    def take(self, x: Term, index: Term) -> Term:
        """Rows of x by their numbers."""

    @abstractmethod
    def parameter(self, name: str, array: Array) -> Term: ...

    @abstractmethod
    def made_rows(self, dim: str, length: Term) -> Rows: ...

    @abstractmethod
    def given_lengths(self, dim: str) -> Term: ...

    @abstractmethod
    def same_lengths(self, steps: int) -> Term:
        """Lengths of a dimension that all samples have as many steps of."""

    @abstractmethod
    def counted(self, count: int) -> Term:
        """0, 1, ... count - 1, as indices."""

    @abstractmethod
    def column(self, x: Term) -> Term:
        """x[n] as x[n, 1]."""

    @abstractmethod
    def dim(self, dim: Dim) -> str:
        """A dimension, as the file writes it: a number, or what it is called there."""

    @abstractmethod
    def run_scan(self, one: Scan, given: Mapping[str, Term]) -> dict[str, Term]:
        """Every part of a scan."""

    @abstractmethod
    def named(self, value: Value, term: Term, uses: int) -> Term:
        """A value's term, called by a name if it is used more than once."""

    def kept(self, prefix: str, term: Term) -> Term:
        """A term by a name of its own, where a term may be more than that."""
        return term

    def random_words(self, value: Value) -> Term:
        """A leaf of what random numbers are made of."""
        self.refuse(value, "random numbers", "what is drawn anew has no place in a file that is the same each time")

    def own_kernel(self, value: Value, operands: Sequence[Term]) -> Term | None:
        """An operation with a kernel of its own, if the file can hold it."""
        return None

    # ------------------------------------------------------------ the walk

    def walk(self, graph: Graph, leaves: Mapping[str, Term]) -> dict[Value, Term]:
        """Write every value that the graph's results need; `leaves` are those that are given."""
        made: dict[Value, Term] = {}
        parts: dict[Value, dict[str, Term]] = {}
        live = graph.live()
        for value in graph.values():
            if value not in live:
                continue
            operands = [made[one] for one in value.operands if one in made]
            if value.role is Role.SCAN:
                one = Scan.of(value)
                parts[value] = self.run_scan(one, dict(zip(one.operand_of(), operands, strict=True)))
            elif value.role is Role.PART:
                made[value] = parts[value.operands[0]][value.attributes_as(Part).of]
            else:
                uses = sum(one in live for one in graph.users(value)) + (value in graph.results.values())
                made[value] = self.named(value, self.one(value, operands, leaves), uses)
        return made

    def one(self, value: Value, operands: list[Term], leaves: Mapping[str, Term]) -> Term:
        name = value.name
        if value.role is Role.CONSTANT:
            number = value.attributes_as(Constant).value
            return self.number(number, value.type.dtype)
        if name in leaves:
            return leaves[name]
        if name.startswith(PREFIX):
            return self.table(name)
        if name == SAMPLE or name.startswith("random."):
            return self.random_words(value)
        if name:
            return self.parameter(name, self.exported.arrays[name])
        lower = OPERATIONS[value.operation].lower
        form = self.FORMS.get(value.operation)
        if form is not None:
            return form(self, value, *operands)
        try:
            if isinstance(lower, Scalar):
                numbers = {key: number for key, number in value.keywords.items() if isinstance(number, int | float)}
                named = dict(zip("xyz", operands, strict=False))
                return translate(lower.expression, named, numbers, value.type.dtype, self)
        except KeyError as error:
            self.refuse(value, f"`{value.operation}`", f"no word for {error}")
        found = self.own_kernel(value, operands)
        if found is None:
            self.refuse(value, f"`{value.operation}`", f"{self.KIND} has no operation that it is made of")
        return found

    def refuse(self, value: Value, what: str, why: str) -> NoReturn:
        """Fault E1201 at a value that cannot be written."""
        hint = "netc export RUN -o model.py" if self.KIND == "ONNX" else None
        fault("E1201", f"{what} cannot be exported as {self.KIND}", value.span, why, hint=hint)

    # ------------------------------------------------------------ rows

    def rows(self, dim: str) -> Rows:
        """Those of a dimension, made when they are first asked for."""
        if dim not in self.rows_of:
            self.rows_of[dim] = self.made_rows(dim, self.lengths(dim))
        return self.rows_of[dim]

    def indexed(self, length: Term, first: Term, sample: Term, step: Term, most: Term) -> Rows:
        return Rows(Index(self, length), Index(self, first), Index(self, sample), Index(self, step), most)

    def lengths(self, dim: str) -> Term:
        names = names_in(dim)
        if names == (dim,):
            return self.given_lengths(dim)
        if not names:
            return self.same_lengths(int(value_of(dim, {})))
        own = {name: self.rows(name).length for name in names}
        found = value_of(dim, own, lambda one, number: one.minimum(number))
        assert isinstance(found, Index)
        return found.term

    def table(self, name: str) -> Term:
        """A table that the graph asks for, as i32; made once."""
        if name not in self.tables:
            kind, dim = asked(name)
            found = Other.of(kind)
            made = self._plain(kind, self.rows(dim)) if found is None else self._of_other(*found, self.rows(dim))
            self.tables[name] = self.kept("table", self.cast(made.term, "i32"))
        return self.tables[name]

    def _plain(self, kind: str, rows: Rows) -> Index:
        """As compiler/ir/rows.py says of each kind; the rank of a sample is its number."""
        if kind in ("length", "first", "sample", "step"):
            found: Index = getattr(rows, kind)
            return found
        if kind == "ranked":
            return rows.sample[rows.first]
        if kind == "last":
            return rows.first + rows.length - 1
        if kind == "previous":
            return rows.first[rows.sample] + (rows.step - 1).maximum(0)
        if kind == "reverse":
            return rows.first[rows.sample] + rows.length[rows.sample] - rows.step - 1
        if kind.startswith("place"):
            return rows.sample * int(kind.removeprefix("place")) + rows.step
        assert kind.startswith("held"), kind
        ahead = Index(self, self.counted(int(kind.removeprefix("held"))))
        first, last = (Index(self, self.column(one.term)) for one in (rows.first, rows.length - 1))
        return first + ahead.minimum(last)

    def _of_other(self, what: str, which: Other, rows: Rows) -> Index:
        """As compiler.ir.rows.Rows.of_other has it."""
        other = self.rows(which.dim)
        at: Index = which.place(
            rows.step, rows.sample, rows.length, lambda dim: self.rows(dim).length, lambda reach: reach.maximum(0)
        )
        last = other.length[rows.sample] - 1
        nearest = at.maximum(0).minimum(last)
        if what == "in":
            return Index(self, self.cast(at._with("equal", nearest, "bool").term, "i64"))
        return other.first[rows.sample] + nearest

    # ------------------------------------------------------------ what both ask of types

    def dims(self, dims: Sequence[Dim]) -> list[str]:
        return [self.dim(int(dim) if isinstance(dim, Bounded) else dim) for dim in dims]


def declared_dims(exported: Exported) -> list[str]:
    """The varying dimensions of the inputs."""
    return list(dict.fromkeys(str(type_.rows) for type_ in exported.inputs.values() if type_.is_varying))


def bounded_lengths(exported: Exported, names: Collection[str]) -> dict[str, list[str | None]]:
    """Of each output with dimensions at their bounds, the result `length.DIM` that says how much of each is a sample's own."""
    found = {}
    for name, type_ in exported.outputs.items():
        if type_.is_held:
            ends = [f"length.{dim.name}" if isinstance(dim, Bounded) else None for dim in type_.dims[1:]]
            found[name] = [end if end in names else None for end in ends]
    return found
