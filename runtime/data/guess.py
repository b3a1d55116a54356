"""A first `.net` file for a table: what each column is taken for, and why, as comments beside the fields.

`netc new` writes what this gives. The guesses are simple on purpose, so that a reader can see each and change it.
"""

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from netc.dsl.diagnostics import fault, nearest
from netc.dsl.files import real
from netc.dsl.parser import parse
from netc.dsl.printer import print_file
from netc.dsl.quoting import cell, net_comment, net_name, net_string
from netc.dsl.source import Source, Span
from netc.runtime.data.cells import is_missing, natural, texts_of
from netc.runtime.data.readers import read, reader_of
from netc.runtime.data.stored import Array
from netc.runtime.data.table import Table

_MOST_CLASSES, _MOST_CATEGORIES = 50, 20
_WIDEST = 80  # characters of a label
_FEW = 1700  # rows: below this a network soon knows them by heart
_TAKEN = (
    "source",
    "split",
    "numbers",
    "logits",
    "estimate",
    "probability",
    "hidden",
    "training",
    "batch",
    "true",
    "false",
    *("dense", "relu", "dropout", "softmax", "concat", "flatten", "squeeze"),  # what the model applies
    *("cross_entropy", "accuracy", "mse", "mae", "r2"),
)
_HARD = [
    "let",
    "import",
    "as",
    "block",
    "op",
    "class",
    "return",
    "yield",
    "scan",
    "for",
    "in",
    "with",
    "until",
    "if",
    "else",
    "and",
    "or",
    "not",
]


@dataclass(frozen=True, slots=True)
class Guess:
    """A column: `kind` is number, class, category, date, text, array or constant; `missing` of its cells are empty."""

    name: str
    kind: str
    missing: int
    labels: tuple[tuple[str, int], ...] = ()
    shape: tuple[int, ...] = ()
    is_bytes: bool = False


@dataclass(frozen=True, slots=True)
class Start:
    """The text of a first file, and of each column that it cannot name, why."""

    text: str
    left_out: tuple[tuple[str, str], ...]


def starting_file(name: str, data: Path, target: str | None, folder: Path, span: Span) -> Start:
    """A file that trains on the table `data`, to lie in `folder`.

    Faults E0802 if there is no column `target`, E0803 if it cannot be one, E0801 if a text in quotes cannot hold the
    path.
    """
    reader = "idx" if os.path.isdir(data) else reader_of(data, "csv")
    table = read(reader, data, str(data), span, lambda column: True)
    chosen = target or list(table.columns)[-1]
    table.column(chosen, span)
    if len(table) < 10:
        fault("E0806", f"`{data}` has {len(table)} rows", span, "10 are the least that can be split")
    left_out = {column: why for column in table.columns if (why := _unwritable(column))}
    if chosen in left_out:
        hint = "give the column another name, or --target COLUMN"
        fault(
            "E0803",
            f"`{cell(chosen)}` cannot be a target",
            span,
            f"no `.net` text can name it: {left_out[chosen]}",
            hint=hint,
        )
    guesses = [_guess(table, column, column == chosen) for column in table.columns if column not in left_out]
    aim = next(one for one in guesses if one.name == chosen)
    if aim.kind not in ("class", "number"):
        why = {"array": "an array", "constant": "the same in every row"}.get(aim.kind, f"a {aim.kind}")
        fault(
            "E0803",
            f"`{cell(chosen)}` cannot be a target",
            span,
            f"it is {why}",
            hint=nearest("", ()) or "--target COLUMN",
        )
    if all(one is aim or one.kind == "constant" for one in guesses):
        why = "every other one is the same in every row, or no `.net` text can name it"
        fault("E0802", f"`{data}` has no column beside `{cell(chosen)}` that a network could learn from", span, why)
    path = real(data)
    try:
        written = path.relative_to(real(folder)).as_posix()
    except ValueError:
        written = path.as_posix()
    if why := _unwritable(written):
        fault("E0801", f"no `.net` text can name `{data}`", span, why, hint="give the file another name")
    said = "" if target else "# The target is the last column; --target names another.\n"
    own = net_comment(name)
    text = f"# {own}.net: made by `netc new {own} --data {net_comment(data.name)}`, from {len(table):,} rows.\n{said}"
    text += f"# What each column was taken for is said beside it. Change what is wrong, then: netc train {own}.net\n"
    text += "\n".join(_blocks(reader, written, guesses, aim, left_out, len(table)))
    return Start(print_file(parse(Source(f"{name}.net", text))), tuple(left_out.items()))


