"""Steps on texts and their tokens: characters, words, ends, vocabulary, ngrams."""

from collections import Counter
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np

from netc.dsl.structs import replace
from netc.runtime.available import require_at
from netc.runtime.data.steps.data_step import UNKNOWN, Chunks, DataStep, State, are_integers, learn_nothing, unchanged
from netc.runtime.data.steps.remarks import Lack
from netc.runtime.data.steps.state_checks import are_texts, is_count
from netc.runtime.data.stored import Array, Ragged
from netc.runtime.data.tables.cells import CellKind, Location, natural, numbers_of, refuse_missing, texts_of
from netc.runtime.data.tables.columns import TextColumn, TextSequences

END = "<end>"
_NO_TOKEN = Lack("token", "outside of the vocabulary")
_LONGEST_GRAM = 8  # characters


def _texts(array: Array, location: Location) -> list[str]:
    """The cells as texts. Raises E0803 for the rows with an empty one."""
    refuse_missing(array, location, CellKind.TEXT)
    return [str(cell) for cell in array.ravel().tolist()]


def _characters(array: Array, state: State, location: Location) -> TextSequences:
    texts = _texts(array, location)
    return TextSequences(TextColumn.of_characters("".join(texts)), _lengths(array, texts, location, "characters"))


def _words(array: Array, state: State, location: Location) -> TextSequences:
    sequences = [text.split() for text in _texts(array, location)]
    lengths = _lengths(array, sequences, location, "words")
    return TextSequences(TextColumn.of([*chain.from_iterable(sequences)]), lengths)


def _lengths(array: Array, sequences: Sequence[Sequence[str]], location: Location, what: str) -> Array:
    """The lengths of the sequences of an array's cells. Raises E0804 for those without steps, which `what` names."""
    lengths = np.array([len(sequence) for sequence in sequences], np.int64)
    location.refuse(lengths.reshape(array.shape) == 0, "E0804", f"a text without {what}")
    return lengths


CHARACTERS = DataStep(
    _characters,
    learn_nothing,
    unchanged,
    takes_text=True,
    makes_sequences=True,
    doc="Splits a text into the sequence of its characters.",
    name="characters",
    separator="",
)
WORDS = DataStep(
    _words,
    learn_nothing,
    unchanged,
    takes_text=True,
    makes_sequences=True,
    doc="Splits a text at white space into the sequence of its words.",
    name="words",
    separator=" ",
)


def _append_end(sequences: Ragged | TextSequences, state: State, location: Location) -> Ragged | TextSequences:
    ends, lengths = np.cumsum(sequences.lengths), sequences.lengths + 1
    if isinstance(sequences, Ragged):
        return Ragged(np.insert(sequences.rows.astype(object), ends, END), lengths)
    words = sequences.rows.words if END in sequences.rows.words else (*sequences.rows.words, END)
    return TextSequences(TextColumn(np.insert(sequences.rows.codes, ends, words.index(END)), words), lengths)


ENDS = DataStep(
    _append_end,
    learn_nothing,
    unchanged,
    takes_text=True,
    changes_lengths=True,
    takes_codes=True,
    doc="Appends a token that marks the end of a text, number 1 of a vocabulary. A model that writes texts learns from "
    "it when to stop.",
    name="ends",
)


def _vocabulary_fit(chunks: Chunks, arguments: Sequence[Any]) -> State:
    """The tokens of the training part: UNKNOWN, then END if there is one, then the others, the most frequent first."""
    most, least_count = arguments if len(arguments) == 2 else (*arguments, 0, 1)[:2]
    counts: Counter[str] = Counter()
    for cells, location in chunks():
        _refuse_missing_tokens(cells, location)
        if isinstance(cells, TextColumn):
            counts.update(_count(cells))
        else:
            counts.update(texts_of(cells))
    marks = [END] if counts.pop(END, 0) else []
    frequent = (token for token in counts if counts[token] >= least_count)
    tokens = sorted(frequent, key=lambda token: (-counts[token], natural(token)))
    return {"tokens": [UNKNOWN, *marks, *tokens[: most or None]]}


