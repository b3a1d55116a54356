"""The end of a program: stacked rows of a scan, buffers of results, and the new values of parameters and states."""

from netc.compiler.ir.results import ResultKind
from netc.compiler.ir.roles import Role
from netc.compiler.ir.value import Value, viewed
from netc.compiler.lowering.buffers import Lowering
from netc.compiler.lowering.copies import copy
from netc.compiler.program.tasks import Buffer, all_of


def stack_rows(lowering: Lowering, value: Value) -> None:
    """Copies a value into the buffers that stack its rows, unless its own task wrote it there."""
    view = lowering.views.get(value)
    for buffer in lowering.stacks[value]:
        if view is None or view.buffer is not buffer:
            copy(lowering, value, buffer)
    lowering.stacks[value] = []


def result_buffer(lowering: Lowering, value: Value, name: str) -> Buffer:
    """Returns the buffer that holds a whole result in row-major order; a view or leaf is copied into a new one."""
    view = lowering.views.get(value)
    buffer = view.buffer if view is not None else None
    is_own = buffer is not None and buffer.kind == "temporary" and value not in lowering.leaf_of.values()
    if buffer is not None and is_own and buffer.type == value.type and lowering.fills(value, buffer):
        buffer.kind, buffer.name = "result", name
        return buffer
    target = Buffer(value.type, "result", name)
    copy(lowering, value, target)
    return target


def write_updates(lowering: Lowering) -> None:
    """Copies each next value that was not computed in place into the memory of what it updates.

    All updates read old values. So a copy comes after those that read the memory that it overwrites; where copies
    wait for each other in a circle (a swap), one value is copied to a temporary buffer first.
    """
    pending: dict[Buffer, Value] = {}
    for name, value in lowering.graph.results_of(ResultKind.UPDATE).items():
        target = lowering.memory_of(name, value)
        lowering.program.results[ResultKind.UPDATE.named(name)] = target
        if not lowering.fills(value, target):
            pending[target] = value
    sources = {target: _source_of(lowering, value) for target, value in pending.items()}
    while pending:
        free = [target for target in pending if all(sources[reader] is not target for reader in pending)]
        for target in free:
            copy(lowering, pending.pop(target), target)
        if not free:
            target, value = next(iter(pending.items()))
            aside = Buffer(value.type)
            copy(lowering, value, aside)
            lowering.views[value] = all_of(aside)
            sources.update({other: aside for other, same in pending.items() if same is value})


def _source_of(lowering: Lowering, value: Value) -> Buffer | None:
    """The buffer that a value is copied from; None for a constant or a range, which the copy writes itself."""
    if viewed(value).role in (Role.CONSTANT, Role.RANGE):
        return None
    return lowering.read(value).buffer
