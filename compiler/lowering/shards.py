"""Sums over the batch in shards: each shard has a result of its own, and a second loop combines the results in order.

The bits of a sum depend on where it is cut, so the number of shards does not depend on the number of workers.
"""

from collections.abc import Sequence

from netc.compiler.ir.forms import Fold
from netc.compiler.ir.roles import Role
from netc.compiler.ir.strides import contiguous
from netc.compiler.ir.types import BATCH, size_of
from netc.compiler.ir.value import Value
from netc.compiler.lowering.buffers import Lowering
from netc.compiler.lowering.loop import Loop
from netc.compiler.program.tasks import Buffer, StridedView
from netc.compiler.targets.machine import LINE, Machine
from netc.dsl.structs import replace


def is_sharded(lowering: Lowering, values: Sequence[Value]) -> bool:
    """Whether sums over the batch are taken shard by shard.

    That pays if the operands are large and the result is small, with too few rows to share out among workers.
    """
    machine = lowering.machine
    if size_of(BATCH, lowering.sizes) == 1:  # the same sum, all of which would be in one shard
        return False
    for value in values:
        lower = value.lower
        sums_batch = not value.type.is_batched and any(operand.type.lead for operand in value.operands)
        if not sums_batch or not (isinstance(lower, Fold) or value.role is Role.CONTRACTION):
            return False
        read = sum(operand.type.nbytes(lowering.sizes) for operand in value.operands)
        nbytes = value.type.nbytes(1)
        rows = value.type.shape(1)[0] if value.type.dims else 1
        pieces = min(nbytes // LINE, rows // (machine.tile_rows if value.role is Role.CONTRACTION else 1))
        is_small = machine.shard_ratio * machine.shards * nbytes <= read
        if not is_small or read < machine.many_bytes or pieces >= machine.few_pieces:
            return False
    return True


def is_done_at_once(lowering: Lowering, einsum: Value) -> bool:
    """Whether one worker computes a small sum over the batch, because it has few rows to share out: a loop of a known
    number of rows keeps more sums in registers."""
    type_, machine = einsum.type, lowering.machine
    if type_.is_batched or not type_.dims or not all(isinstance(dim, int) for dim in type_.dims):
        return False
    sums_batch = any(operand.type.lead for operand in einsum.operands)
    read = sum(operand.type.nbytes(lowering.sizes) for operand in einsum.operands)
    return sums_batch and 1 < type_.shape(1)[0] < machine.few_pieces and read < machine.many_bytes


def shards_of(value: Value, machine: Machine) -> Buffer:
    """Returns a buffer that holds one result for each shard."""
    return Buffer(replace(value.type, dims=(machine.shards, *value.type.dims)))


def fold_shards(lowering: Lowering, value: Value, shards: Buffer) -> None:
    """Combines the results of all shards, in the order of the shards."""
    loop = Loop(lowering, shards.type.dims, (0,))
    strides = contiguous(shards.type.dims)
    loop.emit([(loop.load(StridedView(shards, strides), value.type, strides), value, lowering.output(value))])
