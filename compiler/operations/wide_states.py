"""Tells scans whose states are matrices of each sample, of which a step yields only sums, from all others.

Such are state-space layers (a state [n, 16] that decays element by element, of which C selects) and linear attention (a
state [n, n] that outer products are added to, and that a query reads). Their states are many times as large as what
goes in and comes out: they should be summed while they are in the cache, and be in memory once at most. In a GRU, which
multiplies its state with a weight, it is better to multiply all steps at once.
"""

from netc.compiler.ir.attributes import Over
from netc.compiler.ir.forms import Fold, Scalar, View
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.roles import Role
from netc.compiler.ir.value import Value
from netc.compiler.operations.scan import SlotKind, depending, leaves_of

_RANK = 3  # of a batch of matrices


def has_wide_states(body: Graph) -> bool:
    """Whether a body carries matrices of samples, sums them to something smaller, and multiplies nothing by a weight
    that all samples share."""
    carries = [leaf for slot, leaf in leaves_of(body).items() if slot.kind is SlotKind.CARRY]
    if not any(leaf.type.is_batched and leaf.type.rank >= _RANK for leaf in carries):
        return False
    values, carried = [value for value in body.values() if value.operands], depending(body, SlotKind.CARRY)
    return all(_is_of_a_sample(value) for value in values) and any(_sums_states(value, carried) for value in values)


def _is_of_a_sample(value: Value) -> bool:
    """Whether a value is computed element by element, by a sum, or by a product within each sample."""
    if value.role is Role.CONTRACTION:
        return all(operand.type.is_batched for operand in value.operands) and value.type.is_batched
    return isinstance(value.lower, Scalar | Fold | View)


def _sums_states(value: Value, carried: set[Value]) -> bool:
    """Whether a value is a sum of a matrix that depends on a state, and smaller than it."""
    if not value.type.is_batched or not (value.role is Role.CONTRACTION or isinstance(value.attributes, Over)):
        return False
    states = [operand for operand in value.operands if operand in carried and operand.type.rank >= _RANK]
    return any(operand.type.size(1) > value.type.size(1) for operand in states)
