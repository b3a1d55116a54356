"""Sums over products of two operands: by the register tile where indices and strides allow it, else by a loop."""

from dataclasses import replace

from netc.compiler.ir.forms import Form
from netc.compiler.ir.strides import broadcast, contiguous
from netc.compiler.ir.value import Value
from netc.compiler.lowering.buffers import Lowering
from netc.compiler.lowering.forms import lowers
from netc.compiler.lowering.loop import Loop
from netc.compiler.lowering.products import Views, product_task
from netc.compiler.lowering.shards import fold_shards, is_sharded, shards_of
from netc.compiler.operations.linear import Subscripts, index_sizes
from netc.compiler.program.scalars import Binary, Name
from netc.compiler.program.tasks import Buffer, StridedView


@lowers(Form.CONTRACTION)
def contraction(lowering: Lowering, value: Value) -> None:
    """Adds the task of a product, or of its sum with the value that the tile starts from."""
    einsum = lowering.fusion.starts.get(value)
    if einsum is not None:
        _product_and_sum(lowering, value, einsum)
    elif is_sharded(lowering, [value]):
        _product_in_shards(lowering, value)
    else:
        _product(lowering, value)


def _product(lowering: Lowering, einsum: Value) -> None:
    a, b = (lowering.read(operand) for operand in einsum.operands)
    views = Views(a, b, None, lowering.strides_of(einsum), lambda: lowering.output(einsum))
    task = product_task(einsum, einsum, views, lowering.machine)
    if task is not None:
        lowering.program.tasks.append(task)
    else:
        _multiply_and_add(lowering, einsum)


def _product_in_shards(lowering: Lowering, einsum: Value) -> None:
    a, b = (lowering.read(operand) for operand in einsum.operands)
    shards = shards_of(einsum)
    target = StridedView(shards, contiguous(einsum.type.dims))
    views = Views(a, b, None, target.strides, lambda: target)
    task = product_task(einsum, einsum, views, lowering.machine, in_shards=True)
    if task is not None:
        lowering.program.tasks.append(task)
    else:
        _multiply_and_add(lowering, einsum, shards)
    fold_shards(lowering, einsum, shards)


def _product_and_sum(lowering: Lowering, value: Value, einsum: Value) -> None:
    """Adds the task of a sum whose product starts from the other term; a second loop adds it if there is no tile."""
    (start,) = (operand for operand in value.operands if operand is not einsum)
    a, b = (lowering.read(operand) for operand in einsum.operands)
    begin = lowering.read(start)
    begin = replace(begin, strides=broadcast(begin.strides, start.type.dims, value.type.dims))
    views = Views(a, b, begin, lowering.strides_of(value), lambda: lowering.output(value))
    task = product_task(value, einsum, views, lowering.machine)
    if task is not None:
        lowering.program.tasks.append(task)
        return
    contraction(lowering, einsum)
    loop = Loop(lowering, value.type.dims)
    term = loop.operand(start)
    view = lowering.read(einsum)
    line = loop.add(Binary("+", Name(term), Name(loop.load(view, value.type, view.strides))))
    loop.emit([(line, value, lowering.output(value))])


def _multiply_and_add(lowering: Lowering, value: Value, shards: Buffer | None = None) -> None:
    """Computes a product as a loop; with `shards`, each shard into its own row of that buffer."""
    inputs, _, out = value.attributes_as(Subscripts).subscripts.partition("->")
    letters = list(dict.fromkeys(out + inputs.replace(",", "")))
    sizes = index_sizes(inputs, *(operand.type for operand in value.operands))
    folded = tuple(range(len(out), len(letters)))
    loop = Loop(lowering, tuple(sizes[letter] for letter in letters), folded, shards is not None)
    names = []
    for indices, operand in zip(inputs.split(","), value.operands, strict=True):
        view = lowering.read(operand)
        strides = dict(zip(indices, view.strides, strict=True))
        names.append(loop.load(view, operand.type, tuple(strides.get(letter, 0) for letter in letters)))
    target = StridedView(shards, contiguous(value.type.dims)) if shards is not None else lowering.output(value)
    loop.emit([(loop.add(Binary("*", Name(names[0]), Name(names[1]))), value, target)])
