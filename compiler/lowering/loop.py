"""Builds one fused loop: values that are computed or loaded over an iteration space, written as a loop nest.

This is the loop of x - m, its exponential and the sum of that over [batch, 3]. Each line names an element. `operand`
adds the lines that load one, `member` those that compute one, and `emit` the writes and the task:

    for i0 < n0 = rows                  the lead: workers share the rows out
      for i1 < 3, folded
        t0 = f32 p0[i0 * 3 + i1]        x
        t1 = f32 p1[i0]                 m
        t2 = t0 - t1                    inlined: never in memory
        t3 = exp.f32(t2)
        f32 p2[i0 * 3 + i1] = t3        an output that is stored
        f32 p3[i0] = fold of t3 from f32(0.0) by a + b
"""

import math
from collections.abc import Sequence
from typing import Any, Protocol

from msgspec import Struct

from netc.compiler.ir.attributes import Constant
from netc.compiler.ir.forms import Fold, Scalar
from netc.compiler.ir.roles import Role
from netc.compiler.ir.strides import broadcast, contiguous, row_axis
from netc.compiler.ir.types import BATCH, Dim, Type
from netc.compiler.ir.value import Value, viewed
from netc.compiler.lowering.sizes import behind_shapes, count_of
from netc.compiler.lowering.units import Fusion
from netc.compiler.operations.elementwise import cast
from netc.compiler.program.nests import Access, Line, Nest, Output, Reduction, compact
from netc.compiler.program.scalars import Binary, Expression, Name, Size, expression, number
from netc.compiler.program.schedule import Count
from netc.compiler.program.tasks import SHARDS, Buffer, Pointer, StridedView, Task, Tasks, buffer_numbers
from netc.dsl.structs import replace


class LoopContext(Protocol):
    """The parts of lowering that a loop uses, to find the memory of values.

    `tables` are inputs whose rows have not been gathered yet, and those `in_place` are not, if it can be helped.
    """

    program: Tasks
    fusion: Fusion
    tables: dict[Value, Buffer]
    in_place: set[Value]

    def order_of(self, value: Value) -> Buffer: ...

    def read(self, value: Value) -> StridedView: ...


class Writing(Struct, frozen=True):
    """How a loop writes its outputs, if it does not store each element or reduce it as the value's operation says.

    With `indirect` or `is_running`, the strides of the outputs' views are those of all axes.
    """

    indirect: tuple[str, int] | None = None  # the name of an index, and the stride that it is multiplied by
    combine: str | None = None  # an expression of a and b: the element in memory, and the one that is written
    reduction: Reduction | None = None  # of all outputs
    argmax: bool = False  # the position of the largest element is written
    is_running: bool = False  # the result so far is stored at each point


_PLAIN = Writing()


class _Gathered:
    """A value whose operands are being computed. `awaited` is the operand whose line comes next."""

    def __init__(self, value: Value) -> None:
        self.value = value
        self.operands = iter(list(zip("xyz", value.operands, strict=False)))
        self.names: dict[str, str] = {}
        self.awaited = ""


