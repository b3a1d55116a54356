"""An executable of a target with the memory and the threads for its calls.

Any number of threads may run it at the same time.
"""

import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from netc.compiler.ir.types import DTYPES, Type
from netc.compiler.program.plan import SLACK, Plan
from netc.compiler.targets.target import Call, Executable, Ranks, Team
from netc.runtime.available import require
from netc.runtime.data.stored import Array
from netc.runtime.execution.memory import Arena, ArenaPool, Borrowed, Memory
from netc.runtime.execution.resources import Resources

if TYPE_CHECKING:  # saved machine code runs without a graph
    from netc.compiler.ir.rows import Rows
    from netc.dsl.source import Span

Arrays = Mapping[str, Array]
RowsOf = Callable[["Loaded", int], "tuple[Arrays, Mapping[str, Rows]]"]


@dataclass(frozen=True, slots=True)
class Repeated:
    """One step that is run again and again: it reads `inputs`, which may be changed in place, and fills `results`."""

    loaded: "Loaded"
    call: Call

    @property
    def inputs(self) -> Arrays:
        return self.call.inputs

    @property
    def results(self) -> Arrays:
        return self.call.results

    def run(self) -> None:
        self.loaded.run(self.call)


class Loaded:
    """An executable over the parameters and states of `resources`: the workspace of its calls.

    `members` is the largest number of workers of a call. `plan` is None if the target asked for none, and for saved
    code.
    """

    def __init__(self, executable: Executable, members: int, resources: Resources, plan: Plan | None = None) -> None:
        self.executable, self.members, self.resources, self.plan = executable, members, resources, plan
        interface = self.interface = executable.interface
        self.room = interface.room
        self._arenas = ArenaPool(interface.shared, interface.private, self.members)

    def inputs(self, fields: Arrays) -> dict[str, Array]:
        """The arrays that the executable reads, contiguous and of its element types."""
        inputs = {}
        for name, type_ in self.interface.inputs.items():
            array = np.asarray(fields[name], DTYPES[type_.dtype].numpy, order="C")  # a number keeps its rank 0
            if not type_.is_batched:
                copy = Memory(array.nbytes + SLACK).array(0, type_.dtype, array.shape)
                copy[...] = array
                array = copy
            inputs[name] = array
        return inputs

    def run(self, call: Call) -> None:
        """Run the steps of a call."""
        self.executable.run(call, self)

    def repeated(self, fields: Arrays, batch: int, results: Arrays) -> Repeated:
        """A step of `batch` samples without varying dimensions, to be run again and again.

        It reads a copy of each field that has no row for each sample, and the arrays of the others if their types fit.
        It writes to the arrays `results`, and to new ones for its other results.
        """
        results = {
            name: results[name] if name in results else result_of(type_, _result_shape(type_, batch, 1))
            for name, type_ in self.interface.results.items()
        }
        return Repeated(self, Call(self.inputs(fields), results, np.arange(batch, dtype=np.int32), 1, batch, {}))

    def run_batches(
        self, fields: Arrays, order: Array, batch: int, spans: "Mapping[str, Span]", rows_of: "RowsOf | None" = None
    ) -> dict[str, Array]:
        """Run the samples of `order`: all full steps of `batch` samples in one call, then the smaller last one.

        `spans` are the places of the results in the text. `rows_of` returns the index tables and the rows of a step of
        a number of samples, for programs with varying dimensions.
        """
        count, steps = len(order), -(-len(order) // batch)
        order = np.ascontiguousarray(order, np.int32)
        results = {}
        for name, type_ in self.interface.results.items():
            shape = _result_shape(type_, count, steps)
            require(_result_bytes(type_, shape), f"`{name}` of {count:,} samples", spans.get(name))
            results[name] = result_of(type_, shape)
        full_steps = count // batch
        for first, turns, size in ((0, full_steps, batch), (full_steps, 1, count % batch)):
            if not turns or not size:
                continue
            index, rows = rows_of(self, size) if rows_of is not None else ({}, {})
            inputs, remaining = self.inputs({**fields, **index}), results
            if first:
                inputs |= {name: inputs[name][first:] for name in self.interface.per_step}
                types = self.interface.results
                remaining = {
                    name: array[first * batch if types[name].is_batched else first :] for name, array in results.items()
                }
            self.run(Call(inputs, remaining, order[first * batch :], turns, size, rows))
        return results

    # -------------------------------------------------------------- as a workspace

    @property
    def persistent(self) -> Memory:
        """The memory of parameters and states."""
        return self.resources.state.memory

    @property
    def state(self) -> Arrays:
        """Parameters and states by name."""
        return self.resources.state.arrays

    @property
    def ranks(self) -> Ranks | None:
        """The ranks that run the program together."""
        return self.resources.workers.ranks

    def team(self, most: int) -> AbstractContextManager[Team]:
        """Idle workers of the program, `most` at most."""
        return self.resources.workers.team(most)

    def arena(self, members: int) -> AbstractContextManager[Arena]:
        """An arena for so many workers, with undefined contents. After an exception it is not used again."""
        return Borrowed(self._arenas, members)


def _result_shape(type_: Type, count: int, steps: int) -> tuple[int, ...]:
    """The shape of a result of `count` samples in so many steps: without a row for each sample, it has one a step."""
    return (count, *type_.shape(1)[1:]) if type_.is_batched else (steps, *type_.shape(1))


def _result_bytes(type_: Type, shape: tuple[int, ...]) -> int:
    """The bytes of a result."""
    return DTYPES[type_.dtype].bytes * math.prod(shape)


def result_of(type_: Type, shape: tuple[int, ...]) -> Array:
    """Memory for a result, with slack behind it, because tiles read past the end."""
    return Memory(_result_bytes(type_, shape) + SLACK, unwritten=True).array(0, type_.dtype, shape)
