"""Prints a lowered program: its buffers and tasks with all that they compute, and a plan with its addresses.

For `netc explain --after lower` and `--after plan`, and for golden tests. listing_parser.py and plan_parser.py read the
text back. Buffers of leaves and results have their names, temporaries are m0, m1, ... in the order in which tasks
touch them.
"""

import itertools
from collections.abc import Collection, Iterable, Iterator, Sequence

from netc.compiler.ir.results import parse_result
from netc.compiler.ir.types import Dim
from netc.compiler.program import prefetched
from netc.compiler.program.gathers import Division, Gather, Gathers
from netc.compiler.program.kernel_listing import count_text, kernel_lines
from netc.compiler.program.kernels import Contraction, form_of, prefetches
from netc.compiler.program.names import quoted
from netc.compiler.program.plan import Plan
from netc.compiler.program.product import POINTERS, WALKS, Loop, Product
from netc.compiler.program.schedule import ORDER, PERSISTENT, PRIVATE, SHARED, TABLES, Address, Call, Count, Group
from netc.compiler.program.tasks import SHARDS, Buffer, Pointer, Task, Tasks, Walk
from netc.dsl.source import NOWHERE

MEMORIES = {PERSISTENT: "persistent", SHARED: "shared", PRIVATE: "private", ORDER: "order"}
LOOPS = ("rows", "columns", "depth", "runs", "turns", "inner", "middle", "outer")  # of a product, from the inside
_WIDTH = 100  # columns of a list of names
ONCE = Loop(Count(1), Count(0), Count(0), Count(0), Count(0))  # a loop of a product that is not printed


# ------------------------------------------------------------------ buffers and tasks


class Names:
    """The names of buffers: their own, or m0, m1, ... for temporaries and s0, s1, ... for what belongs to one task.

    A buffer whose name another one has too is told apart by its kind: `'chunk.0 (result)'`.
    """

    def __init__(self, tasks: Iterable[Task], others: Iterable[Buffer] = ()) -> None:
        buffers = dict.fromkeys([*(pointer.buffer for task in tasks for pointer in task.pointers), *others])
        taken = {buffer.name for buffer in buffers}
        free = {letter: _numbered(letter, taken) for letter in "ms"}
        self.names = dict[Buffer, str]()
        used = set[str]()
        for buffer in buffers:
            name = buffer.name or next(free["s" if buffer.kind == "scratch" else "m"])
            name = f"{name} ({buffer.kind})" if name in used else name
            used.add(name)
            self.names[buffer] = quoted(name)

    def lines(self) -> Iterator[str]:
        """Yields a line for each buffer."""
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
    """Yields m0, m1, ... without those that are taken."""
    return (name for number in itertools.count() if (name := f"{letter}{number}") not in taken)


def task_lines(program: Tasks) -> Iterator[str]:
    """Yields the buffers, the leaves and results, then each task: its pointers, its kernel and what it writes."""
    names = Names(program.tasks, [*program.leaves.values(), *program.results.values()])
    yield from _heads(program, names)
    for number, task in enumerate(program.tasks):
        yield ""
        yield f"task {number}: {title(task)}{_source_lines(task)}"
        yield from (f"  {line}" for line in _TaskListing(task, names, _walks(program.tasks)).lines())


def _heads(program: Tasks, names: Names) -> Iterator[str]:
    """Yields the buffers, and which of them are those of leaves and results."""
    yield from names.lines()
    results = {str(result): buffer for result, buffer in program.results.items()}
    for word, buffers in (("leaves", program.leaves), ("results", results)):
        pairs = (
            quoted(name) if quoted(name) == names.names[buffer] else f"{quoted(name)} = {names.names[buffer]}"
            for name, buffer in buffers.items()
        )
        yield from (f"{word}: {line}" for line in _wrapped(pairs))


def _wrapped(items: Iterable[str]) -> Iterator[str]:
    """Yields the items, separated by commas, in lines of about 100 columns."""
    line = ""
    for item in items:
        if line and len(line) + len(item) > _WIDTH:
            yield line
            line = ""
        line = f"{line}, {item}" if line else item
    if line:
        yield line


