"""A model of sequences run step by step: from the rows of one step, and states that go from step to step.

The states of several samples lie side by side, so they are stepped together, and can be put in another order.
"""

from dataclasses import dataclass

import numpy as np

from netc.compiler.ir.graph import Graph
from netc.compiler.ir.results import Result
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import Type
from netc.compiler.passes.stepping import STEP, Stepping, stepping
from netc.compiler.program.plan import SLACK
from netc.compiler.reference import evaluate
from netc.runtime.data.stored import Array
from netc.runtime.execution.compiled_model import CompiledModel
from netc.runtime.execution.loaded import Repeated
from netc.runtime.execution.memory import Memory

# The steps of histories at first. Then they double, and each time the step is compiled again. They are more where the
# space behind the earlier steps costs no time: as many as there is room for in so many bytes.
_LEAST_CAPACITY, _ROOM = 256, 32 << 20


@dataclass(frozen=True, slots=True)
class Stepped:
    """A result of a graph that is stepped, from the rows of its input `field` along the dimension `dim`.

    The sequences have at most `most` steps; None means any number.
    """

    graph: Graph
    output: Result
    field: str
    dim: str
    most: int | None


class Stepper:
    """The state of `samples` sequences, all after the same number of steps: `position`.

    A model with attention, or with a table of positions, cannot see more steps than its bound. A longer sequence is
    begun anew from the last half of its steps. Faults E0506 if a step would need a later one.
    """

    def __init__(self, compiled: CompiledModel, what: Stepped, samples: int = 1) -> None:
        self._compiled, self._what, self.samples = compiled, what, samples
        self._graph = what.graph.only(what.output)
        self._steps: dict[int, Stepping] = {}  # by capacity
        self._capacity, self._most = self._fitting(_LEAST_CAPACITY), what.most
        one_step = self._made(self._capacity)
        if one_step.histories and one_step.reads_earlier_steps_alone:
            nbytes = sum(type_.nbytes(samples) for type_ in one_step.histories.values()) // self._capacity
            self._capacity = self._fitting(max(_ROOM // nbytes, _LEAST_CAPACITY))
        if not one_step.is_limited:
            self._most = None
        self._seen: list[Array] = []  # the rows since the sequences began, if only so many may be seen
        self._begin()

    def _fitting(self, capacity: int) -> int:
        """A capacity, or the most steps that sequences may have."""
        return capacity if self._what.most is None else min(capacity, self._what.most)

    def _made(self, capacity: int) -> Stepping:
        if capacity not in self._steps:
            one_step = stepping(self._graph, self._what.dim, capacity)
            self._steps[capacity] = one_step.narrowed(self._compiled.model.train.precision)
        return self._steps[capacity]

    def _begin(self) -> None:
        """Goes to the beginning of the sequences."""
        one_step = self._made(self._capacity)
        first: dict[str, Array] = {}
        if one_step.begins.results:
            with self._compiled.guard.reading:
                first = evaluate(one_step.begins, self._compiled.state.arrays, self.samples)
        self.position = 0
        self._states = {name: self._array(type_) for name, type_ in one_step.states.items()}
        self._histories = {name: self._array(type_) for name, type_ in one_step.histories.items()}
        for name, array in first.items():
            self._states[name][...] = array
        self._call = self._called(one_step)

    def _array(self, type_: Type) -> Array:
        """Memory for a state or a history, which begins as zeros."""
        return Memory(type_.nbytes(self.samples) + SLACK).view(0, type_, self.samples)

    def _called(self, one_step: Stepping) -> Repeated:
        """The step, ready to run on these states and histories."""
        key = ("step", str(self._what.output), self._capacity, self.samples)
        rows = {leaf.name: self._array(leaf.type) for leaf in one_step.graph.values(Role.INPUT)}
        fields = {**rows, STEP: np.zeros((), np.int32), **self._states, **self._histories}
        with self._compiled.guard.reading:
            step = self._compiled.single_step(key, one_step.graph, self.samples)
        assert step.loaded is not None
        return step.loaded.repeated(fields, self.samples)

    def step(self, rows: Array) -> Array:
        """Take a row of each sample; returns the output at this step, a row for each sample."""
        if self._most is not None:
            if self.position == self._most:
                self._begin_anew()
            self._seen.append(rows)
        if self._histories and self.position == self._capacity:
            self._grow()
        if self._call.loaded.resources.state is not self._compiled.state:  # training has moved the parameters
            self._call = self._called(self._made(self._capacity))
        inputs, results = self._call.inputs, self._call.results
        inputs[self._what.field][...] = rows
        if STEP in inputs:
            inputs[STEP][...] = self.position
        with self._compiled.guard.reading:
            self._call.run()
        for name, state in self._states.items():
            state[...] = results[name]
        for name, history in self._histories.items():
            history[:, self.position] = results[name][:, 0]
        self.position += 1
        return results[str(self._what.output)].copy()

    def _grow(self) -> None:
        """Gives the histories twice the capacity."""
        self._capacity = min(2 * self._capacity, self._most or 2 * self._capacity)
        one_step = self._made(self._capacity)
        for name, type_ in one_step.histories.items():
            before, self._histories[name] = self._histories[name], self._array(type_)
            self._histories[name][:, : self.position] = before
        self._call = self._called(one_step)

    def _begin_anew(self) -> None:
        """Begins from the last half of the steps that a sequence may have."""
        last = self._seen[len(self._seen) - len(self._seen) // 2 :]
        self._seen = []
        self._begin()
        for rows in last:
            self.step(rows)

    def reorder(self, sources: Array) -> None:
        """Let each sample go on from the state of another: of the one that `sources` names."""
        for array in (*self._states.values(), *self._histories.values()):
            array[...] = array[sources]
        self._seen = [rows[sources] for rows in self._seen]
