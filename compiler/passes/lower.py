"""Graph -> tasks: which kernel computes which value, from which buffers. Chains of element-wise values become one loop.

A value is in a buffer of its own, read through another's (a View: reshape, transpose, slice), or computed inside the loop of its one
user. plan.py then gives every buffer its place.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from netc.compiler.graph import Graph
from netc.compiler.kernels.build import PRODUCT, Count, KernelSource
from netc.compiler.kernels.loops import Access, Line, Nest, literal, scalar, write
from netc.compiler.operations.linear import index_sizes
from netc.compiler.types import Dim, Type
from netc.compiler.value import OPERATIONS, Fold, Kernel, Scalar, Value, View

_FEW_COLUMNS = 2


@dataclass(eq=False, slots=True)
class Buffer:
    """Contiguous memory of one value. `name` is set where it stays between steps (a parameter or state), or is filled from outside."""

    type: Type
    name: str = ""
    is_persistent: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value is read: element i is at offset + sum of stride * i. `buffer` None: the element is the offset itself."""

    buffer: Buffer | None
    strides: tuple[int, ...]
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Task:
    """One call of a kernel. Arguments are buffers with an offset in elements, then counts."""

    kernel: KernelSource
    buffers: tuple[tuple[Buffer, int], ...]
    counts: tuple[Count, ...]
    writes: Buffer
    value: Value


@dataclass(slots=True)
class Schedule:
    """The tasks of a program in order, and where its leaves and results are."""

    tasks: list[Task] = field(default_factory=list)
    leaves: dict[str, Buffer] = field(default_factory=dict)
    results: dict[str, Buffer] = field(default_factory=dict)


def contiguous(dims: Sequence[Dim]) -> tuple[int, ...]:
    """Strides of row-major memory. The batch stands first, so no stride depends on it."""
    strides, step = [], 1
    for dim in reversed(dims):
        strides.append(step)
        step *= dim if isinstance(dim, int) else 1
    return tuple(reversed(strides))


def lower(graph: Graph) -> Schedule:
    """The schedule of a simplified graph: expanded operations only."""
    return _Lowering(graph).run()


