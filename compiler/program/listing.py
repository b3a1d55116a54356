"""Text of everything below the graph: which values share a loop, tasks, phases and addresses.

For golden tests and for whoever looks for what a line of a model became. Buffers of leaves and results have their
names, temporaries are t0, t1, ... in the order in which tasks touch them. It makes no decisions itself.
"""

import itertools
from collections.abc import Collection, Iterable, Iterator, Sequence

from netc.compiler.ir.types import Dim
from netc.compiler.ir.value import OPERATIONS, Scalar, Value
from netc.compiler.lowering.fuse import Fusion, Unit
from netc.compiler.planning.phases import TaskGroup
from netc.compiler.program.plan import Plan
from netc.compiler.program.product import WALKS, Loop, Product
from netc.compiler.program.schedule import ORDER, PERSISTENT, PRIVATE, SHARED, TABLES, Address, Count, Group
from netc.compiler.program.tasks import SHARDS, Buffer, Pointer, Task, Tasks

_MEMORIES = {PERSISTENT: "persistent", SHARED: "shared", PRIVATE: "private", ORDER: "order"}
_LOOPS = ("rows", "columns", "depth", "runs", "turns", "inner", "middle", "outer")  # of a product, from the inside


# ------------------------------------------------------------------ which values share a loop


def fusion_lines(fusion: Fusion) -> Iterator[str]:
    """Each unit with the values that it computes, those computed on the way, and those that it reads from memory."""
    for unit in fusion.units:
        yield f"unit {unit.position}: {_space(unit)}"
        for value in unit.values:
            yield f"  {value_line(value)}"
        inside = sorted(_inside(fusion, unit), key=lambda value: value.number)
        for value in inside:
            shared = len(fusion.users[value]) > 1
            yield f"  {value_line(value)}  (computed {'again ' if shared else ''}on the way)"
        reads = {source for value in unit.values for source, _ in fusion.sources(value)} - set(unit.values)
        if reads:
            yield f"  reads {', '.join(f'%{value.number}' for value in sorted(reads, key=lambda value: value.number))}"


def value_line(value: Value) -> str:
    """A value as its operation, operands and type."""
    operands = ", ".join(f"%{operand.number}" for operand in value.operands)
    return f"%{value.number} = {value.operation}({operands}) : {value.type}"


def _space(unit: Unit) -> str:
    if unit.space is None:
        return f"{unit.values[0].operation} by itself"
    folded = f", folding axes {', '.join(map(str, unit.folded))}" if unit.folded else ""
    return f"a loop over [{', '.join(map(str, unit.space))}]{folded}"


def _inside(fusion: Fusion, unit: Unit) -> Iterator[Value]:
    """The values without memory that a unit computes for its own; each once."""
    pending, seen = list(unit.values), set[Value]()
    while pending:
        for operand in pending.pop().operands:
            if operand in seen:
                continue
            seen.add(operand)
            if operand in fusion.inlined:
                yield operand
                pending.append(operand)
            elif operand.operands and operand not in fusion.unit_of and not isinstance(_lower(operand), Scalar):
                pending.append(operand)  # a view: what it sees may be computed here


def _lower(value: Value) -> object:
    return OPERATIONS[value.operation].lower


# ------------------------------------------------------------------ tasks


class Names:
    """The names of buffers: their own, or t0, t1, ... for temporaries and s0, s1, ... for what belongs to one task."""

    def __init__(self, tasks: Iterable[Task]) -> None:
        buffers = list(dict.fromkeys(pointer.buffer for task in tasks for pointer in task.pointers))
        taken = {buffer.name for buffer in buffers}
        free = {letter: _numbered(letter, taken) for letter in "ts"}
        self.names = {buffer: buffer.name or next(free["s" if buffer.kind == "scratch" else "t"]) for buffer in buffers}

    def lines(self) -> Iterator[str]:
        """A line a buffer."""
        width = max(map(len, self.names.values()), default=0)
        for buffer, name in self.names.items():
            per_step = ", a value a step" if buffer.is_per_step else ""
            yield f"{name:<{width}}  {buffer.type}, {buffer.kind}{per_step}"

    def pointer(self, pointer: Pointer) -> str:
        offset = f" + {pointer.offset}" if pointer.offset else ""
        lead = f", {pointer.lead} a row" if pointer.lead else ""
        shard = f", {pointer.shard} a shard" if pointer.shard else ""
        return f"{self.names[pointer.buffer]}{offset}{lead}{shard}"


def _numbered(letter: str, taken: Collection[str]) -> Iterator[str]:
    """t0, t1, ... without those that are taken."""
    return (name for number in itertools.count() if (name := f"{letter}{number}") not in taken)


def task_lines(program: Tasks) -> Iterator[str]:
    """The buffers, then each task whole: its pointers, its counts and its kernel."""
    names = Names(program.tasks)
    yield from names.lines()
    for number, task in enumerate(program.tasks):
        yield ""
        yield f"task {number}: {title(task)}"
        yield from (
            f"  {line}" for line in (_product(task, names) if task.kernel.form == "product" else _loop(task, names))
        )
        yield f"  writes {', '.join(name for buffer, name in names.names.items() if buffer in task.writes)}"


