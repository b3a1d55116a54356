"""Index tables: which rows and samples the operations along a varying dimension read (see rows.py).

A graph reads a table through a leaf of kind `given`. The name of this leaf is the printed form of an `IndexTable`,
`rows.KIND.DIMENSION`; only this file reads it. The runtime computes the tables for each batch, from the lengths of
its samples.
"""

import re
from collections.abc import Callable, Iterable
from enum import Enum
from functools import cache
from typing import Any

from msgspec import Struct

from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import BATCH, Bounded, Dim, Type, bound_text, parse_bound
from netc.compiler.ir.value import Builder, Value


class TableKind(Enum):
    """The content of a table, with one element for each row or one for each sample (`_OF_SAMPLES`)."""

    SAMPLE = "sample"  # the sample of the row
    STEP = "step"  # the step of the row
    PREVIOUS = "previous"  # the row of the step before; at a first step, the row itself
    REVERSE = "reverse"  # the row of the same sample that is as far from its end as this one from its start
    SOURCE = "source"  # the row in the field that holds the sequences of the whole data
    SLOT = "slot"  # `size` times the sample plus the step: the row in storage with `size` steps a sample
    TO = "to"  # the row of the step that an `Other` assigns to the step, or of the nearest step that exists
    IN = "in"  # whether that step exists, 0 or 1
    FIRST = "first"  # the row of the sample's first step, which is its rank
    RANKED = "ranked"  # the sample at this rank
    LAST = "last"  # the row of the sample's last step
    LENGTH = "length"  # the number of the sample's steps
    ORDERED = "ordered"  # all rows in the order of the samples, and those of a sample in the order of its steps
    START = "start"  # the number of steps of all samples before this one: where its rows begin in ORDERED
    PADDED = "padded"  # the rows of the sample's first `size` steps, with its last row repeated beyond its end


_OF_SAMPLES = (TableKind.FIRST, TableKind.RANKED, TableKind.LAST, TableKind.LENGTH, TableKind.START)


class Less(Struct, frozen=True):
    """The length of a dimension is subtracted."""

    dim: str

    def __str__(self) -> str:
        return f"less {self.dim}"


class Centred(Struct, frozen=True):
    """Windows of `size` steps are centred, as those of a convolution with `pad = same`."""

    size: int

    def __str__(self) -> str:
        return f"same {self.size}"


class FromEnd(Struct, frozen=True):
    """The last steps of both dimensions correspond."""

    def __str__(self) -> str:
        return "end"


Shift = Less | Centred | FromEnd


class Other(Struct, frozen=True):
    """Maps a step to a step of another dimension: step * times // by + offset, adjusted by `shift`.

    The tables of the kinds TO and IN read it.
    """

    dim: str
    times: int = 1
    by: int = 1
    offset: int = 0
    shift: Shift | None = None

    @property
    def dims(self) -> tuple[str, ...]:
        """The dimensions whose rows the table needs."""
        return (self.dim, self.shift.dim) if isinstance(self.shift, Less) else (self.dim,)

    def step_of_other(
        self, step: Any, sample: Any, lengths: Any, of: Callable[[str], Any], positive: Callable[[Any], Any]
    ) -> Any:
        """The step of the other dimension for each `step` of a `sample`, whether it exists or not.

        `lengths` are the lengths of the samples, `of` returns their lengths along another dimension, and `positive`
        replaces negative numbers by 0. All are arrays, or objects that support sums, products, `//` and indexing.
        """
        at = step * self.times // self.by + self.offset
        match self.shift:
            case Less(dim):
                return at - of(dim)[sample]
            case Centred(size):
                reach = (lengths - 1) * self.times + size - of(self.dim)
                return at - (positive(reach) // 2)[sample]
            case FromEnd():
                return at + (of(self.dim) - lengths)[sample]
        return at

    def __str__(self) -> str:
        shift = "" if self.shift is None else str(self.shift)
        return f"{self.times} {self.by} {self.offset} {shift}|{self.dim}"


class IndexTable(Struct, frozen=True):
    """One table: its kind, and the dimension whose rows it describes.

    `size` belongs to the kinds PLACE and HELD, `other` to TO and IN.
    """

    kind: TableKind
    dim: str
    size: int | None = None
    other: Other | None = None

    def __str__(self) -> str:
        size = "" if self.size is None else bound_text(self.size)
        other = "" if self.other is None else f" {self.other}"
        return f"rows.{self.kind.value}{size}{other}.{self.dim}"

    @property
    def dims(self) -> tuple[str, ...]:
        """The dimensions whose rows the table needs."""
        return (self.dim, *(self.other.dims if self.other is not None else ()))

    @property
    def offset(self) -> int | None:
        """The distance of the step along its own dimension that a table of the kind TO or IN names; else None."""
        other = self.other
        return other.offset if other is not None and other == Other(self.dim, offset=other.offset) else None

    @property
    def delay(self) -> int | None:
        """The number of steps that such a table looks back; None if it looks ahead, and for any other table."""
        return None if self.offset is None or self.offset > 0 else -self.offset

    @property
    def type(self) -> Type:
        """The type of the table, integers."""
        dims: tuple[Dim, ...] = (BATCH if self.kind in _OF_SAMPLES else self.dim,)
        if self.kind is TableKind.PADDED and self.size is not None:
            dims = (BATCH, Bounded(self.size, self.dim))
        return Type("i32", dims)


def table(graph: Builder, kind: TableKind, dim: str, size: int | None = None, other: Other | None = None) -> Value:
    """Adds the leaf of a table."""
    described = IndexTable(kind, dim, size, other)
    return graph.leaf(Role.GIVEN, str(described), described.type)


def table_of(value: Value) -> IndexTable | None:
    """The table that a leaf stands for; None for all other values."""
    return parse_table(value.name) if value.name else None


_NAME = re.compile(
    r"rows\.(?P<kind>[a-z]+)(?P<size>\d*|\?)"
    r"( (?P<times>-?\d+) (?P<by>-?\d+) (?P<offset>-?\d+) "
    r"(less (?P<less>[^|]*)|same (?P<same>\d+)|(?P<end>end))?\|(?P<other>[^.]*))?"
    r"\.(?P<dim>.*)"
)


@cache
def parse_table(name: str) -> IndexTable | None:
    """Reads the printed form of a table; None for the names of all other leaves."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    other = None
    if match["other"] is not None:
        numbers = (int(match["times"]), int(match["by"]), int(match["offset"]))
        other = Other(match["other"], *numbers, _shift(match))
    size = parse_bound(match["size"]) if match["size"] else None
    return IndexTable(TableKind(match["kind"]), match["dim"], size, other)


def _shift(match: re.Match[str]) -> Shift | None:
    if match["less"] is not None:
        return Less(match["less"])
    if match["same"] is not None:
        return Centred(int(match["same"]))
    return FromEnd() if match["end"] is not None else None


def dims_of(values: Iterable[Value]) -> tuple[str, ...]:
    """The dimensions whose rows values need: their own varying ones, and those of the tables among them."""
    values = list(values)
    result_dims = [str(value.type.rows) for value in values if value.type.is_varying]
    tables = [table for value in values if (table := table_of(value)) is not None]
    others = [dim for table in tables if table.other is not None for dim in table.other.dims]
    return tuple(dict.fromkeys([*result_dims, *(table.dim for table in tables), *others]))
