"""Where a number was lost: the first operation of a step that gave no number from numbers, found by doing the step again in the interpreter.

Nothing of this costs a run that has none: training starts again from its last checkpoint, which comes to the same bits, and only the step in question is
interpreted, with the same random numbers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from netc.compiler.ir.graph import Graph
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import Sizes
from netc.compiler.ir.value import Value
from netc.compiler.operations.scan import Scan
from netc.compiler.reference import values_of
from netc.runtime.checkpoint import load_checkpoint
from netc.runtime.data.stored import Array, Field
from netc.runtime.program import Program
from netc.runtime.run import Run
from netc.runtime.schedule import Decisions, factors
from netc.runtime.start_from import CHECKPOINT


@dataclass(frozen=True, slots=True)
class Culprit:
    """The operation, the least and the largest of each operand, what it gave first, and for which sample of the batch (and of the data, if that is known)."""

    value: Value
    operands: tuple[tuple[float, float], ...]
    given: float
    sample: int | None

    def told(self) -> str:
        ranges = ", ".join(f"{low:g}" if low == high else f"{low:g} to {high:g}" for low, high in self.operands)
        of = (f" of {ranges}" if ranges else "") + (
            f", in row {self.sample} of the data" if self.sample is not None else ""
        )
        return f"`{self.value.operation}` gives {self.given:g}{of}"


def find(run: Run, fields: Mapping[str, Field], order: Array, bad: int) -> Culprit | None:
    """What made the loss of step `bad` of the running epoch no number; None if the interpreter comes to one."""
    settings, epoch = run.model.train, run.progress.epoch
    if settings.accumulate > 1:
        return None
    compiled, interpreted = (
        Program(run.model, run.program.seed, backend, threads=run.program.workers.count, machine=run.program.machine)
        for backend in (run.program.backend, "reference")
    )
    progress = load_checkpoint(run.folder / CHECKPOINT, compiled.persistent)
    in_all, plateau = -(-len(order) // settings.batch), Decisions(settings, run.metrics).rate

    def steps(program: Program, first: int, last: int) -> None:
        if first < last:
            moved = factors(settings, epoch * in_all + first, last - first, in_all, plateau)
            program.steps(fields, order[first * settings.batch : last * settings.batch], epoch, moved)

    begin = progress.step if progress.epoch == epoch else 0
    steps(compiled, begin, bad - 1)
    step = interpreted.training(fields)
    for at in range(max(begin, bad - 1), bad + 1):  # what was lost in one step may be seen in the next
        for name, array in compiled.persistent.items():
            interpreted.persistent[name][...] = array
        step.trace = trace = Trace()
        steps(interpreted, at, at + 1)
        if step.graph in trace.found:
            return _of_data(trace.found[step.graph], run, order[at * settings.batch :])
        steps(compiled, at, at + 1)
    return None


def _of_data(found: Culprit, run: Run, samples: Array) -> Culprit:
    """The sample's row in the data; a batch of sequences is in an order of its own."""
    is_known = found.sample is not None and not run.program.varying and run.dataset is not None
    if not is_known or found.sample is None or run.dataset is None or found.sample >= len(samples):
        return replace(found, sample=None)
    return replace(found, sample=int(run.dataset.rows["train"][samples[found.sample]]))


class Trace:
    """An interpreter that looks where a result that is no number comes from: `found` holds the culprit of each graph, a scan's body among them."""

    def __init__(self) -> None:
        self.found: dict[Graph, Culprit] = {}

    def __call__(self, graph: Graph, leaves: Mapping[str, Array], sizes: Sizes) -> dict[str, Array]:
        """As reference.evaluate."""
        memory = values_of(graph, leaves, sizes, self)
        if graph not in self.found:  # of a body, the first step that lost a number
            found = self._first(graph, memory)
            if found is not None:
                self.found[graph] = found
        return {name: memory[value] for name, value in graph.results.items()}

    def _first(self, graph: Graph, memory: Mapping[Value, Array]) -> Culprit | None:
        """From a result that is no number back to the operation whose operands are all numbers."""
        value = next((one for one in graph.results.values() if _lost(memory[one])), None)
        while value is not None:
            operands = value.operands
            if value.role is Role.PART:
                inside = self.found.get(Scan.of(value.operands[0]).body)
                if inside is not None:
                    return inside
                operands = value.operands[0].operands
            lost = next((one for one in operands if _lost(memory[one])), None)
            if lost is None:
                return _culprit(value, memory)
            value = lost
        return None


def _culprit(value: Value, memory: Mapping[Value, Array]) -> Culprit:
    array = memory[value]
    at = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0]) if array.ndim else ()
    ranges = [memory[one] for one in value.operands if one in memory and memory[one].size]
    sample = at[0] if at and value.type.lead else None
    return Culprit(value, tuple((float(one.min()), float(one.max())) for one in ranges), float(array[at]), sample)


def _lost(array: Any) -> bool:
    return bool(array.dtype.kind == "f" and not np.isfinite(array).all())
