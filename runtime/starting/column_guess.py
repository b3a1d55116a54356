"""Guesses what a column of a table contains: a class, a category, a number, a date, a text, an array, or no use.

Every guess has a note for the comment beside the column. The rules are simple, so that a reader can see and change
each of them.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

import numpy as np
from msgspec import Struct

from netc.dsl.quoting import net_string
from netc.dsl.structs import replace
from netc.runtime.data.steps.date import moment_of
from netc.runtime.data.steps.number import NumberForm
from netc.runtime.data.stored import Array
from netc.runtime.data.tables.cells import is_missing, natural, texts_of
from netc.runtime.starting.cell_forms import are_numbers, date_formats, is_mark, is_time_of_day, number_example

_MOST_CLASSES, _MOST_CATEGORIES = 1000, 100
_MOST_NUMBER_CLASSES = 20
_RARE = 5  # rows: a category with fewer has no place of its own, and a target with fewer a label is not a class
_MOSTLY = 0.95  # a column with a larger share of missing cells is left out
_ODD_TEXTS, _ODD_SHARE = 2, 0.02  # the most texts, and share of all cells, that are marks among numbers
_MANY_NUMBERS = 20  # different ones: with fewer, a text among them may be a category, such as `4 and more`
_WORDS = 3  # words on average make a text
_SKEW = 1.0  # the skewness from which a positive target is learned as its logarithm
_ID = re.compile(r"(^|[_\W])(id|ids|uuid|guid|key|nr|no|number|index|idx)$|^unnamed", re.IGNORECASE)
_ID_AT_END = re.compile(r"[a-z](Id|ID)$")


class Guess(Struct, frozen=True):
    """A guess for a column: `kind` is number, class, category, date, text, array, sequence, picture, id, unique (a text
    that only names its row) or useless.

    - `missing` is the number of missing cells, and `marks` are the cells that stand for a missing value.
    - `labels` are the distinct cells of a class or category with their counts; `rare` is the number of rows below
      which a category has no place of its own, 0 if all have one.
    - `steps` clean and convert the cells before anything else, such as `number("12 %")`.
    - `is_skewed` numbers are positive and have a long tail.
    - `form` is how dates are written, as `moment_of` takes it, or an example of numbers, as the step `number` does.
    - `cycles` are those in which dates may repeat something.
    - `note` says why a column is useless, or what is doubtful about the guess.
    """

    name: str
    kind: str
    missing: int = 0
    labels: tuple[tuple[str, int], ...] = ()
    shape: tuple[int, ...] = ()
    is_bytes: bool = False
    steps: tuple[str, ...] = ()
    rare: int = 0
    is_skewed: bool = False
    form: str = ""
    cycles: tuple[str, ...] = ()
    note: str = ""
    marks: tuple[str, ...] = ()


def guess_column(name: str, cells: Array, is_target: bool) -> Guess:
    """A guess by the cells of a column, an array with the rows first."""
    if cells.ndim > 1:
        return Guess(name, "array", shape=cells.shape[1:], is_bytes=cells.dtype == np.uint8)
    missing = is_missing(cells)
    empty = int(missing.sum())
    if not is_target and (shape := _shape_of_steps(cells[~missing])) is not None:
        if empty:
            return Guess(name, "useless", empty, note=f"{empty:,} of {len(cells):,} rows have no sequence")
        return Guess(name, "sequence", shape=shape)
    texts = texts_of(cells[~missing])
    counts = Counter(texts)
    marks = _marks(counts)
    if marks:
        empty += sum(counts.pop(mark) for mark in marks)
        texts = [text for text in texts if text in counts]
    guess = _guess(name, texts, counts, is_target, empty)
    if not is_target and empty > _MOSTLY * len(cells):
        guess = Guess(name, "useless", empty, note=f"{empty:,} of {len(cells):,} cells are missing")
    return replace(guess, marks=tuple(sorted(marks)))


def _shape_of_steps(cells: Array) -> tuple[int, ...] | None:
    """The shape of each step of sequences of numbers, () or (n,); None if the cells are anything else."""
    if not len(cells) or not all(isinstance(cell, list) and cell for cell in cells):
        return None
    try:
        sequences = [np.asarray(cell) for cell in cells]
    except ValueError:  # steps of different lengths
        return None
    shapes = {sequence.shape[1:] for sequence in sequences}
    are_numbers_all = all(sequence.dtype.kind in "iuf" and sequence.ndim <= 2 for sequence in sequences)
    return shapes.pop() if are_numbers_all and len(shapes) == 1 else None


def _marks(counts: Counter[str]) -> list[str]:
    """The cells that stand for a missing value: where all other cells are numbers or dates.

    These are the usual marks, and a text or two that is hardly ever among numbers: `ERR`, or `Total` in the last row.
    """
    marks = [text for text in counts if is_mark(text.strip())]
    others = [text for text in counts if not is_mark(text.strip())]
    odd = [text for text in others if not are_numbers([text.strip()])]
    is_rare = sum(counts[text] for text in odd) <= _ODD_SHARE * sum(counts.values())
    if 0 < len(odd) <= _ODD_TEXTS and is_rare and len(others) - len(odd) >= _MANY_NUMBERS:
        marks, others = [*marks, *odd], [text for text in others if text not in odd]
    if not marks or not others or not _form_of([text.strip() for text in others]):
        return []
    return marks


def _form_of(cells: Sequence[str]) -> str:
    """The kind of numbers or dates that distinct cells are; empty for any other text."""
    if date_formats(cells):
        return "date"
    return "number" if are_numbers(cells) or number_example(cells) else ""


def _guess(name: str, texts: Sequence[str], counts: Counter[str], is_target: bool, empty: int) -> Guess:
    """A guess for cells none of which is missing, with the number of each distinct one."""
    if len(counts) < 2:
        return Guess(name, "useless", empty, note="it is the same in every row" if counts else "it is empty")
    distinct = [text.strip() for text in counts]
    formats = date_formats(distinct)
    if formats and not is_target:
        step = f"date({net_string(formats[0])})" if formats[0] else "date"
        other = f"; {formats[1]} would fit too" if len(formats) > 1 and formats[0] else ""
        moments = [moment for text in distinct if (moment := moment_of(text, formats[0])) is not None]
        return Guess(
            name, "date", empty, steps=(step,), note=other, form=formats[0], cycles=_cycles(moments, formats[0])
        )
    values = np.array([float(text) for text in texts]) if are_numbers(distinct) else None
    example = None if values is not None else number_example(distinct)
    if is_target:
        return _target(name, texts, counts, values, example, empty)
    if values is not None:
        if _is_id(name, values):
            return Guess(name, "id", empty, note="it is a different whole number in every row: an id")
        return Guess(name, "number", empty)
    if example is not None:
        return Guess(name, "number", empty, steps=(f"number({net_string(example)})",), form=example)
    return _words(name, texts, empty)


def _cycles(moments: Sequence[datetime], form: str) -> tuple[str, ...]:
    """The cycles that moments go through more than once: the year, the week, the day.

    Months or years alone, which stand for their first day, have no week. Times of day go through the day.
    """
    if is_time_of_day(form):
        return ("day",)
    days = (max(moments) - min(moments)).days
    cycles = ["year"] if days > 366 else []
    if days > 14 and len({moment.weekday() for moment in moments}) > 1 and any(moment.day > 1 for moment in moments):
        cycles.append("week")
    if days > 1 and len({moment.hour for moment in moments}) > 1:
        cycles.append("day")
    return tuple(cycles)


def _is_id(name: str, values: Array) -> bool:
    """Whether numbers are an id: all different, and counted one by one or called an id."""
    is_whole = bool((values == np.floor(values)).all()) and len(np.unique(values)) == len(values)
    is_counted = is_whole and bool((np.diff(values) == 1).all())
    return is_counted or (is_whole and bool(_ID.search(name) or _ID_AT_END.search(name)))


def _target(
    name: str, texts: Sequence[str], counts: Counter[str], values: Array | None, example: str | None, empty: int
) -> Guess:
    """A class with few labels that occur often enough, else a number, else a text, which is not a target."""
    labels = tuple(sorted(counts.items(), key=lambda item: natural(item[0])))
    is_number = values is not None or example is not None
    is_whole = values is None or bool((values == np.floor(values)).all())
    most = _MOST_NUMBER_CLASSES if is_number else _MOST_CLASSES
    if example is None and is_whole and len(labels) <= most and len(texts) >= _RARE * len(labels):
        return Guess(name, "class", empty, labels)
    if not is_number:
        count = f"{len(labels):,} different ones in {len(texts):,} rows"
        note = f"it is a text: {count}, and a class needs {_RARE} rows a label on average"
        return Guess(name, "text", empty, note=note)
    steps = () if example is None else (f"number({net_string(example)})",)
    guess = Guess(name, "number", empty, steps=steps, form=example or "")
    return replace(guess, is_skewed=_is_skewed(numbers_of(guess, texts)))


def numbers_of(guess: Guess, texts: Sequence[str]) -> Array:
    """The numbers of the cells of a column that was taken for numbers, none of which is missing."""
    form = NumberForm.of(guess.form) if guess.form else None
    return np.array([float(text) if form is None else form.value(text) for text in texts], np.float64)


def _is_skewed(values: Array) -> bool:
    """Whether numbers are positive with a long tail that their logarithms lack."""
    if values.min() <= 0:
        return False
    return _skewness(values) > _SKEW and abs(_skewness(np.log(values))) < _skewness(values) / 2


def _skewness(values: Array) -> float:
    scale = values.std()
    return float((((values - values.mean()) / scale) ** 3).mean()) if scale > 0 else 0.0


_CLEANING: Mapping[str, Callable[[str], str]] = {  # by the step that removes the difference
    "strip": str.strip,
    "lowercase": str.lower,
    "normalize_unicode": lambda text: unicodedata.normalize("NFC", text),
}


def _words(name: str, texts: Sequence[str], empty: int) -> Guess:
    """A category, a text, or an id: cells that are neither numbers nor dates."""
    steps = []
    for step, clean in _CLEANING.items():
        cleaned = [clean(text) for text in texts]
        if len(set(cleaned)) < len(set(texts)):
            steps.append(step)
            texts = cleaned
    labels = tuple(sorted(Counter(texts).items(), key=lambda item: natural(item[0])))
    words = sum(len(text.split()) for text in set(texts)) / len(labels)
    if len(labels) == len(texts):
        if words < _WORDS:
            return Guess(name, "unique", empty, note="it is different in every row: an id or a name")
        return Guess(name, "text", empty, steps=tuple(steps))
    rare = _RARE if len(texts) >= 20 * _RARE else 2
    frequent = sum(count for _, count in labels if count >= rare)
    has_rare = any(count < rare for _, count in labels)
    if len(labels) < 2:
        return Guess(name, "useless", empty, note="it is the same in every row")
    if len(labels) <= _MOST_CATEGORIES and (not has_rare or 2 * frequent >= len(texts)):
        return Guess(name, "category", empty, labels, steps=tuple(steps), rare=rare if has_rare else 0)
    if words < _WORDS and 2 * len(labels) > len(texts):
        return Guess(name, "unique", empty, note="most of its cells occur once: a name or an id")
    return Guess(name, "text", empty, steps=tuple(steps))