class _Lowering:
    def __init__(self, graph: Graph) -> None:
        self.graph, self.schedule = graph, Schedule()
        self.places: dict[Value, Place] = {}
        self.leaf_of: dict[str, Value] = {
            str(value.attributes["name"]): value for value in graph.values() if "name" in value.attributes
        }
        self.roots = set(graph.results.values())
        self.updates: dict[Value, str] = {}
        self.users = {value: graph.users(value) for value in graph.values()}
        self.inlined = {value for value in graph.values() if self.is_inlined(value)}

    def run(self) -> Schedule:
        for name, value in self.graph.results.items():
            if name.startswith("update.") and value not in self.updates and value.operands:
                self.updates[value] = name.removeprefix("update.")
        for value in self.graph.values():
            self.place(value)
        for name, value in self.graph.results.items():
            self.schedule.results[name] = self.own_buffer(value, name)
        return self.schedule

    def is_inlined(self, value: Value) -> bool:
        """Computed in the loop of its only user, if that walks the same points."""
        if value.operation in ("constant", "arange"):
            return True
        if value in self.roots or not value.operands or not isinstance(OPERATIONS[value.operation].lower, Scalar):
            return False
        users = self.users[value]
        if len(users) != 1:
            return False
        lower = OPERATIONS[users[0].operation].lower
        space = users[0].operands[0].type.dims if isinstance(lower, Fold) else users[0].type.dims
        return isinstance(lower, Scalar | Fold) and space == value.type.dims

    # -------------------------------------------------------------- values

    def place(self, value: Value) -> None:
        lower = OPERATIONS[value.operation].lower if value.operation in OPERATIONS else None
        if "name" in value.attributes:
            buffer = Buffer(value.type, str(value.attributes["name"]), value.operation in ("parameter", "state"))
            self.schedule.leaves[buffer.name] = buffer
            self.places[value] = Place(buffer, contiguous(value.type.dims))
        elif value.operation == "arange":
            self.places[value] = Place(None, (1,))
        elif value in self.inlined:
            return
        elif isinstance(lower, View):
            self.places[value] = self.view(value)
        elif isinstance(lower, Scalar):
            self.nest(value, value, value.type.dims)
        elif isinstance(lower, Fold):
            over = self.axes(value)
            self.nest(value, value.operands[0], value.operands[0].type.dims, folded=over)
        elif isinstance(lower, Kernel):
            {
                "product": self.product,
                "argmax": self.argmax,
                "concat": self.concat,
                "pad": self.pad,
                "gather": self.gather,
                "scatter_add": self.scatter_add,
                "extent": self.extent,
            }[lower.form](value)
        else:
            raise AssertionError(f"{value} has no kernel at {value.span}")

    @staticmethod
    def axes(value: Value) -> tuple[int, ...]:
        over = value.attributes["over"]
        assert isinstance(over, tuple)
        return over

    def output(self, value: Value) -> Buffer:
        """A fresh buffer for a value; for a parameter's or state's next value, its own memory if nobody reads the old one later."""
        name = self.updates.get(value)
        if name is not None and self.may_replace(value, self.leaf_of[name]):
            buffer = self.schedule.leaves[name]
        else:
            buffer = Buffer(value.type)
        self.places[value] = Place(buffer, contiguous(value.type.dims))
        return buffer

    def may_replace(self, value: Value, old: Value) -> bool:
        """Whether every reader of the old value is done when this one is written, element by element."""
        inside = self.inside(value)
        readers, waiting = set(), [old]
        while waiting:
            for user in self.users[waiting.pop()]:
                while user in self.inlined:
                    (user,) = self.users[user]
                if user.operands and isinstance(OPERATIONS[user.operation].lower, View):
                    waiting.append(user)
                readers.add(user)
        later = [reader for reader in readers if reader.number > value.number]
        moved = any(
            one.operands and isinstance(OPERATIONS[one.operation].lower, View) and old in one.operands for one in inside
        )
        return not later and isinstance(OPERATIONS[value.operation].lower, Scalar) and not moved

    def inside(self, value: Value) -> set[Value]:
        """What the loop of a value reads or computes."""
        found, waiting = set(), [value]
        while waiting:
            for operand in waiting.pop().operands:
                if operand not in found:
                    found.add(operand)
                    if operand in self.inlined:
                        waiting.append(operand)
        return found

    def own_buffer(self, value: Value, result: str) -> Buffer:
        """The buffer that holds a result whole and in order: a copy is made of what is only a view or a leaf."""
        place = self.places.get(value)
        name = result.removeprefix("update.") if result.startswith("update.") else None
        wanted = self.schedule.leaves.get(name or "")
        if (
            place is not None
            and place.buffer is not None
            and place.buffer.type.dims == value.type.dims
            and place.strides == contiguous(value.type.dims)
            and place.offset == 0
        ):
            if wanted is None and not place.buffer.name:
                return place.buffer
            if wanted is place.buffer:
                return wanted
        target = wanted or Buffer(value.type)
        self.copy(value, target)
        return target

    # -------------------------------------------------------------- views

    def view(self, value: Value) -> Place:
        (operand,) = value.operands
        place = self.read(operand)
        strides, attributes = place.strides, value.attributes
        match value.operation:
            case "transpose":
                order = attributes["order"]
                assert isinstance(order, tuple)
                return replace(place, strides=tuple(strides[axis] for axis in order))
            case "slice":
                axis, start = attributes["axis"], attributes["start"]
                assert isinstance(axis, int)
                assert isinstance(start, int)
                return replace(place, offset=place.offset + start * strides[axis])
            case "reverse":
                (axis,) = self.axes(value)
                size = value.type.dims[axis]
                assert isinstance(size, int)
                return replace(
                    place,
                    offset=place.offset + (size - 1) * strides[axis],
                    strides=tuple(-one if i == axis else one for i, one in enumerate(strides)),
                )
            case "broadcast":
                return replace(place, strides=self.broadcast(place.strides, operand.type.dims, value.type.dims))
        reshaped = _reshape(place.strides, operand.type.dims, value.type.dims)
        if reshaped is None:  # no strides walk it: a copy in order
            buffer = Buffer(operand.type)
            self.copy(operand, buffer)
            return Place(buffer, contiguous(value.type.dims))
        return replace(place, strides=reshaped)

    @staticmethod
    def broadcast(strides: tuple[int, ...], dims: tuple[Dim, ...], space: tuple[Dim, ...]) -> tuple[int, ...]:
        """Strides over a wider space: 0 where an element is repeated."""
        lead = len(space) - len(dims)
        return (0,) * lead + tuple(
            stride if dim == wide else 0 for stride, dim, wide in zip(strides, dims, space[lead:], strict=True)
        )

    def read(self, value: Value) -> Place:
        """A place to read a value from; constants and ranges that no loop takes in are written out first."""
        if value not in self.places or self.places[value].buffer is None:
            if value.operation == "arange":
                return self.places[value]
            buffer = Buffer(value.type)
            self.emit(
                value,
                Nest(
                    self.extents(value.type.dims),
                    (Line("t0", literal(value.attributes["value"], value.type.dtype)),),
                    "t0",
                    Access(0, value.type.dtype, contiguous(value.type.dims)),
                    (),
                ),
                [(buffer, 0)],
                buffer,
            )
            self.places[value] = Place(buffer, contiguous(value.type.dims))
        return self.places[value]

    # -------------------------------------------------------------- loops

    @staticmethod
    def extents(dims: Sequence[Dim]) -> tuple[int | None, ...]:
        return tuple(dim if isinstance(dim, int) else None for dim in dims)

    def emit(self, value: Value, nest: Nest, buffers: list[tuple[Buffer, int]], writes: Buffer) -> None:
        """Add the task of a nest. Pointers into one buffer share an alias scope."""
        scopes: dict[int, int] = {}
        for buffer, _ in buffers:
            scopes.setdefault(id(buffer), len(scopes))
        text, counts = write(replace(nest, scopes=tuple(scopes[id(buffer)] for buffer, _ in buffers)))
        kernel = KernelSource("loop", text, len(buffers) + len(counts))
        self.schedule.tasks.append(
            Task(kernel, tuple(buffers), tuple(Count(factor, batch) for factor, batch in counts), writes, value)
        )

    def copy(self, value: Value, target: Buffer) -> None:
        loop = _Loop(self, value.type.dims)
        name = loop.operand(value)
        self.emit(value, loop.nest(name, value.type.dtype, contiguous(value.type.dims), target), loop.buffers, target)

    def nest(
        self, value: Value, root: Value, space: tuple[Dim, ...], folded: tuple[int, ...] = (), argmax: bool = False
    ) -> None:
        """The loop that computes `root` over a space and stores it, or its fold over some axes, as `value`."""
        loop = _Loop(self, space)
        name = loop.compute(root) if root is value else loop.operand(root)
        target = self.output(value)
        kept = iter(contiguous(value.type.dims))
        strides = tuple(0 if axis in folded else next(kept) for axis in range(len(space)))
        nest = loop.nest(name, value.type.dtype, strides, target)
        lower = OPERATIONS[value.operation].lower
        if folded or isinstance(lower, Fold):
            fold = (literal(float(lower.initial), value.type.dtype), lower.combine) if isinstance(lower, Fold) else None
            nest = replace(nest, folded=tuple(axis in folded for axis in range(len(space))), fold=fold, argmax=argmax)
        self.emit(value, nest, loop.buffers, target)

    def argmax(self, value: Value) -> None:
        self.nest(value, value.operands[0], value.operands[0].type.dims, folded=self.axes(value), argmax=True)

    def extent(self, value: Value) -> None:
        dims = value.attributes["dims"]
        assert isinstance(dims, tuple)
        factor = 1
        for dim in dims:
            factor *= dim if isinstance(dim, int) else 1
        buffer = self.output(value)
        dtype = value.type.dtype
        text = f"def kernel(p0, n0):\n    store_{dtype}_0(p0, 0, {'F32' if dtype == 'f32' else 'F64'}(n0))\n"
        self.schedule.tasks.append(
            Task(
                KernelSource("loop", text, 2),
                ((buffer, 0),),
                (Count(factor, any(isinstance(dim, str) for dim in dims)),),
                buffer,
                value,
            )
        )

    def part(self, value: Value, operand: Value, target: Buffer, offset: int) -> None:
        """Copy an operand into a part of a value's buffer."""
        loop = _Loop(self, operand.type.dims)
        name = loop.operand(operand)
        nest = loop.nest(name, value.type.dtype, contiguous(value.type.dims), target)
        loop.buffers[-1] = (target, offset)
        self.emit(value, nest, loop.buffers, target)

    def concat(self, value: Value) -> None:
        axis, buffer, at = value.attributes["axis"], self.output(value), 0
        assert isinstance(axis, int)
        for operand in value.operands:
            self.part(value, operand, buffer, at * contiguous(value.type.dims)[axis])
            size = operand.type.dims[axis]
            assert isinstance(size, int)
            at += size

    def clear(self, value: Value, buffer: Buffer) -> None:
        self.emit(
            value,
            Nest(
                self.extents(value.type.dims),
                (Line("t0", literal(0.0, value.type.dtype)),),
                "t0",
                Access(0, value.type.dtype, contiguous(value.type.dims)),
                (),
            ),
            [(buffer, 0)],
            buffer,
        )

    def pad(self, value: Value) -> None:
        axis, before = value.attributes["axis"], value.attributes["before"]
        assert isinstance(axis, int)
        assert isinstance(before, int)
        buffer = self.output(value)
        self.clear(value, buffer)
        self.part(value, value.operands[0], buffer, before * contiguous(value.type.dims)[axis])

    def gather(self, value: Value) -> None:
        table, index = value.operands
        loop = _Loop(self, value.type.dims)
        at = loop.load(self.read(index), index.type, self.broadcast_leading(self.read(index).strides, value))
        place = self.read(table)
        rest = (0,) * index.type.rank + place.strides[1:]
        name = loop.load(place, table.type, rest, indirect=(at, place.strides[0]))
        target = self.output(value)
        self.emit(value, loop.nest(name, value.type.dtype, contiguous(value.type.dims), target), loop.buffers, target)

    @staticmethod
    def broadcast_leading(strides: tuple[int, ...], value: Value) -> tuple[int, ...]:
        return strides + (0,) * (value.type.rank - len(strides))

    def scatter_add(self, value: Value) -> None:
        x, index = value.operands
        buffer = self.output(value)
        self.clear(value, buffer)
        loop = _Loop(self, x.type.dims)
        place = self.read(index)
        at = loop.load(place, index.type, place.strides + (0,) * (x.type.rank - index.type.rank))
        name = loop.operand(x)
        strides = contiguous(value.type.dims)
        nest = loop.nest(name, value.type.dtype, (0,) * index.type.rank + strides[1:], buffer)
        self.emit(
            value,
            replace(nest, adds=True, target=replace(nest.target, indirect=(at, strides[0]))),
            loop.buffers,
            buffer,
        )

    # -------------------------------------------------------------- products

    def product(self, value: Value) -> None:
        """By the register tile where indices and strides allow it, else as a loop of multiply and add."""
        subscripts = str(value.attributes["subscripts"])
        inputs, _, out = subscripts.partition("->")
        left, right = inputs.split(",")
        a, b = value.operands
        if out and out[-1] in left and out[-1] not in right:
            left, right, a, b = right, left, b, a
        if not self.tiled(value, left, right, out, a, b):
            left, right = inputs.split(",")
            self.multiply_and_add(value, left, right, out)

    def tiled(self, value: Value, left: str, right: str, out: str, a: Value, b: Value) -> bool:
        sizes = index_sizes(f"{left},{right}", a.type, b.type)
        rows = [letter for letter in out if letter in left and letter not in right]
        columns = [letter for letter in out if letter in right and letter not in left]
        both = [letter for letter in out if letter in left and letter in right]
        depth = [letter for letter in left if letter in right and letter not in out]
        if (
            len(out) != len(rows) + len(columns) + len(both)
            or set(left + right) - set(out) - set(depth)
            or not columns
            or out[-1] != columns[-1]
        ):
            return False
        c_strides = dict(zip(out, contiguous(value.type.dims), strict=True))
        b_strides = self.strides(right, b)
        widths = [sizes[letter] for letter in columns]
        if (
            not all(isinstance(width, int) for width in widths)
            or math.prod(width for width in widths if isinstance(width, int)) <= _FEW_COLUMNS
        ):
            return False
        if b_strides[columns[-1]] != 1:
            buffer = Buffer(b.type)
            order = sorted(
                range(len(right)), key=lambda axis: (right[axis] in columns, isinstance(sizes[right[axis]], int))
            )
            b = self.reordered(b, order, buffer)
            right = "".join(right[axis] for axis in order)
            b_strides = self.strides(right, b)
        a_strides = self.strides(left, a)
        maps = (a_strides, b_strides, c_strides)
        merged = [_merge(letters, sizes, maps) for letters in (rows, columns, depth, both)]
        if len(merged[1]) != 1 or len(merged[2]) > 1:
            return False
        outer = [*merged[3], *merged[0][:-1]]
        if len(outer) > 2:
            return False
        row = merged[0][-1] if merged[0] else (Count(1), (0, 0, 0))
        deep = merged[2][0] if merged[2] else (Count(1), (0, 0, 0))
        loops = [(Count(1), (0, 0, 0))] * (2 - len(outer)) + outer
        target = self.output(value)
        numbers = [
            Count(row[1][0]),
            Count(deep[1][0]),
            Count(deep[1][1]),
            Count(row[1][2]),
            row[0],
            merged[1][0][0],
            deep[0],
            Count(0),
        ]
        for size, (a_outer, b_outer, c_outer) in loops:
            numbers += [size, Count(a_outer), Count(b_outer), Count(c_outer)]
        places = (self.read(a), self.read(b))
        buffers = [(place.buffer, place.offset) for place in places if place.buffer is not None]
        kernel = KernelSource("product", value.type.dtype, len(PRODUCT))
        self.schedule.tasks.append(Task(kernel, (*buffers, (target, 0)), tuple(numbers), target, value))
        return True

    def strides(self, letters: str, value: Value) -> dict[str, int]:
        return dict(zip(letters, self.read(value).strides, strict=True))

    def reordered(self, value: Value, order: list[int], buffer: Buffer) -> Value:
        """A copy of a value with its axes in another order, so that the tile reads along rows."""
        type_ = value.type.with_dims(tuple(value.type.dims[axis] for axis in order))
        twin = Value(
            value.graph, -1 - len(self.places), "transpose", (value,), {"order": tuple(order)}, type_, value.span
        )
        self.places[twin] = self.view(twin)
        buffer.type = type_
        self.copy(twin, buffer)
        self.places[twin] = Place(buffer, contiguous(type_.dims))
        return twin

    def multiply_and_add(self, value: Value, left: str, right: str, out: str) -> None:
        letters = list(dict.fromkeys(out + left + right))
        sizes = index_sizes(f"{left},{right}", *(operand.type for operand in value.operands))
        space = tuple(sizes[letter] for letter in letters)
        loop = _Loop(self, space)
        names = []
        for part, operand in zip((left, right), value.operands, strict=True):
            steps = self.strides(part, operand)
            names.append(loop.load(self.read(operand), operand.type, tuple(steps.get(letter, 0) for letter in letters)))
        name = loop.add(f"{names[0]} * {names[1]}")
        target = self.output(value)
        strides = (*contiguous(value.type.dims), *(0 for _ in letters[len(out) :]))
        nest = replace(
            loop.nest(name, value.type.dtype, strides, target),
            folded=tuple(letter not in out for letter in letters),
            fold=(literal(0.0, value.type.dtype), "a + b"),
        )
        self.emit(value, nest, loop.buffers, target)


