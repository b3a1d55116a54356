"""Made-up data of the types that a model declares: to try or to time a model whose data is not there."""

import numpy as np

from netc.compiler.model import Model
from netc.compiler.types import NUMPY
from netc.runtime.data.stored import Field, Ragged

LONGEST = 100  # steps of a made-up sequence; the shortest has one


def made_up(model: Model, count: int, seed: int = 0) -> dict[str, Field]:
    """`count` samples of every input and target: normal numbers, or any label; of a varying dimension, as many steps as any, up to LONGEST."""
    rng = np.random.default_rng(seed)
    types = {**model.inputs, **model.targets}
    dims = dict.fromkeys(type_.rows for type_ in types.values() if type_.is_varying)
    lengths = {dim: rng.integers(1, LONGEST + 1, count) for dim in dims}
    fields: dict[str, Field] = {}
    for name, type_ in types.items():
        own = lengths.get(type_.rows)
        shape = (count if own is None else int(own.sum()), *type_.shape(1)[1:])
        values = rng.integers(0, type_.classes, shape) if type_.classes is not None else rng.standard_normal(shape)
        array = np.asarray(values, NUMPY[type_.dtype])
        fields[name] = array if own is None else Ragged(array, own)
    return fields
