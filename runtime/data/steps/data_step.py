"""A step of a field's pipe: what every step is made of, and steps of plain functions on numbers, for plug-ins."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from msgspec import Struct, field

from netc.dsl.diagnostics import fault
from netc.dsl.structs import replace
from netc.runtime.data.stored import Array, Ragged
from netc.runtime.data.tables.cells import Location, numbers
from netc.runtime.data.tables.columns import TextSequences

State = dict[str, Any]  # what a step learned: plain data, saved as JSON
UNKNOWN = "<unknown>"  # the label of what the training part does not have
NAMES = ("classes", "tokens", "grams")  # entries of a state that name the places or numbers that a step returns
_BLOCK = 1 << 22  # cells of a block of columns
Chunks = Callable[[], Iterator[tuple[Array, Location]]]  # each call starts again with the first rows


class DataStep(Struct, frozen=True):
    """A step: `fit` learns a state from the training part, `apply` uses it on every part, and `undo` is its inverse.

    Arrays have the samples first. Of sequences a step sees one array with a row for each step of each sample.

    - `fit(chunks, arguments)` returns the state, `apply(array, state, location)` and `undo(array, state)` an array.
    - `arguments` is the least and the largest number of arguments; `check(arguments)` returns what the step takes, or
      None if they are right; `words` are the names that may stand for an argument.
    - `takes_text` steps work on a column's cells as they are written; those that also `takes_labels` compare them, so
      that numbers have one spelling (`1`, never `1.0`). Steps that `takes_codes` get a TextColumn, or
      TextSequences, where the cells are one, so that they look at each text once and not in every row.
    - A step that `makes_sequences` returns a Ragged; one that `changes_lengths` takes and returns one.
    - `labels(state)` are the names of the numbers that the step returns.
    - `keeps` has a check for each value of a state, as the folder of a run may come from somebody else.
    - `places(state)` is the size of the last axis of what the step returns, where the model may declare a larger one:
      the further places stay 0.
    - `separator` joins the pieces that the step makes of a text.
    - `usage` shows how the step is written, where its arguments need more than their number.
    - `formula(array, state)` is `apply` as plain arithmetic, if it is that: it works on values of a graph too.
    """

    apply: Callable[[Any, State, Location], Array | Ragged | TextSequences]
    fit: Callable[[Chunks, Sequence[Any]], State]
    undo: Callable[[Array, State], Array] | None = None
    arguments: tuple[int, int] = (0, 0)
    check: Callable[[Sequence[Any]], str | None] | None = None
    words: tuple[str, ...] = ()
    takes_text: bool = False
    takes_labels: bool = False
    takes_codes: bool = False
    doc: str = ""
    makes_sequences: bool = False
    changes_lengths: bool = False
    labels: Callable[[State], list[str]] | None = None
    name: str = ""
    keeps: Mapping[str, Callable[[Any], bool]] = field(default_factory=dict)
    formula: Callable[[Any, Any], Any] | None = None
    category_count: Callable[[State], int] | None = None
    usage: str = ""
    separator: str | None = None


def learn_nothing(chunks: Chunks, arguments: Sequence[Any]) -> State:
    """The `fit` of a step without a state."""
    return {}


def unchanged(array: Array, state: State) -> Array:
    """The `undo` of a step that predictions need not undo."""
    return array


def names_of_places(state: State) -> list[str]:
    """The names of the places or numbers that a step returns, from its state; empty if it has none."""
    names: list[str] = next((state[key] for key in NAMES if key in state), [])
    return [*names, *([UNKNOWN] if state.get("unknown") else [])]


def are_integers(arguments: Sequence[Any], least: int = 1) -> bool:
    """Whether all arguments of a step are integers of at least `least`."""
    return all(isinstance(value, int) and not isinstance(value, bool) and value >= least for value in arguments)


def column_blocks(chunks: Chunks) -> Iterator[tuple[Array, Location]]:
    """Yields some columns of all chunks at a time, as an array [rows, columns], so that a wide table need not fit into
    memory. The location has the names of the block's columns.
    """
    first, _ = next(chunks())
    width = math.prod(first.shape[1:])
    rows = sum(len(array) for array, _ in chunks()) if width > 1 else 1
    step = max(1, _BLOCK // rows)
    for start in range(0, width, step):
        cells, locations = zip(
            *((array.reshape(len(array), -1)[:, start : start + step], location) for array, location in chunks()),
            strict=True,
        )
        names = locations[0].columns if len(locations[0].columns) == width else locations[0].columns[:1] * width
        numbers_of_rows = np.concatenate([location.rows for location in locations])
        yield np.concatenate(cells), replace(locations[0], columns=names[start : start + step], rows=numbers_of_rows)


def simple_step(
    name: str,
    doc: str,
    apply: Callable[[Any, State], Any],
    fit: Callable[[Array, Sequence[Any]], State] | None = None,
    undo: Callable[[Array, State], Array] | None = None,
    arguments: tuple[int, int] = (0, 0),
) -> DataStep:
    """A step on numbers, which are float64 with the samples first.

    `fit(values, arguments)` learns a state of plain numbers and lists from the whole training part, `apply(values,
    state)` uses it, and `undo` is its inverse, if the step may stand on a target. They raise ValueError where the data
    or an argument is wrong.
    """

    def fit_chunks(chunks: Chunks, values: Sequence[Any]) -> State:
        parts = [(numbers(array, location).astype(np.float64), location) for array, location in chunks()]
        try:
            return {} if fit is None else fit(np.concatenate([array for array, _ in parts]), values)
        except ValueError as error:
            fault("E0803", f"`{name}` cannot be fitted", parts[0][1].span, str(error))

    def apply_to_cells(array: Any, state: State, location: Location) -> Array:
        try:
            return np.asarray(apply(numbers(array, location).astype(np.float64), state))
        except ValueError as error:
            fault("E0803", f"`{name}` cannot be applied", location.span, f"`{location.file}`: {error}")

    return DataStep(apply_to_cells, fit_chunks, undo, arguments, doc=doc, name=name)
