"""Notices arrays of raw values where prepared ones are expected: `run.program.predict` takes arrays after their steps.

Both kinds of arrays often have the same shape. Answers for raw values would then be wrong without a message.
"""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from netc.dsl.diagnostics import Fault
from netc.runtime.data.block.declarations import FieldSpec
from netc.runtime.data.steps.data_step import State
from netc.runtime.data.steps.steps import STEPS
from netc.runtime.data.stored import Array
from netc.runtime.data.tables.cells import Location

_FAR = 2.5  # root mean square that prepared values, which have 1 on the training part, seldom reach
_NEARER = 0.5  # by how much the steps bring raw values nearer to the values that training saw
_MOST_VALUES = 100_000  # that are looked at


def warn_of_raw_values(
    fields: Mapping[str, Any], specs: Mapping[str, FieldSpec], states: Mapping[str, Sequence[State]]
) -> None:
    """Warns (a UserWarning) of each array that looks as if it had not gone through the steps of its field."""
    for name, array in fields.items():
        if isinstance(array, np.ndarray | list) and name in specs and looks_raw(specs[name], states[name], array):
            steps = ", ".join(step.name for step in specs[name].steps)
            warnings.warn(
                f"`{name}` looks like raw data, and run.program.predict takes arrays that went through its steps "
                f"({steps}); run.predict takes raw data",
                stacklevel=4,  # the caller of Program.predict
            )


def looks_raw(field: FieldSpec, states: Sequence[State], values: Any) -> bool:
    """Whether values are bytes that a step would scale, or far from what training saw until the steps are applied.

    That can be told of fields with a step `scale`, `standardize` or `minmax`; False for any other.
    """
    names = [step.name for step in field.steps]
    try:
        array = np.asarray(values)
    except ValueError:  # sequences of different lengths
        return False
    if array.dtype.kind not in "iuf" or not array.ndim or not array.size:
        return False
    if array.dtype == np.uint8:
        return "scale" in names
    if not {"standardize", "minmax"} & {*names} or not all(STEPS[name].undo is not None for name in names):
        return False
    some = array[: max(1, _MOST_VALUES // max(1, array[0].size))].astype(np.float64)
    location = Location("", field.columns, np.arange(len(some)), field.span)
    stepped = some
    try:
        with np.errstate(all="ignore"):
            for step, state in zip(field.steps, states, strict=True):
                result = STEPS[step.name].apply(stepped, state, location)
                if not isinstance(result, np.ndarray):
                    return False
                stepped = result
    except (Fault, ValueError, IndexError):  # a step refuses them, so they are not raw
        return False
    is_minmax = next(name for name in reversed(names) if name in ("standardize", "minmax")) == "minmax"
    far, near = (_distance(values, is_minmax) for values in (some, stepped))
    return bool(far > _FAR and near < _NEARER * far)


def _distance(values: Array, is_minmax: bool) -> float:
    """The root mean square of values as `standardize` gives them; numbers from 0 to 1 count as such values."""
    centred = (values - 0.5) * np.sqrt(12) if is_minmax else values
    return float(np.sqrt(np.mean(centred**2)))
