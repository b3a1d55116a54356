"""Made-up data of the types that a model declares: to try or to time a model whose data is not there."""

import math
from collections.abc import Mapping

import numpy as np

from netc.compiler.ir.dims import lengths_of, names_in
from netc.compiler.ir.types import DTYPES, Type
from netc.compiler.model import Model
from netc.runtime.available import require
from netc.runtime.data.stored import Field, Ragged

LONGEST = 100  # steps of a made-up sequence; the shortest has one


def made_up(
    model: Model, count: int, seed: int = 0, types: Mapping[str, Type] | None = None, longest: int = LONGEST
) -> dict[str, Field]:
    """`count` samples of every input and target (or of these `types`): normal numbers, or any label; of a varying dimension as many steps as the model takes,
    up to the `longest`."""
    rng = np.random.default_rng(seed)
    types = types or {**model.inputs, **model.targets}
    rows = {str(value.type.rows) for value in model.graph.values() if value.type.is_varying}
    names = sorted({name for dim in rows for name in names_in(dim)})
    least = next(n for n in range(1, LONGEST) if all(_has_steps(dim, n) for dim in rows))
    lengths = {}
    for name in names:
        most = max(min(longest, model.bounds.get(name, longest)), least)
        lengths[name] = rng.integers(min(least, most), most + 1, count)
    for equal in model.equal:
        lengths[equal.other] = lengths.get(equal.one, lengths_of(equal.one, lengths, count))
    fields: dict[str, Field] = {}
    for name, type_ in types.items():
        own = lengths_of(str(type_.rows), lengths, count) if type_.is_varying else None
        shape = (count if own is None else int(own.sum()), *type_.shape(1)[1:])
        require(8 * math.prod(shape), f"made-up data of {count:,} samples for `{name}`")
        values = rng.integers(0, type_.classes, shape) if type_.classes is not None else rng.standard_normal(shape)
        array = np.asarray(values, DTYPES[type_.dtype].numpy)
        fields[name] = array if own is None else Ragged(array, own)
    return fields


def _has_steps(dim: str, steps: int) -> bool:
    """Whether a dimension has any, if each that it is made of has so many."""
    return bool((lengths_of(dim, dict.fromkeys(names_in(dim), np.array([steps])), 1) >= 1).all())
