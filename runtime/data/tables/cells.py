"""The cells of a column: their location in messages, which are refused or missing, which are numbers, and the order of
labels.

Steps refuse cells through `Location.refuse`. In training that ends in a message; a reader of new data leaves the rows
out, and predicts for the others (pipeline.py).
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from enum import Enum
from itertools import repeat
from typing import Any

import numpy as np
from msgspec import Struct, field

from netc.dsl.diagnostics import Diagnostic, Fault, Label, fault
from netc.dsl.quoting import CELL, is_writable, net_string
from netc.dsl.quoting import cell as shown_cell
from netc.dsl.source import Span
from netc.runtime.data.steps.remarks import EXAMPLES, NEW_CATEGORY, Lack, Remarks
from netc.runtime.data.stored import Array
from netc.runtime.data.tables.cell_text import hint_for_number, label_of

Index = tuple[int, ...]
Words = str | Callable[[Index], str]  # a text, or a function that makes it for a cell


class RowProblem(Struct, frozen=True):
    """A row of a file that cannot be used: its number in the file, the column of its first wrong cell (empty if the row
    cannot be taken apart into cells), and the reason.
    """

    row: int
    column: str
    reason: str


class RowFault(Fault):
    """A fault of some rows only. `problems` has one entry for each row, in the order of the rows.

    A reader of new data may catch it, leave these rows out and use the others.
    """

    def __init__(self, diagnostics: Sequence[Diagnostic], problems: Sequence[RowProblem]) -> None:
        super().__init__(diagnostics)
        self.problems = tuple(problems)

    def __reduce__(self) -> Any:
        return type(self), (self.diagnostics, self.problems)


class BadRows(Struct):
    """The rows of a file that cannot be used, by their number in the file, each with the first problem that it had."""

    problems: dict[int, RowProblem] = field(default_factory=dict)
    first: RowFault | None = None  # that was noted

    def note(self, fault: RowFault) -> None:
        """Adds the rows of a fault."""
        self.first = self.first or fault
        for problem in fault.problems:
            self.problems.setdefault(problem.row, problem)

    def in_order(self) -> tuple[RowProblem, ...]:
        """All problems, in the order of the rows."""
        return tuple(self.problems[row] for row in sorted(self.problems))

    def among(self, rows: Array) -> Array:
        """True for each of these row numbers that is bad."""
        return np.isin(rows, np.fromiter(self.problems, np.int64, len(self.problems)))


_MOST_MARKS = 0.1  # of the cells of a column of numbers may be texts that stand for missing values
_TRUTH = {"true": 1.0, "false": 0.0}


class CellKind(Enum):
    """The kind of cell that a step takes. The value is the step that fills a missing one; a sequence has none."""

    NUMBER = "impute(median)"
    CATEGORY = "impute(mode)"
    TEXT = 'impute("none")'
    SEQUENCE = ""


class Location(Struct, frozen=True):
    """Names the cells of an array in messages: their file, their columns, and the number that each row has in the file.

    `span` is the field or step in the `.net` file that reads them, `impute` the text of the field's step `impute`, if
    it has one. The cells may be the tokens of texts. `remarks` collects what is worth saying about cells that are used
    all the same.
    """

    file: str
    columns: tuple[str, ...]
    rows: Array
    span: Span
    remarks: Remarks = field(default_factory=Remarks)
    impute: str = ""
    is_target: bool = False
    are_tokens: bool = False

    def column(self, index: Sequence[int]) -> str:
        """The name of the column that the element of the array at `index` comes from."""
        return self.columns[index[1] if len(index) > 1 and len(self.columns) > 1 else 0]

    def cell(self, index: Sequence[int]) -> str:
        """The words for the element of the array at `index`."""
        return f"`{self.file}`, row {self.rows[index[0]]}, column `{shown_cell(self.column(index))}`"

    def refuse(
        self,
        mask: Array,
        code: str,
        fact: Words,
        label: Words | None = None,
        hint: Words | None = None,
        others: Sequence[Label] = (),
    ) -> None:
        """Raises a RowFault if `mask` is true for some cell; the rows of the mask are those of this location.

        `fact` says what is wrong with a cell, and is the reason of each row. `label` says where; by default it names
        the cell. A function is called with the index of a cell in the mask: for `fact` with that of the first wrong
        cell of each row, for `label` and `hint` with that of the first wrong cell.
        """
        if not mask.any():
            return
        flat = mask.reshape(len(mask), -1)
        bad_rows = np.flatnonzero(flat.any(axis=1))
        columns = flat[bad_rows].argmax(axis=1)
        problems: dict[int, RowProblem] = {}  # by row of the file: the steps of a sequence are of one row
        first: Index = ()
        for row, column in zip(bad_rows.tolist(), columns.tolist(), strict=True):
            number = int(self.rows[row])
            if number not in problems:
                index = (row, *map(int, np.unravel_index(column, mask.shape[1:])))
                first = first or index
                problems[number] = RowProblem(number, self.column(index), _words(fact, index))
        where = self.cell(first) if label is None else _words(label, first)
        reason = problems[int(self.rows[first[0]])].reason
        advice = None if hint is None else _words(hint, first) or None
        diagnostic = Diagnostic(code, reason, Label(self.span, where), tuple(others), advice)
        raise RowFault([diagnostic], [*problems.values()])

    def remark_unseen(self, mask: Array, cells: Array, lack: Lack = NEW_CATEGORY, labels: Sequence[str] = ()) -> None:
        """Notes that the categories of `cells` where `mask` is true did not occur in training, which had `labels`."""
        if not mask.any():
            return
        categories: dict[str, list[str]] = {}
        for position in np.argwhere(mask).tolist():
            categories.setdefault(self.column(position), []).append(label_of(cells[tuple(position)]))
        for column, texts in categories.items():
            self.remarks.add_unseen(self.span, column, texts, lack, labels)

    def note_far_outside(self, values: Array, mask: Array, training: Callable[[tuple[int, ...]], str]) -> None:
        """Notes numbers that `mask` says are far outside of those of training. Its values are used all the same.

        `training` says which numbers training had in the column of the element at an index behind the samples.
        """
        if self.is_target or not mask.any():
            return
        for index in map(tuple, np.argwhere(mask.any(axis=0)).tolist()):
            column: Any = (slice(None), *index)
            outside = values[column][mask[column]]
            shown = [f"{value:.6g}" for value in outside[:EXAMPLES].tolist()]
            lack = Lack("cell", "far outside of what training had", training(index))
            texts = [*shown, *shown[-1:] * (len(outside) - len(shown))]
            self.remarks.add_unseen(self.span, self.column((0, *index)), texts, lack, ())

    def hint_for_missing(self, kind: CellKind) -> str | None:
        """The hint for a missing cell that a step takes for a cell of this kind. It names no step that is there."""
        drop = "impute(drop) leaves the row out"
        if self.impute.replace(" ", "") == "impute(drop)":
            return None
        if self.is_target or kind is CellKind.SEQUENCE:
            return drop
        return f"`{self.impute}` has to come before this step" if self.impute else f"{kind.value} fills, {drop}"


def _words(words: Words, index: Index) -> str:
    return words if isinstance(words, str) else words(index)


def is_missing(array: Array, are_tokens: bool = False) -> Array:
    """True where a cell is empty. A blank is a cell that is empty, but a token like any other."""
    if array.dtype == object:
        cells = array.ravel().tolist()
        if are_tokens and _are_texts(cells):
            return np.zeros(array.shape, bool)
        is_empty = [
            not (are_tokens or cell.strip())
            if isinstance(cell, str)
            else cell is None or (isinstance(cell, float | np.floating) and bool(cell != cell))
            for cell in cells
        ]
        return np.array(is_empty, bool).reshape(array.shape)
    return np.isnan(array) if array.dtype.kind == "f" else np.zeros(array.shape, bool)


def texts_of(array: Array) -> list[str]:
    """The cells in order as texts, with the spelling of labels. (An array would take the memory of the longest text for
    each cell.)
    """
    if array.dtype == object and _are_texts(cells := array.ravel().tolist()):
        return cells  # a text of a million letters has a cell for each
    if array.dtype.kind in "iub":  # a million labels are few different numbers
        numbers, which = np.unique(array, return_inverse=True)
        texts = [label_of(number) for number in numbers]
        return [texts[i] for i in which.ravel().tolist()]
    return [label_of(cell) for cell in array.ravel()]


def numbers_of(array: Array, labels: Sequence[str]) -> Array:
    """The position of each cell's text among the labels, or -1, as i32 of the same shape."""
    number_of = {label: i for i, label in enumerate(labels)}
    positions = map(number_of.get, texts_of(array), repeat(-1))
    return np.fromiter(positions, np.int32, array.size).reshape(array.shape)


