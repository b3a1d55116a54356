"""Finds the values of an expanded graph that depend on several samples at once.

An evaluation is cut there, and predictions before such values are a sample's own.
"""

from netc.compiler.ir.attributes import Dims
from netc.compiler.ir.forms import SplitMetric
from netc.compiler.ir.roles import Role
from netc.compiler.ir.value import Value
from netc.compiler.operations.scan import Scan


def mixes_samples(value: Value) -> bool:
    """Whether a value depends on several samples at once, or is computed once for all of them.

    In an expanded graph the types show it, except for a scan, which has no type of its own.
    """
    if value.role is Role.SCAN:
        return any(mixes_samples(inner) for inner in Scan.of(value).body.values())
    if value.role is Role.EXTENT:  # named dimensions depend on how many samples, or steps, there are
        return any(isinstance(dim, str) for dim in value.attributes_as(Dims).dims)
    if isinstance(value.lower, SplitMetric):
        return True
    return not value.type.is_batched and any(operand.type.is_batched for operand in value.operands)
