"""The NaN origin: the first operation of a step whose result is not finite although its operands are.

Found by repeating the step in the interpreter, so that a run without NaN pays nothing for it: training starts again
from its last checkpoint, which gives the same bits, and only the step in question is interpreted, with the same random
numbers.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from msgspec import Struct

from netc.compiler.backends import interpreted_by
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import Sizes
from netc.compiler.ir.value import Value
from netc.compiler.operations.scan import Scan
from netc.compiler.reference import values_of
from netc.dsl.structs import replace
from netc.runtime.data.stored import Array, Field
from netc.runtime.program import Program
from netc.runtime.runs.checkpoint import CHECKPOINT, load_checkpoint
from netc.runtime.runs.run import Run
from netc.runtime.training.decisions import Decisions
from netc.runtime.training.schedule import scheduled


class NanOrigin(Struct, frozen=True):
    """The value that is not finite first.

    `operands` has the least and the largest number of each operand, `result` the first number that is not finite, and
    `sample` its sample in the batch, or its row in the data once that is known.
    """

    value: Value
    operands: tuple[tuple[float, float], ...]
    result: float
    sample: int | None

    def sentence(self) -> str:
        """A sentence for a message."""
        ranges = ", ".join(f"{low:g}" if low == high else f"{low:g} to {high:g}" for low, high in self.operands)
        operands = f" of {ranges}" if ranges else ""
        row = f", in row {self.sample} of the data" if self.sample is not None else ""
        return f"`{self.value.operation}` gives {self.result:g}{operands}{row}"


def find(run: Run, fields: Mapping[str, Field], order: Array, bad: int) -> NanOrigin | None:
    """The NaN origin of step `bad` of the running epoch, whose samples are taken in `order`.

    Returns None if the interpreter finds nothing that is not finite, or if batches are accumulated.
    """
    settings, epoch = run.model.train, run.progress.epoch
    if settings.accumulate > 1:
        return None
    trace = Trace()
    compiled, interpreted = (
        Program(run.model, run.program.seed, target, threads=run.program.workers.count)
        for target in (run.program.target, interpreted_by(trace, run.program.machine))
    )
    progress = load_checkpoint(run.folder / CHECKPOINT, compiled.persistent)
    steps_per_epoch, plateau = -(-len(order) // settings.batch), Decisions(settings, run.metrics).rate

    def run_steps(program: Program, first: int, last: int) -> None:
        if first < last:
            steps = epoch * steps_per_epoch + np.arange(first, last)
            rates = scheduled(settings, steps, steps_per_epoch, plateau)
            program.steps(fields, order[first * settings.batch : last * settings.batch], epoch, rates)

    begin = progress.step if progress.epoch == epoch else 0
    run_steps(compiled, begin, bad - 1)
    step = interpreted.training(fields)
    for at in range(max(begin, bad - 1), bad + 1):  # a NaN of one step may show in the loss of the next one only
        for name, array in compiled.persistent.items():
            interpreted.persistent[name][...] = array
        trace.origins.clear()
        run_steps(interpreted, at, at + 1)
        if step.graph in trace.origins:
            return _with_row(trace.origins[step.graph], run, order[at * settings.batch :])
        run_steps(compiled, at, at + 1)
    return None


def _with_row(origin: NanOrigin, run: Run, samples: Array) -> NanOrigin:
    """The origin with its sample's row in the data; for sequences without a sample, as their batches are reordered."""
    sample, dataset = origin.sample, run.dataset
    if sample is None or run.program.varying or dataset is None or sample >= len(samples):
        return replace(origin, sample=None)
    return replace(origin, sample=int(dataset.rows["train"][samples[sample]]))


class Trace:
    """An interpreter of graphs that looks for the NaN origin of each: `origins` holds them, also of scans' bodies."""

    def __init__(self) -> None:
        self.origins: dict[Graph, NanOrigin] = {}

    def __call__(self, graph: Graph, leaves: Mapping[str, Array], sizes: Sizes) -> dict[str, Array]:
        """The results of a graph, like `reference.evaluate`."""
        memory = values_of(graph, leaves, sizes, self)
        if graph not in self.origins:  # of a body, the first step counts
            origin = self._first(graph, memory)
            if origin is not None:
                self.origins[graph] = origin
        return {str(result): memory[value] for result, value in graph.results.items()}

    def _first(self, graph: Graph, memory: Mapping[Value, Array]) -> NanOrigin | None:
        """Walks from a result that is not finite back to the value all of whose operands are finite."""
        value = next((result for result in graph.results.values() if not _is_finite(memory[result])), None)
        while value is not None:
            operands = value.operands
            if value.role is Role.PART:
                scan = Scan.of(value.operands[0])
                if scan.body in self.origins:
                    return self.origins[scan.body]
                operands = scan.value.operands
            operand = next((operand for operand in operands if not _is_finite(memory[operand])), None)
            if operand is None:
                return _origin(value, memory)
            value = operand
        return None


def _origin(value: Value, memory: Mapping[Value, Array]) -> NanOrigin:
    """The value as an origin, with the ranges of its operands."""
    array = memory[value]
    index = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0]) if array.ndim else ()
    operands = [memory[operand] for operand in value.operands if operand in memory and memory[operand].size]
    ranges = tuple((float(operand.min()), float(operand.max())) for operand in operands)
    return NanOrigin(value, ranges, float(array[index]), index[0] if index and value.type.lead else None)


def _is_finite(array: Any) -> bool:
    return bool(array.dtype.kind != "f" or np.isfinite(array).all())
