"""Cuts a series into windows, which are the samples: the rows of a table in their order, or the characters or words of
a text.

`window(n, step)` gives n rows, a new window every `step` rows (n, if it is left out). `next(k)` before it moves the
series k rows on, after it selects the row k after the window's last. All fields of such data are cut at the same rows.
series.py says which rows follow one another.
"""

import re
from collections.abc import Iterable

import numpy as np
from msgspec import Struct

from netc.compiler.ir.types import BATCH, Type, describe_sample
from netc.dsl.diagnostics import Label, fault
from netc.dsl.hints import At, Change, Hint
from netc.dsl.plural import counted
from netc.dsl.source import Span
from netc.runtime.available import require_at
from netc.runtime.data.block.declarations import FieldSpec, StepSpec
from netc.runtime.data.stored import Array, Ragged

SERIES = ("window", "next")


class Cut(Struct, frozen=True):
    """The rows that a field takes for a window: `count` rows from row `first` after the window's start on.

    An `is_single` field takes one row and has no axis of rows. A window starts every `step` rows.
    """

    first: int
    count: int
    step: int
    is_single: bool
    span: Span

    @property
    def reach(self) -> int:
        """The number of rows from the window's start to the last row that the field takes."""
        return self.first + self.count


def is_series(fields: Iterable[FieldSpec]) -> bool:
    """Whether some field is cut into windows."""
    return any(step.name in SERIES for field in fields for step in field.steps)


def cut_of(field: FieldSpec) -> Cut:
    """The cut that the steps of a field describe. Raises E0804 if it has no window, or two."""
    windows = [i for i, step in enumerate(field.steps) if step.name == "window"]
    if len(windows) != 1:
        fact = f"`{field.name}` has {len(windows) or 'no'} window{'s' * bool(windows)}"
        fault(
            "E0804",
            fact,
            field.span,
            "all fields of a series are cut alike",
            hint=Hint.code("-> window(100)", At.BEHIND),
        )
    window = field.steps[windows[0]]
    size, step = (*window.arguments, window.arguments[0])[:2]
    before, after = _rows_ahead(field.steps[: windows[0]]), _rows_ahead(field.steps[windows[0] + 1 :])
    if after:
        return Cut(before + size - 1 + after, 1, step, True, window.span)
    return Cut(before, size, step, False, window.span)


def _rows_ahead(steps: Iterable[StepSpec]) -> int:
    return sum(step.arguments[0] for step in steps if step.name == "next")


def window_starts(cuts: Iterable[Cut], rows: int, stretches: Array, part: str, span: Span) -> Array:
    """The rows at which windows start, out of so many. No window reaches from one of the `stretches` into the next.

    Raises E0804 if the fields have different steps, E0806 if no window fits.
    """
    cuts = list(cuts)
    first = cuts[0]
    for cut in cuts:
        if cut.step != first.step:
            fact = "windows of one data block begin at the same rows"
            others = [Label(first.span, f"every {first.step} rows")]
            fault("E0804", fact, cut.span, f"every {cut.step} rows", others=others, hint=_with_one_step(first, cut))
    reach = max(cut.reach for cut in cuts)
    lengths = np.diff(stretches, append=rows)
    counts = np.maximum((lengths - reach) // first.step + 1, 0)
    if not counts.any():
        is_new = span.source.name == part  # a file of new data, and no part of the split
        part_text = f"`{part}`" if is_new else f"the part `{part}`"
        where = part_text if len(lengths) == 1 else f"the longest stretch of {part_text} without a gap"
        longest = int(lengths.max())
        fact = f"{where} has {counted(longest, 'row')}, and a window reaches over {reach}"
        hint = "more rows: a trained run keeps its window; `netc generate` continues a short text"
        fault("E0806", fact, span, hint=hint if is_new else "a shorter window")
    number = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)  # of each window in its stretch
    starts: Array = np.repeat(stretches, counts) + first.step * number
    return starts


def _with_one_step(first: Cut, second: Cut) -> Hint:
    """The hint with the window that has to change: the one without a written step, if the other one has it."""
    has_step = "," in first.span.text
    wrong, step = (second, first.step) if has_step or "," not in second.span.text else (first, second.step)
    size = re.search(r"\d+", wrong.span.text)
    window = f"window({size[0] if size else 'n'}, {step})"
    return Hint(f"`{window}` in place of `{wrong.span.text}`", Change(window, wrong.span))


def row_type(type_: Type, cut: Cut) -> Type:
    """The type of one row of a series, where `type_` is that of a window."""
    return type_.with_dims((BATCH, *(type_.sample if cut.is_single else type_.sample[1:])))


def cut_windows(field: FieldSpec, cut: Cut, rows: Array, starts: Array, type_: Type, declared: Span) -> Array | Ragged:
    """The windows of a field that start at `starts`. Raises E0804 if the model declares another length."""
    if cut.is_single:
        return np.ascontiguousarray(rows[starts + cut.first])
    if not type_.is_varying and type_.sample[0] != cut.count:
        fact, note = (
            f"`{field.name}` is declared as {describe_sample(type_)}",
            f"a window has {counted(cut.count, 'row')}",
        )
        hint = describe_sample(type_.with_dims((BATCH, cut.count, *type_.sample[1:])))
        fault("E0804", fact, declared, note, others=[Label(cut.span)], hint=hint)
    what, remedy = f"{len(starts):,} windows of `{field.name}`", "window(n, step) begins one every `step` rows"
    require_at(len(starts) * cut.count * rows[:1].nbytes, what, cut.span, remedy)
    windows = rows[starts[:, None] + cut.first + np.arange(cut.count)]
    if type_.is_varying:
        return Ragged(windows.reshape(-1, *windows.shape[2:]), np.full(len(starts), cut.count, np.int64))
    return windows
