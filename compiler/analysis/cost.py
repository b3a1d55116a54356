"""The cost of a graph: the arithmetic of a step, counted from the expressions of its operations."""

from netc.compiler.ir.arithmetic import Arithmetic, arithmetic_of
from netc.compiler.ir.forms import Expansion, Fold, Scalar
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import Sizes, size_of
from netc.compiler.ir.value import OPERATIONS, Value
from netc.compiler.operations.attention import attend, attend_gradient, attention_flops
from netc.compiler.operations.linear import Subscripts, einsum_flops
from netc.compiler.operations.running import cumsum
from netc.compiler.operations.scan import Scan


def flops(graph: Graph, sizes: Sizes) -> int:
    """FLOPs of all values; `sizes` says how many samples there are, and rows of each varying dimension."""
    return _work(graph, sizes).flops


def flops_of(value: Value, sizes: Sizes) -> int:
    """FLOPs of one value; a multiply-add counts as two, moving elements as none."""
    return work_of(value, sizes).flops


def work_of(value: Value, sizes: Sizes) -> Arithmetic:
    """The arithmetic of one value."""
    if not value.operands:
        return Arithmetic()
    operation = OPERATIONS[value.operation]
    if value.role is Role.SCAN:
        scan = Scan.of(value)
        return _work(scan.body, size_of(scan.dim, sizes))
    if isinstance(operation.lower, Expansion):
        expanded = Graph()
        expanded.precision = value.type.dtype if value.type.is_float else "f32"
        leaves = [expanded.leaf(Role.GIVEN, f"x{i}", operand.type) for i, operand in enumerate(value.operands)]
        operation.lower.build(*leaves, **value.keywords)
        return _work(expanded, sizes)
    if value.role is Role.CONTRACTION:
        x, y = (operand.type for operand in value.operands)
        return Arithmetic(einsum_flops(value.type, x, y, value.attributes_as(Subscripts).subscripts, sizes))
    if operation in (attend, attend_gradient):
        return Arithmetic(attention_flops(value, sizes))
    if isinstance(operation.lower, Scalar):
        floats = (type_.dtype for type_ in (value.type, *(x.type for x in value.operands)) if type_.is_float)
        return arithmetic_of(operation.lower.expression, next(floats, "f32")) * value.type.size(sizes)
    is_sum = isinstance(operation.lower, Fold) or operation is cumsum
    return Arithmetic(value.operands[0].type.size(sizes) if is_sum else 0)


def _work(graph: Graph, sizes: Sizes) -> Arithmetic:
    """The arithmetic of all values."""
    return sum((work_of(value, sizes) for value in graph.values()), Arithmetic())
