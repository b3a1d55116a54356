"""The part that both file formats share: the walk over the graph, element-wise operations, and rows of sequences.

A value with a varying dimension has a row for each step of each sample, as everywhere in netc. In exported files the
rows are in sample order: all steps of the first sample, then all steps of the second. The file itself computes the
tables of compiler/ir/rows.py from the samples' lengths.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import ClassVar, NoReturn

from msgspec import Struct

from netc.compiler.export.exportable import Array, Exported
from netc.compiler.export.scalar import Term, translate
from netc.compiler.ir.attributes import Constant
from netc.compiler.ir.dims import names_in, value_of
from netc.compiler.ir.forms import Scalar
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.index_tables import IndexTable, Other, TableKind, table_of
from netc.compiler.ir.results import Result, ResultKind
from netc.compiler.ir.roles import Role
from netc.compiler.ir.supplied import SuppliedKind, parse_supplied
from netc.compiler.ir.types import Bounded, Dim, is_undeclared
from netc.compiler.ir.value import Value
from netc.compiler.operations.scan import Part, Scan, Slot
from netc.dsl.diagnostics import fault


class Index(Struct, frozen=True):
    """An integer array with an element for each sample or each row. Its operators write arithmetic to the file."""

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


class RowTerms(Struct, frozen=True):
    """The rows of a varying dimension.

    `length` is each sample's number of steps, `first` the row of its first step; `sample` and `step` say which sample
    and step each row is.
    """

    length: Index
    first: Index
    sample: Index
    step: Index
    most: Term  # the greatest length, a scalar


class Writer(ABC):
    """A file under construction. A subclass writes arithmetic, operations (`FORMS`), rows and scans in its format."""

    FORMS: ClassVar[Mapping[str, Callable[..., Term]]]
    KIND: ClassVar[str]  # the format's name in messages

    def __init__(self, exported: Exported) -> None:
        self.exported = exported
        self.rows_of: dict[str, RowTerms] = {}
        self.tables: dict[IndexTable, Term] = {}

    # ------------------------------------------------------------ what a subclass writes

    @abstractmethod
    def number(self, value: float | int | bool, dtype: str) -> Term:
        """Writes a scalar constant."""

    @abstractmethod
    def cast(self, x: Term, dtype: str) -> Term:
        """Converts x to another element type."""

    @abstractmethod
    def word(self, name: str, operands: list[Term], dtype: str) -> Term:
        """Applies an element-wise function. Raises KeyError if the format does not have it."""

    @abstractmethod
    def take(self, x: Term, index: Term) -> Term:
        """Gathers rows of x by their indices."""

    @abstractmethod
    def parameter(self, name: str, array: Array) -> Term:
        """Stores a parameter or state in the file."""

    @abstractmethod
    def make_rows(self, dim: str, length: Term) -> RowTerms:
        """Computes the rows of a varying dimension from the samples' lengths."""

    @abstractmethod
    def input_lengths(self, dim: str) -> Term:
        """Returns the lengths of the samples in a dimension of the inputs."""

    @abstractmethod
    def constant_lengths(self, steps: int) -> Term:
        """Returns the lengths of a dimension in which every sample has `steps` steps."""

    @abstractmethod
    def counted(self, count: int) -> Term:
        """Returns the indices 0, 1, ... count - 1."""

    @abstractmethod
    def column(self, x: Term) -> Term:
        """Reshapes x[n] to x[n, 1]."""

    @abstractmethod
    def dim(self, dim: Dim) -> str:
        """Returns the text of a dimension: a number, or an expression of the file."""

    @abstractmethod
    def run_scan(self, scan: Scan, operands: Mapping[Slot, Term]) -> dict[Result, Term]:
        """Writes a scan and returns its parts."""

    @abstractmethod
    def named(self, value: Value, term: Term, uses: int) -> Term:
        """Assigns the term to a name of the file if its text should not be repeated or nested."""

    def kept(self, prefix: str, term: Term) -> Term:
        """Assigns the term to a name, in formats in which a term may be an expression."""
        return term

    def random_words(self, value: Value) -> Term:
        """Writes a leaf that random numbers are generated from. Raises E1201 in formats that cannot hold it."""
        self.refuse(value, "random numbers", "what is drawn anew has no place in a file that is the same each time")

    def custom_kernel(self, value: Value, operands: Sequence[Term]) -> Term | None:
        """Writes an operation with a custom kernel. Returns None if the format cannot hold it."""
        return None

    # ------------------------------------------------------------ the walk

    def walk(self, graph: Graph, leaves: Mapping[str, Term]) -> dict[Value, Term]:
        """Writes every value that the graph's results need. `leaves` are the terms of inputs and bindings, by name."""
        terms: dict[Value, Term] = {}
        parts: dict[Value, dict[Result, Term]] = {}
        live = graph.live()
        for value in graph.values():
            if value not in live:
                continue
            if undeclared := [dim for dim in value.type.dims if isinstance(dim, Bounded) and is_undeclared(dim)]:
                self.refuse_unbounded(value, names_in(undeclared[0].name)[0])
            operands = [terms[operand] for operand in value.operands if operand in terms]
            if value.role is Role.SCAN:
                scan = Scan.of(value)
                parts[value] = self.run_scan(scan, dict(zip(scan.operand_of(), operands, strict=True)))
            elif value.role is Role.PART:
                terms[value] = parts[value.operands[0]][value.attributes_as(Part).result]
            else:
                uses = sum(user in live for user in graph.users(value)) + (value in graph.results.values())
                terms[value] = self.named(value, self.value(value, operands, leaves), uses)
        return terms

    def value(self, value: Value, operands: list[Term], leaves: Mapping[str, Term]) -> Term:
        """Writes one value; scans and their parts are written by `walk`."""
        name = value.name
        if value.role is Role.CONSTANT:
            number = value.attributes_as(Constant).value
            return self.number(number, value.type.dtype)
        if name in leaves:
            return leaves[name]
        if (table := table_of(value)) is not None:
            return self.table(table)
        supplied = parse_supplied(name)
        if supplied is not None and supplied.kind in (SuppliedKind.RANDOM, SuppliedKind.SAMPLES):
            return self.random_words(value)
        if name:
            return self.parameter(name, self.exported.arrays[name])
        lower = value.lower
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
        term = self.custom_kernel(value, operands)
        if term is None:
            self.refuse(value, f"`{value.operation}`", f"{self.KIND} has no operation that it is made of")
        return term

    def refuse(self, value: Value, what: str, why: str) -> NoReturn:
        """Raises E1201 at a value that cannot be written."""
        hint = "netc export RUN -o model.py" if self.KIND == "ONNX" else None
        fault("E1201", f"{what} cannot be exported as {self.KIND}", value.span, why, hint=hint)

    def refuse_unbounded(self, value: Value, dim: str) -> NoReturn:
        """Raises E1201 at a value that a file would have to store at a bound that nobody knows."""
        title = f"how long `{dim}` is at most must be known to export this"
        fault("E1201", title, value.span, "it is stored at the bound", hint=f"{dim} <= 100, where it is declared")

    # ------------------------------------------------------------ rows

    def rows(self, dim: str) -> RowTerms:
        """Returns the rows of a varying dimension; the file computes them once."""
        if dim not in self.rows_of:
            self.rows_of[dim] = self.make_rows(dim, self.lengths(dim))
        return self.rows_of[dim]

    def indexed(self, length: Term, first: Term, sample: Term, step: Term, most: Term) -> RowTerms:
        return RowTerms(Index(self, length), Index(self, first), Index(self, sample), Index(self, step), most)

    def lengths(self, dim: str) -> Term:
        """Returns the samples' lengths in a dimension, which may be an expression of other dimensions or a number."""
        names = names_in(dim)
        if names == (dim,):
            return self.input_lengths(dim)
        if not names:
            return self.constant_lengths(int(value_of(dim, {})))
        lengths = {name: self.rows(name).length for name in names}
        result: Index = value_of(dim, lengths, lambda length, bound: length.minimum(bound))
        return result.term

    def table(self, table: IndexTable) -> Term:
        """Returns a table of the graph as i32; the file computes it once."""
        if table not in self.tables:
            rows = self.rows(table.dim)
            index = self._plain(table, rows) if table.other is None else self._of_other(table.kind, table.other, rows)
            self.tables[table] = self.kept("table", self.cast(index.term, "i32"))
        return self.tables[table]

    def _plain(self, table: IndexTable, rows: RowTerms) -> Index:
        """Computes a table about one dimension (see compiler/ir/rows.py). The rank of a sample is its index."""
        match table.kind, table.size:
            case TableKind.LENGTH, _:
                return rows.length
            case ((TableKind.FIRST | TableKind.START), _):
                return rows.first
            case TableKind.ORDERED, _:
                return rows.first[rows.sample] + rows.step
            case TableKind.SAMPLE, _:
                return rows.sample
            case TableKind.STEP, _:
                return rows.step
            case TableKind.RANKED, _:
                return rows.sample[rows.first]
            case TableKind.LAST, _:
                return rows.first + rows.length - 1
            case TableKind.PREVIOUS, _:
                return rows.first[rows.sample] + (rows.step - 1).maximum(0)
            case TableKind.REVERSE, _:
                return rows.first[rows.sample] + rows.length[rows.sample] - rows.step - 1
            case TableKind.SLOT, int(size):
                return rows.sample * size + rows.step
            case TableKind.PADDED, int(size):
                ahead = Index(self, self.counted(size))
                first, last = (Index(self, self.column(index.term)) for index in (rows.first, rows.length - 1))
                return first + ahead.minimum(last)
        raise AssertionError(f"no file has the table {table}")

    def _of_other(self, kind: TableKind, which: Other, rows: RowTerms) -> Index:
        """Computes a table about another dimension, as compiler.ir.rows.Rows.of_other does."""
        other = self.rows(which.dim)
        at: Index = which.step_of_other(
            rows.step, rows.sample, rows.length, lambda dim: self.rows(dim).length, lambda reach: reach.maximum(0)
        )
        last = other.length[rows.sample] - 1
        nearest = at.maximum(0).minimum(last)
        if kind is TableKind.IN:
            return Index(self, self.cast(at._with("equal", nearest, "bool").term, "i64"))
        return other.first[rows.sample] + nearest

    # ------------------------------------------------------------ types

    def dims(self, dims: Sequence[Dim]) -> list[str]:
        """Returns the texts of dimensions."""
        return [self.dim(int(dim) if isinstance(dim, Bounded) else dim) for dim in dims]


def declared_dims(exported: Exported) -> list[str]:
    """Returns the varying dimensions of the inputs."""
    return list(dict.fromkeys(str(type_.rows) for type_ in exported.inputs.values() if type_.is_varying))


def bounded_lengths(exported: Exported, results: Collection[Result]) -> dict[str, list[Result | None]]:
    """For outputs stored at a dimension's bound: the results `length.DIM` that hold each sample's true size.

    An entry has an element for each dimension of a sample: None if it is fixed, or if no result holds its size.
    """
    lengths = {}
    for name, type_ in exported.outputs.items():
        if type_.is_held:
            ends = [ResultKind.LENGTH.named(dim.name) if isinstance(dim, Bounded) else None for dim in type_.dims[1:]]
            lengths[name] = [end if end in results else None for end in ends]
    return lengths
