"""A model of sequences run step by step: from the rows of one step, and states that go from step to step.

The states of several samples lie side by side, so they are stepped together, and can be put in another order.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from msgspec import Struct

from netc.compiler.ir.graph import Graph, needed_by
from netc.compiler.ir.results import Result
from netc.compiler.ir.roles import Role
from netc.compiler.ir.supplied import parse_supplied
from netc.compiler.ir.types import Type
from netc.compiler.passes.stepping.graph import STEP, Stepping
from netc.compiler.passes.stepping.step import stepping
from netc.compiler.program.plan import SLACK
from netc.compiler.reference import evaluate
from netc.runtime.data.stored import Array
from netc.runtime.execution.compiled_model import CompiledModel
from netc.runtime.execution.loaded import Repeated
from netc.runtime.execution.memory import Memory

# The steps of histories at first. Then they double, and each time the step is compiled again. They are more where the
# space behind the earlier steps costs no time: as many as fit into this number of bytes.
_LEAST_CAPACITY, _CACHE_BYTES = 256, 32 << 20


class Stepped(Struct, frozen=True):
    """A result of a graph that is stepped, from the rows of its input `field` along the dimension `dim`.

    The sequences have at most `most` steps; None means any number.
    """

    graph: Graph
    output: Result
    field: str
    dim: str
    most: int | None


class _Block(Struct, frozen=True):
    """Histories of one type, by name: their `steps` so far, and rows of the `new` step, along a first axis.

    So the rows of all histories are stored at once.
    """

    names: Sequence[str]
    steps: Array
    new: Array


def _by_type(types: Mapping[str, Type]) -> list[tuple[list[str], Type]]:
    """The names of each type."""
    return [([name for name in types if types[name] == type_], type_) for type_ in dict.fromkeys(types.values())]


class Stepper:
    """The state of `samples` sequences, all after the same number of steps: `position`.

    A model with attention, or with a table of positions, cannot see more steps than its bound. A longer sequence is
    begun again with the last half of its steps. Raises E0506 if a step would need a later one.
    """

    def __init__(self, compiled: CompiledModel, what: Stepped, samples: int = 1) -> None:
        self._compiled, self._what, self.samples = compiled, what, samples
        self._graph, self._output = what.graph.only(what.output), str(what.output)
        self._steps: dict[int, Stepping] = {}  # by capacity
        self._capacity, self._most = self._fitting(_LEAST_CAPACITY), what.most
        one_step = self._with_capacity(self._capacity)
        if one_step.histories and one_step.reads_earlier_steps_alone:
            nbytes = sum(type_.nbytes(samples) for type_ in one_step.histories.values()) // self._capacity
            self._capacity = self._fitting(max(_CACHE_BYTES // nbytes, _LEAST_CAPACITY))
        if not one_step.is_limited:
            self._most = None
        self._seen: list[Array] = []  # the rows since the sequences began, if their number is limited
        self._begin()

    def _fitting(self, capacity: int) -> int:
        """A capacity, or the most steps that sequences may have."""
        return capacity if self._what.most is None else min(capacity, self._what.most)

    def _with_capacity(self, capacity: int) -> Stepping:
        if capacity not in self._steps:
            precision = self._compiled.model.train.precision
            self._steps[capacity] = stepping(self._graph, self._what.dim, capacity, precision)
        return self._steps[capacity]

    def _begin(self) -> None:
        """Goes to the beginning of the sequences."""
        one_step = self._with_capacity(self._capacity)
        first: dict[str, Array] = {}
        if one_step.begins.results:
            with self._compiled.guard.reading:
                first = evaluate(one_step.begins, self._compiled.state.arrays, self.samples)
        self.position = 0
        self._states = {name: self._array(type_) for name, type_ in one_step.states.items()}
        self._blocks = [self._block(names, type_) for names, type_ in _by_type(one_step.histories)]
        for name, array in first.items():
            self._states[name][...] = array
        self._calls = self._called(one_step)

    def _array(self, type_: Type, *axes: int) -> Array:
        """Memory for a state, or for several along an axis before its own, which begins as zeros."""
        shape = (*axes, *type_.shape(self.samples))
        return Memory(math.prod(axes) * type_.nbytes(self.samples) + SLACK).array(0, type_.dtype, shape)

    def _block(self, names: Sequence[str], type_: Type) -> _Block:
        """Histories of a type, whose dims are [batch, capacity, ...]."""
        row = type_.with_dims((*type_.dims[:1], 1, *type_.dims[2:]))
        return _Block(names, self._array(type_, len(names)), self._array(row, len(names)))

    @property
    def histories(self) -> dict[str, Array]:
        """The histories by name: rows of all steps so far, and zeros behind them."""
        return {name: steps for block in self._blocks for name, steps in zip(block.names, block.steps, strict=True)}

    def _called(self, one_step: Stepping) -> list[Repeated]:
        """The step, ready to run on these states and histories: in two parts if its output does not read its rows."""
        self._is_ahead = False  # whether the first of two parts has run for the coming step
        rows = {leaf.name: self._array(leaf.type) for leaf in one_step.graph.values(Role.INPUT)}
        fields = {**rows, STEP: np.zeros((), np.int32), **self._states, **self.histories}
        new = {name: row for block in self._blocks for name, row in zip(block.names, block.new, strict=True)}
        calls = []
        for part, graph in enumerate(one_step.divided(self._what.field, self._what.output)):
            key = ("step", part, self._output, self._capacity, self.samples)
            with self._compiled.guard.reading:
                step = self._compiled.single_step(key, graph, self.samples)
            assert step.loaded is not None
            for name in filter(parse_supplied, step.given):
                fields |= self._compiled.generated(name, rows, np.arange(self.samples))
            calls.append(step.loaded.repeated(fields, self.samples, new))
        return calls

    @property
    def reads_own_step(self) -> bool:
        """Whether the output at a step depends on the rows of that step, and not on those of earlier steps alone."""
        graph = self._with_capacity(self._capacity).graph
        return any(leaf.name == self._what.field for leaf in needed_by([graph.results[self._what.output]]))

    def step(self, rows: Array) -> Array:
        """Takes a row of each sample; returns the output at this step, a row for each sample."""
        self._prepare()
        if not self._is_ahead:
            self._run(self._calls[0], rows)
        for call in self._calls[1:]:
            self._run(call, rows)
        self._is_ahead = False
        results = {name: array for call in self._calls for name, array in call.results.items()}
        for name, state in self._states.items():
            state[...] = results[name]
        for block in self._blocks:
            block.steps[:, :, self.position] = block.new[:, :, 0]
        self.position += 1
        if self._most is not None:
            self._seen.append(rows)
        return results[self._output].copy()

    def coming(self) -> Array:
        """The output at the coming step, whose rows it does not read, a row for each sample; no state changes."""
        assert not self.reads_own_step
        self._prepare()
        if not self._is_ahead:
            self._run(self._calls[0], np.zeros(self.samples, np.int32))
            self._is_ahead = len(self._calls) > 1
        return self._calls[0].results[self._output].copy()

    def _run(self, call: Repeated, rows: Array) -> None:
        """Runs a part of the coming step with these rows; the states are not taken over."""
        if self._what.field in call.inputs:
            call.inputs[self._what.field][...] = rows
        if STEP in call.inputs:
            call.inputs[STEP][...] = self.position
        with self._compiled.guard.reading:
            call.run()

    def _prepare(self) -> None:
        """Makes space for the coming step, and takes over memory that training has moved."""
        if self._most is not None and self.position == self._most:
            self._begin_anew()
        if self._blocks and self.position == self._capacity:
            self._grow()
        if self._calls[0].loaded.resources.state is not self._compiled.state:  # training has moved the parameters
            self._calls = self._called(self._with_capacity(self._capacity))

    def _grow(self) -> None:
        """Gives the histories twice the capacity."""
        self._capacity = min(2 * self._capacity, self._most or 2 * self._capacity)
        one_step, before = self._with_capacity(self._capacity), self._blocks
        self._blocks = [self._block(names, type_) for names, type_ in _by_type(one_step.histories)]
        for block, old in zip(self._blocks, before, strict=True):
            block.steps[:, :, : self.position] = old.steps
        self._calls = self._called(one_step)

    def _begin_anew(self) -> None:
        """Begins from the last half of the steps that a sequence may have."""
        last = self._seen[len(self._seen) - len(self._seen) // 2 :]
        self._seen = []
        self._begin()
        for rows in last:
            self.step(rows)

    def reorder(self, sources: Array) -> None:
        """Lets each sample go on from the state of another: of the one that `sources` names."""
        self._is_ahead = False
        for array in self._states.values():
            array[...] = array[sources]
        for block in self._blocks:
            block.steps[:, :, : self.position] = block.steps[:, sources, : self.position]
        self._seen = [rows[sources] for rows in self._seen]