class _Loop:
    """The body of one loop while it is gathered: lines, and the buffers behind its pointers."""

    def __init__(self, lowering: _Lowering, space: tuple[Dim, ...]) -> None:
        self.lowering, self.space = lowering, space
        self.lines: list[Line] = []
        self.buffers: list[tuple[Buffer, int]] = []
        self.names: dict[Any, str] = {}

    def add(self, content: Access | str) -> str:
        if content not in self.names:
            self.names[content] = f"t{len(self.lines)}"
            self.lines.append(Line(self.names[content], content))
        return self.names[content]

    def pointer(self, buffer: Buffer, offset: int) -> int:
        if (buffer, offset) not in self.buffers:
            self.buffers.append((buffer, offset))
        return self.buffers.index((buffer, offset))

    def load(self, place: Place, type_: Type, strides: tuple[int, ...], indirect: tuple[str, int] | None = None) -> str:
        if place.buffer is None:
            return self.add(Access(None, type_.dtype, strides))
        return self.add(Access(self.pointer(place.buffer, place.offset), type_.dtype, strides, indirect))

    def operand(self, value: Value) -> str:
        """The name of an operand's element: computed here, a literal, or loaded."""
        constant = value
        while constant.operation in ("broadcast", "reshape") and constant.operands:
            constant = constant.operands[0]
        if constant.operation == "constant":
            return self.add(literal(constant.attributes["value"], value.type.dtype))
        if value in self.lowering.inlined and value.operation != "arange":
            return self.compute(value)
        place = self.lowering.read(value)
        return self.load(place, value.type, self.lowering.broadcast(place.strides, value.type.dims, self.space))

    def compute(self, value: Value) -> str:
        lower = OPERATIONS[value.operation].lower
        assert isinstance(lower, Scalar)
        names = {name: self.operand(operand) for name, operand in zip("xyz", value.operands, strict=False)}
        dtype = (
            value.type.dtype
            if value.operation == "cast" or value.type.dtype != "bool"
            else value.operands[0].type.dtype
        )
        return self.add(scalar(lower.expression, names, dtype))

    def nest(self, result: str, dtype: str, strides: tuple[int, ...], target: Buffer) -> Nest:
        self.buffers.append((target, 0))
        return Nest(
            self.lowering.extents(self.space),
            tuple(self.lines),
            result,
            Access(len(self.buffers) - 1, dtype, strides),
            (),
        )


