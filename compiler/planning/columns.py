"""Tasks -> tasks in which workers share large products of few rows by columns instead of by rows.

    product of 16 rows with weights of 16 MB, two workers:
        by rows of the batch     each computes 8 rows, and for them reads, and may copy, all 16 MB
        by columns               each computes 16 rows of half of the columns, and reads 8 MB

With so few rows a product takes as long as reading its weights, so that a second worker by rows would gain nothing, and
a batch of a single sample has no rows to share out. The price of columns is a barrier before the product and one behind
it, since each column needs all of a row of the left operand. Bits do not change: each element of the result is summed
as before.
"""

from collections.abc import Sequence

from netc.compiler.ir.types import BATCH, Sizes
from netc.compiler.planning.traffic import traffic
from netc.compiler.program.kernels import Contraction
from netc.compiler.program.product import Product
from netc.compiler.program.schedule import Count
from netc.compiler.program.tasks import Task
from netc.compiler.targets.machine import TILE, Machine
from netc.dsl.structs import replace

# The bytes of weights for each byte of the other operands and the result. By columns each worker reads all of the left
# operand, and other workers have written most of it; by rows each reads all weights.
_MUCH = 4
_FEWEST_PANELS = 2  # of the result


def share_columns(tasks: Sequence[Task], sizes: Sizes, machine: Machine) -> list[Task]:
    """Returns the tasks of a program for steps of `sizes`; those that read mostly weights are shared by columns."""
    return [_by_columns(task, machine) if _has_few_rows(task, sizes, machine) else task for task in tasks]


def _has_few_rows(task: Task, sizes: Sizes, machine: Machine) -> bool:
    """Whether a task is a product over the batch that reads far more bytes of weights than of anything else."""
    kernel = task.kernel
    if not isinstance(kernel, Contraction) or task.axis != BATCH or task.walk is not None:
        return False
    product = Product.of(task.pointers, task.counts, Count)
    columns, weights = product.columns.count, product.b
    if kernel.gathered not in ("", "rows") or weights.lead or weights.buffer.type.is_batched:
        return False
    if columns.per != "one" or columns.factor < _FEWEST_PANELS * _panel(kernel, machine):
        return False
    touches = traffic(task, sizes)
    of_weights = touches.pop(weights.buffer).distinct
    return of_weights > machine.few_weights and of_weights >= _MUCH * sum(touch.nbytes for touch in touches.values())


def _panel(kernel: Contraction, machine: Machine) -> int:
    """The columns of the result that a kernel's tiles fill."""
    return 2 * TILE if kernel.in_tiles else machine.panel(kernel.dtype)


def _by_columns(task: Task, machine: Machine) -> Task:
    """Returns a product over the rows of the batch as one over the columns of its result, with all rows in each."""
    kernel, product = task.kernel, Product.of(task.pointers, task.counts, Count)
    assert isinstance(kernel, Contraction)
    rows = product.c  # pointers that are not used are the same
    result = replace(rows, lead=1)
    leads = {"a": 0, "b": product.columns.b.factor, "start": 1, "order": 0}
    moved = {
        name: replace(pointer, lead=lead)
        for name, lead in leads.items()
        if (pointer := getattr(product, name)) != rows or (name == "start" and product.has_start == Count(1))
    }
    product = Product.of([result if pointer == rows else pointer for pointer in task.pointers], task.counts, Count)
    numbers = [Count(number.factor, BATCH) if number.per == "rows" else number for number in product.numbers]
    product = replace(Product.of(product.pointers, numbers, Count), **moved)
    columns = replace(product.columns, count=Count(1, "rows"))
    return replace(
        task,
        pointers=product.pointers,
        counts=replace(product, columns=columns).numbers,
        axis=product.columns.count.factor,
        grain=_panel(kernel, machine),
        is_by_columns=True,
    )
