"""Predicts what a training step takes on several ranks, from its plan, its times in one process, and a network.

A group that ranks share out takes as long as the rank with most of its rows. A message takes the network's latency for
each doubling of the ranks, and the time of the bytes that a rank receives. Overlap with computing is not counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from netc.compiler.ir.types import BATCH
from netc.compiler.planning.ranks import among_ranks
from netc.compiler.program.gathers import Division, Gather, StepSizes, spans_of
from netc.compiler.program.schedule import Group, Schedule
from netc.runtime.execution.fields import Fields
from netc.runtime.execution.sequences import Batch, SequenceStep
from netc.runtime.execution.step import Step
from netc.runtime.insight.profile import fastest
from netc.runtime.program import Program

_CHUNK = 0.05  # seconds between two looks at the clock: then ranks gather the optimizer's states


@dataclass(frozen=True, slots=True)
class Network:
    """The seconds until a message arrives, and the bytes per second that a rank receives."""

    latency: float
    bandwidth: float


@dataclass(frozen=True, slots=True)
class Prediction:
    """A step on so many ranks: the seconds in which it computes and gathers, and the bytes that a rank receives."""

    ranks: int
    computing: float
    gathering: float
    nbytes: int

    @property
    def seconds(self) -> float:
        """The time of the step."""
        return self.computing + self.gathering


def predictions(program: Program, fields: Fields, network: Network, counts: Sequence[int]) -> list[Prediction]:
    """Times the calls of a training step on the first batch of the fields, and predicts it for each number of ranks.

    The program is trained by it. For more ranks than a batch has shards, the shards count as so many.
    """
    step = program.profiled(fields)
    count = min(step.batch, len(next(iter(fields.values()))))
    times = fastest(step, lambda order: program.run_step(step, fields, order, 0), count, 1.0)
    assert step.plan is not None
    schedule = among_ranks(step.plan, program.machine).schedule
    sizes = _sizes(step, fields, count)
    seconds, calls = list[tuple[Group, float]](), iter(times.calls)
    for phase in schedule.phases:
        seconds += [(group, sum(next(calls) for _ in group.calls)) for group in phase]
    return [_predicted(schedule, seconds, sizes, network, ranks) for ranks in counts]


def _sizes(step: Step, fields: Fields, count: int) -> StepSizes:
    if not isinstance(step, SequenceStep):
        return StepSizes(count, {})
    arrays = {name: field for name, field in fields.items() if not hasattr(field, "scale")}
    return StepSizes(count, Batch.of(np.arange(count), step.dims, step.first, arrays, step.varying).rows)


def _predicted(
    schedule: Schedule, seconds: Sequence[tuple[Group, float]], sizes: StepSizes, network: Network, ranks: int
) -> Prediction:
    assert schedule.gathers is not None
    computing = sum(spent * _largest_share(group, schedule, sizes, ranks) for group, spent in seconds)
    if ranks == 1:
        return Prediction(1, computing, 0.0, 0)
    sent = [sum(_received(gather, sizes, ranks) for gather in message.gathers) for message in schedule.gathers.messages]
    at_end = sum(_received(gather, sizes, ranks) for gather in schedule.gathers.at_end)
    steps = 1 if schedule.dims else max(_CHUNK / max(computing, 1e-9), 1)
    delay = network.latency * np.log2(ranks)
    gathering = len(sent) * delay + sum(sent) / network.bandwidth + (delay + at_end / network.bandwidth) / steps
    return Prediction(ranks, computing, float(gathering), round(sum(sent) + at_end / steps))


def _division(group: Group, schedule: Schedule, ranks: int) -> Division:
    """How the rows of a group are divided."""
    match group.kind:
        case "pieces":
            return Division("pieces", extent=group.extent, grain=group.grain)
        case "shards":
            return Division("shards", extent=max(group.extent, ranks))
        case "samples" if group.dim == BATCH:
            return Division("batch")
    return Division("steps" if group.dim in schedule.walked else "rows", group.dim)


def _largest_share(group: Group, schedule: Schedule, sizes: StepSizes, ranks: int) -> float:
    """The share of a group's rows that the busiest rank has."""
    if group.is_repeated or ranks == 1:
        return 1.0
    rows = _rows(_division(group, schedule, ranks), sizes, ranks)
    return max(rows) / max(sum(rows), 1)


def _rows(division: Division, sizes: StepSizes, ranks: int) -> list[int]:
    """The rows that each rank has."""
    return [sum(high - low for low, high in spans_of(division, rank, ranks, sizes)) for rank in range(ranks)]


def _received(gather: Gather, sizes: StepSizes, ranks: int) -> int:
    """The bytes that the rank with fewest rows receives."""
    rows = _rows(gather.division, sizes, ranks)
    return (sum(rows) - min(rows)) * gather.row_bytes
