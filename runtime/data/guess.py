"""Writes a first `.net` file for a table, for `netc new`: comments say what each column was taken for.

The guesses are simple on purpose, so that a reader sees each and can change it.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from netc.dsl.diagnostics import fault
from netc.dsl.files import real
from netc.dsl.parser import parse
from netc.dsl.printer import print_file
from netc.dsl.quoting import cell, net_comment, net_name, net_string
from netc.dsl.source import Source, Span
from netc.runtime.data.column_guess import Guess, guess_column
from netc.runtime.data.readers import read, reader_of
from netc.runtime.data.request import Use, every

_WIDEST = 80  # characters of a label
_FEW = 1700  # rows: with fewer a network soon knows them by heart
_FEWEST_ROWS = 10
_TAKEN = (  # names that the file uses itself
    *(
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
    ),
    *("dense", "relu", "dropout", "softmax", "concat", "flatten", "squeeze"),
    *("cross_entropy", "accuracy", "mse", "mae", "r2"),
)
_HARD = (  # words of the language
    *("let", "import", "as", "block", "op", "class", "return", "yield", "scan", "for", "in", "with", "until"),
    *("if", "else", "and", "or", "not"),
)


@dataclass(frozen=True, slots=True)
class Start:
    """The text of a first file, and the columns that it cannot name, each with the reason."""

    text: str
    left_out: tuple[tuple[str, str], ...]


def starting_file(name: str, data: Path, target: str | None, folder: Path, span: Span) -> Start:
    """A file `name`.net that trains on the table `data`, to lie in `folder`. The target is the last column, or
    `target`.

    Faults E0801 if a text in quotes cannot hold the path, E0802 if there is no column `target` or no other column to
    learn from, E0803 if the column cannot be a target, E0806 if there are too few rows.
    """
    reader = "idx" if os.path.isdir(data) else reader_of(data, "csv")
    table = read(reader, data, str(data), span, every(Use.LABELS))
    target_column = target or list(table.columns)[-1]
    table.column(target_column, span)
    if len(table) < _FEWEST_ROWS:
        fault("E0806", f"`{data}` has {len(table)} rows", span, f"{_FEWEST_ROWS} are the least that can be split")
    left_out = {column: why for column in table.columns if (why := _unwritable(column))}
    if target_column in left_out:
        note = f"no `.net` text can name it: {left_out[target_column]}"
        hint = "give the column another name, or --target COLUMN"
        fault("E0803", f"`{cell(target_column)}` cannot be a target", span, note, hint=hint)
    guesses = [
        guess_column(table, column, column == target_column) for column in table.columns if column not in left_out
    ]
    goal = next(guess for guess in guesses if guess.name == target_column)
    _check_target(goal, span)
    if all(guess is goal or guess.kind == "constant" for guess in guesses):
        fact = f"`{data}` has no column beside `{cell(target_column)}` that a network could learn from"
        fault("E0802", fact, span, "every other one is the same in every row, or no `.net` text can name it")
    path = _path_in_file(data, folder)
    if why := _unwritable(path):
        fault("E0801", f"no `.net` text can name `{data}`", span, why, hint="give the file another name")
    quoted_name = net_comment(name)
    text = (
        f"# {quoted_name}.net: made by `netc new {quoted_name} --data {net_comment(data.name)}`, "
        f"from {len(table):,} rows.\n"
    )
    text += "" if target else "# The target is the last column; --target names another.\n"
    text += "# What each column was taken for is said beside it. Change what is wrong, then: "
    text += f"netc train {quoted_name}.net\n"
    columns = _Columns(guesses, goal, left_out)
    text += "\n".join(_blocks(reader, path, columns, len(table)))
    return Start(print_file(parse(Source(f"{name}.net", text))), tuple(left_out.items()))


def _check_target(goal: Guess, span: Span) -> None:
    """Faults E0803 if a column can be neither a class nor a number to predict."""
    if goal.kind not in ("class", "number"):
        why = {"array": "an array", "constant": "the same in every row"}.get(goal.kind, f"a {goal.kind}")
        fault("E0803", f"`{cell(goal.name)}` cannot be a target", span, f"it is {why}", hint="--target COLUMN")


def _path_in_file(data: Path, folder: Path) -> str:
    """The path of the data as the file names it: relative to the folder of the file if it lies in it."""
    path = real(data)
    try:
        return path.relative_to(real(folder)).as_posix()
    except ValueError:
        return path.as_posix()


def _unwritable(text: str) -> str:
    """The reason why a text in quotes cannot hold `text`; empty if it can."""
    try:
        net_string(text)
    except ValueError as error:
        return str(error)
    return ""


def _word(column: str, names: set[str]) -> str:
    """A name of the language for a column, none of `names`; it is added to them."""
    word = net_name(column, names, "column")
    names.add(word)
    return word


def _counted(labels: Sequence[tuple[str, int]], most: int) -> str:
    """The first labels with their counts, for a comment. Long labels are cut."""
    shown = [f"{net_comment(label if len(label) <= _WIDEST else label[:_WIDEST] + '...')} ({n})" for label, n in labels]
    return ", ".join([*shown[:most], *(["..."] if len(labels) > most else [])])


@dataclass(frozen=True, slots=True)
class _Columns:
    """The guesses for all columns, that for the target among them, and the columns that cannot be named, with
    reasons.
    """

    guesses: Sequence[Guess]
    goal: Guess
    left_out: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Input:
    """An input of the model: its name, its type, and whether a sample has more than one axis."""

    name: str
    type: str
    has_axes: bool = False


def _blocks(reader: str, path: str, columns: _Columns, rows: int) -> Iterator[str]:
    """The lines of the data, model and train blocks."""
    names = {*_TAKEN, *_HARD}
    goal = _word(columns.goal.name, names)
    inputs: list[_Input] = []
    fields: list[str] = []
    numeric = [guess for guess in columns.guesses if guess.kind == "number" and guess is not columns.goal]
    if numeric:
        fields += _numbers_field(numeric)
        inputs.append(_Input("numbers", f"float[{len(numeric)}]"))
    for guess in columns.guesses:
        if guess is columns.goal or guess.kind == "number":
            continue
        word = _word(guess.name, names)
        if guess.kind == "constant":
            fields.append(f"# `{net_comment(guess.name)}` is left out: it is the same in every row")
        else:
            entry, lines = _field(guess, word)
            inputs.append(entry)
            fields += lines
    fields.append(_target_field(columns.goal, goal))
    for name, why in columns.left_out.items():
        fields.append(f"# `{net_comment(name)}` is left out: no `.net` text can name it, {net_comment(why)}")
    yield "data {"
    yield f"  source = {reader}({net_string(path)})"
    yield from (f"  {line}" for line in fields)
    yield "  split = (train = 0.7, valid = 0.1, test = 0.2)"
    yield "}\n"
    yield from _model(inputs, goal, columns.goal, rows)
    yield from _train(rows, columns.goal)


def _numbers_field(numeric: Sequence[Guess]) -> list[str]:
    """The field `numbers` of all columns of numbers, below its comment."""
    gaps = sum(guess.missing for guess in numeric)
    fill = " -> impute(median)" if gaps else ""
    names = ", ".join(net_string(guess.name) for guess in numeric)
    note = f", {gaps} empty cell{'s' * (gaps > 1)} filled" if gaps else ""
    return [
        f"# {len(numeric)} column{'s' * (len(numeric) > 1)} of numbers, brought to one scale{note}",
        f"numbers = columns({names}){fill} -> standardize",
    ]


def _field(guess: Guess, word: str) -> tuple[_Input, list[str]]:
    """The input and the field `word` of a column that holds no numbers."""
    quoted = net_string(guess.name)
    fill = " -> impute(mode)" if guess.missing else ""
    match guess.kind:
        case "category":
            count = len(guess.labels)
            comment = f"# {count} kinds: {_counted(guess.labels, 6)}"
            return _Input(word, f"float[{count}]"), [f"{word} = column({quoted}){fill} -> one_hot  {comment}"]
        case "date":
            return _Input(word, "float[1]"), [f"{word} = columns({quoted}) -> date -> standardize  # dates, as years"]
        case "text":
            comment = "# a text: which of the 1,000 most frequent sequences of up to 3 characters it has"
            return _Input(word, "float[1000]"), [comment, f"{word} = column({quoted}){fill} -> ngrams(3, 1000)"]
        case _:
            step = " -> scale(1 / 255)" if guess.is_bytes else ""
            shape = ", ".join(map(str, guess.shape))
            line = f"{word} = field({quoted}){step}  # an array a row"
            return _Input(word, f"float[{shape}]", len(guess.shape) > 1), [line]


def _target_field(goal: Guess, word: str) -> str:
    """The field of the target, with its comment."""
    drop = " -> impute(drop)" if goal.missing else ""
    dropped = f"; {goal.missing} row{'s' * (goal.missing > 1)} without it left out" if goal.missing else ""
    if goal.kind == "class":
        step, comment = "classes", f"# {len(goal.labels)} classes: {_counted(goal.labels, 10)}{dropped}"
    else:
        step, comment = "standardize", f"# a number to predict; predictions are in its own units{dropped}"
    return f"{word} = column({net_string(goal.name)}){drop} -> {step}  {comment}"


def _model(inputs: Sequence[_Input], name: str, goal: Guess, rows: int) -> Iterator[str]:
    yield "model {"
    yield from (f"  input {entry.name}: {entry.type}" for entry in inputs)
    yield f"  target {name}: {f'class({len(goal.labels)})' if goal.kind == 'class' else 'float'}"
    flat = [f"({entry.name} -> flatten)" if entry.has_axes else entry.name for entry in inputs]
    start = flat[0] if len(flat) == 1 else f"concat({', '.join(flat)})"
    yield ""
    rate = 0.3 if rows < _FEW else 0.2
    yield f"  hidden = {start.strip('()') if len(flat) == 1 else start} -> dense(64) -> relu -> dropout({rate})"
    if goal.kind == "class":
        yield f"  logits = hidden -> dense({len(goal.labels)})"
        yield "\n  output probability = softmax(logits)"
        yield f"  loss cross_entropy(logits, {name})"
        yield f"  metric accuracy(logits, {name})"
    else:
        yield "  output estimate = hidden -> dense(1) -> squeeze"
        yield f"\n  loss mse(estimate, {name})"
        yield f"  metric mae(estimate, {name})"
        yield f"  metric r2(estimate, {name})"
    yield "}\n"


def _train(rows: int, goal: Guess) -> Iterator[str]:
    """The train block: with few rows, small batches and strong decay against overfitting."""
    yield "train {"
    yield f"  optimizer = adamw(lr = 0.003, decay = {1 if rows < _FEW else 0.1})"
    yield f"  batch = {16 if rows < _FEW else 64}"
    yield f"  epochs = {60 if rows < _FEW else 20}"
    yield "  schedule = cosine()"
    yield "  keep = best(valid.loss)  # the epoch that was best on rows it did not learn from"
    yield "}"
