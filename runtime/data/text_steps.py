"""Steps on texts and their tokens: characters, words, ends, vocabulary, lowercase, date, ngrams."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import date
from typing import Any

import numpy as np

from netc.dsl.diagnostics import fault
from netc.dsl.quoting import cell as shown_cell
from netc.runtime.available import require_at
from netc.runtime.data.cells import Location, natural, refuse_missing
from netc.runtime.data.data_step import Chunks, DataStep, State, learn_nothing
from netc.runtime.data.state_checks import are_texts, is_count
from netc.runtime.data.stored import Array, Ragged

UNKNOWN, END = "<unknown>", "<end>"


def _split(pieces: Callable[[str], list[str]], what: str) -> Callable[[Array, State, Location], Ragged]:
    """A text as a sequence of its pieces."""

    def apply(array: Array, state: State, location: Location) -> Ragged:
        refuse_missing(array, location)
        found = [pieces(str(cell)) for cell in array.ravel()]
        for row, one in enumerate(found):
            if not one:
                fault("E0804", f"a text without {what}", location.span, location.cell([row]))
        tokens = np.empty(sum(map(len, found)), object)
        tokens[:] = [token for one in found for token in one]
        return Ragged(tokens, np.array([len(one) for one in found], np.int64))

    return apply


CHARACTERS = DataStep(
    _split(list, "characters"),
    learn_nothing,
    lambda array, state: array,
    takes_text=True,
    makes_sequences=True,
    doc="A text as the sequence of its characters.",
    name="characters",
)
WORDS = DataStep(
    _split(str.split, "words"),
    learn_nothing,
    lambda array, state: array,
    takes_text=True,
    makes_sequences=True,
    doc="A text as the sequence of what white space separates.",
    name="words",
)


def _marked(sequences: Ragged, state: State, location: Location) -> Ragged:
    """Sequences with one more token at their ends."""
    rows = np.insert(sequences.rows.astype(object), np.cumsum(sequences.lengths), END)
    return Ragged(rows, sequences.lengths + 1)


ENDS = DataStep(
    _marked,
    learn_nothing,
    lambda array, state: array,
    takes_text=True,
    changes_lengths=True,
    doc="One more token after a text's last: where it ends. A vocabulary counts it as 1. What is to write texts learns by it when to stop.",
    name="ends",
)


def _refuse_none(array: Array, location: Location) -> None:
    """A space is a token too, and no missing value."""
    if array.dtype != object or any(cell is None for cell in array.ravel()):
        refuse_missing(array, location)


def _vocabulary_fit(chunks: Chunks, arguments: Sequence[Any]) -> State:
    """The tokens of the training split, the most frequent first, after what stands for all others and, if there is one,
    the mark of an end.
    """
    most, least = (*arguments, 0, 1)[:2] if len(arguments) < 2 else arguments
    found: Counter[str] = Counter()
    for array, location in chunks():
        _refuse_none(array, location)
        found.update(str(cell) for cell in array.ravel())
    marks = [END] if found.pop(END, 0) else []
    tokens = sorted((one for one in found if found[one] >= least), key=lambda one: (-found[one], natural(one)))
    return {"tokens": [UNKNOWN, *marks, *tokens[: most or None]]}


def _vocabulary(array: Array, state: State, location: Location) -> Array:
    _refuse_none(array, location)
    codes = {token: i for i, token in enumerate(state["tokens"])}
    return np.array([codes.get(str(cell), 0) for cell in array.ravel()], np.int32).reshape(array.shape)


def _vocabulary_check(arguments: Sequence[Any]) -> str | None:
    is_right = all(isinstance(one, int) and not isinstance(one, bool) and one >= 1 for one in arguments)
    return None if is_right else "how many tokens at most, then how often each occurs at least"


VOCABULARY = DataStep(
    _vocabulary,
    _vocabulary_fit,
    lambda array, state: np.array(state["tokens"], object)[array],
    (0, 2),
    _vocabulary_check,
    takes_text=True,
    doc="Tokens as numbers, the most frequent first, after 0 for a token that the training split does not have: vocabulary(1000, 2) keeps the 1,000 most frequent that occur at least twice.",
    keeps={"tokens": are_texts},
    labels=lambda state: list(state["tokens"]),
    name="vocabulary",
)


def _lowercase(array: Array, state: State, location: Location) -> Array:
    lowered = [cell.lower() if isinstance(cell, str) else cell for cell in array.ravel()]
    result = np.empty(len(lowered), object)
    result[:] = lowered
    return result.reshape(array.shape)


LOWERCASE = DataStep(
    _lowercase,
    learn_nothing,
    lambda array, state: array,
    takes_text=True,
    doc="A text in small letters.",
    name="lowercase",
)


def _date(array: Array, state: State, location: Location) -> Array:
    """2004, 2004-07 or 2004-07-15 as a year with its fraction: 2004.54."""
    refuse_missing(array, location)
    result = np.empty(array.shape, np.float64)
    for index, cell in np.ndenumerate(array):
        found = re.match(r"(\d{4})(?:-(\d{2})(?:-(\d{2}))?)?(?:[T ].*)?$", str(cell).removesuffix(".0"))
        try:
            assert found is not None
            day = date(int(found[1]), int(found[2] or 1), int(found[3] or 1))
        except (AssertionError, ValueError):
            fault(
                "E0803",
                f'"{shown_cell(cell)}" is not a date',
                location.span,
                location.cell(index),
                hint="2004-07-15, 2004-07 or 2004",
            )
        days = (date(day.year + 1, 1, 1) - date(day.year, 1, 1)).days if day.year < 9999 else 365
        result[index] = day.year + (day - date(day.year, 1, 1)).days / days
    return result


DATE = DataStep(
    _date,
    learn_nothing,
    takes_text=True,
    doc="A date (2004-07-15, 2004-07, 2004) as a year with its fraction.",
    name="date",
)


def grams(text: str, longest: int) -> set[str]:
    """The sequences of up to so many characters in a text whose ends are marked."""
    marked = f"^{text.lower()}$"
    return {marked[i : i + n] for n in range(1, longest + 1) for i in range(len(marked) - n + 1)}


def _ngrams_fit(chunks: Chunks, arguments: Sequence[Any]) -> State:
    longest, count = arguments
    found: Counter[str] = Counter()
    for array, location in chunks():
        refuse_missing(array, location)
        for cell in array.ravel():
            found.update(grams(str(cell), longest))
    return {"longest": longest, "count": count, "grams": sorted(found, key=lambda one: (-found[one], one))[:count]}


def _ngrams(array: Array, state: State, location: Location) -> Array:
    refuse_missing(array, location)
    codes = {one: i for i, one in enumerate(state["grams"])}
    require_at(array.size * state["count"], f"{array.size:,} cells of {state['count']:,} numbers", location.span)
    result = np.zeros((*array.shape, state["count"]), np.uint8)
    for index, cell in np.ndenumerate(array):
        known = [codes[one] for one in grams(str(cell), state["longest"]) if one in codes]
        result[index][known] = 1
    return result


def _ngrams_check(arguments: Sequence[Any]) -> str | None:
    is_right = all(isinstance(one, int) and one >= 1 for one in arguments) and arguments[0] <= 8
    return None if is_right else "the longest sequence (at most 8), then how many of them"


NGRAMS = DataStep(
    _ngrams,
    _ngrams_fit,
    arguments=(2, 2),
    check=_ngrams_check,
    takes_text=True,
    doc="A text as which of the most frequent sequences of up to n characters occur in it: ngrams(3, 1000). The ends are marked, capitals do not count.",
    keeps={"longest": is_count, "count": is_count, "grams": are_texts},
    name="ngrams",
)
