"""Decides which inputs are read directly from the table of the data, so that the rows of a batch are not copied.

The order of the batch, `order`, has the number of each row in the table. Products read rows by their numbers as fast as
rows that follow one another, if the rows stay in the second cache from one product to the next. Loops over an input's
points read it this way anyway. An input that anything else reads is copied.
"""

from netc.compiler.ir.roles import Role
from netc.compiler.ir.strides import contiguous
from netc.compiler.ir.value import Value
from netc.compiler.lowering.buffers import Lowering
from netc.compiler.lowering.indices import Views
from netc.compiler.lowering.product_loops import gathered_loop
from netc.compiler.lowering.shards import is_sharded
from netc.compiler.passes.recompute import walks
from netc.compiler.program.tasks import Buffer, StridedView


def inputs_in_place(lowering: Lowering) -> set[Value]:
    """Returns the inputs that products read in place, and besides them only loops over their points."""
    return {value for value in lowering.tables.keys() - lowering.views.keys() if _is_read_in_place(lowering, value)}


def _is_read_in_place(lowering: Lowering, value: Value) -> bool:
    if value in lowering.roots or 2 * value.type.nbytes(lowering.sizes) > lowering.machine.second_cache:
        return False
    users = lowering.fusion.users[value]
    products = [user for user in users if user.role is Role.CONTRACTION]
    loops = [user for user in users if user.role is not Role.CONTRACTION]
    return (
        bool(products)
        and all(walks(user, value) for user in loops)
        and all(_multiplies_rows(lowering, product, value) for product in products)
    )


def _multiplies_rows(lowering: Lowering, product: Value, value: Value) -> bool:
    """Whether a product can read rows of a value by their numbers."""
    if product.operands.count(value) != 1:
        return False
    operands = [lowering.storage.type_of(operand) for operand in product.operands]
    a, b = (StridedView(Buffer(type_), contiguous(type_.dims)) for type_ in operands)
    is_second = product.operands[1] is value
    views = Views(a, b, None, contiguous(product.type.dims), lambda: a, lowering.order_of(value), is_second)
    return bool(gathered_loop(product, views, lowering.machine, is_sharded(lowering, [product])))
