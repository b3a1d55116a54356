"""Where a number was lost: the first operation of a step that gave no number from numbers, found by doing the step again in the interpreter.

Nothing of this costs a run that has none: training starts again from its last checkpoint, which comes to the same bits, and only the step in question is
interpreted, with the same random numbers.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from netc.compiler.graph import Graph
from netc.compiler.operations import scan
from netc.compiler.reference import compute
from netc.compiler.types import Sizes
from netc.compiler.value import Value
from netc.runtime.checkpoint import load_checkpoint
from netc.runtime.data.stored import Array, Field
from netc.runtime.program import Program
from netc.runtime.run import Run
from netc.runtime.schedule import factors
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
        Program(run.model, run.program.seed, backend, threads=run.program.workers.count)
        for backend in ("numba", "reference")
    )
    progress = load_checkpoint(run.folder / CHECKPOINT, compiled.persistent)
    in_all = -(-len(order) // settings.batch)

    def steps(program: Program, first: int, last: int) -> None:
        if first < last:
            moved = factors(settings, epoch * in_all + first, last - first, in_all, run.metrics)
            program.steps(fields, order[first * settings.batch : last * settings.batch], epoch, moved)

    begin = progress.step if progress.epoch == epoch else 0
    steps(compiled, begin, bad - 1)
    step = interpreted.training(fields)
    for at in range(max(begin, bad - 1), bad + 1):  # what was lost in one step may be seen in the next
        for name, array in compiled.persistent.items():
            interpreted.persistent[name][...] = array
        step.trace = trace = Trace()
        steps(interpreted, at, at + 1)
        if trace.culprit is not None:
            return _of_data(trace.culprit, run, order[at * settings.batch :])
        steps(compiled, at, at + 1)
    return None


def _of_data(found: Culprit, run: Run, samples: Array) -> Culprit:
    """The sample's row in the data; a batch of sequences is in an order of its own."""
    is_known = found.sample is not None and not run.program.varying and run.dataset is not None
    if not is_known or found.sample is None or run.dataset is None or found.sample >= len(samples):
        return replace(found, sample=None)
    return replace(found, sample=int(run.dataset.rows["train"][samples[found.sample]]))


class Trace:
    """An interpreter that keeps what it computes, and looks where a result that is no number comes from."""

    def __init__(self) -> None:
        self.culprit: Culprit | None = None

    def __call__(self, graph: Graph, leaves: Mapping[str, Array], sizes: Sizes) -> dict[str, Array]:
        """As reference.evaluate."""
        memory: dict[Value, Array] = {}
        inside: dict[Value, Culprit | None] = {}
        parts: dict[Value, dict[str, Array]] = {}
        before = self.culprit
        with np.errstate(all="ignore"):
            for value in graph.values():
                operands = [memory[one] for one in value.operands if one in memory]
                if value.operation == "scan":
                    parts[value] = scan.compute(operands, value, leaves, self)
                    inside[value], self.culprit = self.culprit, before
                elif value.operation == "part":
                    memory[value] = parts[value.operands[0]][str(value.attributes["of"])]
                else:
                    memory[value] = compute(value, operands, leaves, sizes)
        results = {name: memory[value] for name, value in graph.results.items()}
        if self.culprit is None:
            self.culprit = _first(graph.results.values(), memory, inside)
        return results


def _first(
    roots: Iterable[Value], memory: Mapping[Value, Array], inside: Mapping[Value, Culprit | None]
) -> Culprit | None:
    """From a result that is no number back to the operation whose operands are all numbers."""
    value = next((one for one in roots if _lost(memory[one])), None)
    while value is not None:
        if value.operation == "part":
            found = inside.get(value.operands[0])
            if found is not None:
                return found
            lost = [one for one in value.operands[0].operands if _lost(memory[one])]
        else:
            lost = [one for one in value.operands if one in memory and _lost(memory[one])]
        if not lost:
            return _culprit(value, memory)
        value = lost[0]
    return None


def _culprit(value: Value, memory: Mapping[Value, Array]) -> Culprit:
    array = memory[value]
    at = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0]) if array.ndim else ()
    ranges = [memory[one] for one in value.operands if one in memory and memory[one].size]
    sample = at[0] if at and value.type.lead else None
    return Culprit(value, tuple((float(one.min()), float(one.max())) for one in ranges), float(array[at]), sample)


def _lost(array: Any) -> bool:
    return bool(array.dtype.kind == "f" and not np.isfinite(array).all())
