"""The cost of a training step in memory and arithmetic, computed from its plan before anything is allocated."""

from collections.abc import Collection, Mapping

import numpy as np
from msgspec import Struct

from netc.compiler import pipeline
from netc.compiler.backends import target_of, with_shards
from netc.compiler.ir.dims import lengths_of, names_in
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.types import BATCH, Sizes
from netc.compiler.model import Model
from netc.compiler.targets.machine import Machine
from netc.compiler.targets.named import machine_for
from netc.dsl.diagnostics import fault
from netc.dsl.plural import counted
from netc.runtime.data.stored import Array, Field, Ragged
from netc.runtime.data.synthetic import LONGEST
from netc.runtime.execution.assumed_bounds import at_assumed_bound
from netc.runtime.execution.memory import footprint
from netc.runtime.execution.prepared import Prepared
from netc.runtime.execution.resources import state_layout


def sizes_of(graph: Graph, batch: int, longest: Mapping[str, int]) -> Sizes:
    """The sizes of a graph's named dimensions for a batch whose samples all have the steps that `longest` lists."""
    dims = dict.fromkeys(str(value.type.rows) for value in graph.values() if value.type.is_varying)
    return _sizes(dims, batch, longest)


def _sizes(dims: Collection[str], batch: int, longest: Mapping[str, int]) -> Sizes:
    """The sizes of the batch and of varying dimensions, as `sizes_of`."""
    if not dims:
        return batch
    lengths = lengths_in(batch, longest)
    return {BATCH: batch, **{dim: int(lengths_of(dim, lengths, batch).sum()) for dim in dims}}


def lengths_in(batch: int, longest: Mapping[str, int]) -> dict[str, Array]:
    """The lengths of the samples of a batch that all have the steps that `longest` lists."""
    return {dim: np.full(batch, steps) for dim, steps in longest.items()}


def step_memory(
    model: Model,
    workers: int,
    longest: Mapping[str, int],
    rematerialises: bool | None = None,
    machine: Machine | None = None,
) -> tuple[int, int]:
    """The exact bytes that training takes: parameters and states, and the arenas of a step.

    With `accumulate` the arenas of both kinds of steps count. `longest` is the number of steps of every sample, by
    varying dimension. Without `rematerialises` the model's memory limit decides; `machine` is as for `machine_for`.
    """
    machine = machine_for(machine)
    if rematerialises is None:
        rematerialises = must_rematerialise(model, workers, machine)
    cost = _cost(model, workers, longest, rematerialises, machine)
    return cost.kept, cost.arenas


class StepCost(Struct, frozen=True):
    """A training step's FLOPs, the bytes that stay between steps, and the bytes of its arenas."""

    flops: int
    kept: int
    arenas: int


def cost_of_step(
    model: Model,
    workers: int,
    machine: Machine | None = None,
    longest: Mapping[str, int] | None = None,
    training_graph: Graph | None = None,
) -> StepCost:
    """The cost of a step on a full batch of samples of a given length, by default as `longest_of` says.

    `training_graph` is the model's, if the caller has it already. Raises what must_rematerialise raises.
    """
    machine = machine_for(machine)
    longest = in_a_step(model, longest_of(model) if longest is None else longest)
    return _cost(model, workers, longest, must_rematerialise(model, workers, machine), machine, training_graph)


def _cost(
    model: Model,
    workers: int,
    longest: Mapping[str, int],
    rematerialises: bool,
    machine: Machine,
    training_graph: Graph | None = None,
) -> StepCost:
    """The cost of a step: see `step_memory`. The FLOPs are those of the step's last batch."""
    batch, graphs = model.train.batch, [training_graph or pipeline.training_graph(model, rematerialises)]
    if model.train.accumulate > 1:
        graphs.append(pipeline.accumulation_graph(model, rematerialises))
    _, offsets, kept = state_layout(model, graphs[0])
    arenas, counts = 0, list[int]()
    target = with_shards(target_of("cpu", machine), model.train.shards)
    for graph in (at_assumed_bound(graph, lengths_in(batch, longest)) for graph in graphs):
        prepared = Prepared(graph, offsets, target, batch)
        sizes = _sizes(prepared.facts.dims, batch, longest)
        plan = prepared.cost(sizes)
        arenas += footprint(plan.shared) + prepared.members(plan, sizes, workers) * footprint(plan.private)
        counts.append(plan.flops)
    return StepCost(counts[0], footprint(kept), arenas)


def longest_of(model: Model, fields: Mapping[str, Field] | None = None) -> dict[str, int]:
    """The largest number of steps of a sample, by varying dimension: that of the fields' samples, if there are any;
    else its declared bound, or LONGEST without one."""
    longest = {**dict.fromkeys(declared_dims(model), LONGEST), **model.bounds}
    types = {**model.inputs, **model.targets}
    for name, field in (fields or {}).items():
        if isinstance(field, Ragged) and name in types and len(field.lengths):
            longest[str(types[name].rows)] = int(field.lengths.max())
    return longest


def declared_dims(model: Model) -> list[str]:
    """The varying dimensions that the inputs and targets declare."""
    types = (*model.inputs.values(), *model.targets.values())
    return list(dict.fromkeys(name for type_ in types if type_.is_varying for name in names_in(str(type_.rows))))


def in_a_step(model: Model, longest: Mapping[str, int]) -> dict[str, int]:
    """The largest number of steps that are trained at once, by varying dimension: fewer than a sample has if
    sequences are cut into chunks."""
    cut = model.train.truncate
    return {**longest, cut.dim: min(longest.get(cut.dim, cut.steps), cut.steps)} if cut is not None else dict(longest)


def must_rematerialise(model: Model, workers: int, machine: Machine | None = None) -> bool:
    """Whether a step stays under the model's memory limit only with rematerialisation.

    Raises E1005 if it does not even then, and E0602 if a varying dimension of the model has no bound.
    """
    limit = model.train.memory
    if limit is None:
        return False
    longest = in_a_step(model, model.bounds)
    if unbounded := sorted(set(declared_dims(model)) - set(longest)):
        title = f"how long `{unbounded[0]}` is at most must be known"
        hint = f"{unbounded[0]} <= 100, where it is declared"
        fault("E0602", title, limit.span, "the memory of a step depends on it", hint=hint)
    least = 0
    for rematerialises in (False, True):
        least = sum(step_memory(model, workers, longest, rematerialises, machine))
        if least <= limit.nbytes:
            return rematerialises
    title = f"a step of {counted(model.train.batch, 'sample')} takes {least:,} bytes at least"
    hint = f"batch = {max(model.train.batch // 2, 1)}"
    fault("E1005", title, limit.span, f"this is {limit.nbytes:,}", hint=hint)
