"""The steps of a field's pipe: each may be fitted on the training split, is applied to every split, and some can be undone.

A fitted step is plain data (JSON), saved with the run. Arrays come with the sample in front, a chunk of rows at a time, so that a table need not
fit into memory.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

import numpy as np

from netc.dsl.diagnostics import fault
from netc.dsl.quoting import cell as shown_cell
from netc.dsl.source import Span
from netc.runtime.available import require_at
from netc.runtime.data.stored import Array, Ragged

State = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Location:
    """What a message about a field's data names: the file, the columns, the number of each row, the step's location in the `.net` file."""

    file: str
    columns: tuple[str, ...]
    rows: Array
    span: Span

    def cell(self, index: Sequence[int]) -> str:
        """How messages call an element of an array."""
        column = self.columns[index[1] if len(index) > 1 and len(self.columns) > 1 else 0]
        return f"`{self.file}`, row {self.rows[index[0]]}, column `{shown_cell(column)}`"


Chunks = Callable[[], Iterator[tuple[Array, Location]]]


@dataclass(frozen=True, slots=True)
class DataStep:
    """`fit(chunks, arguments)` learns a state from the training split, `apply(array, state, location)` uses it; `undo` is its inverse.

    `check(arguments)` says what a step takes instead, or nothing; `words` are the names that may stand for an argument. `takes_text` steps work on
    a column's cells as they are written. Of sequences a step sees the rows, one below the other; one that `makes_sequences` gives a Ragged, and one
    that `changes_lengths` takes one too. `labels` are what a state calls the numbers that the step gives. `keeps` says of each value of a state whether it
    is right: a state may come from a run's folder that somebody else wrote.
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
    """A step on numbers, as float64 with samples first: `fit(values, arguments)` learns a state (of plain numbers and lists) from the training split, in one piece,
    `apply(values, state)` uses it, and `undo` brings back what it made of a target. They raise ValueError where the data or an argument is wrong."""

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


def is_missing(array: Array) -> Array:
    """True where a cell is empty."""
    if array.dtype == object:
        return np.array(
            [cell is None or (isinstance(cell, str) and not cell.strip()) for cell in array.ravel()], bool
        ).reshape(array.shape)
    return np.isnan(array) if array.dtype.kind == "f" else np.zeros(array.shape, bool)


def texts_of(column: Array) -> list[str]:
    """The cells of a column as texts. (An array of them would have room for the longest one in each row.)"""
    return [str(cell) for cell in column] if column.dtype == object else column.astype(str).tolist()


def refuse_missing(array: Array, location: Location) -> None:
    """Fault E0803 at the first empty cell."""
    missing = is_missing(array)
    if missing.any():
        index = tuple(int(i) for i in np.argwhere(missing)[0])
        fault(
            "E0803",
            "a value is missing",
            location.span,
            f"{location.cell(index)}; {int(missing.sum())} in all",
            hint="impute(median) fills, impute(drop) leaves the row out",
        )


def numbers(array: Array, location: Location) -> Array:
    """The cells as f64 (bytes and floats stay what they are). Fault E0803 at the first that is missing or is no number."""
    refuse_missing(array, location)
    if array.dtype != object:
        if array.dtype.kind not in "fiub":
            fault(
                "E0803",
                "this holds no numbers",
                location.span,
                f"`{location.file}`, column `{shown_cell(location.columns[0])}`",
            )
        return array
    try:
        return array.astype(np.float64)
    except (ValueError, TypeError, OverflowError):
        _explain(array, location)
        raise


def _explain(array: Array, location: Location) -> None:
    """Fault at the first cell that is no number, or a list that is not as long as the first one."""
    cells = list(np.ndenumerate(array))
    lists = [(index, cell) for index, cell in cells if isinstance(cell, list | tuple)]
    for index, cell in lists:
        if len(cell) != len(lists[0][1]):
            told = f"{len(cell)} elements, row {location.rows[lists[0][0][0]]} has {len(lists[0][1])}"
            fault("E0804", "rows differ in length", location.span, f"{location.cell(index)} has {told}")
    for index, cell in cells:
        try:
            float(cell)
        except OverflowError:
            fault("E0803", "this number is too large", location.span, f"{location.cell(index)}: {shown_cell(cell)}")
        except (ValueError, TypeError):
            is_text = isinstance(cell, str)
            fault(
                "E0803",
                f'"{shown_cell(cell)}" is not a number' if is_text else "this is not a number",
                location.span,
                location.cell(index),
                hint="`classes` or `one_hot` takes text" if is_text else None,
            )


