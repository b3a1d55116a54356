"""Permutation importance: the rise of a run's loss if a column of an input is shuffled, and its section."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
from msgspec import Struct

from netc.runtime.data.stored import Array, Bytes, Field, taken
from netc.runtime.execution.fields import Fields
from netc.runtime.insight.drawing.bars import Bar, bar_chart
from netc.runtime.insight.sections import Heading, Note, Paragraph, Plot, Plots, Section, left_out
from netc.runtime.insight.units import Unit, units_of
from netc.runtime.insight.words import shortened
from netc.runtime.random import generator
from netc.runtime.runs.run import Run

_REPEATS, _MOST_ROWS, _MOST_UNITS, _MOST_SHOWN = 5, 1_000, 60, 30


class Importance(Struct, frozen=True):
    """The mean rise of the loss if a unit is shuffled, and the standard error of that mean over the repeats."""

    unit: Unit
    rise: float
    error: float


def permutation_importance(run: Run, part: str, repeats: int = _REPEATS, most: int = _MOST_ROWS) -> list[Importance]:
    """The importance of each column (Breiman 2001; Fisher, Rudin and Dominici 2019), the largest first.

    Of a part with more than `most` samples, evenly spaced ones are used. The permutations follow from the seed of the
    run, the number of the unit and that of the repeat. Empty if there is only one unit, or the model has no loss.
    """
    fields = _some(run.load_data().parts[part], most)
    units = [unit for unit in units_of(run.spec, [*run.model.inputs], fields) if _may_move(run, unit)][:_MOST_UNITS]
    base = _loss(run, fields)
    if len(units) < 2 or base is None:
        return []
    importances = [_importance(run, fields, unit, number, base, repeats) for number, unit in enumerate(units)]
    return sorted(importances, key=lambda importance: -importance.rise)


def _some(fields: Fields, most: int) -> dict[str, Field]:
    """The fields of at most `most` samples, evenly spaced."""
    count = len(next(iter(fields.values())))
    chosen = np.arange(0, count, max(1, -(-count // most)))
    return {name: taken(field, chosen) for name, field in fields.items()}


def _may_move(run: Run, unit: Unit) -> bool:
    """Whether samples may swap a unit: not if it has lengths that another field of the sample shares."""
    types = {**run.model.inputs, **run.model.targets}
    rows = types[unit.field].rows
    return not types[unit.field].is_varying or all(
        type_.rows != rows for name, type_ in types.items() if name != unit.field
    )


def _loss(run: Run, fields: Fields) -> float | None:
    loss = run.program.evaluator.evaluate(fields, run.undone()).get("loss")
    return loss if isinstance(loss, float) else None


def _importance(run: Run, fields: Fields, unit: Unit, number: int, base: float, repeats: int) -> Importance:
    rises = list[float]()
    for repeat in range(repeats):
        count = len(fields[unit.field])
        order = generator(run.program.seed, "importance", number, repeat).permutation(count)
        loss = _loss(run, {**fields, unit.field: _shuffled(fields[unit.field], unit, order)})
        assert loss is not None
        rises.append(loss - base)
    error = float(np.std(rises, ddof=1)) / math.sqrt(repeats) if repeats > 1 else math.nan
    return Importance(unit, float(np.mean(rises)), error)


def _shuffled(field: Field, unit: Unit, order: Array) -> Field:
    if unit.element is None:
        return taken(field, order)
    array = np.array(field.array if isinstance(field, Bytes) else field)
    index = unit.index(array.ndim)
    array[index] = array[order][index]
    return Bytes(array, field.scale) if isinstance(field, Bytes) else array


def importance_sections(importances: Sequence[Importance], part: str) -> Iterator[Section]:
    """A bar for each unit; nothing if there are none."""
    if not importances:
        return
    yield Heading(f"Importance of the columns, {part}")
    bars = [
        Bar(shortened(each.unit.name), each.rise, f"{each.rise:.3g} ± {each.error:.1g}", each.error)
        for each in importances[:_MOST_SHOWN]
    ]
    yield Plots([Plot(bar_chart(bars, "permutation importance"))])
    yield Paragraph(
        f"How much the loss rises if the cells of a column are shuffled among the samples: the mean of {_REPEATS} "
        "permutations, ± its standard error. Columns that say the same share their importance."
    )
    yield from left_out(len(importances), _MOST_SHOWN, "columns, the least important ones,")
    if len(importances) == _MOST_UNITS:
        yield Note(f"Of more than {_MOST_UNITS} columns, the first {_MOST_UNITS} were shuffled.")
