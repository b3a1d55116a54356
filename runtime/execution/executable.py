"""A plan that can be run: its machine code (or an emulator), and memory for each call.

Any number of threads may run it at the same time.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from netc.compiler.ir.types import DTYPES
from netc.compiler.program.plan import SLACK, Plan, Table
from netc.compiler.program.schedule import (
    BARRIER,
    BATCH,
    DIMENSION,
    END,
    FIRST,
    MEMBER,
    MEMBERS,
    MOST_SPINS,
    OFFSETS,
    ORDER,
    PERSISTENT,
    PRIVATE,
    PROFILE,
    ROWS,
    SHARED,
    SPINS,
    STEPS,
    STEPS_OF,
    TABLES,
    YIELD,
    Arenas,
)
from netc.compiler.targets.machine import cores
from netc.runtime.available import require
from netc.runtime.data.stored import Array
from netc.runtime.execution.memory import Arena, ArenaPool, Memory, is_debugging
from netc.runtime.execution.resources import Resources
from netc.runtime.execution.workers import Team, yield_address

if TYPE_CHECKING:  # imported only where it is used: saved machine code runs without a graph and without LLVM
    from netc.compiler.ir.rows import Rows
    from netc.compiler.targets.cpu.linked import Linked
    from netc.compiler.targets.emulator.run import Emulator
    from netc.dsl.source import Span

Arrays = Mapping[str, Array]
RowsOf = Callable[[Plan, int], "tuple[Arrays, Mapping[str, Rows]]"]


@dataclass(frozen=True, slots=True)
class Tables:
    """The addresses where each table of a plan begins and ends in one call. `arrays` keeps their memory alive."""

    begins: list[int]
    ends: list[int]
    arrays: tuple[Arrays, ...]

    def moved(self, by: list[int]) -> "Tables":
        begins = [address + offset for address, offset in zip(self.begins, by, strict=True)]
        return Tables(begins, self.ends, self.arrays)


class Executable:
    """`plan` ready to run by at most `members` workers, over the parameters and states of `resources`.

    `linked` is its machine code, if that need not be built.
    """

    def __init__(
        self,
        plan: Plan,
        resources: Resources,
        members: int,
        profiled: bool = False,
        linked: "Linked | None" = None,
    ) -> None:
        self.plan, self.resources, self.members = plan, resources, members
        is_emulated = resources.backend == "plan"
        self.linked = linked
        self.emulator = _emulator(plan, members) if is_emulated else None
        if not is_emulated and linked is None:
            from netc.compiler.targets.cpu.build import build

            spoiled = Arenas(plan.shared, plan.private) if is_debugging() else None
            self.linked = build(plan.schedule, resources.machine, profiled, spoiled)
        # for each worker, the ticks of each call and their sum; written only if `profiled`
        self.ticks = np.zeros((members, len(plan.tasks) + 1), np.int64)
        self.arenas = ArenaPool(plan.shared, plan.private, members)

    def inputs(self, fields: Arrays) -> dict[str, Array]:
        """The arrays that the plan reads, contiguous and of its element types."""
        inputs = {}
        for name, table in self.plan.inputs.items():
            array = np.ascontiguousarray(fields[name], DTYPES[table.type.dtype].numpy)
            if not table.type.is_batched:
                copy = Memory(array.nbytes + SLACK).array(0, table.type.dtype, array.shape)
                copy[...] = array
                array = copy
            inputs[name] = array
        return inputs

    @staticmethod
    def result(table: Table, count: int, steps: int) -> Array:
        """Memory for a result of all samples or steps, with slack behind it, because tiles read past the end."""
        size = Executable.result_bytes(table, count, steps)
        return Memory(size + SLACK, unwritten=True).array(0, table.type.dtype, _shape(table, count, steps))

    @staticmethod
    def result_bytes(table: Table, count: int, steps: int) -> int:
        """The bytes of a result of all samples or steps."""
        return DTYPES[table.type.dtype].bytes * math.prod(_shape(table, count, steps))

    def tables(self, inputs: Arrays, results: Arrays) -> Tables:
        """The addresses of the tables of the plan."""
        begins, ends = ([0] * len(self.plan.schedule.tables) for _ in range(2))
        for tables, arrays in ((self.plan.inputs, inputs), (self.plan.results, results)):
            for name, table in tables.items():
                begins[table.index] = arrays[name].ctypes.data
                ends[table.index] = begins[table.index] + arrays[name].nbytes
        return Tables(begins, ends, (inputs, results))

    def run_batches(
        self, fields: Arrays, order: Array, batch: int, spans: "Mapping[str, Span]", rows_of: "RowsOf | None" = None
    ) -> dict[str, Array]:
        """Run the samples of `order`: all full steps of `batch` samples in one call, then the smaller last one.

        `spans` are the places of the results in the text. `rows_of` returns the index tables and the rows of a step of
        a number of samples, for plans with varying dimensions.
        """
        plan, count, steps = self.plan, len(order), -(-len(order) // batch)
        order = np.ascontiguousarray(order, np.int32)
        results = {}
        for name, table in plan.results.items():
            require(self.result_bytes(table, count, steps), f"`{name}` of {count:,} samples", spans.get(name))
            results[name] = self.result(table, count, steps)
        full_steps = count // batch
        for first, turns, size in ((0, full_steps, batch), (full_steps, 1, count % batch)):
            if not turns or not size:
                continue
            index, rows = rows_of(plan, size) if rows_of is not None else ({}, {})
            tables = self.tables(self.inputs({**fields, **index}), results)
            offsets = [first * (fixed + batch * per_sample) for fixed, per_sample in plan.schedule.tables]
            self.run(order[first * batch :], tables.moved(offsets), turns, size, rows)
        return results

    def run(self, order: Array, tables: Tables, steps: int, batch: int, rows: "Mapping[str, Rows]") -> None:
        """Run `steps` steps of `batch` samples, whose numbers are in `order`; `rows` are those of the varying dims."""
        if self.emulator is not None:
            arena = self.arenas.take(self.members)
            self._emulate(arena, order, tables, steps, batch, rows)
            self.arenas.give_back(arena)
            return
        with self.resources.workers.team(self.members) as team:
            arena = self.arenas.take(team.count)
            contexts = self._contexts(team, arena, order, tables, rows)
            contexts[:, BATCH], contexts[:, STEPS] = batch, steps
            linked, begin, size = self.linked, contexts.ctypes.data, contexts.strides[0]
            assert linked is not None
            team.run(lambda member: linked.run(begin + member * size))
            self.arenas.give_back(arena)

    def _contexts(self, team: Team, arena: Arena, order: Array, tables: Tables, rows: "Mapping[str, Rows]") -> Array:
        """The context of each worker of a team (see schedule.py), without the sizes."""
        words = self._words(rows, team.count)
        contexts = np.zeros((team.count, TABLES + len(tables.begins) + words.shape[1]), np.int64)
        head = [0] * TABLES
        head[PERSISTENT], head[SHARED] = self.resources.state.memory.address, arena.shared.address
        head[ORDER] = order.ctypes.data
        head[BARRIER], head[YIELD] = team.barrier.ctypes.data, yield_address()
        head[MEMBERS], head[SPINS] = team.count, MOST_SPINS if team.count <= cores() else 0
        contexts[:, : TABLES + len(tables.begins)] = head + tables.begins
        contexts[:, TABLES + len(tables.begins) :] = words
        contexts[:, MEMBER] = range(team.count)
        contexts[:, PRIVATE] = [memory.address for memory in arena.private[: team.count]]
        contexts[:, PROFILE] = self.ticks.ctypes.data + np.arange(team.count) * self.ticks.strides[0]
        return contexts

    def _words(self, rows: "Mapping[str, Rows]", members: int) -> Array:
        """The words for the varying dimensions in a context, a row for each worker."""
        words = np.zeros((members, len(self.plan.schedule.dims), len(DIMENSION)), np.int64)
        for n, dim in enumerate(self.plan.schedule.dims):
            own = rows[dim]
            words[:, n, ROWS], words[:, n, STEPS_OF] = own.count, own.steps
            words[:, n, OFFSETS] = own.offsets.ctypes.data
            ends = own.shares(members)
            words[:, n, FIRST], words[:, n, END] = ends[:-1], ends[1:]
        return words.reshape(members, -1)

    def _emulate(
        self, arena: Arena, order: Array, tables: Tables, steps: int, batch: int, rows: "Mapping[str, Rows]"
    ) -> None:
        from netc.compiler.targets.emulator.run import Memories, array_at

        assert self.emulator is not None
        memories = Memories(
            self.resources.state.memory.bytes,
            arena.shared.bytes,
            [memory.bytes for memory in arena.private],
            array_at(order.ctypes.data, 4 * steps * batch),
            [array_at(begin, end - begin) for begin, end in zip(tables.begins, tables.ends, strict=True)],
        )
        self.emulator.run(memories, steps, batch, self._words(rows, self.members))


def _shape(table: Table, count: int, steps: int) -> tuple[int, ...]:
    return (count, *table.type.shape(1)[1:]) if table.type.is_batched else (steps, *table.type.shape(1))


def _emulator(plan: Plan, members: int) -> "Emulator":
    from netc.compiler.targets.emulator.run import Emulator

    return Emulator(plan, members)
