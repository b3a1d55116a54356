"""Warnings about the training part of a field: scale, constant columns, ids, labels that look alike, rounding to f32.

Takes the fitted states of a field and the array that training reads. Knows nothing of the other fields.
"""

import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from msgspec import Struct

from netc.compiler.ir.types import Type, describe_sample
from netc.dsl.diagnostics import Diagnostic, Label
from netc.dsl.hints import At, Hint
from netc.dsl.plural import counted
from netc.dsl.quoting import cell
from netc.dsl.source import Span
from netc.runtime.data import windows
from netc.runtime.data.block.declarations import FieldSpec
from netc.runtime.data.pipeline import Part, columns_of, step_outputs
from netc.runtime.data.steps.data_step import UNKNOWN, State
from netc.runtime.data.steps.steps import STEPS
from netc.runtime.data.stored import Bytes, Field, Ragged
from netc.runtime.data.tables.cells import numbers

_MOST_RATIO = 100.0  # of the sizes of two columns: beyond it a network sees the largest column alone
_SCALE_ROWS = 1 << 16  # the rows whose sizes are compared
_LISTED = 3  # names and labels in a message
_FEWEST_ROWS = 10  # with fewer, each category may well occur once
_FIRST_ROUNDED = 2.0**24  # from here on f32 does not have every whole number
_ROUNDING = 1e-6  # a standardised column that varies less is constant within rounding
_CATEGORIES = {"classes": "classes", "one_hot": "classes", "vocabulary": "tokens"}  # where a state has the labels
_PICTURE_STEPS = ("scale", "reshape", "flatten")  # pixels may well be the same in every picture


class FittedField(Struct, frozen=True):
    """A field of the training part: its fitted states, the array that training reads, and the type in the model."""

    field: FieldSpec
    states: Sequence[State]
    part: Part
    values: Field
    type: Type
    declared: Span
    is_input: bool

    @property
    def names(self) -> tuple[str, ...]:
        """The columns of the table that the field consists of."""
        return columns_of(self.field, self.part.table)

    @property
    def labels(self) -> list[str]:
        """The categories that each are a class or a place; empty for numbers and for tokens of sequences."""
        if self.type.is_varying or windows.is_series([self.field]):
            return []
        if any(STEPS[step.name].makes_sequences for step in self.field.steps):
            return []
        pairs = zip(self.field.steps, self.states, strict=True)
        lists: list[list[str]] = [state[_CATEGORIES[step.name]] for step, state in pairs if step.name in _CATEGORIES]
        return [label for label in lists[-1] if label != UNKNOWN] if lists else []


def warnings_of(fitted: FittedField) -> Iterator[Diagnostic]:
    """The warnings about a field that no comment silences."""
    rules = (_similar_labels, _ids, _empty_places, _merged, _constant, *([_scales] if fitted.is_input else []))
    for rule in rules:
        warning = rule(fitted)
        if warning is not None and not warning.is_silenced:
            yield warning


def _scales(fitted: FittedField) -> Diagnostic | None:
    """W0801 if the columns of a field differ much in size and its last step does not scale them."""
    field, values = fitted.field, fitted.values
    is_scaled = len(field.steps) and field.steps[-1].name in ("standardize", "minmax")
    if isinstance(values, Bytes | Ragged) or values.ndim != 2 or is_scaled:
        return None
    size = np.abs(values[:_SCALE_ROWS]).max(axis=0)
    size = size[size > 0]
    if len(size) < 2 or size.max() < _MOST_RATIO * size.min():
        return None
    return Diagnostic(
        "W0801",
        f"the columns of `{field.name}` are of very different scale",
        Label(field.span, f"up to {size.min():.3g} in one, up to {size.max():.3g} in another"),
        hint=Hint.code("-> standardize", At.BEHIND),
    )


_FORMS: Mapping[str, Callable[[str], str]] = {  # by the step that removes the difference
    "normalize_unicode": lambda text: unicodedata.normalize("NFC", text),
    "strip": str.strip,
    "lowercase": str.lower,
}


def _similar_labels(fitted: FittedField) -> Diagnostic | None:
    """W0831 if categories differ by blanks at their ends, by case or by Unicode form only."""
    groups: dict[str, list[str]] = {}
    for label in fitted.labels:
        groups.setdefault(_plain(label), []).append(label)
    alike = [group for group in groups.values() if len(group) > 1]
    if not alike:
        return None
    steps = [name for name in _FORMS if any(len({_plain(label, name) for label in group}) > 1 for group in alike)]
    shown = " and ".join(f'"{cell(label)}"' for label in alike[0][:_LISTED])
    more = f"; {len(alike) - 1:,} more such groups" if len(alike) > 1 else ""
    return Diagnostic(
        "W0831",
        f"`{fitted.field.name}` has labels that look alike",
        Label(fitted.field.span, f"{shown} are labels of their own{more}"),
        hint=Hint.code(" ".join(f"-> {name}" for name in steps), At.BEHIND),
    )


