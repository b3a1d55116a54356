"""The numbers of a model's equations for one row of its data, with the parameters that training begins with.

The reference interpreter computes them in double precision.
"""

from collections.abc import Mapping

import numpy as np
from msgspec import Struct

from netc.compiler.analysis.equations.derivation import Derivation, derive
from netc.compiler.ir.value import Value
from netc.compiler.model import Model
from netc.runtime.data.block.spec import parse_data
from netc.runtime.data.dataset import load
from netc.runtime.data.stored import Array, Field
from netc.runtime.data.synthetic import synthetic_data
from netc.runtime.program import Program
from netc.runtime.verification.precision import in_f64
from netc.runtime.verification.situation import Situation
from netc.runtime.verification.subject import chosen, ready_fields


class ValuedDerivation(Struct, frozen=True):
    """Equations, and the array of each value for one sample, whose axis is left out. `sample` says which one it is."""

    derivation: Derivation
    arrays: Mapping[Value, Array]
    sample: str


def derive_with_values(model: Model, row: int | None = None) -> ValuedDerivation:
    """The equations of a model with their numbers for a row of the data, counted as in the file; the first by default.

    A sample is synthetic if the file has no data. Raises E0501 without a loss, and as the data does; raises ValueError
    for a row that does not exist.
    """
    derivation = derive(in_f64(model))
    fields, sample = _sample(model, row)
    program = Program(in_f64(model), backend="reference", threads=1)
    situation = Situation(in_f64(model), fields, program.persistent, model.train.seed)
    arrays = situation.values(derivation.graph)
    return ValuedDerivation(derivation, {value: _of_sample(value, array) for value, array in arrays.items()}, sample)


def _sample(model: Model, row: int | None) -> tuple[dict[str, Field], str]:
    """The fields of one sample, and words for it."""
    if model.data is None:
        return ready_fields(model, synthetic_data(model, 1)), "a synthetic sample"
    dataset = load(model, parse_data(model))
    for part, numbers in dataset.rows.items():
        matches = [int(numbers.argmin())] if row is None else np.flatnonzero(numbers == row).tolist()
        if matches:
            fields = chosen(ready_fields(model, dataset.parts[part]), np.array(matches[:1]))
            return fields, f"row {numbers[matches[0]]} of the file (in the part `{part}`)"
    last = max(int(numbers.max()) for numbers in dataset.rows.values())
    raise ValueError(f"the data has no row {row}: its rows go up to {last}")


def _of_sample(value: Value, array: Array) -> Array:
    return array[0] if value.type.is_batched and not value.type.is_varying else array