def _unwritable(text: str) -> str:
    """Why a text in quotes cannot hold this one; empty if it can."""
    try:
        net_string(text)
    except ValueError as error:
        return str(error)
    return ""


def _guess(table: Table, name: str, is_target: bool) -> Guess:
    cells: Array = table.columns[name][np.arange(len(table))]
    if cells.ndim > 1:
        return Guess(name, "array", 0, (), cells.shape[1:], cells.dtype == np.uint8)
    missing = is_missing(cells)
    present = cells[~missing]
    labels = Counter(texts_of(present))
    found = tuple(sorted(labels.items(), key=lambda one: natural(one[0])))
    gone = int(missing.sum())
    if len(labels) < 2:
        return Guess(name, "constant", gone)
    values = _as_numbers(present)
    if is_target:
        few = len(labels) <= (_MOST_CLASSES if values is None else _MOST_CATEGORIES) and len(present) >= 5 * len(labels)
        is_whole = values is None or bool((values == np.floor(values)).all())
        if few and is_whole:
            return Guess(name, "class", gone, found)
        return Guess(name, "text" if values is None else "number", gone)
    if values is not None:
        return Guess(name, "number", gone)
    if len(labels) <= _MOST_CATEGORIES and len(present) >= 3 * len(labels):
        return Guess(name, "category", gone, found)
    is_date = all(re.match(r"\d{4}-\d{2}(-\d{2})?([T ].*)?$", str(cell)) for cell in present[:1000])
    return Guess(name, "date" if is_date else "text", gone)


def _as_numbers(cells: Array) -> Array | None:
    try:
        values = cells.astype(np.float64)
        return values if np.isfinite(values).all() else None
    except (ValueError, TypeError, OverflowError):
        return None


def _word(name: str, taken: set[str]) -> str:
    """A name that the language takes, not one of `taken`."""
    word = net_name(name, taken, "column")
    taken.add(word)
    return word


def _counted(labels: Sequence[tuple[str, int]], most: int) -> str:
    """The first labels with their counts, for a comment. Long ones are cut."""
    shown = [f"{net_comment(label if len(label) <= _WIDEST else label[:_WIDEST] + '...')} ({n})" for label, n in labels]
    return ", ".join([*shown[:most], *(["..."] if len(labels) > most else [])])


