"""Synthetic data of the types that a model declares: to try or to time a model whose data is not there."""

import math
from collections.abc import Mapping

import numpy as np

from netc.compiler.ir.dims import lengths_of, names_in
from netc.compiler.ir.types import DTYPES, Type
from netc.compiler.model import Model
from netc.dsl.plural import counted
from netc.runtime.available import require
from netc.runtime.data.stored import Array, Field, Ragged

LONGEST = 100  # steps of a synthetic sequence; the shortest has one


def synthetic_data(
    model: Model, count: int, seed: int = 0, types: Mapping[str, Type] | None = None, longest: int = LONGEST
) -> dict[str, Field]:
    """`count` samples of every input and target, or of these `types`: normal numbers, or any class.

    Sequences have as many steps as the model takes, up to `longest`. Raises E1005 if the samples do not
    fit in memory.
    """
    rng = np.random.default_rng(seed)
    types = types or {**model.inputs, **model.targets}
    lengths = _lengths(model, count, longest, rng)
    fields: dict[str, Field] = {}
    for name, type_ in types.items():
        steps = lengths_of(str(type_.rows), lengths, count) if type_.is_varying else None
        shape = (count if steps is None else int(steps.sum()), *type_.shape(1)[1:])
        require(8 * math.prod(shape), f"synthetic data of {counted(count, 'sample')} for `{name}`")
        values = rng.integers(0, type_.classes, shape) if type_.classes is not None else rng.standard_normal(shape)
        array = np.asarray(values, DTYPES[type_.dtype].numpy)
        fields[name] = array if steps is None else Ragged(array, steps)
    return fields


def _lengths(model: Model, count: int, longest: int, rng: np.random.Generator) -> dict[str, Array]:
    """The length of each sample by dimension, such that no value of the model has a length below 1."""
    dims = {str(value.type.rows) for value in model.graph.values() if value.type.is_varying}
    names = sorted({name for dim in dims for name in names_in(dim)})
    least = next(n for n in range(1, LONGEST) if all(_has_steps(dim, n) for dim in dims))
    lengths: dict[str, Array] = {}
    for name in names:
        most = max(min(longest, model.bounds.get(name, longest)), least)
        lengths[name] = rng.integers(min(least, most), most + 1, count)
    for equal in model.equal:
        lengths[equal.other] = lengths.get(equal.first, lengths_of(equal.first, lengths, count))
    return lengths


def _has_steps(dim: str, steps: int) -> bool:
    """Whether the length `dim` is at least 1 if each dimension in it is `steps`."""
    return bool((lengths_of(dim, dict.fromkeys(names_in(dim), np.array([steps])), 1) >= 1).all())
