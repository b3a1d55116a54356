"""Whether a model can copy its prediction from an input: each step of the result may depend on the same step of the
input, on a way that never leaves the steps. Autoencoders are compared with their input too, but must squeeze it first.
"""

from collections.abc import Iterator

from netc.compiler.ir.dims import same
from netc.compiler.ir.graph import needed_by
from netc.compiler.ir.results import ResultKind
from netc.compiler.ir.roles import Role
from netc.compiler.ir.value import Value
from netc.compiler.operations.gathering import gather
from netc.compiler.operations.random import RANDOM
from netc.compiler.operations.scan import Scan, SlotKind, slot_of


def copies_steps(result: Value, read: Value) -> bool:
    """Whether each step of `result` may depend on the same step of the input `read`.

    False if unsure: where random numbers may hide a part of the input, and where steps are moved.
    """
    steps = _steps(read)
    if not steps or any(value.operation in RANDOM for value in needed_by([result])):
        return False
    pending, seen = [result], {result}
    while pending:
        value = pending.pop()
        if value is read:
            return True
        for operand in _at_the_same_step(value):
            if operand not in seen and _steps(operand) == steps:
                seen.add(operand)
                pending.append(operand)
    return False


def _steps(value: Value) -> str:
    """The first dimension of a sample by its name: its steps, if it is a sequence; "" for what has none."""
    first = value.type.sample[0] if value.type.is_batched and value.type.sample else ""
    return same(first) if isinstance(first, int) else first


def _at_the_same_step(value: Value) -> Iterator[Value]:
    """The operands whose own step a step of the value depends on."""
    if value.definition is gather:
        yield value.operands[1]  # a row of a table, for an embedding; the steps of the first operand are moved
    elif value.role is Role.PART:
        scan = Scan.of(value.operands[0])
        leaves = needed_by(scan.body.results_of(ResultKind.YIELD).values())
        read = {slot_of(leaf) for leaf in leaves}
        yield from (each for i, each in enumerate(scan.sequences) if SlotKind.STEP_INPUT.slot(i) in read)
    else:
        yield from value.operands