def title(task: Task) -> str:
    """Returns the form of a task's kernel, the values that it computes, and along what it can be shared out."""
    values = ", ".join(f"%{value.number} {value.operation}" for value in task.values)
    grain = f", {task.grain} at a time" if task.grain > 1 else ""
    walk = f", a step of {quoted(task.walk.dim)}, {_direction(task.walk)}" if task.walk is not None else ""
    but_last = ", but not the last step" if task.skips_last else ""
    return f"{form_of(task.kernel)} of {values}; {_axis(task.axis, task.is_by_columns)}{grain}{walk}{but_last}"


def _axis(axis: Dim | None, is_by_columns: bool) -> str:
    if axis is None:
        return "as one piece"
    if isinstance(axis, int):
        return f"{axis} {'columns' if is_by_columns else 'rows'}"
    return "in shards" if axis == SHARDS else f"rows of {quoted(axis)}"


def _direction(walk: Walk) -> str:
    return "from the last" if walk.is_reversed else "from the first"


def _source_lines(task: Task) -> str:
    """Returns a comment with the lines of the model that a task's values come from."""
    lines = dict.fromkeys(value.span.line for value in task.values if value.span is not NOWHERE)
    return f"  # line {', '.join(map(str, lines))}" if lines else ""


def _walks(tasks: Iterable[Task]) -> dict[Walk, int]:
    """Returns the number of each scan."""
    walks = dict.fromkeys(task.walk for task in tasks if task.walk is not None)
    return {walk: number for number, walk in enumerate(walks)}


class _TaskListing:
    """The lines of one task, with the addresses of its pointers if it has a `call` in a plan."""

    def __init__(
        self, task: Task, names: Names, walks: dict[Walk, int], call: Call | None = None, tables: tuple[str, ...] = ()
    ) -> None:
        self.task, self.names, self.walks, self.call, self.tables = task, names, walks, call, tables

    def lines(self) -> Iterator[str]:
        task = self.task
        if task.walk is not None:
            yield f"scan {self.walks[task.walk]}"
        if isinstance(task.kernel, Contraction):
            yield from kernel_lines(task.kernel, task.counts)
            yield from self.product()
        elif prefetches(task.kernel):
            pointers, numbers = range(len(task.pointers) - prefetched.MOST), len(task.counts) - prefetched.MOST
            yield from (self.pointer(f"p{number}", number) for number in pointers)
            yield from self.prefetched(task.counts[numbers:])
            yield from kernel_lines(task.kernel, task.counts[:numbers])
        else:
            yield from (self.pointer(f"p{number}", number) for number in range(len(task.pointers)))
            yield from kernel_lines(task.kernel, task.counts)
        yield f"writes {', '.join(name for buffer, name in self.names.names.items() if buffer in task.writes)}"

    def pointer(self, name: str, number: int) -> str:
        """The pointer with a number in the kernel's arguments, and its address."""
        text = f"{name} = {self.names.pointer(self.task.pointers[number])}"
        if self.call is None:
            return text
        return f"{text} at {address_text(self.call.addresses[number], self.tables)}"

    def prefetched(self, nbytes: Sequence[Count]) -> Iterator[str]:
        """The stretches of memory that a kernel prefetches, its last pointers: rows of buffers, with their bytes."""
        first = len(self.task.pointers) - prefetched.MOST
        yield from (self.pointer("prefetches", first + i) for i, count in enumerate(nbytes) if count != Count(0))

    def product(self) -> Iterator[str]:
        """Yields the operands, then the loops that are walked more than once, with each operand's stride."""
        product = Product.of(self.task.pointers, self.task.counts, Count)
        has_start = product.has_start.factor == 1
        for number, name in enumerate(WALKS):
            if name != "start" or has_start:
                yield self.pointer(name, number)
        if product.pack != product.c:
            yield self.pointer("pack", len(WALKS))
        if product.order != product.c:
            yield self.pointer("order", POINTERS.index("order"))
        for touched in range(product.touches.factor):
            yield self.pointer("fetches", len(WALKS) + 1 + touched)
        yield from self.prefetched(product.prefetched_bytes)
        for name in LOOPS:
            loop: Loop[Count] = getattr(product, name)
            if loop == ONCE:
                continue
            walking = ["b"] if name == "columns" else [operand for operand in WALKS if name in WALKS[operand]]
            strides = [
                f"{operand} + {count_text(getattr(loop, operand))}"
                for operand in walking
                if operand != "start" or has_start or getattr(loop, operand) != Count(0)
            ]
            yield f"{name} = {count_text(loop.count)}: {', '.join(strides)}"


# ------------------------------------------------------------------ plans