def _plain(label: str, without: str = "") -> str:
    """A label after all of these steps except for one."""
    for name, form in _FORMS.items():
        label = form(label) if name != without else label
    return label


def _ids(fitted: FittedField) -> Diagnostic | None:
    """W0833 if a column whose cells are categories is different in every row."""
    rows = len(fitted.part.rows)
    if len(fitted.names) != 1 or rows < _FEWEST_ROWS or len(fitted.labels) != rows:
        return None
    return Diagnostic(
        "W0833",
        f"`{cell(fitted.names[0])}` is different in every row: an id is not a category",
        Label(fitted.field.span, f"{rows:,} labels for {rows:,} training rows"),
        hint=f"leave `{fitted.field.name}` out" if fitted.is_input else None,
    )


def _empty_places(fitted: FittedField) -> Diagnostic | None:
    """W0835 if the model declares more places than the categories of a `one_hot` need."""
    steps = fitted.field.steps
    category_count = STEPS[steps[-1].name].category_count if steps else None
    if category_count is None:
        return None
    count, declared = category_count(fitted.states[-1]), int(fitted.type.sample[-1])
    if count >= declared:
        return None
    empty = declared - count
    kind = describe_sample(fitted.type.with_dims((*fitted.type.dims[:-1], count)))
    return Diagnostic(
        "W0835",
        f"`{fitted.field.name}` needs {counted(count, 'place')} in training, the model says {declared}",
        Label(fitted.declared, "the last place stays 0" if empty == 1 else f"the last {empty} places stay 0"),
        others=(Label(fitted.field.span, "the categories of the training part"),),
        hint=f"{kind}, or `one_hot(unknown)`, which has a place for categories that training lacks",
    )


def _merged(fitted: FittedField) -> Diagnostic | None:
    """W0832 if f32 does not tell apart whole numbers of a column that differ. Looks at the first rows."""
    values = fitted.values
    if fitted.type.dtype != "f32" or not isinstance(values, np.ndarray) or windows.is_series([fitted.field]):
        return None
    if np.abs(values[:_SCALE_ROWS]).max() < _FIRST_ROUNDED:
        return None
    raw, location = next(step_outputs(fitted.field, fitted.states, fitted.part))
    exact = numbers(raw, location).astype(np.float64).reshape(len(raw), -1)
    for i, column in enumerate(exact.T):
        before, after = len(np.unique(column)), len(np.unique(column.astype(np.float32)))
        if after < before and (column == np.floor(column)).all():
            name = fitted.names[i] if len(fitted.names) == exact.shape[1] else fitted.field.name
            return Diagnostic(
                "W0832",
                f"f32 merges whole numbers of `{cell(name)}`",
                Label(fitted.field.span, f"{before:,} different values become {after:,}"),
                hint="`-> standardize` after it, or `precision = f64` in `train`",
            )
    return None


def _constant(fitted: FittedField) -> Diagnostic | None:
    """W0834 if columns of a field are the same in every training row."""
    field, values = fitted.field, fitted.values
    is_picture = any(step.name in _PICTURE_STEPS for step in field.steps)
    if not fitted.type.is_float or not isinstance(values, np.ndarray) or is_picture or len(values) < 2:
        return None
    flat = values.reshape(len(values), -1)
    is_scaled = len(field.steps) and field.steps[-1].name in ("standardize", "minmax")
    is_same = flat.max(axis=0) - flat.min(axis=0) <= (_ROUNDING if is_scaled else 0)
    names = fitted.names
    if len(names) == flat.shape[1]:
        constant = [name for name, same in zip(names, is_same.tolist(), strict=True) if same]
    else:
        constant = list(names) if is_same.all() else []
    if not constant or _merged(fitted) is not None:
        return None
    shown = ", ".join(f"`{cell(name)}`" for name in constant[:_LISTED])
    more = f" and {len(constant) - _LISTED:,} more" if len(constant) > _LISTED else ""
    verb = "is" if len(constant) == 1 else "are"
    return Diagnostic(
        "W0834",
        f"{shown}{more} {verb} the same in every training row",
        Label(field.span, "a network can learn nothing from a constant"),
        hint=_without(fitted, constant),
    )


def _without(fitted: FittedField, names: Sequence[str]) -> str | None:
    """The hint that leaves out columns."""
    if not fitted.is_input:
        return None
    if len(names) == len(fitted.names):
        return f"leave `{fitted.field.name}` out"
    return f"leave {'it' if len(names) == 1 else 'them'} out of `{fitted.field.name}`"
