"""The state of a lowering: its tasks so far, and the memory in which each value is read and written.

A value has a buffer of its own, or is read through the buffer of another one (a view: reshape, transpose, slice), or is
computed inside the loops of its users, as fuse.py has decided. Knows no form of kernels: forms.py has their table.
"""

from functools import cached_property

from msgspec import Struct

from netc.compiler.ir.attributes import Constant
from netc.compiler.ir.forms import Scalar, View
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.index_tables import IndexTable, TableKind, table_of
from netc.compiler.ir.results import Result, ResultKind
from netc.compiler.ir.roles import Role
from netc.compiler.ir.strides import contiguous
from netc.compiler.ir.types import BATCH, Sizes, Type
from netc.compiler.ir.value import Value, viewed
from netc.compiler.lowering.copies import copy, fill, gather_rows
from netc.compiler.lowering.fuse import fuse
from netc.compiler.lowering.padding import inside_of, padded_forms, write_padding
from netc.compiler.lowering.parts import parts
from netc.compiler.lowering.storage import Storage
from netc.compiler.lowering.units import Fusion, Unit
from netc.compiler.operations.elementwise import paired
from netc.compiler.operations.touched import put
from netc.compiler.program.tasks import Buffer, StridedView, Tasks, all_of
from netc.compiler.targets.machine import Machine
from netc.dsl.structs import replace


class Bindings(Struct, frozen=True):
    """The memory around the body of a scan: its leaves, its carries between steps, and the rows that it yields."""

    leaves: dict[str, StridedView]
    carries: dict[str, Buffer]
    yields: dict[Result, Buffer]