def _floats(chunks: Chunks) -> Iterator[Array]:
    for array, location in chunks():
        yield numbers(array, location).astype(np.float64)


def _nothing(chunks: Chunks, arguments: Sequence[Any]) -> State:
    return {}


# ------------------------------------------------------------------ what states keep


def _are_numbers(value: Any) -> bool:
    """A finite number, or a nested list of them that is an array."""
    try:
        array = np.asarray(value)
    except ValueError:  # rows of different lengths
        return False
    return array.dtype.kind in "if" and bool(np.isfinite(array).all())


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _are_counts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_count, value))


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


def _are_cells(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(cell, str | int | float) for cell in value)


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


# ------------------------------------------------------------------ numbers


def _standardize_fit(chunks: Chunks, arguments: Sequence[Any]) -> State:
    """Mean and population's deviation of each column; parts are joined by Chan, Golub and LeVeque 1979."""
    count, mean, squares = 0, np.float64(0), np.float64(0)
    for values in _floats(chunks):
        more, own = len(values), values.mean(axis=0)
        apart = own - mean
        squares = squares + ((values - own) ** 2).sum(axis=0) + apart**2 * (count * more / (count + more))
        mean = own if not count else mean + apart * (more / (count + more))
        count += more
    spread = np.sqrt(squares / count)
    return {"mean": np.asarray(mean).tolist(), "std": np.where(spread > 0, spread, 1.0).tolist()}


def _minmax_fit(chunks: Chunks, arguments: Sequence[Any]) -> State:
    low = high = None
    for values in _floats(chunks):
        least, most = values.min(axis=0), values.max(axis=0)
        low = least if low is None else np.minimum(low, least)
        high = most if high is None else np.maximum(high, most)
    assert low is not None and high is not None  # noqa: PT018
    return {"min": low.tolist(), "range": np.where(high > low, high - low, 1.0).tolist()}


def _arithmetic(
    formula: Callable[[Any, Any], Any],
    fit: Callable[[Chunks, Sequence[Any]], State],
    undo: Callable[[Array, State], Array],
    doc: str,
    keeps: Mapping[str, Callable[[Any], bool]],
) -> DataStep:
    """A step that is plain arithmetic on numbers, in f64."""

    def apply(array: Any, state: State, location: Location) -> Array:
        made: Array = formula(numbers(array, location).astype(np.float64), state)
        return made

    return DataStep(apply, fit, undo, doc=doc, formula=formula, keeps=keeps)


def _log(array: Array, state: State, location: Location) -> Array:
    values = numbers(array, location).astype(np.float64)
    bad = np.argwhere(values <= 0)
    if len(bad):
        index = tuple(int(i) for i in bad[0])
        fault("E0803", f"{values[index]:g} has no logarithm", location.span, location.cell(index))
    return np.log(values)


def _scale(array: Array, state: State, location: Location) -> Array:
    if array.dtype == np.uint8:
        return array * np.float32(state["by"])
    return numbers(array, location) * np.float64(state["by"])


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _scale_check(arguments: Sequence[Any]) -> str | None:
    return None if _is_number(arguments[0]) and arguments[0] != 0 else "a number that is not 0"


def _clip_check(arguments: Sequence[Any]) -> str | None:
    is_right = all(_is_number(one) for one in arguments) and arguments[0] < arguments[1]
    return None if is_right else "the least number, then the largest"


# ------------------------------------------------------------------ labels and texts


def natural(label: str) -> tuple[int, float, str]:
    """Numbers in the order of numbers, then texts."""
    try:
        return (0, float(label), label)
    except ValueError:
        return (1, 0.0, label)


def _classes_fit(chunks: Chunks, arguments: Sequence[Any]) -> State:
    found: set[str] = set()
    for array, location in chunks():
        refuse_missing(array, location)
        found |= {str(cell) for cell in array.ravel()}
    return {"classes": sorted(found, key=natural)}


def _classes(array: Array, state: State, location: Location) -> Array:
    refuse_missing(array, location)
    codes = {label: i for i, label in enumerate(state["classes"])}
    result = np.empty(array.shape, np.int32)
    for index, cell in np.ndenumerate(array):
        if str(cell) not in codes:
            fault(
                "E0805",
                f'the class "{shown_cell(cell)}" does not occur in the training split',
                location.span,
                location.cell(index),
            )
        result[index] = codes[str(cell)]
    return result


def _one_hot(array: Array, state: State, location: Location) -> Array:
    codes, count = _classes(array, state, location), len(state["classes"])
    require_at(8 * codes.size * count, f"{codes.size:,} cells of {count:,} numbers", location.span)
    result = np.zeros((*codes.shape, count))
    np.put_along_axis(result, codes[..., None], 1.0, axis=-1)
    return result


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


