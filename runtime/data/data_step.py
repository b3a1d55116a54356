"""A step of a field's pipe as plain data, and how one is made of functions on numbers."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from netc.dsl.diagnostics import fault
from netc.runtime.data.cells import Location, numbers
from netc.runtime.data.stored import Array, Ragged

State = dict[str, Any]
Chunks = Callable[[], Iterator[tuple[Array, Location]]]


@dataclass(frozen=True, slots=True)
class DataStep:
    """`fit(chunks, arguments)` learns a state from the training split, `apply(array, state, location)` uses it; `undo`
    is its inverse.

    `check(arguments)` says what a step takes instead, or nothing; `words` are the names that may stand for an argument.
    `takes_text` steps work on a column's cells as they are written. Of sequences a step sees the rows, one below the
    other; one that `makes_sequences` gives a Ragged, and one that `changes_lengths` takes one too. `labels` are what a
    state calls the numbers that the step gives. `keeps` says of each value of a state whether it is right: a state may
    come from a run's folder that somebody else wrote.
    """

    apply: Callable[[Any, State, Location], Array | Ragged]
    fit: Callable[[Chunks, Sequence[Any]], State]
    undo: Callable[[Array, State], Array] | None = None
    arguments: tuple[int, int] = (0, 0)
    check: Callable[[Sequence[Any]], str | None] | None = None
    words: tuple[str, ...] = ()
    takes_text: bool = False
    doc: str = ""
    makes_sequences: bool = False
    changes_lengths: bool = False
    labels: Callable[[State], list[str]] | None = None
    name: str = ""
    keeps: Mapping[str, Callable[[Any], bool]] = field(default_factory=dict)
    formula: Callable[[Any, Any], Any] | None = (
        None  # `apply` in plain arithmetic, where it is that: for values of a graph as for arrays
    )


def simple_step(
    name: str,
    doc: str,
    apply: Callable[[Any, State], Any],
    fit: Callable[[Array, Sequence[Any]], State] | None = None,
    undo: Callable[[Array, State], Array] | None = None,
    arguments: tuple[int, int] = (0, 0),
) -> DataStep:
    """A step on numbers, as float64 with samples first: `fit(values, arguments)` learns a state (of plain numbers and
    lists) from the training split, in one piece, `apply(values, state)` uses it, and `undo` brings back what it made
    of a target. They raise ValueError where the data or an argument is wrong.
    """

    def learned(chunks: Chunks, given: Sequence[Any]) -> State:
        parts = [(numbers(array, location).astype(np.float64), location) for array, location in chunks()]
        try:
            return {} if fit is None else fit(np.concatenate([array for array, _ in parts]), given)
        except ValueError as error:
            fault("E0803", f"`{name}` cannot be fitted", parts[0][1].span, str(error))

    def applied(array: Any, state: State, location: Location) -> Array:
        try:
            return np.asarray(apply(numbers(array, location).astype(np.float64), state))
        except ValueError as error:
            fault("E0803", f"`{name}` cannot be applied", location.span, f"`{location.file}`: {error}")

    return DataStep(applied, learned, undo, arguments, doc=doc, name=name)


def learn_nothing(chunks: Chunks, arguments: Sequence[Any]) -> State:
    return {}