class Lowering:
    """A graph while it is lowered.

    `sizes` are the largest numbers of samples of a step and of rows of each varying dimension. `bindings` is the memory
    around the graph if it is the body of a scan; then `is_step` is true.
    """

    def __init__(self, graph: Graph, sizes: Sizes, machine: Machine, bindings: Bindings | None = None) -> None:
        self.graph, self.sizes, self.machine, self.program = graph, sizes, machine, Tasks()
        self.bindings, self.is_step = bindings or Bindings({}, {}, {}), bindings is not None
        # the buffers of stacked rows that a value has not been written to yet
        self.stacks: dict[Value, list[Buffer]] = {}
        for result, buffer in self.bindings.yields.items():
            self.stacks.setdefault(graph.results[result], []).append(buffer)
        self.fusion: Fusion = fuse(graph)
        self.roots = set(graph.results.values())
        self.padded_forms, self.parts = padded_forms(graph, self.fusion), parts(graph, self.fusion)
        self.views: dict[Value, StridedView] = {}
        self.storage = Storage(graph.values(), self.views, machine)
        self.tables: dict[Value, Buffer] = {}  # inputs whose rows have not been gathered yet
        self.in_place: set[Value] = set()  # those of them that are read by the numbers of their rows
        self.order = Buffer(Type("i32", (BATCH,)), "order", "order")
        self.leaf_of: dict[str, Value] = {}
        self.updates: dict[Value, str] = {}
        self.read_at_end: set[str] = set()  # leaves that are results, unchanged or in another shape
        for result, value in graph.results.items():
            if result.kind is ResultKind.UPDATE and value.operands:
                self.updates.setdefault(value, result.name)
                if value.definition is put and value.operands[0].operands:
                    self.updates.setdefault(value.operands[0], result.name)  # where it computes the other rows
            if (leaf := viewed(value).name) and result not in self.bindings.yields:
                self.read_at_end.add(leaf)

    def is_carry(self, value: Value) -> bool:
        """Whether a value of a body is a carry, or a view of one, as it is at the beginning of a step."""
        return viewed(value).name in self.bindings.carries

    # -------------------------------------------------------------- leaves

    def add_leaf(self, value: Value) -> None:
        """Gives a leaf its buffer.

        Parameters and states keep theirs; rows of inputs are gathered from a table, in the order of the samples.
        """
        name = value.name
        self.leaf_of[name] = value
        if name in self.bindings.leaves:
            self.views[value] = self.bindings.leaves[name]
            if name in self.bindings.carries:
                self.program.leaves[name] = self.bindings.carries[name]
            return
        stays = value.role in (Role.PARAMETER, Role.STATE)
        fresh = Buffer(value.type, "persistent" if stays else "table", name, value.is_per_step)
        buffer = self.program.leaves.setdefault(name, fresh)  # two leaves with the same name share a buffer
        if value.type.is_batched and table_of(value) is None and not value.is_of_batch:
            self.tables[value] = buffer  # its rows are gathered where they are read first
        else:
            self.views[value] = StridedView(buffer, contiguous(value.type.dims))

    def memory_of(self, name: str, value: Value) -> Buffer:
        """The memory of a parameter, a state or a carry, whether or not anything reads its old value."""
        if name in self.bindings.carries:
            return self.program.leaves.setdefault(name, self.bindings.carries[name])
        return self.program.leaves.setdefault(name, Buffer(value.type, "persistent", name))

    def order_of(self, value: Value) -> Buffer:
        """Returns the buffer of row numbers: the rows of its table that an input has in this step."""
        dim = value.type.rows
        if dim in (None, BATCH):
            return self.order
        name = str(IndexTable(TableKind.SOURCE, str(dim)))
        return self.program.leaves.setdefault(name, Buffer(Type("i32", (str(dim),)), "table", name))

    # -------------------------------------------------------------- where values are read

    def read(self, value: Value) -> StridedView:
        """Returns the view through which a value is read.

        Constants are written to memory; what strides cannot describe is copied.
        """
        if value not in self.views:
            if value in self.tables:
                self.views[value] = gather_rows(self, value)
            elif value.role is Role.CONSTANT:
                buffer = Buffer(value.type)
                fill(self, value, value.attributes_as(Constant).value, all_of(buffer))
                self.views[value] = all_of(buffer)
            else:
                self.views[value] = self._view(value)
        return self.views[value]

    def _view(self, value: Value) -> StridedView:
        """Returns the operand's memory with the strides of the view, or a copy if no strides describe it."""
        lower = value.lowered_as(View)
        (operand,) = value.operands
        view = self.read(operand)
        layout = lower.layout(view.strides, value.type, operand.type, **value.keywords)
        if layout is None:
            buffer = Buffer(self.storage.type_of(operand))
            copy(self, operand, buffer)
            return StridedView(buffer, contiguous(value.type.dims))
        return StridedView(view.buffer, layout.strides, view.offset + layout.offset)

    def read_in_memory(self, value: Value) -> StridedView:
        """Returns a view of a value in a buffer of its own element type, for kernels that read nothing else.

        A range, which has no memory, and a value that is kept in 16 bits (storage.py) are copied into one.
        """
        view = self.read(value)
        if view.buffer is not None and view.buffer.type.dtype == value.type.dtype:
            return view
        buffer = Buffer(value.type)
        copy(self, value, buffer)
        return all_of(buffer)

    def fills(self, value: Value, buffer: Buffer) -> bool:
        """Whether a value lies in a buffer, in row-major order, and the buffer holds nothing else."""
        view = self.views.get(value)
        return (
            view is not None
            and view.buffer is buffer
            and buffer.type.dims == value.type.dims
            and view.strides == contiguous(value.type.dims)
            and view.offset == 0
        )

    # -------------------------------------------------------------- where values are written

    def output(self, value: Value) -> StridedView:
        """Returns the view through which a value is written, and records it: usually that of a new buffer.

        A value that is padded later is written inside of its padded form (padding.py), a part of a `concat` into it
        (parts.py). The next value of a parameter
        or state is written to its own memory if no later task reads the old value.
        """
        if value in self.padded_forms:
            return self._inside_padding(value, self.padded_forms[value])
        if value in self.parts:
            return self._as_part(value, *self.parts[value])
        name = self.updates.get(value)
        if name is not None and self._may_replace(value, name):
            buffer = self.memory_of(name, value)
        elif self.stacks.get(value):
            buffer = self.stacks[value].pop(0)
        else:
            buffer = Buffer(self.storage.type_of(value))
        self.views[value] = _in_pairs(buffer) if value.definition is paired else all_of(buffer)
        return self.views[value]

    def replaced(self, value: Value, table: Value) -> StridedView | None:
        """Returns the memory of a table for a value that changes some of its rows in place, and records it.

        None if another value reads the table later, or if the table is a parameter or state that this value does not
        update.
        """
        view, unit = self.views.get(table), self.fusion.unit_of[value]
        if view is None or view.buffer is None or not self.fills(table, view.buffer):
            return None
        if table.name and self.updates.get(value) != table.name:
            return None
        if table in self.roots or table.name in self.read_at_end or table.role is Role.CONSTANT:
            return None
        readers = self._readers.get(table.name or table, ())
        if any(reader.position >= unit.position and reader is not unit for reader, _ in readers):
            return None
        self.views[value] = view
        return view

    def strides_of(self, value: Value) -> tuple[int, ...]:
        """The strides with which `output` will write a value."""
        if value in self.padded_forms:
            return inside_of(self.padded_forms[value]).strides
        return contiguous(value.type.dims)

    def _inside_padding(self, value: Value, padded: Value) -> StridedView:
        """Makes a buffer for the padded form of a value, writes the padding, and returns the view of its inside."""
        buffer = Buffer(self.storage.type_of(padded))
        self.views[padded] = all_of(buffer)
        self.views[value] = replace(inside_of(padded), buffer=buffer)
        write_padding(self, padded, buffer)
        return self.views[value]

    def _as_part(self, value: Value, joined: Value, view: StridedView) -> StridedView:
        """Returns the view of a part of a value that is put together, whose buffer the first of its parts makes."""
        if joined not in self.views:
            self.views[joined] = all_of(Buffer(self.storage.type_of(joined)))
        self.views[value] = replace(view, buffer=self.views[joined].memory)
        return self.views[value]

    def _may_replace(self, value: Value, name: str) -> bool:
        """Whether readers of the old value run before `value` is written, or read each element before its write."""
        if name in self.read_at_end:
            return False
        if name not in self.leaf_of:  # nobody reads it
            return True
        unit = self.fusion.unit_of[value]
        if not isinstance(value.lower, Scalar) or unit.space != self.leaf_of[name].type.dims:
            return False
        return all(
            reader.position < unit.position or (reader is unit and pointwise)
            for reader, pointwise in self._readers.get(name, ())
        )

    @cached_property
    def _readers(self) -> dict[str | Value, list[tuple[Unit, bool]]]:
        """The units that read each value in memory, and whether they read it point by point. Leaves are found by their
        names."""
        readers: dict[str | Value, list[tuple[Unit, bool]]] = {}
        for unit in self.fusion.units:
            for value in unit.values:
                for source, pointwise in self.fusion.sources(value):
                    readers.setdefault(source.name or source, []).append((unit, pointwise))
        return readers


def _in_pairs(buffer: Buffer) -> StridedView:
    """The view of a buffer in which the last two axes, [2, n], are n pairs; in row-major order if it is not of bf16."""
    view = all_of(buffer)
    if buffer.type.dtype != "bf16":
        return view
    return replace(view, strides=(*view.strides[:-2], 1, 2))