class Loop:
    """The body of one loop while it is built: its lines, and the buffers behind its pointers.

    Its rows run along the first axis of several elements that is not folded: the batch, if there is one. With
    `in_shards` they run along the batch though it is folded, and each shard has a result of its own.
    """

    def __init__(
        self, lowering: LoopContext, space: tuple[Dim, ...], folded: tuple[int, ...] = (), in_shards: bool = False
    ) -> None:
        self.lowering, self.space, self.folded, self.in_shards = lowering, space, folded, in_shards
        kept = [axis for axis in range(len(space)) if axis not in folded]
        is_one = all(space[axis] == 1 for axis in kept)  # a single element: no rows to share out
        rows = None if is_one else kept[row_axis([space[axis] for axis in kept])]
        self.lead: int | None = space.index(BATCH) if in_shards else rows
        self.lines: list[Line] = []
        self.pointers: list[Pointer] = []
        self.numbers: dict[Pointer, int] = {}  # of the pointers
        self.names: dict[Any, str] = {}
        self.members: dict[Value, str] = {}
        self.inlined: dict[Value, str] = {}
        self.computed: list[Value] = []
        self.sizes: dict[Count, int] = {}  # that lines compute with, and their numbers
        self.is_whole = False  # it cannot be cut into rows

    def add(self, content: Access | Expression) -> str:
        """Adds a line, unless there is one of the same content. Returns its name."""
        if content not in self.names:
            self.names[content] = f"t{len(self.lines)}"
            self.lines.append(Line(self.names[content], content))
        return self.names[content]

    def pointer(self, buffer: Buffer, offset: int, strides: tuple[int, ...], shard: int = 0) -> int:
        pointer = Pointer(buffer, offset, 0 if self.lead is None else strides[self.lead], shard)
        if pointer not in self.numbers:
            self.numbers[pointer] = len(self.pointers)
            self.pointers.append(pointer)
        return self.numbers[pointer]

    def load(
        self, view: StridedView, type_: Type, strides: tuple[int, ...], indirect: tuple[str, int] | None = None
    ) -> str:
        if view.buffer is None:
            # A range counts from the beginning of the loop, so rows of it cannot be done alone.
            self.is_whole |= self.lead is not None and strides[self.lead] != 0
            return self.add(Access(None, type_.dtype, strides))
        pointer = self.pointer(view.buffer, view.offset, strides)
        return self.add(Access(pointer, view.buffer.type.dtype, strides, indirect))

    def element(self, view: StridedView, type_: Type, strides: tuple[int, ...]) -> Access:
        """Returns the access to an element of a buffer, without a line that loads it."""
        return Access(self.pointer(view.memory, view.offset, strides), type_.dtype, strides)

    def operand(self, value: Value) -> str:
        """Returns the name of an operand's element, which is computed here, a literal or loaded."""
        constant = behind_shapes(value)
        if constant.role is Role.CONSTANT:
            return self.add(number(constant.attributes_as(Constant).value, value.type.dtype))
        if value in self.members:
            return self.members[value]
        if value in self.lowering.fusion.from_sizes:
            value = viewed(value)
            if value.role is Role.EXTENT:
                return self.add(Size(self.sizes.setdefault(count_of(value), len(self.sizes)), value.type.dtype))
            return self.inlined.get(value) or self.compute(value)
        if value in self.lowering.fusion.inlined:
            return self.inlined.get(value) or self.compute(value)
        if (
            value in self.lowering.tables
            and (value in self.lowering.in_place or len(self.lowering.fusion.users[value]) == 1)
            and value.type.dims == self.space
        ):
            return self.row(value)
        view = self.lowering.read(value)
        return self.load(view, value.type, broadcast(view.strides, value.type.dims, self.space))

    def row(self, value: Value) -> str:
        """Returns the name of an input's element, loaded from its table at the row that the order names."""
        strides = contiguous(value.type.dims)
        order = self.lowering.order_of(value)
        row = self.load(StridedView(order, (1,)), order.type, (1,) + (0,) * (len(strides) - 1))
        view = StridedView(self.lowering.tables[value], strides)
        return self.load(view, value.type, (0, *strides[1:]), indirect=(row, strides[0]))

    def compute(self, value: Value) -> str:
        """Adds the line of a value, after those of the inlined values that it needs, each once. Returns its name.

        Uses a stack instead of recursion, as chains of inlined values may be long.
        """
        pending = [_Gathered(value)]
        while True:
            last = pending[-1]
            for name, operand in last.operands:
                source = viewed(operand) if operand in self.lowering.fusion.from_sizes else operand
                if self._is_to_compute(source):
                    last.awaited = name
                    pending.append(_Gathered(source))
                    break
                last.names[name] = self.operand(operand)
            else:
                pending.pop()
                line = self._line(last.value, last.names)
                if not pending:
                    return line
                self.inlined[last.value] = pending[-1].names[pending[-1].awaited] = line

    def _is_to_compute(self, value: Value) -> bool:
        fusion = self.lowering.fusion
        return (
            (value in fusion.inlined or (value in fusion.from_sizes and value.role is not Role.EXTENT))
            and value not in self.inlined
            and value not in self.members
            and behind_shapes(value).role is not Role.CONSTANT
        )

    def _line(self, value: Value, names: dict[str, str]) -> str:
        """Adds the line that computes a value from its operands' elements."""
        lower = value.lowered_as(Scalar)
        dtype = (
            value.type.dtype if value.definition is cast or value.type.dtype != "bool" else value.operands[0].type.dtype
        )
        self.computed.append(value)
        return self.add(expression(lower.expression, names, dtype, value.keywords))

    def member(self, value: Value) -> str:
        """Returns the name of a value of this loop; for a fold, the name of the element that it reduces."""
        if isinstance(value.lower, Fold):
            return self.operand(value.operands[0])
        self.members[value] = self.compute(value)
        return self.members[value]

    def per(self, axis: int) -> str:
        """Returns the unit of a count along an axis: `rows`, or the size of the axis."""
        return "rows" if axis == self.lead else str(self.space[axis])

    def emit(self, outputs: Sequence[tuple[str, Value, StridedView]], writing: Writing = _PLAIN) -> None:
        """Adds the task of this loop, which writes each output (the name of its element, and its value) to a view.

        The strides of a view are those of the axes that are not folded, or of all axes if `writing` says so.
        """
        if self.is_whole or writing.combine is not None:
            self._make_whole()
        dtype = outputs[0][1].type.dtype
        stores = tuple(self._output(line, value, view, writing) for line, value, view in outputs)
        nest = Nest(
            tuple(None if axis == self.lead or isinstance(dim, str) else dim for axis, dim in enumerate(self.space)),
            tuple(self.lines),
            stores,
            buffer_numbers(self.pointers),
            tuple(axis in self.folded for axis in range(len(self.space))),
            combine=None if writing.combine is None else expression(writing.combine, {}, dtype, {}),
            argmax=writing.argmax,
            is_running=writing.is_running,
            sizes=len(self.sizes),
        )
        nest, extents = compact(nest)
        counts = tuple(
            Count(extent.factor, "one" if extent.axis is None else self.per(extent.axis)) for extent in extents
        )
        self.lowering.program.tasks.append(
            Task(
                nest,
                tuple(self.pointers),
                (*counts, *self.sizes),
                frozenset(view.buffer for _, _, view in outputs if view.buffer is not None),
                SHARDS if self.in_shards else None if self.lead is None else self.space[self.lead],
                tuple(dict.fromkeys([*self.computed, *(value for _, value, _ in outputs)])),
            )
        )

    def _make_whole(self) -> None:
        """Makes this a loop whose rows are not shared out: its pointers do not move with the first row."""
        self.lead = None
        self.pointers = [replace(pointer, lead=0) for pointer in self.pointers]
        self.numbers = {pointer: number for number, pointer in reversed([*enumerate(self.pointers)])}

    def _output(self, line: str, value: Value, view: StridedView, writing: Writing) -> Output:
        """Adds the pointer to a view. Returns the output that stores or reduces the elements of a value there."""
        fold = None if writing.argmax else writing.reduction or self._reduction(value)
        kept = iter(view.strides)
        is_reduced = (fold is not None or writing.argmax) and not writing.is_running
        walk = tuple(0 if is_reduced and axis in self.folded else next(kept) for axis in range(len(self.space)))
        shard = math.prod(value.type.shape(1)) if self.in_shards else 0
        pointer = self.pointer(view.memory, view.offset, walk, shard)
        return Output(line, Access(pointer, view.memory.type.dtype, walk, writing.indirect), fold)

    def _reduction(self, value: Value) -> Reduction | None:
        """Returns how a value is reduced over the folded axes: as its operation says, or as the sum of a product."""
        lower = value.lower
        dtype = value.type.dtype
        if isinstance(lower, Fold) and self.folded:
            keyed = lower.keyed if value.type.is_float else None
            return Reduction(number(float(lower.initial), dtype), expression(lower.combine, {}, dtype, {}), keyed)
        if self.folded and len(value.type.dims) < len(self.space):
            return Reduction(number(0.0, dtype), Binary("+", Name("a"), Name("b")))
        return None
