"""Scans: copies the initial carries, then lowers the body to tasks of one step, which the schedule walks."""

from collections.abc import Mapping

from netc.compiler.ir.forms import Form, View
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.results import Result, ResultKind
from netc.compiler.ir.types import BATCH
from netc.compiler.ir.value import Value, apply
from netc.compiler.lowering.buffers import Bindings, Lowering
from netc.compiler.lowering.copies import copy
from netc.compiler.lowering.forms import lowers
from netc.compiler.lowering.storage import Storage
from netc.compiler.lowering.walk import lower_graph
from netc.compiler.operations.scan import Part, Scan, SlotKind
from netc.compiler.program.tasks import Buffer, StridedView, Walk, all_of
from netc.dsl.structs import replace


@lowers(Form.SCAN)
def scan(lowering: Lowering, value: Value) -> None:
    """Adds copies of the initial carries, then the tasks of one step, over the samples that still run at that step."""
    original, parts = Scan.of(value), _parts_of(lowering, value)
    body = _step(original, parts)
    carries = {_carry(i): Buffer(begin.type) for i, begin in enumerate(original.begins)}
    for begin, buffer in zip(original.begins, carries.values(), strict=True):
        copy(lowering, begin, buffer)
    by_name = {str(slot): operand for slot, operand in original.operand_of().items()}
    operands = {name: lowering.read(operand) for name, operand in by_name.items() if name not in carries}
    leaves = {**operands, **{name: all_of(buffer) for name, buffer in carries.items()}}
    yields = _buffers_of_yields(lowering, body, leaves, parts)
    inner = lower_graph(Lowering(body, lowering.sizes, lowering.machine, Bindings(leaves, carries, yields)))
    walk = Walk(original.dim, original.is_reversed)
    for task in inner.tasks:
        assert task.axis == BATCH, f"a step does what is the same for all samples: {task.values}"
        lowering.program.tasks.append(replace(task, walk=walk))
    for part in lowering.fusion.users[value]:
        result = part.attributes_as(Part).result
        lowering.views[part] = all_of(yields[result] if result in yields else carries[_carry(result.number)])


def _buffers_of_yields(
    lowering: Lowering, body: Graph, leaves: Mapping[str, StridedView], parts: Mapping[Result, Value]
) -> dict[Result, Buffer]:
    """A buffer for the rows of each part of a scan that stacks them, in the type in which the body keeps its value."""
    views = {value: leaves[value.name] for value in body.values() if value.name in leaves}
    storage = Storage(body.values(), views, lowering.machine)
    yielded = {result: part for result, part in parts.items() if result.kind is ResultKind.YIELD}
    return {
        result: Buffer(replace(part.type, dtype=storage.type_of(body.results[result]).dtype))
        for result, part in yielded.items()
    }


def _carry(number: int) -> str:
    """The name of a carry among the leaves of a body."""
    return str(SlotKind.CARRY.slot(number))


def _parts_of(lowering: Lowering, value: Value) -> dict[Result, Value]:
    """The parts of a scan that other values read."""
    return {part.attributes_as(Part).result: part for part in lowering.fusion.users[value]}


def _step(scan: Scan, parts: dict[Result, Value]) -> Graph:
    """Returns the body as a program of one step: it updates its carries, and yields only what the parts read.

    A later pass may have removed the only reader of a yielded value. The next value of a carry that only moves memory
    is copied, because the step overwrites what it would be read from.
    """
    read = {
        result: value
        for result, value in scan.body.results.items()
        if result.kind is ResultKind.NEXT or result in parts
    }
    body, _ = scan.body.subgraph(read)
    for i in range(len(scan.begins)):
        following = body.results.pop(ResultKind.NEXT.named(i))
        moves = not following.operands or isinstance(following.lower, View)
        body.results[ResultKind.UPDATE.named(_carry(i))] = apply("copied", following) if moves else following
    return body