UNKNOWN, END = "<unknown>", "<end>"


def _marked(sequences: Ragged, state: State, location: Location) -> Ragged:
    """Sequences with one more token at their ends."""
    rows = np.insert(sequences.rows.astype(object), np.cumsum(sequences.lengths), END)
    return Ragged(rows, sequences.lengths + 1)


def _refuse_none(array: Array, location: Location) -> None:
    """A space is a token too, and no missing value."""
    if array.dtype != object or any(cell is None for cell in array.ravel()):
        refuse_missing(array, location)


def _vocabulary_fit(chunks: Chunks, arguments: Sequence[Any]) -> State:
    """The tokens of the training split, the most frequent first, after what stands for all others and, if there is one, the mark of an end."""
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


def _lowercase(array: Array, state: State, location: Location) -> Array:
    lowered = [cell.lower() if isinstance(cell, str) else cell for cell in array.ravel()]
    result = np.empty(len(lowered), object)
    result[:] = lowered
    return result.reshape(array.shape)


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


# ------------------------------------------------------------------ missing values

_FILLS: dict[str, Callable[[Array], Any]] = {"mean": np.mean, "median": np.median}


def _impute_fit(chunks: Chunks, arguments: Sequence[Any]) -> State:
    """What stands for an empty cell, of each column: one at a time, so that no more than a column is in memory."""
    (how,) = arguments
    first, location = next(chunks())
    width = int(np.prod(first.shape[1:]))
    if how == "drop" or (how not in _FILLS and how != "mode"):
        return {"fill": [how] * width, "drop": how == "drop"}
    fills: list[Any] = []
    for i in range(width):
        column = np.concatenate([array.reshape(len(array), -1)[:, i] for array, _ in chunks()])
        present = column[~is_missing(column)]
        if not len(present):
            fault(
                "E0803",
                "a column of the training split is empty",
                location.span,
                f"`{shown_cell(location.columns[i])}`",
            )
        if how in _FILLS:
            fills.append(float(_FILLS[how](numbers(present, location).astype(np.float64))))
        else:
            counts = Counter(texts_of(present))
            fills.append(min(counts, key=lambda text: (-counts[text], text)))
    return {"fill": fills, "drop": False}


def _impute(array: Array, state: State, location: Location) -> Array:
    if state["drop"]:
        refuse_missing(array, location)
        return array
    missing = is_missing(array).reshape(len(array), -1)
    if not missing.any():
        return array
    is_text = array.dtype == object or any(isinstance(fill, str) for fill in state["fill"])
    filled = array.astype(object if is_text else np.float64).reshape(len(array), -1)
    for i, fill in enumerate(state["fill"]):
        filled[missing[:, i], i] = fill
    return filled.reshape(array.shape)


# ------------------------------------------------------------------ shapes


def _reshape(array: Array, state: State, location: Location) -> Array:
    dims = tuple(state["dims"])
    if int(np.prod(array.shape[1:])) != int(np.prod(dims)):
        fault("E0804", f"a sample of shape {list(array.shape[1:])} cannot become {list(dims)}", location.span)
    return array.reshape(len(array), *dims)


def _window_check(arguments: Sequence[Any]) -> str | None:
    is_right = all(isinstance(one, int) and not isinstance(one, bool) and one >= 1 for one in arguments)
    return None if is_right else "whole numbers, at least 1"


def _reshape_check(arguments: Sequence[Any]) -> str | None:
    return None if all(isinstance(one, int) and one >= 1 for one in arguments) else "whole numbers, at least 1"


