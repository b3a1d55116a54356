"""The columns of the data as places in the fields of a model: what may be shuffled or explained by itself."""

from collections.abc import Sequence

import numpy as np
from msgspec import Struct

from netc.runtime.data.block.declarations import DataSpec
from netc.runtime.data.stored import Field, Ragged
from netc.runtime.execution.fields import Fields


class Unit(Struct, frozen=True):
    """A column of an input, or a whole input.

    A column is element `element` along axis `axis` of its field (axis 0 is that of samples). None for a whole input.
    """

    name: str
    field: str
    axis: int = 1
    element: int | None = None

    def index(self, rank: int) -> tuple[slice | int, ...]:
        """The entries of the unit in an array of the field with `rank` axes."""
        if self.element is None:
            return (slice(None),) * rank
        return (*[slice(None)] * self.axis, self.element, *[slice(None)] * (rank - self.axis - 1))


def units_of(spec: DataSpec, inputs: Sequence[str], fields: Fields) -> list[Unit]:
    """The units of these inputs: the columns of a field with an axis that has an entry for each, or whole fields."""
    units = list[Unit]()
    for name in inputs:
        columns, axis = spec.fields[name].columns, _axis_of_columns(spec, name, fields[name])
        if axis is None:
            units.append(Unit(columns[0] if len(columns) == 1 else name, name))
        else:
            units += [Unit(column, name, axis, element) for element, column in enumerate(columns)]
    return units


def _axis_of_columns(spec: DataSpec, name: str, field: Field) -> int | None:
    """The axis of a field with an entry for each of its columns; None if it has a single one, or no such axis."""
    field_spec, shape = spec.fields[name], np.shape(field) if not isinstance(field, Ragged) else ()
    if field_spec.is_single or len(field_spec.columns) < 2:
        return None
    return next(
        (axis for axis in (1, len(shape) - 1) if axis < len(shape) and shape[axis] == len(field_spec.columns)), None
    )
