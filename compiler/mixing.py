"""Which values of an expanded graph depend on several samples at once.

An evaluation is cut there, and predictions before such values are a sample's own.
"""

from netc.compiler.ir.graph import Body
from netc.compiler.ir.value import OPERATIONS, Value, Whole


def mixes_samples(value: Value) -> bool:
    """Whether a value depends on several samples at once, or is computed once for all of them.

    In an expanded graph the types show it, but for a scan, which has no type of its own.
    """
    if value.operation == "scan":
        body = value.attributes["body"]
        assert isinstance(body, Body)
        return any(mixes_samples(inner) for inner in body.graph.values())
    if value.operation == "extent":  # named dimensions depend on how many samples, or steps, there are
        dims = value.attributes["dims"]
        assert isinstance(dims, tuple)
        return any(isinstance(dim, str) for dim in dims)
    if value.operands and isinstance(OPERATIONS[value.operation].lower, Whole):
        return True
    return not value.type.is_batched and any(operand.type.is_batched for operand in value.operands)