def _blocks(
    reader: str, path: str, guesses: Sequence[Guess], aim: Guess, left_out: Mapping[str, str], rows: int
) -> Iterator[str]:
    taken = {*_TAKEN, *_HARD}
    goal = _word(aim.name, taken)
    inputs: list[tuple[str, str, bool]] = []  # name, type, whether it has more than one axis
    fields: list[str] = []
    numeric = [one for one in guesses if one.kind == "number" and one is not aim]
    if numeric:
        gaps = sum(one.missing for one in numeric)
        fill = " -> impute(median)" if gaps else ""
        listed = ", ".join(net_string(one.name) for one in numeric)
        note = f", {gaps} empty cell{'s' * (gaps > 1)} filled" if gaps else ""
        fields.append(f"# {len(numeric)} column{'s' * (len(numeric) > 1)} of numbers, brought to one scale{note}")
        fields.append(f"numbers = columns({listed}){fill} -> standardize")
        inputs.append(("numbers", f"float[{len(numeric)}]", False))
    for one in guesses:
        if one is aim or one.kind == "number":
            continue
        word, quoted = _word(one.name, taken), net_string(one.name)
        fill = " -> impute(mode)" if one.missing else ""
        match one.kind:
            case "category":
                kinds = _counted(one.labels, 6)
                fields.append(f"{word} = column({quoted}){fill} -> one_hot  # {len(one.labels)} kinds: {kinds}")
                inputs.append((word, f"float[{len(one.labels)}]", False))
            case "date":
                fields.append(f"{word} = columns({quoted}) -> date -> standardize  # dates, as years")
                inputs.append((word, "float[1]", False))
            case "text":
                fields.append("# a text: which of the 1,000 most frequent sequences of up to 3 characters it has")
                fields.append(f"{word} = column({quoted}){fill} -> ngrams(3, 1000)")
                inputs.append((word, "float[1000]", False))
            case "array":
                step = " -> scale(1 / 255)" if one.is_bytes else ""
                fields.append(f"{word} = field({quoted}){step}  # an array a row")
                inputs.append((word, f"float[{', '.join(map(str, one.shape))}]", len(one.shape) > 1))
            case "constant":
                fields.append(f"# `{net_comment(one.name)}` is left out: it is the same in every row")
    drop = " -> impute(drop)" if aim.missing else ""
    dropped = f"{aim.missing} row{'s' * (aim.missing > 1)} without it left out" if aim.missing else ""
    if aim.kind == "class":
        note = f"# {len(aim.labels)} classes: {_counted(aim.labels, 10)}{'; ' + dropped if dropped else ''}"
        fields.append(f"{goal} = column({net_string(aim.name)}){drop} -> classes  {note}")
    else:
        note = f"# a number to predict; predictions are in its own units{'; ' + dropped if dropped else ''}"
        fields.append(f"{goal} = column({net_string(aim.name)}){drop} -> standardize  {note}")
    for name, why in left_out.items():
        fields.append(f"# `{net_comment(name)}` is left out: no `.net` text can name it, {net_comment(why)}")
    yield "data {"
    yield f"  source = {reader}({net_string(path)})"
    yield from (f"  {line}" for line in fields)
    yield "  split = (train = 0.7, valid = 0.1, test = 0.2)"
    yield "}\n"
    yield from _model(inputs, goal, aim, rows)
    yield from _train(rows, aim)


def _model(inputs: Sequence[tuple[str, str, bool]], goal: str, aim: Guess, rows: int) -> Iterator[str]:
    yield "model {"
    yield from (f"  input {name}: {type_}" for name, type_, _ in inputs)
    yield f"  target {goal}: {f'class({len(aim.labels)})' if aim.kind == 'class' else 'float'}"
    flat = [f"({name} -> flatten)" if is_deep else name for name, _, is_deep in inputs]
    start = flat[0] if len(flat) == 1 else f"concat({', '.join(flat)})"
    yield ""
    rate = 0.3 if rows < _FEW else 0.2
    yield f"  hidden = {start.strip('()') if len(flat) == 1 else start} -> dense(64) -> relu -> dropout({rate})"
    if aim.kind == "class":
        yield f"  logits = hidden -> dense({len(aim.labels)})"
        yield "\n  output probability = softmax(logits)"
        yield f"  loss cross_entropy(logits, {goal})"
        yield f"  metric accuracy(logits, {goal})"
    else:
        yield "  output estimate = hidden -> dense(1) -> squeeze"
        yield f"\n  loss mse(estimate, {goal})"
        yield f"  metric mae(estimate, {goal})"
        yield f"  metric r2(estimate, {goal})"
    yield "}\n"


def _train(rows: int, aim: Guess) -> Iterator[str]:
    """Small batches where rows are few; decay against learning them by heart; the best epoch by the held-out rows is
    kept.
    """
    yield "train {"
    yield f"  optimizer = adamw(lr = 0.003, decay = {1 if rows < _FEW else 0.1})"
    yield f"  batch = {16 if rows < _FEW else 64}"
    yield f"  epochs = {60 if rows < _FEW else 20}"
    yield "  schedule = cosine()"
    yield "  keep = best(valid.loss)  # the epoch that was best on rows it did not learn from"
    yield "}"
