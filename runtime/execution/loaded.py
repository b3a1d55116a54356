"""An executable of a target with the memory and the threads for its calls.

Any number of threads may run it at the same time.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from msgspec import Struct

from netc.compiler.program.plan import Plan
from netc.compiler.targets.machine import cores
from netc.compiler.targets.target import Call, Divided, Executable, Ranks, Team
from netc.runtime.data.stored import Array
from netc.runtime.execution.batches import Arrays, Batches, input_of, result_of, result_shape
from netc.runtime.execution.memory import Arena, ArenaPool, Borrowed, Memory, is_debugging
from netc.runtime.execution.resources import Resources

if TYPE_CHECKING:  # saved machine code runs without a graph
    from netc.compiler.ir.rows import Rows
    from netc.dsl.source import Span

RowsOf = Callable[["Loaded", int], "tuple[Arrays, Mapping[str, Rows]]"]


class Repeated(Struct, frozen=True):
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
        self.capacity = interface.capacity
        self._arenas = ArenaPool(interface.shared, interface.private, self.members)
        self._batches: list[Batches] = []  # calls that are kept; `remove`, `insert` and `append` of a list are atomic

    def inputs(self, fields: Arrays) -> dict[str, Array]:
        """The arrays that the executable reads, contiguous and of its element types."""
        return {name: input_of(type_, fields[name]) for name, type_ in self.interface.inputs.items()}

    def run(self, call: Call) -> None:
        """Runs the steps of a call."""
        self.executable.run(call, self)

    def repeated(self, fields: Arrays, batch: int, results: Arrays) -> Repeated:
        """A step of `batch` samples without varying dimensions, to be run again and again.

        It reads a copy of each field that has no row for each sample, and the arrays of the others if their types fit.
        It writes to the arrays `results`, and to new ones for its other results.
        """
        results = {
            name: results[name] if name in results else result_of(type_, result_shape(type_, batch, 1))
            for name, type_ in self.interface.results.items()
        }
        return Repeated(self, Call(self.inputs(fields), results, np.arange(batch, dtype=np.int32), 1, batch, {}))

    def run_batches(
        self, fields: Arrays, order: Array, batch: int, spans: "Mapping[str, Span]", rows_of: "RowsOf | None" = None
    ) -> dict[str, Array]:
        """Runs the samples of `order`: all full steps of `batch` samples in one call, then the smaller last one.

        `spans` are those of the results in the text. `rows_of` returns the index tables and the rows of a step of
        a number of samples, for programs with varying dimensions.
        """
        batches = self._kept_batches(fields, order, batch)
        if batches is None:
            tables = None if rows_of is None else partial(rows_of, self)
            batches = Batches(self.interface, fields, order, batch, spans, tables)
        for call in batches.calls:
            self.run(call)
        if not batches.is_kept:
            return batches.results
        results = {name: array.copy() for name, array in batches.results.items()}
        self._batches.insert(0, batches)
        if len(self._batches) > 1:  # which asks the system for the cores
            del self._batches[cores() :]
        return results

    def _kept_batches(self, fields: Arrays, order: Array, batch: int) -> Batches | None:
        """Calls that ran these fields before, ready to run them in another order; None if there are none."""
        for batches in tuple(self._batches):
            try:
                self._batches.remove(batches)
            except ValueError:  # another thread has taken them
                continue
            if batches.takes(fields, order, batch):
                return batches
            self._batches.append(batches)
        return None

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

    @property
    def divided(self) -> Divided:
        """The parameters and states of which each rank holds only its share."""
        return self.resources.state.divided

    @property
    def must_share(self) -> bool:
        """See Workspace.must_share: in tests, which compare bits."""
        return is_debugging() or self.resources.workers.shares_small_steps

    def team(self, most: int) -> AbstractContextManager[Team]:
        """Idle workers of the program, `most` at most."""
        return self.resources.workers.team(most)

    def arena(self, members: int) -> AbstractContextManager[Arena]:
        """An arena for some workers, with undefined contents. After an exception it is not used again."""
        return Borrowed(self._arenas, members)
