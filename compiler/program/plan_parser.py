"""Reads the plans that listing.py prints: the lines of a program, with groups in phases and addresses.

Raises ValueError with the line that cannot be read.
"""

import re
from collections.abc import Sequence

from netc.compiler.ir.types import BATCH, Sizes
from netc.compiler.program.listing import MEMORIES
from netc.compiler.program.listing_parser import NAMED, ProgramReader
from netc.compiler.program.names import NAME, unquoted
from netc.compiler.program.plan import Plan, Table
from netc.compiler.program.schedule import TABLES, Address, Call, Group, Schedule
from netc.compiler.program.tasks import Tasks

_ADDRESS = re.compile(
    rf"(?:(?P<memory>{'|'.join(MEMORIES.values())})|table (?P<table>{NAME})) \+ (?P<offset>-?\d+)"
    r"(?:, (?P<lead>-?\d+) a row)?(?:, (?P<shard>-?\d+) a shard)?(?:, (?P<step>-?\d+) a row before the step)?"
)
_SIZES = re.compile(r"sizes(?P<several> of dimensions)?: (?P<sizes>.*)")
_SIZE = re.compile(rf"(?P<dim>{NAME}) = (?P<size>\d+)")
_ARENAS = re.compile(r"shared arena (?P<shared>\d+) bytes, each worker's own (?P<private>\d+) bytes")
_VARYING = re.compile(r"varying: (?P<dims>.+)")
_TABLE = re.compile(rf"table (?P<name>{NAME}): (?P<fixed>\d+) bytes a step, (?P<each>\d+) a sample")
_GROUP = re.compile(
    rf"(?:rows of (?P<samples>{NAME})|(?P<pieces>\d+) rows|(?P<shards>\d+) shards of at most (?P<shard>\d+) samples"
    rf"|steps of (?P<steps>{NAME})(?P<reversed>, from the last)?|one worker)"
    r"(?:, (?P<row_block>\d+) at a time)?(?:, in multiples of (?P<grain>\d+))?"
)
_MEMORY_OF = {name: memory for memory, name in MEMORIES.items()}


def parse_plan(text: str) -> tuple[Tasks, Plan]:
    """Returns the plan that `plan_lines` printed, and its program with the tasks in the order of the plan."""
    reader = _PlanReader()
    for line in text.splitlines():
        reader.read(line)
    reader.end_task()
    return reader.program, reader.plan()


class _PlanReader(ProgramReader):
    """Reads the lines of a plan."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: Sizes = 0
        self.arenas = (0, 0)
        self.dims: tuple[str, ...] = ()
        self.tables: dict[str, tuple[int, int]] = {}
        self.phases: list[list[tuple[re.Match[str], list[Call]]]] = []

    def read(self, line: str) -> None:
        text = line.strip()
        if re.fullmatch(r"phase \d+", text):
            self.end_task()
            self.phases.append([])
        elif self.phases and (match := _GROUP.fullmatch(text)):
            self.end_task()
            self.phases[-1].append((match, []))
        else:
            super().read(line)

    def read_head(self, text: str) -> None:
        if match := _SIZES.fullmatch(text):
            sizes = {unquoted(item["dim"]): int(item["size"]) for item in _SIZE.finditer(match["sizes"])}
            self.sizes = sizes if match["several"] else sizes[BATCH]
        elif match := _ARENAS.fullmatch(text):
            self.arenas = (int(match["shared"]), int(match["private"]))
        elif match := _VARYING.fullmatch(text):
            self.dims = tuple(unquoted(item["name"]) for item in NAMED.finditer(match["dims"]))
        elif match := _TABLE.fullmatch(text):
            self.tables[match["name"]] = (int(match["fixed"]), int(match["each"]))
        else:
            super().read_head(text)

    def address(self, text: str) -> Address:
        match = _ADDRESS.fullmatch(text)
        if match is None:
            raise ValueError(f"not an address: {text}")
        if match["table"] and match["table"] not in self.tables:
            raise ValueError(f"there is no table {match['table']}")
        memory = TABLES + list(self.tables).index(match["table"]) if match["table"] else _MEMORY_OF[match["memory"]]
        lead, shard, step = (int(match[word] or 0) for word in ("lead", "shard", "step"))
        return Address(memory, int(match["offset"]), lead, shard, step)

    def end_task(self) -> list[Address | None]:
        if self.open is None:
            return []
        addresses = super().end_task()
        task = self.program.tasks[-1]
        if not self.phases or not self.phases[-1]:
            raise ValueError("a task outside of a group")
        filled = [address for address in addresses if address is not None]
        if len(filled) != len(addresses):
            raise ValueError("a pointer without an address")
        _, calls = self.phases[-1][-1]
        calls.append(Call(task.kernel, tuple(filled), task.counts, task.skips_last))
        return addresses

    def plan(self) -> Plan:
        """Returns the plan of the lines so far."""
        phases = tuple(tuple(_group(match, calls) for match, calls in phase) for phase in self.phases)
        schedule = Schedule(phases, tuple(self.tables.values()), self.dims)
        buffers = [self.buffer(name) for name in self.tables]
        table_of = {buffer: Table(index, buffer.type) for index, buffer in enumerate(buffers)}
        return Plan(
            self.sizes,
            *self.arenas,
            schedule,
            {buffer.name: table for buffer, table in table_of.items() if buffer.kind == "table"},
            {str(result): table_of[buffer] for result, buffer in self.program.results.items() if buffer in table_of},
            tuple(self.program.tasks),
        )


def _group(match: re.Match[str], calls: Sequence[Call]) -> Group:
    kind = next((kind for kind in ("samples", "pieces", "shards", "steps") if match[kind]), "one")
    dim = match["samples"] or match["steps"]
    return Group(
        kind,  # type: ignore[arg-type]  # one of the kinds above
        tuple(calls),
        int(match["row_block"] or match["shard"] or 1),
        int(match["pieces"] or match["shards"] or 1),
        int(match["grain"] or 1),
        unquoted(dim) if dim else BATCH,
        match["reversed"] is not None,
    )
