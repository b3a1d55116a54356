"""Loops over points: element-wise values and folds that share a loop."""

from netc.compiler.ir.forms import Fold
from netc.compiler.ir.strides import contiguous
from netc.compiler.ir.value import Value
from netc.compiler.lowering.buffers import Lowering
from netc.compiler.lowering.loop import Loop
from netc.compiler.lowering.shards import fold_shards, is_sharded, shards_of
from netc.compiler.lowering.units import Unit
from netc.compiler.operations.elementwise import copied, paired
from netc.compiler.program.tasks import StridedView, all_of


def lower_loop(lowering: Lowering, unit: Unit) -> None:
    """Adds the loop of a unit, which computes its values and stores those that other tasks read."""
    assert unit.space is not None
    if is_sharded(lowering, unit.values):
        _fold_in_shards(lowering, unit)
        return
    loop = Loop(lowering, unit.space, unit.folded)
    if all(member.definition in (copied, paired) and not member.type.is_batched for member in unit.values):
        # workers share the channels of turned weights, as the products do that read them, not the rows of a window
        loop.lead = max(range(len(unit.space)), key=unit.values[0].type.shape(1).__getitem__, default=None)
    lines = [loop.member(member) for member in unit.values]
    stored = [
        (line, member, lowering.output(member))
        for line, member in zip(lines, unit.values, strict=True)
        if not _stays_inside(lowering, member, unit)
    ]
    stacked = [
        (line, member, all_of(buffer)) for line, member, _ in stored for buffer in lowering.stacks.pop(member, ())
    ]
    loop.emit([*stored, *stacked])


def _fold_in_shards(lowering: Lowering, unit: Unit) -> None:
    assert unit.space is not None
    loop = Loop(lowering, unit.space, unit.folded, in_shards=True)
    shards = [(loop.member(member), member, shards_of(member, lowering.machine)) for member in unit.values]
    loop.emit([(line, value, StridedView(buffer, contiguous(value.type.dims))) for line, value, buffer in shards])
    for _, value, buffer in shards:
        fold_shards(lowering, value, buffer)


def _stays_inside(lowering: Lowering, value: Value, unit: Unit) -> bool:
    """Whether all users of a value are in its own loop."""
    is_fold = isinstance(value.lower, Fold)
    return not is_fold and value not in lowering.roots and lowering.fusion.only_reader[value] is unit
