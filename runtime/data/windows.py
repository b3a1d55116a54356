"""Samples that are windows of a series: of the rows of a table in their order, or of the characters or words of a text.

`window(n, step)` gives n rows, a new window every `step` (n, if not given); `next(k)` before it moves the series k rows on, after it is the row k after the
window's last. All fields of such data are cut at the same places.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from netc.compiler.ir.types import BATCH, Type, describe_sample
from netc.dsl.diagnostics import Label, fault
from netc.dsl.source import Span
from netc.runtime.available import require_at
from netc.runtime.data.declarations import FieldSpec, StepSpec
from netc.runtime.data.stored import Array, Ragged

SERIES = ("window", "next")


@dataclass(frozen=True, slots=True)
class Cut:
    """What a field takes of the rows from a window's beginning: `count` rows from `first` on; one alone if `is_single`. A window begins every `step` rows."""

    first: int
    count: int
    step: int
    is_single: bool
    span: Span

    @property
    def reach(self) -> int:
        return self.first + self.count


def is_series(fields: Iterable[FieldSpec]) -> bool:
    """Whether some field is cut into windows."""
    return any(step.name in SERIES for one in fields for step in one.steps)


def cut_of(one: FieldSpec) -> Cut:
    """Faults E0804 where the field has no window, or two."""
    windows = [i for i, step in enumerate(one.steps) if step.name == "window"]
    if len(windows) != 1:
        told = "all fields of a series are cut alike"
        fault(
            "E0804",
            f"`{one.name}` has {len(windows) or 'no'} window{'s' * bool(windows)}",
            one.span,
            told,
            hint="-> window(100)",
        )
    at = one.steps[windows[0]]
    size, step = (*at.arguments, at.arguments[0])[:2]
    before, after = _moves(one.steps[: windows[0]]), _moves(one.steps[windows[0] + 1 :])
    if after:
        return Cut(before + size - 1 + after, 1, step, True, at.span)
    return Cut(before, size, step, False, at.span)


def _moves(steps: Iterable[StepSpec]) -> int:
    return sum(step.arguments[0] for step in steps if step.name == "next")


def starts(cuts: Iterable[Cut], rows: int, part: str, span: Span) -> Array:
    """Where windows begin in so many rows. Faults E0804 where fields have other steps, E0806 where no window fits."""
    cuts = list(cuts)
    for cut in cuts:
        if cut.step != cuts[0].step:
            others = [Label(cuts[0].span, f"every {cuts[0].step} rows")]
            fault(
                "E0804",
                "windows of one data block begin at the same rows",
                cut.span,
                f"every {cut.step} rows",
                others=others,
            )
    reach = max(cut.reach for cut in cuts)
    if rows < reach:
        fault(
            "E0806",
            f"the part `{part}` has {rows} rows, and a window reaches over {reach}",
            span,
            hint="a shorter window",
        )
    return np.arange(0, rows - reach + 1, cuts[0].step)


def row_type(type_: Type, cut: Cut) -> Type:
    """The type of a row of the series, for a field of a type."""
    return type_.with_dims((BATCH, *(type_.sample if cut.is_single else type_.sample[1:])))


def cut(one: FieldSpec, at: Cut, rows: Array, begins: Array, type_: Type, declared: Span) -> Array | Ragged:
    """The windows of a field. Faults E0804 where the model says another length."""
    if at.is_single:
        return np.ascontiguousarray(rows[begins + at.first])
    if not type_.is_varying and type_.sample[0] != at.count:
        told = f"a window has {at.count} rows"
        fault("E0804", f"`{one.name}` is declared as {describe_sample(type_)}", declared, told, others=[Label(at.span)])
    size = len(begins) * at.count * rows[:1].nbytes
    require_at(
        size, f"{len(begins):,} windows of `{one.name}`", at.span, "window(n, step) begins one every `step` rows"
    )
    chosen = rows[begins[:, None] + at.first + np.arange(at.count)]
    if type_.is_varying:
        return Ragged(chosen.reshape(-1, *chosen.shape[2:]), np.full(len(begins), at.count, np.int64))
    return chosen