def plan_lines(program: Tasks, plan: Plan) -> Iterator[str]:
    """Yields the sizes, the buffers and the tables, then the groups of each phase with the addresses of each call."""
    names = Names(plan.tasks, [*program.leaves.values(), *program.results.values()])
    sizes = {"batch": plan.sizes} if isinstance(plan.sizes, int) else plan.sizes
    fixed = "" if isinstance(plan.sizes, int) else " of dimensions"
    yield f"sizes{fixed}: {', '.join(f'{quoted(dim)} = {size}' for dim, size in sizes.items())}"
    yield f"shared arena {plan.shared} bytes, each worker's own {plan.private} bytes"
    if plan.schedule.dims:
        yield f"varying: {', '.join(map(quoted, plan.schedule.dims))}"
    yield from _heads(program, names)
    buffer_of = {table.index: program.leaves[name] for name, table in plan.inputs.items()}
    buffer_of |= {table.index: program.results[parse_result(name)] for name, table in plan.results.items()}
    tables = tuple(names.names[buffer_of[index]] for index in range(len(plan.schedule.tables)))
    for name, (fixed_bytes, bytes_each) in zip(tables, plan.schedule.tables, strict=True):
        yield f"table {name}: {fixed_bytes} bytes a step, {bytes_each} a sample"
    groups, walks, number = plan.groups(), _walks(plan.tasks), itertools.count()
    for phase_number, phase in enumerate(plan.schedule.phases):
        yield ""
        yield f"phase {phase_number}"
        for planned in itertools.islice(groups, len(phase)):
            yield f"  {group_title(planned.group)}"
            for call, task in planned.calls:
                yield f"    task {next(number)}: {title(task)}{_source_lines(task)}"
                yield from (f"      {line}" for line in _TaskListing(task, names, walks, call, tables).lines())
    if plan.schedule.gathers is not None:
        yield ""
        yield from _gather_lines(plan.schedule.gathers, len(plan.schedule.phases), tables)


def _gather_lines(gathers: Gathers, phases: int, tables: tuple[str, ...]) -> Iterator[str]:
    """Yields what ranks gather from one another, message by message."""

    def line(gather: Gather) -> str:
        address = address_text(Address(gather.memory, gather.offset), tables)
        return f"  {_division_text(gather.division)} of {gather.row_bytes} bytes at {address}"

    for message in gathers.messages:
        step = " of the next step" if message.before >= phases else ""
        yield f"ranks gather from the end of phase {message.after} to phase {message.before % phases}{step}"
        yield from map(line, message.gathers)
    if gathers.at_end:
        yield "ranks gather after the last step"
        yield from map(line, gathers.at_end)


def _division_text(division: Division) -> str:
    match division.kind:
        case "batch":
            return "rows of the batch"
        case "rows" | "steps":
            return f"rows of {quoted(division.dim)}{' at each step' if division.kind == 'steps' else ''}"
        case "ranked":
            return f"samples by their length along {quoted(division.dim)}"
        case "shards":
            return f"{division.extent} shards"
    return f"{division.extent} rows in multiples of {division.grain}"


def group_title(group: Group) -> str:
    """Returns how a group is shared out."""
    return f"{_group_title(group)}{', on every rank' if group.is_repeated else ''}"


def _group_title(group: Group) -> str:
    grain = f", in multiples of {group.grain}" if group.grain > 1 else ""
    at_once = f", {group.row_block} at a time{grain}"
    match group.kind:
        case "samples":
            return f"rows of {quoted(group.dim)}{at_once}"
        case "pieces":
            return f"{group.extent} rows{at_once}"
        case "shards":
            return f"{group.extent} shards of at most {group.row_block} samples{grain}"
        case "steps":
            return f"steps of {quoted(group.dim)}{', from the last' if group.is_reversed else ''}{at_once}"
    return f"one worker{at_once if group.row_block > 1 else grain}"


def address_text(address: Address, tables: tuple[str, ...]) -> str:
    """Returns a memory and the bytes into it, and how these move by row, by shard, and by the rows before a step."""
    memory = MEMORIES.get(address.memory) or f"table {tables[address.memory - TABLES]}"
    moves = (("a row", address.lead), ("a shard", address.shard), ("a row before the step", address.step))
    return ", ".join([f"{memory} + {address.offset}", *(f"{size} {what}" for what, size in moves if size)])
