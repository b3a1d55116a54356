"""Reads the lowered programs that listing.py prints; plan_parser.py adds the lines of plans.

The values of a task are only known by number and operation then: they stand for values of a graph that is not there.
Raises ValueError with the line that cannot be read.
"""

import re
from collections.abc import Sequence
from typing import Any

from msgspec import Struct, field

from netc.compiler.ir.attributes import Attributes
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.results import parse_result
from netc.compiler.ir.types import Dim, Type, parse_type
from netc.compiler.ir.value import Value
from netc.compiler.program import prefetched
from netc.compiler.program.kernel_parser import parse_count, parse_kernel
from netc.compiler.program.kernels import Contraction, Kernel, prefetches
from netc.compiler.program.listing import LOOPS, ONCE
from netc.compiler.program.names import NAME, unquoted
from netc.compiler.program.product import TOUCHED, WALKS, Loop, Product
from netc.compiler.program.schedule import Address, Count
from netc.compiler.program.tasks import SHARDS, Buffer, Pointer, Task, Tasks, Walk, buffer_numbers
from netc.dsl.source import NOWHERE

_BUFFER = re.compile(
    rf"(?P<name>{NAME}) +(?P<type>\S.*?), (?P<kind>temporary|persistent|table|order|result|scratch)"
    r"(?P<per_step>, a value a step)?"
)
_NAMES = re.compile(r"(?P<word>leaves|results): (?P<names>.+)")
NAMED = re.compile(rf"(?P<name>{NAME})(?: = (?P<buffer>{NAME}))?(?:, |$)")
_TASK = re.compile(
    rf"task \d+: (?:loop|product|attention|winograd|grouped) of (?P<values>.*?); (?:as one piece|(?P<shards>in shards)"
    rf"|(?P<rows>\d+) (?:rows|(?P<columns>columns))|rows of (?P<axis>{NAME}))(?:, (?P<grain>\d+) at a time)?"
    rf"(?:, a step of (?P<dim>{NAME}), from the (?P<end>first|last))?(?P<but_last>, but not the last step)?"
)
_COMMENT = re.compile(r"  # line [\d, ]+$")
_VALUE = re.compile(r"%(\d+) (\w+)")
_SCAN = re.compile(r"scan (?P<number>\d+)")
_CONTRACTION = re.compile(
    r"contraction in (?P<dtype>\w+)(?P<pairs> of pairs(?P<tiles> in tiles)?)?"
    r"(?: of gathered (?P<gathered>rows|depth|copied depth))?"
)
_POINTER = re.compile(
    rf"(?P<argument>p\d+|a|b|c|start|pack|order|fetches|prefetches) = (?P<buffer>{NAME})(?: \+ (?P<offset>-?\d+))?"
    r"(?:, (?P<lead>-?\d+) a row)?(?:, (?P<shard>-?\d+) a shard)?(?: at (?P<address>.+))?"
)
_LOOP = re.compile(rf"(?P<name>{'|'.join(LOOPS)}) = (?P<count>.+?): (?P<strides>.*)")
_WRITES = re.compile(r"writes (?P<names>.*)")
_UNNAMED = re.compile(r"[ms]\d+")


def parse_tasks(text: str) -> Tasks:
    """Returns the lowered program that `task_lines` printed."""
    reader = ProgramReader()
    for line in text.splitlines():
        reader.read(line)
    reader.end_task()
    return reader.program


_Operand = tuple[Pointer, Address | None]


class _ParsedCall(Struct, frozen=True):
    """A kernel with its arguments; an operand has an address if it was printed in a plan."""

    kernel: Kernel
    operands: Sequence[_Operand]
    counts: tuple[Count, ...]


class _OpenTask(Struct):
    """A task whose lines are being read. `pointers` are by argument, in order."""

    title: re.Match[str]
    pointers: list[tuple[str, Pointer, Address | None]] = field(default_factory=list)
    walk: Walk | None = None
    contraction: Contraction | None = None
    loops: dict[str, Loop[Count]] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    writes: frozenset[Buffer] = frozenset()


