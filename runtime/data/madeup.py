"""Made-up data of the types that a model declares: to try or to time a model whose data is not there."""

import numpy as np

from netc.compiler.model import Model
from netc.compiler.types import NUMPY
from netc.runtime.data.readers import Array


def made_up(model: Model, count: int, seed: int = 0) -> dict[str, Array]:
    """`count` samples of every input and target: normal numbers, or any label."""
    rng = np.random.default_rng(seed)
    fields: dict[str, Array] = {}
    for name, type_ in {**model.inputs, **model.targets}.items():
        shape = (count, *type_.shape(1)[1:])
        values = rng.integers(0, type_.classes, shape) if type_.classes is not None else rng.standard_normal(shape)
        fields[name] = np.asarray(values, NUMPY[type_.dtype])
    return fields
