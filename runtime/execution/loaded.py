"""An executable of a target with the memory and the threads for its calls.

Any number of threads may run it at the same time.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager

import numpy as np

from netc.compiler.ir.types import DTYPES, Type
from netc.compiler.planning.plan import SLACK, Plan
from netc.compiler.targets.target import Call, Executable, Planned, Team
from netc.runtime.data.stored import Array
from netc.runtime.execution.memory import Arena, ArenaPool, Memory
from netc.runtime.execution.resources import Resources

Arrays = Mapping[str, Array]


class Loaded:
    """An executable over the parameters and states of `resources`: the workspace of its calls.

    `planned` is the plan that the target asked for, if it did.
    """

    def __init__(self, executable: Executable, planned: Planned | None, resources: Resources) -> None:
        self.executable, self.resources = executable, resources
        self.plan: Plan | None = planned.plan if planned is not None else None
        self.members = planned.members if planned is not None else 1
        interface = self.interface = executable.interface
        self.room, self._types = interface.room, interface.results
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

    # -------------------------------------------------------------- as a workspace

    @property
    def persistent(self) -> Memory:
        """The memory of parameters and states."""
        return self.resources.state.memory

    @property
    def state(self) -> Arrays:
        """Parameters and states by name."""
        return self.resources.state.arrays

    def team(self, most: int) -> AbstractContextManager[Team]:
        """Idle workers of the program, `most` at most."""
        return self.resources.workers.team(most)

    @contextmanager
    def arena(self, members: int) -> Iterator[Arena]:
        """An arena for so many workers, with undefined contents. After an exception it is not used again."""
        arena = self._arenas.take(members)
        yield arena
        self._arenas.give_back(arena)


def result_shape(type_: Type, count: int, steps: int) -> tuple[int, ...]:
    """The shape of a result of `count` samples in so many steps: without a row for each sample, it has one a step."""
    return (count, *type_.shape(1)[1:]) if type_.is_batched else (steps, *type_.shape(1))


def result_bytes(type_: Type, shape: tuple[int, ...]) -> int:
    """The bytes of a result."""
    return DTYPES[type_.dtype].bytes * math.prod(shape)


def result_of(type_: Type, shape: tuple[int, ...]) -> Array:
    """Memory for a result, with slack behind it, because tiles read past the end."""
    return Memory(result_bytes(type_, shape) + SLACK, unwritten=True).array(0, type_.dtype, shape)