def _are_texts(cells: list[Any]) -> bool:
    return set(map(type, cells)) <= {str}


def refuse_missing(array: Array, location: Location, kind: CellKind) -> None:
    """Raises E0803 for the rows with an empty cell; `kind` is what the cells are taken for."""
    missing = is_missing(array, location.are_tokens)

    def hint(index: Index) -> str:
        column = np.moveaxis(missing, 0, -1)[index[1:]]
        if len(column) > 1 and column.all():  # no step can fill it, and without its rows none are left
            empty = f"`{shown_cell(location.column(index))}` is empty in all of these rows"
            return f"{empty}: leave it out, or name another column"
        return location.hint_for_missing(kind) or ""

    location.refuse(
        missing,
        "E0803",
        "a value is missing",
        lambda index: f"{location.cell(index)}; {int(missing.sum())} in all",
        hint=hint,
    )


def numbers(
    array: Array,
    location: Location,
    hint_for_text: str = "`classes` or `one_hot` takes text",
    may_lack: bool = False,
) -> Array:
    """The cells as float64, or the array itself if its cells are numbers already; true and false are 1 and 0.

    Raises E0803 and E0804 for the rows with a cell that is not a number, or is infinite or missing. With `may_lack` a
    missing cell is NaN.
    """
    if not may_lack:
        refuse_missing(array, location, CellKind.NUMBER)
    if array.dtype != object:
        if array.dtype.kind not in "fiub":
            column = f"`{location.file}`, column `{shown_cell(location.columns[0])}`"
            fault("E0803", "this holds no numbers", location.span, column)
        values = array
    else:
        try:
            values = array.astype(np.float64)
        except (ValueError, TypeError, OverflowError):
            try:
                values = _with_truth_values(array).astype(np.float64)
            except (ValueError, TypeError, OverflowError):
                _refuse_other_lengths(array, location)
                _refuse_other_kinds(array, location, hint_for_text)
                raise
    if values.dtype.kind == "f":
        location.refuse(
            ~np.isfinite(values) & ~(may_lack & np.isnan(values)),
            "E0803",
            "a value is not finite",
            hint=lambda index: _as_mark(array[index]),
        )
    return values