def _refuse_missing_tokens(tokens: Array | TextColumn, location: Location) -> None:
    """Raises E0803 for the rows without a token."""
    if not isinstance(tokens, TextColumn) or (tokens.codes < 0).any():
        refuse_missing(tokens[:], replace(location, are_tokens=True), CellKind.CATEGORY)


def _count(tokens: TextColumn) -> dict[str, int]:
    """The number of times that each token occurs that does."""
    counts = np.bincount(tokens.codes, minlength=len(tokens.words)).tolist()
    return {word: count for word, count in zip(tokens.words, counts, strict=True) if count}


def _vocabulary(tokens: Array | TextColumn, state: State, location: Location) -> Array:
    _refuse_missing_tokens(tokens, location)
    if isinstance(tokens, TextColumn):
        result = numbers_of(np.array(tokens.words, object), state["tokens"])[tokens.codes]
    else:
        result = numbers_of(tokens, state["tokens"])
    is_unseen = result < 0
    if is_unseen.any():
        location.remark_unseen(is_unseen, tokens[:], _NO_TOKEN, state["tokens"][1:])
    return np.maximum(result, 0)


def _vocabulary_check(arguments: Sequence[Any]) -> str | None:
    is_right = are_integers(arguments)
    return None if is_right else "how many tokens at most, then how often each occurs at least"


VOCABULARY = DataStep(
    _vocabulary,
    _vocabulary_fit,
    lambda array, state: np.array(state["tokens"], object)[array],
    (0, 2),
    _vocabulary_check,
    takes_text=True,
    takes_labels=True,
    takes_codes=True,
    doc="Replaces tokens by numbers, the most frequent first; 0 stands for a token that the training part does not "
    "have: vocabulary(1000, 2) keeps the 1,000 most frequent that occur at least twice.",
    keeps={"tokens": are_texts},
    labels=lambda state: list(state["tokens"]),
    name="vocabulary",
)


def grams(text: str, longest: int) -> set[str]:
    """The sequences of up to `longest` characters in a text, whose ends are marked by ^ and $."""
    marked = f"^{text.lower()}$"
    return {marked[i : i + n] for n in range(1, longest + 1) for i in range(len(marked) - n + 1)}


def _ngrams_fit(chunks: Chunks, arguments: Sequence[Any]) -> State:
    longest, count = arguments
    counts: Counter[str] = Counter()
    for array, location in chunks():
        refuse_missing(array, location, CellKind.TEXT)
        for cell in array.ravel():
            counts.update(grams(str(cell), longest))
    frequent = sorted(counts, key=lambda gram: (-counts[gram], gram))[:count]
    return {"longest": longest, "count": count, "grams": frequent}


def _ngrams(array: Array, state: State, location: Location) -> Array:
    refuse_missing(array, location, CellKind.TEXT)
    index_of = {gram: i for i, gram in enumerate(state["grams"])}
    require_at(array.size * state["count"], f"{array.size:,} cells of {state['count']:,} numbers", location.span)
    result = np.zeros((*array.shape, state["count"]), np.uint8)
    for index, cell in np.ndenumerate(array):
        present = [index_of[gram] for gram in grams(str(cell), state["longest"]) if gram in index_of]
        result[index][present] = 1
    return result


def _ngrams_check(arguments: Sequence[Any]) -> str | None:
    is_right = are_integers(arguments) and arguments[0] <= _LONGEST_GRAM
    return None if is_right else f"the longest sequence (at most {_LONGEST_GRAM}), then how many of them"


NGRAMS = DataStep(
    _ngrams,
    _ngrams_fit,
    arguments=(2, 2),
    check=_ngrams_check,
    takes_text=True,
    doc="Replaces a text by a 1 for each of the most frequent sequences of up to n characters that occurs in it, and a "
    "0 for each other: ngrams(3, 1000). The ends of a text are marked; capitals count as small letters.",
    keeps={"longest": is_count, "count": is_count, "grams": are_texts},
    name="ngrams",
)
