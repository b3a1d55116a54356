"""Graph -> tasks: which kernel computes which values, from which buffers, and along which axis it can be shared out.

A value has a buffer of its own, or is read through another's (a View: reshape, transpose, slice), or is computed
inside the loop of its users: fuse.py has decided which. Later, phases.py puts the tasks into phases and plan.py gives
every buffer its address.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from netc.compiler.ir.attributes import Axis, Constant, Dims, Over
from netc.compiler.ir.dims import names_in
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.roles import Role
from netc.compiler.ir.rows import PREFIX
from netc.compiler.ir.types import BATCH, Dim, Sizes, Type
from netc.compiler.ir.value import OPERATIONS, Fold, Kernel, Own, Scalar, Value, View, apply
from netc.compiler.lowering.fuse import Fusion, Unit, fuse, viewed
from netc.compiler.lowering.layout import borders
from netc.compiler.lowering.loop import Loop
from netc.compiler.lowering.products import product_task
from netc.compiler.lowering.views import inside_of, view
from netc.compiler.operations.linear import Subscripts, index_sizes
from netc.compiler.operations.pooling import Interleave
from netc.compiler.operations.scan import Part, Scan
from netc.compiler.operations.shape import Pad
from netc.compiler.passes.scans import in_ranks
from netc.compiler.program.kernels import Array, CustomKernel, StoredCount
from netc.compiler.program.scalars import Binary, Name, number
from netc.compiler.program.schedule import Count
from netc.compiler.program.tasks import (
    SHARD_COUNT,
    Buffer,
    Place,
    Pointer,
    Task,
    Tasks,
    Walk,
    all_of,
    broadcast,
    contiguous,
)
from netc.compiler.targets.machine import LINE, Machine

_SCATTERED = {"scatter_add": (0.0, "a + b"), "segment_max": (-math.inf, "a if a >= b or a != a else b")}
_FEW_PARTS = 8  # operands of a `concat` that one loop copies


def lower(graph: Graph, sizes: Sizes, machine: Machine) -> Tasks:
    """Returns the tasks of a simplified graph for a machine.

    Operations that are built of others must have been expanded.

    `sizes` are the most samples of a step, and the most rows of each varying dimension.
    """
    return Lowering(in_ranks(graph), sizes, machine).run()


@dataclass(frozen=True, slots=True)
class Room:
    """The memory around the body of a scan: its leaves, its carries between steps, and the rows that it yields."""

    leaves: dict[str, Place]
    carries: dict[str, Buffer]
    yields: dict[str, Buffer]


class Lowering:
    """The tasks so far, and where each value is read.

    `room` is the memory around it if the graph is the body of a scan.
    """

    def __init__(self, graph: Graph, sizes: Sizes, machine: Machine, room: Room | None = None) -> None:
        self.graph, self.sizes, self.machine, self.program = graph, sizes, machine, Tasks()
        self.room = room or Room({}, {}, {})
        self.targets: dict[Value, list[Buffer]] = {}
        for name, buffer in self.room.yields.items():
            self.targets.setdefault(graph.results[name], []).append(buffer)
        self.fusion: Fusion = fuse(graph)
        self.borders = borders(graph, self.fusion)
        self.places: dict[Value, Place] = {}
        self.tables: dict[Value, Buffer] = {}
        self.order = Buffer(Type("i32", (BATCH,)), "order", "order")
        self.leaf_of: dict[str, Value] = {}
        self.updates: dict[Value, str] = {}
        self.read_at_end: set[str] = set()  # leaves that are results, unchanged or in another shape
        for name, value in graph.results.items():
            if name.startswith("update.") and value.operands:
                self.updates.setdefault(value, name.removeprefix("update."))
            if (leaf := viewed(value).name) and name not in self.room.yields:
                self.read_at_end.add(leaf)

    def run(self) -> Tasks:
        for value in self.graph.values():
            if value.name:
                self.leaf(value)
            elif value.role is Role.RANGE:
                self.places[value] = Place(None, (1,))
        for value in self.targets:  # a carry is yielded as it was, before the step writes the next one
            if self.is_carry(value):
                self.yield_(value)
        for unit in self.fusion.units:
            self.unit(unit)
        for value in self.targets:
            self.yield_(value)
        for name, value in self.graph.results.items():
            if name not in self.room.yields and not name.startswith("update."):
                self.program.results[name] = self.own_buffer(value, name)
        self.write_updates()
        return self.program

    def is_carry(self, value: Value) -> bool:
        """Whether a value of a body is a carry, or a view of one, as it is at the beginning of a step."""
        return viewed(value).name in self.room.carries

    def write_updates(self) -> None:
        """Copies each next value that was not computed in place into the memory of what it updates.

        All updates read old values. So a copy comes after those that read the memory that it overwrites; where copies
        wait for each other in a circle (a swap), one value is copied to a temporary buffer first.
        """
        pending: dict[Buffer, Value] = {}
        for name, value in self.graph.results.items():
            if not name.startswith("update."):
                continue
            target = self.memory_of(name.removeprefix("update."), value)
            self.program.results[name] = target
            if not self.is_whole_in(value, target):
                pending[target] = value
        sources = {target: self.source_of(value) for target, value in pending.items()}
        while pending:
            free = [target for target in pending if all(sources[reader] is not target for reader in pending)]
            for target in free:
                self.copy(pending.pop(target), target)
            if not free:
                target, value = next(iter(pending.items()))
                aside = Buffer(value.type)
                self.copy(value, aside)
                self.places[value] = all_of(aside)
                sources.update({other: aside for other, same in pending.items() if same is value})

    def source_of(self, value: Value) -> Buffer | None:
        """The buffer that a value is copied from; None for a constant or a range, which the copy writes itself."""
        if viewed(value).role in (Role.CONSTANT, Role.RANGE):
            return None
        return self.read(value).buffer

    def memory_of(self, name: str, value: Value) -> Buffer:
        """The memory of a parameter, a state or a carry, whether or not anything reads its old value."""
        if name in self.room.carries:
            return self.program.leaves.setdefault(name, self.room.carries[name])
        return self.program.leaves.setdefault(name, Buffer(value.type, "persistent", name))

    def is_whole_in(self, value: Value, buffer: Buffer) -> bool:
        """Whether a value fills a whole buffer in row-major order."""
        place = self.places.get(value)
        return (
            place is not None
            and place.buffer is buffer
            and buffer.type.dims == value.type.dims
            and place.strides == contiguous(value.type.dims)
            and place.offset == 0
        )

    def yield_(self, value: Value) -> None:
        """Copies a value into the buffers that stack its rows, unless its own task wrote it there."""
        place = self.places.get(value)
        for buffer in self.targets[value]:
            if place is None or place.buffer is not buffer:
                self.copy(value, buffer)
        self.targets[value] = []

    # -------------------------------------------------------------- leaves and results

    def leaf(self, value: Value) -> None:
        """Gives a leaf its buffer.

        Parameters and states keep theirs; rows of inputs are gathered from a table, in the order of the samples.
        """
        name = value.name
        self.leaf_of[name] = value
        if name in self.room.leaves:
            self.places[value] = self.room.leaves[name]
            if name in self.room.carries:
                self.program.leaves[name] = self.room.carries[name]
            return
        stays = value.role in (Role.PARAMETER, Role.STATE)
        fresh = Buffer(value.type, "persistent" if stays else "table", name, value.is_per_step)
        buffer = self.program.leaves.setdefault(name, fresh)  # two leaves of one name are one
        if value.type.is_batched and not name.startswith(PREFIX):
            self.tables[value] = buffer  # its rows are gathered where they are read first
        else:
            self.places[value] = Place(buffer, contiguous(value.type.dims))

    def order_of(self, value: Value) -> Buffer:
        """Returns the buffer of row numbers: the rows of its table that an input has in this step."""
        dim = value.type.rows
        if dim in (None, BATCH):
            return self.order
        name = f"{PREFIX}source.{dim}"
        return self.program.leaves.setdefault(name, Buffer(Type("i32", (str(dim),)), "table", name))

    def gather_rows(self, value: Value) -> Place:
        """Gathers the rows of an input for this step into a buffer."""
        loop = Loop(self, value.type.dims)
        buffer = Buffer(value.type)
        loop.emit([(loop.row(value), value, all_of(buffer))])
        return all_of(buffer)

    def output(self, value: Value) -> Place:
        """Returns where a value is written, and records it: usually a new buffer.

        A value that is padded later is written inside of its padded form (layout.py). The next value of a parameter
        or state is written to its own memory if no later task reads the old value.
        """
        if value in self.borders:
            return self.inside(value, self.borders[value])
        name = self.updates.get(value)
        if name is not None and self.may_replace(value, name):
            buffer = self.memory_of(name, value)
        elif self.targets.get(value):
            buffer = self.targets[value].pop(0)
        else:
            buffer = Buffer(value.type)
        self.places[value] = all_of(buffer)
        return self.places[value]

    def strides_of(self, value: Value) -> tuple[int, ...]:
        """The strides with which `output` will write a value."""
        return inside_of(self.borders[value]).strides if value in self.borders else contiguous(value.type.dims)

    def inside(self, value: Value, padded: Value) -> Place:
        """Makes a buffer for the padded form of a value, writes the padding, and returns the place inside of it."""
        buffer = Buffer(padded.type)
        self.places[padded], self.places[value] = all_of(buffer), inside_of(padded)
        self.places[value] = replace(self.places[value], buffer=buffer)
        self.border(padded, buffer)
        return self.places[value]

    def may_replace(self, value: Value, name: str) -> bool:
        """Whether readers of the old value run before `value` is written, or read each element before its write."""
        if name in self.read_at_end:
            return False
        if name not in self.leaf_of:  # nobody reads it
            return True
        unit = self.fusion.unit_of[value]
        if not isinstance(OPERATIONS[value.operation].lower, Scalar) or unit.space != self.leaf_of[name].type.dims:
            return False
        return all(
            reader.position < unit.position or (reader is unit and pointwise)
            for reader, pointwise in self.leaf_readers.get(name, ())
        )

    @cached_property
    def leaf_readers(self) -> dict[str, list[tuple[Unit, bool]]]:
        """The units that read each leaf, by its name, and whether they read it point by point."""
        readers: dict[str, list[tuple[Unit, bool]]] = {}
        for unit in self.fusion.units:
            for value in unit.values:
                for source, pointwise in self.fusion.sources(value):
                    if source.name:
                        readers.setdefault(source.name, []).append((unit, pointwise))
        return readers

    def own_buffer(self, value: Value, result: str) -> Buffer:
        """Returns the buffer that holds a whole result in row-major order; a view or leaf is copied into a new one."""
        place = self.places.get(value)
        buffer = place.buffer if place is not None else None
        is_own = buffer is not None and buffer.kind == "temporary" and value not in self.leaf_of.values()
        if buffer is not None and is_own and self.is_whole_in(value, buffer):
            buffer.kind, buffer.name = "result", result
            return buffer
        target = Buffer(value.type, "result", result)
        self.copy(value, target)
        return target

    # -------------------------------------------------------------- units

    def unit(self, unit: Unit) -> None:
        value = unit.values[0]
        lower = OPERATIONS[value.operation].lower
        if unit.space is not None and self.is_sharded(unit.values):
            self.fold_in_shards(unit)
        elif unit.space is not None:
            loop = Loop(self, unit.space, unit.folded)
            lines = [loop.member(member) for member in unit.values]
            stored = [
                (line, member, self.output(member))
                for line, member in zip(lines, unit.values, strict=True)
                if not self.stays_inside(member, unit)
            ]
            stacked = [
                (line, member, all_of(buffer)) for line, member, _ in stored for buffer in self.targets.pop(member, ())
            ]
            loop.emit([*stored, *stacked])
        elif value in self.fusion.starts or value.role is Role.CONTRACTION:
            self.product(value)
        elif isinstance(lower, Own):
            self.own(value, lower)
        else:
            assert isinstance(lower, Kernel), f"{value} has no kernel at {value.span}"
            {
                "argmax": self.argmax,
                "concat": self.concat,
                "pad": self.pad,
                "interleave": self.interleave,
                "gather": self.gather,
                "scatter_add": self.scatter,
                "segment_max": self.scatter,
                "to_steps": self.to_steps,
                "from_steps": self.from_steps,
                "scan": self.scan,
                "extent": self.extent,
            }[lower.form](value)

    def is_sharded(self, values: Sequence[Value]) -> bool:
        """Whether sums over the batch are taken shard by shard.

        That pays if the operands are large and the result is small, with too few rows to share out among workers.
        """
        for value in values:
            lower = OPERATIONS[value.operation].lower
            sums_batch = not value.type.is_batched and any(operand.type.lead for operand in value.operands)
            if not sums_batch or not (isinstance(lower, Fold) or value.role is Role.CONTRACTION):
                return False
            read = sum(operand.type.nbytes(self.sizes) for operand in value.operands)
            nbytes = value.type.nbytes(1)
            rows = value.type.shape(1)[0] if value.type.dims else 1
            pieces = min(nbytes // LINE, rows // (self.machine.tile_rows if value.role is Role.CONTRACTION else 1))
            is_small = self.machine.shard_ratio * SHARD_COUNT * nbytes <= read
            if not is_small or read < self.machine.many_bytes or pieces >= self.machine.few_pieces:
                return False
        return True

    def shards_of(self, value: Value) -> Buffer:
        """Returns a buffer that holds one result for each shard."""
        return Buffer(replace(value.type, dims=(SHARD_COUNT, *value.type.dims)))

    def fold_in_shards(self, unit: Unit) -> None:
        assert unit.space is not None
        loop = Loop(self, unit.space, unit.folded, in_shards=True)
        shards = [(loop.member(member), member, self.shards_of(member)) for member in unit.values]
        loop.emit([(line, value, Place(buffer, contiguous(value.type.dims))) for line, value, buffer in shards])
        for _, value, buffer in shards:
            self.fold_shards(value, buffer)

    def fold_shards(self, value: Value, parts: Buffer) -> None:
        """Combines the results of all shards, in the order of the shards."""
        loop = Loop(self, parts.type.dims, (0,))
        strides = contiguous(parts.type.dims)
        loop.emit([(loop.load(Place(parts, strides), value.type, strides), value, self.output(value))])

    def stays_inside(self, value: Value, unit: Unit) -> bool:
        """Whether all users of a value are in its own loop."""
        if value in self.graph.results.values() or isinstance(OPERATIONS[value.operation].lower, Fold):
            return False
        waiting, seen = list(self.fusion.users[value]), set[Value]()
        while waiting:
            user = waiting.pop()
            if user in seen:
                continue
            seen.add(user)
            if user in self.fusion.inlined and isinstance(OPERATIONS[user.operation].lower, Scalar):
                waiting.extend(self.fusion.users[user])
            elif self.fusion.unit_of.get(user) is not unit:
                return False
        return True

    def copy(self, value: Value, target: Buffer) -> None:
        loop = Loop(self, value.type.dims)
        loop.emit([(loop.operand(value), value, all_of(target))])

    def argmax(self, value: Value) -> None:
        over = value.attributes_as(Over).over
        loop = Loop(self, value.operands[0].type.dims, over)
        loop.emit([(loop.operand(value.operands[0]), value, self.output(value))], argmax=True)

    def product(self, value: Value) -> None:
        """Computes a product by the register tile where indices and strides allow it, else by a loop of multiply and
        add.

        `value` is the product itself, or its sum with the value that the tile starts from.
        """
        einsum = self.fusion.starts.get(value, value)
        (start,) = (operand for operand in value.operands if operand is not einsum) if einsum is not value else (None,)
        places = [self.read(operand) for operand in einsum.operands]
        if start is None and self.is_sharded([einsum]):
            parts = self.shards_of(einsum)
            room = Place(parts, contiguous(einsum.type.dims))
            task = product_task(
                einsum, einsum, (places[0], places[1], None), self.machine, lambda: room, room.strides, in_shards=True
            )
            if task is not None:
                self.program.tasks.append(task)
            else:
                self.multiply_and_add(einsum, parts)
            self.fold_shards(einsum, parts)
            return
        begin = self.read(start) if start is not None else None
        if begin is not None and start is not None:
            begin = replace(begin, strides=broadcast(begin.strides, start.type.dims, value.type.dims))
        task = product_task(
            value,
            einsum,
            (places[0], places[1], begin),
            self.machine,
            lambda: self.output(value),
            self.strides_of(value),
        )
        if task is not None:
            self.program.tasks.append(task)
        elif start is None:
            self.multiply_and_add(einsum)
        else:
            self.product(einsum)
            loop = Loop(self, value.type.dims)
            loop.emit(
                [
                    (
                        loop.add(
                            Binary(
                                "+",
                                Name(loop.operand(start)),
                                Name(loop.load(self.read(einsum), value.type, self.read(einsum).strides)),
                            )
                        ),
                        value,
                        self.output(value),
                    )
                ]
            )

    def multiply_and_add(self, value: Value, parts: Buffer | None = None) -> None:
        """Computes a product as a loop; with `parts`, each shard into its own row of that buffer."""
        inputs, _, out = value.attributes_as(Subscripts).subscripts.partition("->")
        letters = list(dict.fromkeys(out + inputs.replace(",", "")))
        sizes = index_sizes(inputs, *(operand.type for operand in value.operands))
        loop = Loop(
            self, tuple(sizes[letter] for letter in letters), tuple(range(len(out), len(letters))), parts is not None
        )
        names = []
        for part, operand in zip(inputs.split(","), value.operands, strict=True):
            place = self.read(operand)
            steps = dict(zip(part, place.strides, strict=True))
            names.append(loop.load(place, operand.type, tuple(steps.get(letter, 0) for letter in letters)))
        room = Place(parts, contiguous(value.type.dims)) if parts is not None else self.output(value)
        loop.emit([(loop.add(Binary("*", Name(names[0]), Name(names[1]))), value, room)])

    def extent(self, value: Value) -> None:
        dims = value.attributes_as(Dims).dims
        factor = 1
        for dim in dims:
            factor *= dim if isinstance(dim, int) else 1
        buffer = self.output(value).buffer
        assert buffer is not None
        count = Count(factor, next((dim for dim in dims if isinstance(dim, str)), "one"))
        self.program.tasks.append(
            Task(StoredCount(value.type.dtype), (Pointer(buffer),), (count,), frozenset({buffer}), None, (value,))
        )

    def part(self, value: Value, operand: Value, target: Place) -> None:
        """Computes or copies an operand into a part of a value's buffer."""
        loop = Loop(self, operand.type.dims)
        loop.emit([(loop.operand(operand), value, target)])

    def concat(self, value: Value) -> None:
        """Copies the operands side by side: in one loop if they are few and of one shape, else one after another."""
        axis, room, at = value.attributes_as(Axis).axis, self.output(value), 0
        places = []
        for operand in value.operands:
            places.append(replace(room, offset=room.offset + at * room.strides[axis]))
            size = operand.type.dims[axis]
            assert isinstance(size, int)
            at += size
        if len({operand.type.dims for operand in value.operands}) == 1 and len(places) <= _FEW_PARTS:
            loop = Loop(self, value.operands[0].type.dims)
            names = [loop.operand(operand) for operand in value.operands]
            loop.emit([(name, value, place) for name, place in zip(names, places, strict=True)])
            return
        for operand, place in zip(value.operands, places, strict=True):
            self.part(value, operand, place)

    def fill(self, value: Value, filling: object, dims: tuple[Dim, ...], target: Place) -> None:
        loop = Loop(self, dims)
        loop.emit([(loop.add(number(filling, value.type.dtype)), value, target)])

    def pad(self, value: Value) -> None:
        """Writes the padding and the operand inside of it; does nothing if layout.py had both written already."""
        if value in self.places:
            return
        buffer = self.output(value).buffer
        assert buffer is not None
        self.border(value, buffer)
        self.part(value, value.operands[0], replace(inside_of(value), buffer=buffer))

    def border(self, value: Value, buffer: Buffer) -> None:
        """Writes the padding around the operand.

        If there are gaps between the rows of the operand, the whole buffer is filled.
        """
        own, room, dims = value.attributes_as(Pad), all_of(buffer), list(value.type.dims)
        if any(apart != 1 for apart in own.step):
            self.fill(value, own.fill, value.type.dims, room)
            return
        for axis, first, last in zip(own.axes, own.before, own.after, strict=True):
            size = dims[axis]
            assert isinstance(size, int)
            for start, count in ((0, first), (size - last, last)):
                if count:
                    dims[axis] = count
                    self.fill(
                        value, own.fill, tuple(dims), replace(room, offset=room.offset + start * room.strides[axis])
                    )
            dims[axis] = size - first - last
            room = replace(room, offset=room.offset + first * room.strides[axis])

    def interleave(self, value: Value) -> None:
        """Computes all parts of an interleaved image in one loop."""
        size, room = value.attributes_as(Interleave).size, self.output(value)
        h, w = value.type.rank - 3, value.type.rank - 2
        strides = tuple(stride * {h: size[0], w: size[1]}.get(axis, 1) for axis, stride in enumerate(room.strides))
        loop, outputs = Loop(self, value.operands[0].type.dims), []
        for n, part in enumerate(value.operands):
            offset = room.offset + n // size[1] * room.strides[h] + n % size[1] * room.strides[w]
            outputs.append((loop.operand(part), value, replace(room, strides=strides, offset=offset)))
        loop.emit(outputs)

    def own(self, value: Value, lower: Own) -> None:
        """Calls a custom kernel, sample by sample."""
        batched, room = value.type.is_batched, self.output(value)
        places = [room]
        for operand in value.operands:
            place = self.read(operand)
            if place.buffer is None:  # a range has no memory
                buffer = Buffer(operand.type)
                self.copy(operand, buffer)
                place = all_of(buffer)
            places.append(place)
        numbers: dict[Buffer, int] = {}
        arrays, pointers = [], []
        for i, (place, array) in enumerate(zip(places, (value, *value.operands), strict=True)):
            assert place.buffer is not None
            lead = array.type.lead
            shape = tuple(int(dim) for dim in array.type.dims[lead:])
            apart = place.strides[0] if lead else 0
            same = numbers.setdefault(place.buffer, len(numbers))
            arrays.append(Array(i, same, array.type.dtype, shape, place.strides[lead:], apart))
            pointers.append(Pointer(place.buffer, place.offset, apart))
        kernel = CustomKernel(value.operation, lower.function, tuple(arrays), tuple(value.keywords.items()), batched)
        counts = (Count(1, "rows"),) if batched else ()
        assert room.buffer is not None
        axis = value.type.dims[0] if batched else None
        self.program.tasks.append(Task(kernel, tuple(pointers), counts, frozenset({room.buffer}), axis, (value,)))

    def gather(self, value: Value) -> None:
        table, index = value.operands
        loop = Loop(self, value.type.dims)
        place = self.read(index)
        at = loop.load(place, index.type, place.strides + (0,) * (value.type.rank - index.type.rank))
        place = self.read(table)
        line = loop.load(place, table.type, (0,) * index.type.rank + place.strides[1:], indirect=(at, place.strides[0]))
        loop.emit([(line, value, self.output(value))])

    def scatter(self, value: Value) -> None:
        """Each row of x goes into the row of the result that its index names."""
        x, index = value.operands
        room = self.output(value)
        start, combine = _SCATTERED[value.operation]
        self.fill(value, start, value.type.dims, room)
        loop = Loop(self, x.type.dims)
        place = self.read(index)
        at = loop.load(place, index.type, place.strides + (0,) * (x.type.rank - index.type.rank))
        strides = (0,) * index.type.rank + room.strides[1:]
        target = replace(room, strides=strides)
        loop.emit([(loop.operand(x), value, target)], indirect=(at, room.strides[0]), combine=combine)

    # -------------------------------------------------------------- sequences

    def to_steps(self, value: Value) -> None:
        """Gathers the steps of all samples, row after row."""
        x, index = value.operands
        place = self.read(x)
        if place.strides[0] != place.strides[1] * int(x.type.dims[1]):
            buffer = Buffer(x.type)
            self.copy(x, buffer)
            place = all_of(buffer)
        loop = Loop(self, value.type.dims)
        at = loop.load(self.read(index), index.type, (1,) + (0,) * (value.type.rank - 1))
        line = loop.load(place, x.type, (0, *place.strides[2:]), indirect=(at, place.strides[1]))
        loop.emit([(line, value, self.output(value))])

    def from_steps(self, value: Value) -> None:
        """Scatters each row to the step of the sample that it belongs to.

        No two rows share a place; steps without a row are zero.
        """
        y, index = value.operands
        room = self.output(value)
        if names_in(str(y.type.rows)):
            self.fill(value, 0.0, value.type.dims, room)
        loop = Loop(self, y.type.dims)
        at = loop.load(self.read(index), index.type, (1,) + (0,) * (y.type.rank - 1))
        target = replace(room, strides=(0, *room.strides[2:]))
        loop.emit([(loop.operand(y), value, target)], indirect=(at, room.strides[1]))

    def scan(self, value: Value) -> None:
        """Copies the initial carries, then adds the tasks of one step, over the samples that still run at that step."""
        original, parts = Scan.of(value), self.parts_of(value)
        read = {
            name: result for name, result in original.body.results.items() if name.startswith("next.") or name in parts
        }
        body, _ = original.body.subgraph(read)  # a later pass may have removed the only reader of a yielded value
        for i in range(len(original.begins)):
            following = body.results.pop(f"next.{i}")
            moves = not following.operands or isinstance(OPERATIONS[following.operation].lower, View)
            body.results[f"update.c{i}"] = apply("copied", following) if moves else following
        carries = {f"c{i}": Buffer(begin.type) for i, begin in enumerate(original.begins)}
        for begin, buffer in zip(original.begins, carries.values(), strict=True):
            self.copy(begin, buffer)
        yields = {name: Buffer(part.type) for name, part in parts.items() if name.startswith("yield.")}
        operands = {name: self.read(operand) for name, operand in original.operand_of().items() if name not in carries}
        leaves = {**operands, **{name: all_of(buffer) for name, buffer in carries.items()}}
        inner = Lowering(body, self.sizes, self.machine, Room(leaves, carries, yields)).run()
        walk = Walk(original.dim, original.is_reversed)
        for task in inner.tasks:
            assert task.axis == BATCH, f"a step does what is the same for all samples: {task.values}"
            self.program.tasks.append(replace(task, walk=walk))
        for part in self.fusion.users[value]:
            name = part.attributes_as(Part).of
            self.places[part] = all_of(yields[name] if name in yields else carries[f"c{name.removeprefix('last.')}"])

    def parts_of(self, value: Value) -> dict[str, Value]:
        """The parts of a scan that other values read, by result name."""
        return {part.attributes_as(Part).of: part for part in self.fusion.users[value]}

    # -------------------------------------------------------------- where values are read

    def read(self, value: Value) -> Place:
        """Returns a place to read a value from.

        Constants are written to memory; what strides cannot describe is copied.
        """
        if value not in self.places:
            if value in self.tables:
                self.places[value] = self.gather_rows(value)
            elif value.role is Role.CONSTANT:
                buffer = Buffer(value.type)
                self.fill(value, value.attributes_as(Constant).value, value.type.dims, all_of(buffer))
                self.places[value] = all_of(buffer)
            else:
                assert isinstance(OPERATIONS[value.operation].lower, View), f"{value} has no place, {value.span}"
                self.places[value] = self.view(value)
        return self.places[value]

    def view(self, value: Value) -> Place:
        """Returns the operand's memory with the strides of the view, or a copy if no strides describe it."""
        (operand,) = value.operands
        place = view(value, self.read(operand))
        if place is None:
            buffer = Buffer(operand.type)
            self.copy(operand, buffer)
            return Place(buffer, contiguous(value.type.dims))
        return place