def _with_truth_values(array: Array) -> Array:
    """The cells with 1 and 0 for the texts true and false: typed files have booleans as numbers."""
    result = array.copy()
    for index, cell in np.ndenumerate(array):
        if isinstance(cell, str):
            result[index] = _TRUTH.get(cell.strip().lower(), cell)
    return result


def _as_mark(cell: Any) -> str:
    """The hint that declares a cell as a mark of missing values; "" for what is not text, too long, or not writable."""
    mark = cell.strip() if isinstance(cell, str) else ""
    if not 0 < len(mark) <= CELL or not is_writable(mark):
        return ""
    return f"missing = [{net_string(mark)}] in the source, if it stands for a missing value"


def _refuse_other_lengths(array: Array, location: Location) -> None:
    """Raises E0804 for the rows with a list that is not as long as most lists of the array."""
    lengths = np.full(array.shape, -1, np.int64)
    for index, cell in np.ndenumerate(array):
        if isinstance(cell, list | tuple):
            lengths[index] = len(cell)
    counts = Counter(lengths[lengths >= 0].tolist())
    if len(counts) < 2:
        return
    usual = counts.most_common(1)[0][0]
    usual_row = location.rows[np.argwhere(lengths == usual)[0][0]]
    location.refuse(
        (lengths >= 0) & (lengths != usual),
        "E0804",
        "rows differ in length",
        lambda index: f"{location.cell(index)} has {lengths[index]} elements, row {usual_row} has {usual}",
    )


def _refuse_other_kinds(array: Array, location: Location, hint_for_text: str) -> None:
    """Raises E0803 for the rows with a cell that is not a number."""
    facts: dict[Index, str] = {}
    too_large: set[Index] = set()
    for index, cell in np.ndenumerate(_with_truth_values(array)):
        try:
            float(cell)
        except OverflowError:
            facts[index] = "this number is too large"
            too_large.add(index)
        except (ValueError, TypeError):
            facts[index] = f'"{shown_cell(cell)}" is not a number' if isinstance(cell, str) else "this is not a number"
    mask = np.zeros(array.shape, bool)
    for index in facts:
        mask[index] = True
    are_few = mask.mean(axis=0) <= _MOST_MARKS
    location.refuse(
        mask,
        "E0803",
        facts.__getitem__,
        lambda index: f"{location.cell(index)}{f': {shown_cell(array[index])}' if index in too_large else ''}",
        hint=lambda index: (
            hint_for_number(str(array[index]))
            or (_as_mark(array[index]) if are_few[index[1:]] else "")
            or _as_field(location, index)
            or hint_for_text
            if isinstance(array[index], str)
            else ""
        ),
    )


def _as_field(location: Location, index: Index) -> str:
    """The hint with a field for the one of several columns that has texts."""
    return hint_of_text_column(location.column(index)) if len(location.columns) > 1 else ""


def hint_of_text_column(column: str) -> str:
    """The hint for a column of texts among columns of numbers: a field of its own."""
    name, field = shown_cell(column), column if column.isidentifier() else "kind"
    left_out = f'leave it out, as `columns(all, except = "{name}")` does'
    return f'{left_out}; `{field} = column("{name}") -> one_hot` makes a field of its own of it'


def natural(label: str) -> tuple[int, float, str]:
    """A key that sorts labels: numbers by their value, then all other texts, `nan` among them."""
    try:
        value = float(label)
    except ValueError:
        value = math.nan
    return (1, 0.0, label) if math.isnan(value) else (0, value, label)