def title(task: Task) -> str:
    """The form of a task's kernel, along what it can be shared out, and the values that it computes."""
    values = ", ".join(f"%{value.number} {value.operation}" for value in task.values)
    grain = f", {task.grain} at a time" if task.grain > 1 else ""
    walk = f", {_walk(task.walk.dim, task.walk.is_reversed)}" if task.walk is not None else ""
    return f"{task.kernel.form} of {values}; {_axis(task.axis)}{grain}{walk}"


def _axis(axis: Dim | None) -> str:
    if axis is None:
        return "as one piece"
    return "in shards" if axis == SHARDS else f"rows of {axis}" if isinstance(axis, str) else f"{axis} rows"


def _walk(dim: str, is_reversed: bool) -> str:
    return f"a step of {dim}, {'from the last' if is_reversed else 'from the first'}"


def count_text(count: Count) -> str:
    if count.per == "one":
        return str(count.factor)
    return count.per if count.factor == 1 else f"{count.factor} * {count.per}"


def _loop(task: Task, names: Names) -> Iterator[str]:
    for number, pointer in enumerate(task.pointers):
        yield f"p{number} = {names.pointer(pointer)}"
    text = task.kernel.text.rstrip("\n").split("\n")
    parameters = text[0].partition("(")[2].partition(")")[0].split(", ")[len(task.pointers) :]
    for parameter, count in zip(parameters, task.counts, strict=True):
        yield f"{parameter} = {count_text(count)}"
    yield from (f"| {line.removeprefix('    ')}" for line in text[1:])


def _product(task: Task, names: Names) -> Iterator[str]:
    """The operands, then the loops that are walked more than once, with each operand's stride."""
    product = Product.of(task.pointers, task.counts, Count)
    operands = {"a": product.a, "b": product.b, "c": product.c}
    if product.has_start.factor == 1:
        operands["start"] = product.start
    for name, pointer in operands.items():
        yield f"{name} = {names.pointer(pointer)}"
    if product.pack != product.c:
        yield f"pack = {names.pointer(product.pack)}"
    for pointer in product.touched[: product.touches.factor]:
        yield f"fetches {names.pointer(pointer)}"
    for name in _LOOPS:
        loop: Loop[Count] = getattr(product, name)
        if loop.count != Count(1) or name in ("rows", "columns", "depth"):
            walking = ["b"] if name == "columns" else [operand for operand in operands if name in WALKS[operand]]
            steps = [f"{operand} + {count_text(getattr(loop, operand))}" for operand in walking]
            yield f"{name} = {count_text(loop.count)}: {', '.join(steps)}"


# ------------------------------------------------------------------ phases and addresses


def phase_lines(phases: Sequence[Sequence[TaskGroup]]) -> Iterator[str]:
    """The phases, the groups in each, and their tasks, with the buffers that they read and write."""
    names = Names(task for phase in phases for group in phase for task in group.tasks)
    for number, phase in enumerate(phases):
        yield f"phase {number}"
        for group in phase:
            yield f"  {group.kind}" if group.axis in (None, SHARDS) else f"  {group.kind} of {group.axis}"
            for task in group.tasks:
                yield f"    {title(task)}"
                yield f"      {_flow(task, names)}"


def _flow(task: Task, names: Names) -> str:
    read = [pointer.buffer for pointer in task.pointers if pointer.buffer not in task.writes]
    written = [pointer.buffer for pointer in task.pointers if pointer.buffer in task.writes]
    return " -> ".join(
        ", ".join(names.names[buffer] for buffer in dict.fromkeys(some)) or "nothing" for some in (read, written)
    )


def plan_lines(plan: Plan) -> Iterator[str]:
    """The sizes of the arenas, then each group with the size of its row blocks, and the byte addresses of each call."""
    names, tasks = Names(plan.tasks), iter(plan.tasks)
    tables = {table.index: name for name, table in [*plan.inputs.items(), *plan.results.items()]}
    yield f"shared arena {plan.shared} bytes, each worker's own {plan.private} bytes"
    for number, phase in enumerate(plan.schedule.phases):
        yield f"phase {number}"
        for group in phase:
            yield f"  {group_title(group)}"
            for call in group.calls:
                task = next(tasks)
                yield f"    {title(task)}"
                seen = dict[tuple[Buffer, Address], None]()
                for pointer, argument in zip(task.pointers, call.arguments, strict=False):
                    assert isinstance(argument, Address)
                    seen[pointer.buffer, argument] = None
                for buffer, address in seen:
                    yield f"      {names.names[buffer]} at {address_text(address, tables)}"


def group_title(group: Group) -> str:
    """How a group is shared out."""
    grain = f", in multiples of {group.grain}" if group.grain > 1 else ""
    match group.kind:
        case "samples":
            return f"rows of {group.dim}, {group.band} at a time{grain}"
        case "pieces":
            return f"{group.extent} rows, {group.band} at a time{grain}"
        case "shards":
            return f"{group.extent} shards of at most {group.band} samples"
        case "steps":
            return f"steps of {group.dim}{', from the last' if group.is_reversed else ''}"
    return "one worker"


def address_text(address: Address, tables: dict[int, str]) -> str:
    """A memory and the bytes into it, and how these move by row, by shard, and by the rows before a step."""
    memory = _MEMORIES.get(address.memory) or f"table {tables[address.memory - TABLES]}"
    moves = (("a row", address.lead), ("a shard", address.shard), ("a row before the step", address.step))
    return ", ".join([f"{memory} + {address.offset}", *(f"{size} {what}" for what, size in moves if size)])
