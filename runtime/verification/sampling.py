"""A subject of reasonable cost for a user's model: synthetic samples or the first of its own data, and a batch that
the interpreter can compute in minutes.
"""

import numpy as np
from msgspec import Struct

from netc.compiler.analysis.cost import flops
from netc.compiler.model import Model
from netc.compiler.passes.pack import at_length
from netc.dsl.structs import replace
from netc.runtime.data.block.spec import parse_data
from netc.runtime.data.dataset import load
from netc.runtime.data.synthetic import synthetic_data
from netc.runtime.execution.step_cost import longest_of, sizes_of
from netc.runtime.verification.subject import Subject, chosen, ready_fields

_MOST_FLOPS = 50_000_000  # of the forward graph for a batch, if two samples do not need more
_LONGEST = 9  # steps of a sequence


class Sampled(Struct, frozen=True):
    """A subject, and a sentence about its samples and its batch."""

    subject: Subject
    description: str


def sampled(model: Model, with_own_data: bool = False) -> Sampled:
    """A subject for a model, with the first training samples of its data block or with synthetic ones.

    The batch is made smaller if the model is large. Raises the faults of reading the data.
    """
    longest = {dim: min(length, _LONGEST) for dim, length in longest_of(model).items()}
    batch = model.train.batch
    graph, _ = at_length(model.graph, max(longest.values(), default=1))
    while batch > 2 and flops(graph, sizes_of(graph, batch, longest)) > _MOST_FLOPS:
        batch = max(batch // 2, 2)
    accumulate = min(model.train.accumulate, 2)
    small = replace(model, train=replace(model.train, batch=batch, accumulate=accumulate))
    count = batch * accumulate + max(batch // 2, 1)
    if with_own_data:
        parts = load(model, parse_data(model)).training(model.train.seed, 0)
        ready = ready_fields(small, parts)
        count = min(count, len(next(iter(ready.values()))))
        fields = chosen(ready, np.arange(count))
        source = f"the first {count} training samples of the file's data"
    else:
        fields = synthetic_data(small, count, model.train.seed, longest=_LONGEST)
        source = f"{count} synthetic samples"
    description = f"{source}, in batches of {batch}"
    if (batch, accumulate) != (model.train.batch, model.train.accumulate):
        declared = f"{model.train.batch}" + (f" x {model.train.accumulate}" if model.train.accumulate > 1 else "")
        description += f" (the file has {declared}: cut so that this takes minutes at most)"
    return Sampled(Subject(small, fields, model.train.seed), description)