_OWN: dict[str, DataStep] = {
    "standardize": _arithmetic(
        lambda array, state: (array - state["mean"]) / state["std"],
        _standardize_fit,
        lambda array, state: array * state["std"] + state["mean"],
        "Less the mean, by the standard deviation of each column.",
        {"mean": _are_numbers, "std": _are_numbers},
    ),
    "minmax": _arithmetic(
        lambda array, state: (array - state["min"]) / state["range"],
        _minmax_fit,
        lambda array, state: array * state["range"] + state["min"],
        "From 0 at the least to 1 at the largest value of each column.",
        {"min": _are_numbers, "range": _are_numbers},
    ),
    "scale": DataStep(
        _scale,
        lambda chunks, arguments: {"by": float(arguments[0])},
        lambda array, state: array / state["by"],
        (1, 1),
        _scale_check,
        doc="Multiplied by a number: scale(1 / 255). Bytes stay bytes in memory.",
        keeps={"by": _are_numbers},
    ),
    "log": DataStep(
        _log, _nothing, lambda array, state: np.exp(array), doc="The natural logarithm; numbers above 0 only."
    ),
    "clip": DataStep(
        lambda array, state, location: np.clip(numbers(array, location), state["least"], state["most"]),
        lambda chunks, arguments: {"least": float(arguments[0]), "most": float(arguments[1])},
        arguments=(2, 2),
        check=_clip_check,
        doc="What is below or above comes to the bound: clip(0, 100).",
        keeps={"least": _are_numbers, "most": _are_numbers},
    ),
    "classes": DataStep(
        _classes,
        _classes_fit,
        lambda array, state: np.array(state["classes"], object)[array],
        takes_text=True,
        doc="Labels as numbers, in the order of numbers, then of texts.",
        keeps={"classes": _are_texts},
        labels=lambda state: list(state["classes"]),
    ),
    "characters": DataStep(
        _split(list, "characters"),
        _nothing,
        lambda array, state: array,
        takes_text=True,
        makes_sequences=True,
        doc="A text as the sequence of its characters.",
    ),
    "words": DataStep(
        _split(str.split, "words"),
        _nothing,
        lambda array, state: array,
        takes_text=True,
        makes_sequences=True,
        doc="A text as the sequence of what white space separates.",
    ),
    "ends": DataStep(
        _marked,
        _nothing,
        lambda array, state: array,
        takes_text=True,
        changes_lengths=True,
        doc="One more token after a text's last: where it ends. A vocabulary counts it as 1. What is to write texts learns by it when to stop.",
    ),
    "vocabulary": DataStep(
        _vocabulary,
        _vocabulary_fit,
        lambda array, state: np.array(state["tokens"], object)[array],
        (0, 2),
        _vocabulary_check,
        takes_text=True,
        doc="Tokens as numbers, the most frequent first, after 0 for a token that the training split does not have: vocabulary(1000, 2) keeps the 1,000 most frequent that occur at least twice.",
        keeps={"tokens": _are_texts},
        labels=lambda state: list(state["tokens"]),
    ),
    "one_hot": DataStep(
        _one_hot,
        _classes_fit,
        takes_text=True,
        doc="A 1 at the label's location among as many numbers as there are labels.",
        keeps={"classes": _are_texts},
    ),
    "impute": DataStep(
        _impute,
        _impute_fit,
        lambda array, state: array,
        (1, 1),
        words=("mean", "median", "mode", "drop"),
        doc="Fills empty cells with the mean, median, mode or a value, or drops their rows.",
        keeps={"fill": _are_cells, "drop": _is_flag},
    ),
    "lowercase": DataStep(
        _lowercase, _nothing, lambda array, state: array, takes_text=True, doc="A text in small letters."
    ),
    "date": DataStep(
        _date, _nothing, takes_text=True, doc="A date (2004-07-15, 2004-07, 2004) as a year with its fraction."
    ),
    "ngrams": DataStep(
        _ngrams,
        _ngrams_fit,
        arguments=(2, 2),
        check=_ngrams_check,
        takes_text=True,
        doc="A text as which of the most frequent sequences of up to n characters occur in it: ngrams(3, 1000). The ends are marked, capitals do not count.",
        keeps={"longest": _is_count, "count": _is_count, "grams": _are_texts},
    ),
    "window": DataStep(
        lambda array, state, location: array,
        _nothing,
        lambda array, state: array,
        (1, 2),
        _window_check,
        doc="So many rows of a series, or tokens of a text, a sample: window(100), or window(100, 10) with a new one every 10 rows. What parts there are is decided first, in order.",
    ),
    "next": DataStep(
        lambda array, state, location: array,
        _nothing,
        lambda array, state: array,
        (1, 1),
        _window_check,
        doc="Before `window`: the series so many rows later. After it: the row so many after the window's last.",
    ),
    "reshape": DataStep(
        _reshape,
        lambda chunks, arguments: {"dims": list(arguments)},
        lambda array, state: array,
        (1, 8),
        _reshape_check,
        doc="The same numbers in another shape: reshape(28, 28, 1).",
        keeps={"dims": _are_counts},
    ),
    "train_only": DataStep(
        lambda array, state, location: array,
        _nothing,
        arguments=(1, 1),
        doc="What is done to the training part's images anew in every epoch, after all other steps: train_only(flip(horizontal) -> shift(2)).",
    ),
    "flatten": DataStep(
        lambda array, state, location: array.reshape(len(array), -1),
        _nothing,
        doc="All numbers of a sample in one row.",
    ),
}
STEPS = {name: replace(step, name=name) for name, step in _OWN.items()}