class ProgramReader:
    """Reads the lines of a lowered program."""

    def __init__(self) -> None:
        self.program = Tasks()
        self.buffers: dict[str, Buffer] = {}
        self.walks: dict[str, Walk] = {}
        self.graph = Graph()
        self.open: _OpenTask | None = None

    def read(self, line: str) -> None:
        """Reads one line. Raises ValueError if it cannot be read."""
        text = _COMMENT.sub("", line.strip())
        if not text:
            return
        if match := _TASK.fullmatch(text):
            self.end_task()
            self.open = _OpenTask(match)
        elif self.open is not None:
            self.read_in_task(self.open, text)
        else:
            self.read_head(text)

    def read_head(self, text: str) -> None:
        """Reads a line before the first task."""
        if match := _NAMES.fullmatch(text):
            for item in NAMED.finditer(match["names"]):
                name, buffer = unquoted(item["name"]), self.buffer(item["buffer"] or item["name"])
                if match["word"] == "leaves":
                    self.program.leaves[name] = buffer
                else:
                    self.program.results[parse_result(name)] = buffer
        elif match := _BUFFER.fullmatch(text):
            kind, name = match["kind"], match["name"]
            is_unnamed = kind in ("temporary", "scratch") and _UNNAMED.fullmatch(name)
            self.buffers[name] = Buffer(
                parse_type(match["type"]),
                kind,  # type: ignore[arg-type]  # the pattern allows these words alone
                "" if is_unnamed else unquoted(name).removesuffix(f" ({kind})"),
                match["per_step"] is not None,
            )
        else:
            raise ValueError(f"not a line of a program: {text}")

    def buffer(self, name: str) -> Buffer:
        if name not in self.buffers:
            raise ValueError(f"there is no buffer {name}")
        return self.buffers[name]

    def read_in_task(self, task: _OpenTask, text: str) -> None:
        """Reads a line of a task. Those of its kernel are kept until all pointers are known."""
        if match := _POINTER.fullmatch(text):
            numbers = {word: int(match[word] or 0) for word in ("offset", "lead", "shard")}
            address = self.address(match["address"]) if match["address"] else None
            task.pointers.append((match["argument"], Pointer(self.buffer(match["buffer"]), **numbers), address))
        elif match := _SCAN.fullmatch(text):
            walk = Walk(unquoted(task.title["dim"] or ""), task.title["end"] == "last")
            task.walk = self.walks.setdefault(match["number"], walk)
        elif match := _CONTRACTION.fullmatch(text):
            gathered: Any = match["gathered"] or ""
            task.contraction = Contraction(
                match["dtype"], match["pairs"] is not None, match["tiles"] is not None, gathered
            )
        elif task.contraction is not None and (match := _LOOP.fullmatch(text)):
            task.loops[match["name"]] = _product_loop(match)
        elif match := _WRITES.fullmatch(text):
            task.writes = frozenset(self.buffer(item["name"]) for item in NAMED.finditer(match["names"]))
        else:
            task.lines.append(text)

    def address(self, text: str) -> Address:
        raise ValueError(f"an address outside of a plan: {text}")

    def end_task(self) -> list[Address | None]:
        """Adds the open task to the program, if there is one, and returns the addresses of its pointers."""
        if self.open is None:
            return []
        task, self.open = self.open, None
        call = _kernel(task) if task.contraction is None else _contraction(task, task.contraction)
        title = task.title
        axis: Dim | None = SHARDS if title["shards"] else int(title["rows"]) if title["rows"] else None
        self.program.tasks.append(
            Task(
                call.kernel,
                tuple(pointer for pointer, _ in call.operands),
                call.counts,
                task.writes,
                unquoted(title["axis"]) if title["axis"] else axis,
                tuple(self.value(int(number), operation) for number, operation in _VALUE.findall(title["values"])),
                int(title["grain"] or 1),
                task.walk,
                bool(title["columns"]),
                bool(title["but_last"]),
            )
        )
        return [address for _, address in call.operands]

    def value(self, number: int, operation: str) -> Value:
        """Returns a value that stands for the one that a task computes."""
        return Value(self.graph, number, operation, (), Attributes(), Type("f32"), NOWHERE)


def _kernel(task: _OpenTask) -> _ParsedCall:
    arguments = [(pointer, address) for argument, pointer, address in task.pointers if argument != "prefetches"]
    kernel, counts = parse_kernel(task.lines, buffer_numbers([pointer for pointer, _ in arguments]))
    if prefetches(kernel):
        later, nbytes = _prefetched(task, arguments[0])
        arguments, counts = arguments + later, (*counts, *nbytes)
    return _ParsedCall(kernel, arguments, counts)


def _prefetched(task: _OpenTask, unused: _Operand) -> tuple[list[_Operand], tuple[Count, ...]]:
    """Returns the pointers to rows that a kernel prefetches, and their bytes; `unused` stands for the others."""
    later = [(pointer, address) for argument, pointer, address in task.pointers if argument == "prefetches"]
    nbytes = [Count(pointer.lead * pointer.buffer.type.itemsize, "rows") for pointer, _ in later]
    more = prefetched.MOST - len(later)
    return later + [unused] * more, (*nbytes, *(Count(0),) * more)


def _contraction(task: _OpenTask, kernel: Contraction) -> _ParsedCall:
    """Returns a contraction with its arguments. Pointers that it does not use stand where c does."""
    if task.lines:
        raise ValueError(f"not a line of a contraction: {task.lines[0]}")
    operands = {argument: (pointer, address) for argument, pointer, address in task.pointers}
    if not {"a", "b", "c"} <= operands.keys():
        raise ValueError(f"a contraction without operands: {task.title[0]}")
    fetched = [(pointer, address) for argument, pointer, address in task.pointers if argument == "fetches"]
    start, pack, order = (operands.get(name, operands["c"]) for name in ("start", "pack", "order"))
    touched = fetched + [operands["c"]] * (TOUCHED - len(fetched))
    later, nbytes = _prefetched(task, operands["c"])
    loops = {name: task.loops.get(name, ONCE) for name in LOOPS}
    product = Product(
        a=operands["a"][0],
        b=operands["b"][0],
        c=operands["c"][0],
        start=start[0],
        pack=pack[0],
        touched=tuple(pointer for pointer, _ in touched),
        order=order[0],
        prefetched=tuple(pointer for pointer, _ in later),
        prefetched_bytes=nbytes,
        has_start=Count(int("start" in operands)),
        touches=Count(len(fetched)),
        **loops,
    )
    in_order = (*(operands[name] for name in "abc"), start, pack, *touched, order, *later)  # as Product.pointers
    return _ParsedCall(kernel, in_order, product.numbers)


def _product_loop(match: re.Match[str]) -> Loop[Count]:
    strides = dict.fromkeys(WALKS, Count(0))
    if match["name"] == "columns":
        strides["c"] = strides["start"] = Count(1)  # always: see Loop
    for item in filter(None, match["strides"].split(", ")):
        operand, _, stride = item.partition(" + ")
        strides[operand] = parse_count(stride)
    return Loop(parse_count(match["count"]), **strides)
