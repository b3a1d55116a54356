"""Writes the text of a first `.net` file for a table: comments say what each column was taken for.

Takes guesses about the columns. Does not know whether the file trains; starting_file.py tries that.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct, field

from netc.dsl.plural import counted
from netc.dsl.quoting import net_comment, net_name, net_string
from netc.dsl.structs import replace
from netc.runtime.data.readers.sql import SCHEMES
from netc.runtime.starting.cell_forms import is_time_of_day
from netc.runtime.starting.column_guess import Guess
from netc.runtime.starting.picture_columns import maps_of
from netc.runtime.starting.series_guess import SeriesGuess
from netc.runtime.starting.taken_names import taken_names

_WIDEST = 80  # characters of a label
_VERY_FEW = 100  # rows: a tenth of fewer says little about an epoch
_FEW = 1700  # rows: with fewer a network soon knows them by heart
_SOME = 10_000  # rows: with fewer, 20 epochs are few steps for a number
_RARE_CLASS = 0.2  # a class with a smaller share of the rows, or of the largest class, makes accuracy say little


class Columns(Struct, frozen=True):
    """The parts of a file: the source with its options, and guesses for all columns, the target's among them.

    `category_counts` are the numbers of classes that fields have in the training part, by field; a field that it
    lacks has as many as the whole table. `left_out` says why columns are not used, and `doubts`
    what is doubtful about the source. `series` says how rows follow one another, if they do.
    """

    source: str
    guesses: Sequence[Guess]
    goal: Guess
    rows: int
    left_out: Mapping[str, str] = field(default_factory=dict)
    category_counts: Mapping[str, int] = field(default_factory=dict)
    doubts: tuple[str, ...] = ()
    series: SeriesGuess | None = None


class Field(Struct, frozen=True):
    """A field of the data block: its columns, its lines, its type in the model, and whether a sample has axes.

    `layers` lead from a picture or a sequence to some numbers, which the model calls `summary`.
    """

    name: str
    columns: tuple[str, ...]
    lines: tuple[str, ...]
    type: str
    has_axes: bool = False
    layers: str = ""
    summary: str = ""


def source_of(reader: str, paths: Sequence[str], options: Mapping[str, Any]) -> str:
    """The source of a data block. A database has a query in place of further paths."""
    texts, named = list(paths), dict(options)
    if reader == "sql":
        schemes = {engine: scheme for scheme, engine in SCHEMES.items()}
        texts = [schemes[named.pop("engine")] + paths[0], named.pop("query")]
    written = [*map(net_string, texts), *(f"{name} = {_value(value)}" for name, value in named.items())]
    return f"{reader}({', '.join(written)})"


def _value(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case str():
            return net_string(value)
        case tuple() if all(isinstance(entry, int) for entry in value):
            return f"({', '.join(map(str, value))})"
        case tuple() | list():
            return f"[{', '.join(map(_value, value))}]"
    return str(value)


def source_lines(columns: Columns) -> Iterator[str]:
    """The line of the source, below comments on what is doubtful about it."""
    yield from (f"  # {net_comment(doubt)}" for doubt in columns.doubts)
    yield f"  source = {columns.source}"


def series_line(series: SeriesGuess) -> str:
    """The setting `series` of a data block."""
    time = f"time = {net_string(series.time.name)}, every = {series.every}"
    time += f", format = {net_string(series.time.form)}" if series.time.form and series.time.kind == "date" else ""
    return f"series = ({time})" if series.column is None else f"series = by({net_string(series.column.name)}, {time})"


def fields_of(columns: Columns) -> list[Field]:
    """The fields of the data block: the inputs, and the target last."""
    names = taken_names()
    goal = _word(columns.goal.name, names)
    inputs: list[Field] = []
    used = [guess for guess in columns.guesses if guess is not columns.goal and guess.name not in columns.left_out]
    numeric = [guess for guess in used if guess.kind == "number" and not guess.steps]
    if numeric:
        inputs.append(_numbers(numeric))
    for guess in used:
        if guess.kind == "number" and not guess.steps:
            continue
        word = _word(guess.name, names)
        entry = _input(guess, word, columns.category_counts.get(word))
        inputs.append(replace(entry, summary=_word(f"{guess.name} summary", names)) if entry.layers else entry)
        if guess.cycles:
            inputs.append(_cycles(guess, _word(f"{guess.name} cycle", names)))
    return [*inputs, _target(columns.goal, goal, columns.category_counts.get(goal))]


def data_and_model(columns: Columns, fields: Sequence[Field]) -> Iterator[str]:
    """The lines of the data, model and train blocks."""
    yield "data {"
    yield from source_lines(columns)
    for entry in fields:
        yield from (f"  {line}" for line in entry.lines)
    for name, why in columns.left_out.items():
        yield f"  # `{net_comment(name)}` is left out: {net_comment(why)}"
    yield from _split_lines(columns)
    yield "}\n"
    yield from _model(columns, fields)
    yield from _train(columns)


def _split_lines(columns: Columns) -> Iterator[str]:
    """The split: at random, but a number that resembles the one before is predicted for later times than trained on."""
    shares = (
        "train = 0.6, valid = 0.2, test = 0.2" if columns.rows < _VERY_FEW else "train = 0.7, valid = 0.1, test = 0.2"
    )
    series = columns.series
    if series is None or not series.is_target:
        yield f"  split = ({shares})"
        return
    yield f"  # `{net_comment(columns.goal.name)}` resembles the one before, so it is tested on the latest rows"
    if not series.in_order:
        yield f"  {series_line(series)}"
    yield f"  split = ordered({shares})"


def _word(column: str, names: set[str]) -> str:
    """A name of the language for a column, none of `names`; it is added to them."""
    word = net_name(column, names, "column")
    names.add(word)
    return word


def _counted(labels: Sequence[tuple[str, int]], most: int) -> str:
    """The first labels with their counts, for a comment. Long labels are cut."""
    shown = [f"{net_comment(label if len(label) <= _WIDEST else label[:_WIDEST] + '...')} ({n})" for label, n in labels]
    return ", ".join([*shown[:most], *(["..."] if len(labels) > most else [])])


def _numbers(numeric: Sequence[Guess]) -> Field:
    """The field `numbers` of all columns of plain numbers, below its comment."""
    gaps = sum(guess.missing for guess in numeric)
    fill = " -> impute(median)" if gaps else ""
    note = f", {counted(gaps, 'empty cell')} filled" if gaps else ""
    names = tuple(guess.name for guess in numeric)
    lines = (
        f"# {counted(len(names), 'column')} of numbers, brought to one scale{note}",
        f"numbers = columns({', '.join(map(net_string, names))}){fill} -> standardize",
    )
    return Field("numbers", names, lines, f"float[{len(names)}]")


def _input(guess: Guess, word: str, categories: int | None) -> Field:
    """The field `word` of a column that is not a plain number. `categories` is their number, if counted."""
    match guess.kind:
        case "category":
            return _category(guess, word, categories)
        case "date":
            kind = "times of day" if is_time_of_day(guess.form) else "dates, as years"
            return _number(guess, word, f"{kind}{guess.note}")
        case "number":
            return _number(guess, word, "numbers that are written in this form")
        case "text":
            comment = "# a text: which of the 1,000 most frequent sequences of up to 3 characters it has"
            line = f"{word} = {_column(guess)} -> ngrams(3, 1000)"
            return Field(word, (guess.name,), (comment, line), "float[1000]")
    return _array(guess, word)


def _column(guess: Guess) -> str:
    """A column of texts with the steps that it needs, where missing ones are filled."""
    fill = ' -> impute("missing")' if guess.missing else ""
    return f"column({net_string(guess.name)}){fill}{_steps(guess)}"


def _steps(guess: Guess) -> str:
    return "".join(f" -> {step}" for step in guess.steps)


def _category(guess: Guess, word: str, categories: int | None) -> Field:
    rare = sum(count < guess.rare for _, count in guess.labels)
    count = categories or len(guess.labels) - rare + (guess.rare > 0) + (guess.missing > 0)
    comment = f"# {len(guess.labels)} kinds: {_counted(guess.labels, 6)}"
    comment += f"; {rare} of them rare" if rare else ""
    one_hot = f"one_hot(unknown, {guess.rare})" if guess.rare else "one_hot"
    return Field(word, (guess.name,), (comment, f"{word} = {_column(guess)} -> {one_hot}"), f"float[{count}]")


def _number(guess: Guess, word: str, what: str) -> Field:
    """The field of a column whose texts become numbers, brought to one scale."""
    filled = f", {counted(guess.missing, 'empty cell')} filled" if guess.missing else ""
    median = " -> impute(median)" if guess.missing else ""
    line = f"{word} = columns({net_string(guess.name)}){_steps(guess)}{median} -> standardize"
    return Field(word, (guess.name,), (f"# {what}{filled}", line), "float[1]")


def _array(guess: Guess, word: str) -> Field:
    """The field of a column of pictures, sequences or arrays."""
    quoted, shape = net_string(guess.name), ", ".join(map(str, guess.shape))
    columns = (guess.name,)
    if guess.kind == "picture":
        lines = (f"# the pictures that the column {quoted} names", f'{word} = field("image") -> scale(1 / 255)')
        return Field(word, columns, lines, f"float[{shape}]", layers=f"{maps_of(guess.shape)} -> global_avgpool")
    if guess.kind == "sequence":
        lines = ("# sequences of any length", f"{word} = field({quoted}) -> standardize")
        layers = f"{'' if shape else 'unsqueeze -> '}gru(32) -> last"
        dims = ", ".join([f"{word}_time", *([shape] if shape else [])])
        return Field(word, columns, lines, f"float[{dims}]", layers=layers)
    step = " -> scale(1 / 255)" if guess.is_bytes else ""
    lines_of_array = (f"{word} = field({quoted}){step}  # an array a row",)
    return Field(word, columns, lines_of_array, f"float[{shape}]", len(guess.shape) > 1)


def _cycles(guess: Guess, word: str) -> Field:
    """The field `word` of where a date lies in the cycles that it goes through."""
    steps = "".join(f" -> {step}" for step in (*guess.steps, *(["impute(median)"] if guess.missing else [])))
    shown = [f"the {cycle}" for cycle in guess.cycles]
    listed = f"{', '.join(shown[:-1])} and {shown[-1]}" if len(shown) > 1 else shown[0]
    lines = (
        f"# where it lies in {listed}: a sine and a cosine of each",
        f"{word} = column({net_string(guess.name)}){steps} -> cycle({', '.join(guess.cycles)})",
    )
    return Field(word, (guess.name,), lines, f"float[{2 * len(guess.cycles)}]")


def _target(goal: Guess, word: str, categories: int | None) -> Field:
    """The field of the target, with its comment."""
    drop = " -> impute(drop)" if goal.missing else ""
    dropped = f"; {counted(goal.missing, 'row')} without it left out" if goal.missing else ""
    steps = "".join(f" -> {step}" for step in goal.steps)
    if goal.kind == "class":
        comment = f"# {len(goal.labels)} classes: {_counted(goal.labels, 10)}{dropped}"
        return Field(
            word,
            (goal.name,),
            (comment, f"{word} = column({net_string(goal.name)}){drop} -> classes"),
            f"class({categories or len(goal.labels)})",
        )
    comment = f"# a number to predict; predictions are in its own units{dropped}"
    scale = " -> log -> standardize" if goal.is_skewed else " -> standardize"
    comment += "; few are very large, so that its logarithm is learned" if goal.is_skewed else ""
    return Field(
        word, (goal.name,), (comment, f"{word} = column({net_string(goal.name)}){drop}{steps}{scale}"), "float"
    )


def _model(columns: Columns, fields: Sequence[Field]) -> Iterator[str]:
    *inputs, target = fields
    yield "model {"
    yield from (f"  input {entry.name}: {entry.type}" for entry in inputs)
    yield f"  target {target.name}: {target.type}"
    yield from (f"\n  {entry.summary} = {entry.name} -> {entry.layers}" for entry in inputs if entry.layers)
    names = [entry.summary or entry.name for entry in inputs]
    flat = [f"({name} -> flatten)" if entry.has_axes else name for name, entry in zip(names, inputs, strict=True)]
    start = flat[0].strip("()") if len(flat) == 1 else f"concat({', '.join(flat)})"
    # dropout changes the scale of what the last layer sees, which costs a predicted number its accuracy
    dropout = f" -> dropout({0.3 if columns.rows < _FEW else 0.2})" if columns.goal.kind == "class" else ""
    yield f"\n  hidden = {start} -> dense(64) -> relu{dropout}"
    if columns.goal.kind == "class":
        yield f"  logits = hidden -> dense(size({target.name}))"
        yield "\n  output probability = softmax(logits)"
        yield f"  loss cross_entropy(logits, {target.name})"
        yield f"  metric accuracy(logits, {target.name})"
        yield from _metric_of_rare(columns.goal, target.name)
    else:
        yield "  output estimate = hidden -> dense(1) -> squeeze"
        yield f"\n  loss mse(estimate, {target.name})"
        yield f"  metric mae(estimate, {target.name})"
        yield f"  metric r2(estimate, {target.name})"
    yield "}\n"


def _metric_of_rare(goal: Guess, target: str) -> Iterator[str]:
    """A metric that fits classes of which one is rare."""
    label, least = min(goal.labels, key=lambda entry: entry[1])
    rows, most = sum(count for _, count in goal.labels), max(count for _, count in goal.labels)
    if least < _RARE_CLASS * (rows if len(goal.labels) == 2 else most):
        metric = "auc" if len(goal.labels) == 2 else "f1"
        yield f"  # {least / rows:.1%} of the rows are `{net_comment(label)}`: accuracy alone says little"
        yield f"  metric {metric}(logits, {target})"


def _train(columns: Columns) -> Iterator[str]:
    """The train block: with few rows, small batches and strong decay against overfitting. A number needs more steps."""
    few = columns.rows < _FEW
    yield "train {"
    yield f"  optimizer = adamw(lr = 0.003, decay = {1 if few else 0.1})"
    yield f"  batch = {16 if few else 64}"
    yield f"  epochs = {60 if few or (columns.goal.kind == 'number' and columns.rows < _SOME) else 20}"
    yield "  schedule = cosine()"
    yield "  keep = best(valid.loss)  # the epoch that was best on rows it did not learn from"
    yield "}"