def _reshape(strides: tuple[int, ...], before: tuple[Dim, ...], after: tuple[Dim, ...]) -> tuple[int, ...] | None:
    """Strides of the same memory in another shape, or None if there are none."""
    old = [(dim, stride) for dim, stride in zip(before, strides, strict=True) if dim != 1]
    result: list[int] = []
    i = 0
    groups: list[tuple[Dim, int]] = []
    for dim, stride in old:  # runs of axes that are contiguous with one another
        if groups and isinstance(dim, int) and groups[-1][1] == dim * stride and isinstance(groups[-1][0], int):
            groups[-1] = (groups[-1][0] * dim, stride)
        else:
            groups.append((dim, stride))
    left: Dim = 1
    for dim in after:
        if dim == 1:
            result.append(0)
            continue
        if left == 1:
            if i == len(groups):
                return None
            left, step = groups[i][0], groups[i][1]
            i += 1
        if isinstance(dim, str) or isinstance(left, str):
            if dim != left:
                return None
            result.append(step)
            left = 1
            continue
        if left % dim:
            return None
        left //= dim
        result.append(step * left)
    return tuple(result) if left == 1 and i == len(groups) else None


def _merge(
    letters: list[str], sizes: dict[str, Dim], maps: tuple[dict[str, int], ...]
) -> list[tuple[Count, tuple[int, int, int]]]:
    """A group of indices as few loops: neighbours that every operand walks as one are one."""
    loops: list[tuple[Count, tuple[int, int, int]]] = []
    for letter in letters:
        size = sizes[letter]
        steps = tuple(one.get(letter, 0) for one in maps)
        count = Count(size) if isinstance(size, int) else Count(1, True)
        if (
            loops
            and isinstance(size, int)
            and all(before == step * size for before, step in zip(loops[-1][1], steps, strict=True))
        ):
            loops[-1] = (Count(loops[-1][0].factor * size, loops[-1][0].times_batch), (steps[0], steps[1], steps[2]))
        else:
            loops.append((count, (steps[0], steps[1], steps[2])))
    return loops
