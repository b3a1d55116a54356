"""`netc explain M.net`, `--cache` and `--fusion`: the kernels of a training step, and which values share a loop."""

from datetime import datetime
from typing import TYPE_CHECKING

from netc.commands.terminal import say, say_lines, table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from netc.compiler.ir.graph import Graph
    from netc.compiler.ir.value import Value
    from netc.compiler.lowering.units import Fusion
    from netc.compiler.program.tasks import Task


def show_kernels(tasks: "list[Task]") -> None:
    """Prints each kernel's text, or its heading if it is not a loop, with the values that it computes."""
    from netc.compiler.program.kernel_listing import heading
    from netc.compiler.targets.cpu.source import source_of

    for task in tasks:
        for value in task.values:
            say(f"# line {value.span.line}: {value.operation} : {value.type}")
        say(f"# {_vectors(task)}")
        source = source_of(task.kernel)
        say_lines(source.text if source.generic is None else f"{heading(source.generic)}\n")


def _vectors(task: "Task") -> str:
    """The vector width of a kernel, as it was compiled."""
    from netc.compiler.targets.cpu import cache as kept
    from netc.compiler.targets.cpu.compile import parts_of
    from netc.compiler.targets.cpu.source import generic_of
    from netc.compiler.targets.named import machine_for

    entry = kept.entry(parts_of(generic_of(task.kernel).source, machine_for()))
    if entry is None:
        return "not compiled yet: training or `netc check --try` compiles it"
    if entry.lanes == 1:
        return "one element at a time"
    return f"vectors of {entry.lanes} elements"


def show_cache(tasks: "list[Task]") -> None:
    """Prints a row for each kernel: its lines, whether it is in the cache, and why it was (or would be) compiled."""
    from netc.compiler.targets.cpu import cache as kept
    from netc.compiler.targets.cpu.compile import parts_of
    from netc.compiler.targets.cpu.source import generic_of
    from netc.compiler.targets.named import machine_for

    keys = {source: parts_of(source, machine_for()) for source in (generic_of(task.kernel).source for task in tasks)}
    entries = list(kept.entries({parts.family for parts in keys.values()}))
    rows = [("line", "kernel", "cache", "compiled because")]
    for kernel, parts in keys.items():
        computed = [value for task in tasks if generic_of(task.kernel).source == kernel for value in task.values]
        lines = sorted({value.span.line for value in computed})
        entry = kept.entry(parts)
        rows.append(
            (
                ",".join(map(str, lines)),
                parts.name[:8],
                f"since {datetime.fromtimestamp(entry.compiled_at):%Y-%m-%d %H:%M:%S}" if entry else "not in it",
                entry.why if entry else kept.why_missing(parts, entries),
            )
        )
    table(rows)


def show_fusion(graph: "Graph", line: int | None) -> None:
    """Prints each loop with its values, in the order of execution.

    For each value in memory it prints which other loops read it, and why they are not the same loop.
    """
    from netc.compiler.lowering.apart import readers, why_apart
    from netc.compiler.lowering.fuse import fuse

    fusion = fuse(graph)
    inlined_in = {value: fusion.users[value][0] for value in fusion.inlined if len(fusion.users[value]) == 1}
    for unit in fusion.units:
        stored = set(unit.values)
        again = {value for value in inlined_in if _home(value, inlined_in) in stored}
        again |= {value for value in fusion.inlined - set(inlined_in) if not stored.isdisjoint(fusion.users[value])}
        again |= set(_from_sizes(fusion, {*stored, *again}))
        values = sorted({*unit.values, *again}, key=lambda value: value.number)
        if line is not None and not any(value.span.line == line for value in values):
            continue
        kind = "a loop over" if unit.space is not None else "by itself:"
        space = f" [{', '.join(map(str, unit.space))}]" if unit.space is not None else f" {unit.values[0].operation}"
        say(f"{unit.position}  {kind}{space}")
        for value in values:
            kept = "  (never in memory)" if value in inlined_in else "  (computed where it is read)"
            note = "" if value in stored else kept
            say(f"     line {value.span.line}: {value.operation} : {value.type}{note}")
        reasons = dict[str, list[str]]()
        for value in unit.values:
            for user in readers(fusion, value):
                reader = fusion.unit_of.get(_home(user, inlined_in))
                if reader is not None and reader is not unit and user not in fusion.inlined - set(inlined_in):
                    reasons.setdefault(why_apart(fusion, value, user), []).append(str(reader.position))
        for why, others in reasons.items():
            say(f"     apart from {', '.join(dict.fromkeys(others))}: {why}")
        say()


def _from_sizes(fusion: "Fusion", values: "Iterable[Value]") -> "Iterator[Value]":
    """Yields the numbers from sizes that a loop computes for some of its values, without their views."""
    from netc.compiler.ir.roles import Role

    pending, seen = list(values), set["Value"]()
    while pending:
        for operand in pending.pop().operands:
            if operand in fusion.from_sizes and operand not in seen:
                seen.add(operand)
                pending.append(operand)
                if operand.role is not Role.SHAPE:
                    yield operand


def _home(value: "Value", inlined_in: "dict[Value, Value]") -> "Value":
    """The value whose loop computes an inlined value."""
    while value in inlined_in:
        value = inlined_in[value]
    return value
