"""The calls of an executable that run many samples: all full steps in one call, then the smaller last one.

Epochs of a small model take less time than it takes to prepare these calls, so they are kept: the next epoch writes its
order and its numbers into the same arrays.
"""

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from netc.compiler.ir.types import DTYPES, Type
from netc.compiler.program.plan import SLACK
from netc.compiler.program.schedule import NAN_BYTE
from netc.compiler.targets.target import Call, Interface
from netc.dsl.plural import counted
from netc.runtime.available import require
from netc.runtime.data.stored import Array
from netc.runtime.execution.memory import Memory, is_debugging

if TYPE_CHECKING:  # saved machine code runs without a graph
    from netc.compiler.ir.rows import Rows
    from netc.dsl.source import Span

Arrays = Mapping[str, Array]
# The most bytes of fields that are kept from being freed, and of results, which are copied. A field of at most
# _MOST_COPIED bytes is copied too, which takes less time than new calls: 12 us at 10 GB/s, and 40 us.
_MOST_FIELDS, _MOST_RESULTS, _MOST_COPIED = 4_000_000, 200_000, 1 << 17


class Batches:
    """The calls that run the samples of `order` in steps of `batch` samples, and the arrays that they fill.

    `spans` are those of the results in the text. `rows_of` returns the index tables and the rows of a step of a
    number of samples, for programs with varying dimensions.
    """

    def __init__(
        self,
        interface: Interface,
        fields: Arrays,
        order: Array,
        batch: int,
        spans: "Mapping[str, Span]",
        rows_of: "Callable[[int], tuple[Arrays, Mapping[str, Rows]]] | None" = None,
    ) -> None:
        count, steps = len(order), -(-len(order) // batch)
        self._order, self.batch, self._is_spoiled = np.array(order, np.int32), batch, is_debugging()
        self.results: dict[str, Array] = {}
        for name, type_ in interface.results.items():
            shape = result_shape(type_, count, steps)
            require(_result_bytes(type_, shape), f"`{name}` of {counted(count, 'sample')}", spans.get(name))
            self.results[name] = result_of(type_, shape)
        self.calls: list[Call] = []
        self._copies: dict[str, Array] = {}  # of small fields, converted ones, and what has no row for each sample
        self._fields: dict[str, Array] = {}  # arrays that are read where they lie
        full_steps = count // batch
        for first, turns, size in ((0, full_steps, batch), (full_steps, 1, count % batch)):
            if not turns or not size:
                continue
            index, rows = rows_of(size) if rows_of is not None else ({}, {})
            inputs, remaining = self._inputs(interface, fields, index), self.results
            if first:
                inputs |= {name: inputs[name][first:] for name in interface.per_step}
                types = interface.results
                remaining = {
                    name: array[first * batch if types[name].is_batched else first :]
                    for name, array in self.results.items()
                }
            self.calls.append(Call(inputs, remaining, self._order[first * batch :], turns, size, rows))
        self.is_kept = _nbytes(self._copies, self._fields) <= _MOST_FIELDS and _nbytes(self.results) <= _MOST_RESULTS

    def _inputs(self, interface: Interface, fields: Arrays, index: Arrays) -> dict[str, Array]:
        """The arrays that a call reads: the tables `index` of its own, and those of `fields`."""
        inputs = {name: type_ for name, type_ in interface.inputs.items() if name not in index}
        for name, type_ in inputs.items():
            if name in self._copies or name in self._fields:
                continue
            array = input_of(type_, fields[name])
            if not type_.is_batched or array is not fields[name]:
                self._copies[name] = array if not np.may_share_memory(array, fields[name]) else array.copy()
            elif array.nbytes <= _MOST_COPIED:
                self._copies[name] = array.copy()
            else:
                self._fields[name] = array
        tables = {name: input_of(interface.inputs[name], table) for name, table in index.items()}
        arrays = {name: self._copies[name] if name in self._copies else self._fields[name] for name in inputs}
        return {**arrays, **tables}

    def takes(self, fields: Arrays, order: Array, batch: int) -> bool:
        """Whether the calls can run another order of so many samples of these fields. Then it is written into them,
        with the fields that they copy."""
        if batch != self.batch or len(order) != len(self._order):
            return False
        for name, array in self._fields.items():
            if fields[name] is not array:
                return False
        for name, copy in self._copies.items():
            if np.shape(fields[name]) != copy.shape:
                return False
        self._order[...] = order
        for name, copy in self._copies.items():
            copy[...] = fields[name]
        if self._is_spoiled:
            for array in self.results.values():
                array.reshape(-1).view(np.uint8).fill(NAN_BYTE)
        return True


def _nbytes(*arrays: Arrays) -> int:
    """The bytes of arrays."""
    return sum(array.nbytes for each in arrays for array in each.values())


def input_of(type_: Type, field: Array) -> Array:
    """An array that is contiguous and of a type's elements; without a row for each sample it is a copy, with slack."""
    array = np.asarray(field, DTYPES[type_.dtype].numpy, order="C")  # a number keeps its rank 0
    if type_.is_batched:
        return array
    copy = Memory(array.nbytes + SLACK).array(0, type_.dtype, array.shape)
    copy[...] = array
    return copy


def result_shape(type_: Type, count: int, steps: int) -> tuple[int, ...]:
    """The shape of a result of `count` samples in `steps` steps: without a row for each sample, it has one a step."""
    return (count, *type_.shape(1)[1:]) if type_.is_batched else (steps, *type_.shape(1))


def _result_bytes(type_: Type, shape: tuple[int, ...]) -> int:
    """The bytes of a result."""
    return DTYPES[type_.dtype].bytes * math.prod(shape)


def result_of(type_: Type, shape: tuple[int, ...]) -> Array:
    """Memory for a result, with slack behind it, because tiles read past the end."""
    return Memory(_result_bytes(type_, shape) + SLACK, unwritten=True).array(0, type_.dtype, shape)
