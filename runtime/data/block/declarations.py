"""The records that a checked `data` block consists of: its source, its fields with their steps, its split."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from netc.dsl.source import NOWHERE, Span

DIVISION = 2  # the version of the rules that division/split.py, series.py and windows.py follow
PARTS = ("train", "valid", "test", "calibration")
Constants = Mapping[str, object]  # the values of the file's `let`s


class SourceSpec(Struct, frozen=True):
    """`csv("data/cars.csv", delimiter = ";")`: a reader, a path as written, and options of the reader.

    `others` are further paths. A path may stand for several files: `parts/*.csv`.
    """

    reader: str
    path: str
    span: Span
    options: tuple[tuple[str, Any], ...] = ()
    others: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """All paths as written, for messages and records."""
        return ", ".join((self.path, *self.others))


class StepSpec(Struct, frozen=True):
    """`impute(median)`: a step of STEPS with its arguments."""

    name: str
    arguments: tuple[Any, ...]
    span: Span


class FieldSpec(Struct, frozen=True):
    """A field of the data: the columns that it consists of, and its steps.

    With `is_rest` it consists of all columns of the table except for `columns`. An `is_single` field has no axis of
    columns. The samples of an `is_sequence` field have lengths of their own, because its type in the model has a
    varying dimension. An `is_target` field is a target of the model.
    """

    name: str
    columns: tuple[str, ...]
    is_single: bool
    steps: tuple[StepSpec, ...]
    span: Span
    is_rest: bool = False
    is_sequence: bool = False
    is_target: bool = False


class SplitSpec(Struct, frozen=True):
    """The division of rows into parts.

    `way` is "random", "ordered", "by" (rows that have the same cell in `column` stay together), "hash" (the same, and
    the cell alone decides the part), "column" (the cells of `column` name the parts) or "folds". `fractions` are the
    shares that parts have of the block's source; the parts in `sources` have a source of their own. `seed` is that of
    random divisions.

    With "folds" the rows are divided into `folds` parts of equal size, groups of `column` as a whole: number `fold`,
    from 1 on, is the validation part, and the others together are the training part. With `is_ordered` the rows are
    divided in their order into one part more: the one after the first `fold` parts is the validation part, and these
    are the training part. `test` is the share of the rows that are set aside first, as the test part of all folds.
    The split of an ensemble has the `fold` 0: all other rows are training rows of some member.
    """

    way: str = "random"
    fractions: tuple[tuple[str, float], ...] = (("train", 0.8), ("valid", 0.1), ("test", 0.1))
    column: str | None = None
    sources: tuple[tuple[str, SourceSpec], ...] = ()
    span: Span = NOWHERE
    seed: int = 0
    folds: int = 0
    fold: int = 1
    is_ordered: bool = False
    test: float = 0.0

    @property
    def parts(self) -> tuple[str, ...] | None:
        """The names of the parts; None if only the data names them."""
        if self.way == "column":
            return None
        if self.way == "folds":
            return ("train", *(("valid",) if self.fold else ()), *(("test",) if self.test else ()))
        return tuple(name for name, _ in (*self.fractions, *self.sources))

    @property
    def is_division(self) -> bool:
        """Whether it follows from rules of netc in which part a row is, and not from the files alone."""
        is_part = any(name != "train" or share < 1 - 1e-9 for name, share in self.fractions)
        return self.way == "folds" or (self.way != "column" and is_part)

    @property
    def follows_order(self) -> bool:
        """Whether rows are divided in their order, as the file asks."""
        return self.way == "ordered" or self.is_ordered

    @property
    def keeps_groups(self) -> bool:
        """Whether rows with the same cell in `column` are in the same part."""
        return self.column is not None and self.way != "column"


class SeriesSpec(Struct, frozen=True):
    """The rows of a table that follow one another, so that windows may be cut from them.

    Rows with the same cell in `column` are one series; without it all rows are. They are in the order of their cells in
    `time`, and where these differ by more than about `every`, there is a gap; without a `time`, in the order of the
    table. `every` is a number of the column's units, or of seconds if the column has dates, which are written in the
    form `form`, or in one of ISO 8601.
    """

    column: str | None = None
    time: str | None = None
    every: float = 0.0
    has_dates: bool = False
    span: Span = NOWHERE
    form: str = ""


class DataSpec(Struct, frozen=True):
    """A checked `data` block.

    `source` is divided by the split's fractions: the block's own source, or else that of the training part. `series` is
    None if the block does not describe it. `pictures` is the shape (height, width, channels) of the pictures in
    training, and `dialect` the delimiter, the decimal mark and the mark between thousands of its csv, once they are
    read.
    """

    source: SourceSpec
    fields: dict[str, FieldSpec]
    split: SplitSpec
    span: Span
    series: SeriesSpec | None = None
    pictures: tuple[int, int, int] | None = None
    dialect: tuple[str, str, str] | None = None
