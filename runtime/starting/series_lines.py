"""Writes the text of a first `.net` file for a series: the values of a target before predict its next one."""

from collections.abc import Iterator, Sequence

from netc.dsl.quoting import net_comment, net_name, net_string
from netc.runtime.starting.column_guess import Guess
from netc.runtime.starting.other_files import train_lines
from netc.runtime.starting.series_guess import SeriesGuess
from netc.runtime.starting.table_file import Columns, Field, series_line, source_lines
from netc.runtime.starting.taken_names import taken_names

_LONGEST_WINDOW = 24  # steps of a series that a prediction reads
_VALID = 0.15  # the share of the validation part
_MOST_OF_VALID = 0.6  # the share of its rows that a window may take, so that some windows fit into it
_FEW = 3000  # rows: with fewer, batches are smaller and epochs more


def is_series_file(columns: Columns) -> bool:
    """Whether the target is a series, and the table says nothing else about it but its time and which series it is."""
    if columns.series is None or not columns.series.is_target:
        return False
    order = [guess for guess in (columns.series.time, columns.series.column) if guess is not None]
    return all(guess is columns.goal or guess in order or guess.name in columns.left_out for guess in columns.guesses)


def series_file(columns: Columns, fields: Sequence[Field]) -> Iterator[str]:
    """The lines of a file that reads windows of a series. It uses none of `fields`, those of a plain table."""
    series = columns.series
    assert series is not None, "is_series_file says whether there is one"
    window = min(_LONGEST_WINDOW, int(series.shortest * _VALID * _MOST_OF_VALID))
    inputs = list(_inputs(series, window))
    name = net_name(columns.goal.name, taken_names(), "value")
    values = _values(columns.goal)
    several = f"several series, one for each `{net_comment(series.column.name)}`" if series.column else "a series"
    yield "data {"
    yield from source_lines(columns)
    yield f"  # the rows are {several}: {window} values predict the next one"
    yield f"  before = {values} -> window({window}, 1)"
    yield from (f"  {line}" for lines, _ in inputs for line in lines)
    yield f"  {name} = {values} -> window({window}, 1) -> next(1)"
    if not series.in_order:
        yield f"  {series_line(series)}"
    yield f"  split = ordered(train = 0.7, valid = {_VALID}, test = {_VALID})"
    yield "}\n"
    yield "model {"
    yield f"  input before: float[{window}]"
    yield from (f"  input {entry}" for _, entry in inputs)
    yield f"  target {name}: float\n"
    others = [entry.split(":")[0] for _, entry in inputs]
    steps = f"concat({', '.join(['before -> unsqueeze', *others])})" if others else "before -> unsqueeze"
    yield f"  hidden = {steps} -> gru(32) -> last"
    yield "  estimate = (hidden -> dense(1) -> squeeze) + before[-1]\n"
    yield "  output prediction = estimate"
    yield f"  loss mse(estimate, {name})"
    yield f"  metric rmse(estimate, {name})"
    yield f"  metric r2(estimate, {name})"
    yield "}\n"
    few = columns.rows < _FEW
    yield from train_lines(batch=16 if few else 64, epochs=40 if few else 20)


def _values(goal: Guess) -> str:
    steps = [*goal.steps, *(["log"] if goal.is_skewed else []), "standardize"]
    return " -> ".join([f"column({net_string(goal.name)})", *steps])


def _inputs(series: SeriesGuess, window: int) -> Iterator[tuple[list[str], str]]:
    """The inputs beside the values: the lines in the data block, and name and type in the model."""
    cycles = series.time.cycles
    if cycles:
        steps = " -> ".join((*series.time.steps, f"cycle({', '.join(cycles)})"))
        line = f"calendar = column({net_string(series.time.name)}) -> {steps} -> window({window}, 1)"
        lines = [f"# where its time lies in the {' and the '.join(cycles)}", line]
        yield lines, f"calendar: float[{window}, {2 * len(cycles)}]"
    if series.column is not None:
        steps = " -> ".join((*series.column.steps, "one_hot"))
        line = f"which = column({net_string(series.column.name)}) -> {steps} -> window({window}, 1)"
        yield [f"# which of {series.count} series it is", line], f"which: float[{window}, {series.count}]"
