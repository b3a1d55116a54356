"""Tasks -> tasks in which workers share products and convolutions of few rows by columns instead of by rows.

    product of 16 rows with weights of 16 MB, two workers:
        by rows of the batch     each computes 8 rows, and for them reads, and may copy, all 16 MB
        by columns               each computes 16 rows of half of the columns, and reads 8 MB

With so few rows a product takes as long as reading its weights, so that a second worker by rows would gain nothing, and
a batch of a single sample has no rows to share out. The price of columns is a barrier before the product and one behind
it, since each column needs all of a row of the left operand. Bits do not change: each element of the result is summed
as before. The columns of a convolution are its outputs (channels).
"""

from collections.abc import Sequence

from netc.compiler.ir.types import BATCH, Sizes, size_of
from netc.compiler.planning.traffic import traffic
from netc.compiler.program import winograd
from netc.compiler.program.kernels import Contraction, WinogradKernel
from netc.compiler.program.product import Product
from netc.compiler.program.schedule import Count
from netc.compiler.program.tasks import Task
from netc.compiler.targets.machine import TILE, Machine
from netc.dsl.structs import replace

# The bytes of weights for each byte of the other operands and the result. By columns each worker reads all of the left
# operand, and other workers have written most of it; by rows each reads all weights.
_MUCH = 4
_FEWEST_PANELS = 2  # of the result
# Bytes that a task for a single sample reads and writes, below which it ends sooner than workers meet.
_WORTH_MEETING = 1 << 16


def share_columns(tasks: Sequence[Task], sizes: Sizes, machine: Machine) -> list[Task]:
    """Returns the tasks of a program for steps of `sizes`; those with too few rows are shared by columns."""
    return [_shared(task, sizes, machine) for task in tasks]


def _shared(task: Task, sizes: Sizes, machine: Machine) -> Task:
    if task.axis != BATCH or task.walk is not None:
        return task
    match task.kernel:
        case Contraction() as kernel if _may_cut(task, kernel, machine) and _has_few_rows(task, sizes, machine):
            return _product_by_columns(task, kernel, machine)
        case WinogradKernel(part="convolve") if size_of(BATCH, sizes) == 1 and _has_whole_panels(task):
            return _convolution_by_columns(task)
    return task


def _may_cut(task: Task, kernel: Contraction, machine: Machine) -> bool:
    """Whether a product has columns of weights that lie side by side, and several panels of them."""
    product = Product.of(task.pointers, task.counts, Count)
    columns, weights = product.columns.count, product.b
    is_of_weights = not weights.lead and not weights.buffer.type.is_batched
    has_panels = columns.is_fixed and columns.factor >= _FEWEST_PANELS * _panel(kernel, machine)
    return kernel.gathered in ("", "rows") and is_of_weights and has_panels


def _has_few_rows(task: Task, sizes: Sizes, machine: Machine) -> bool:
    """Whether a product reads far more bytes of weights than of anything else, or has a single sample."""
    touches = traffic(task, sizes)
    of_weights = touches.pop(Product.of(task.pointers, task.counts, Count).b.buffer).distinct
    others = sum(touch.nbytes for touch in touches.values())
    if size_of(BATCH, sizes) == 1 and of_weights + others > _WORTH_MEETING:
        return True
    return of_weights > machine.few_weights and of_weights >= _MUCH * others


def _panel(kernel: Contraction, machine: Machine) -> int:
    """The columns of the result that a kernel's tiles fill."""
    return 2 * TILE if kernel.in_tiles else machine.panel(kernel.dtype)


def _all_rows(counts: Sequence[Count]) -> list[Count]:
    """Returns the counts of a task over the batch with all of its rows."""
    return [Count(count.factor, BATCH) if count.per == "rows" else count for count in counts]


def _product_by_columns(task: Task, kernel: Contraction, machine: Machine) -> Task:
    """Returns a product over the rows of the batch as one over the columns of its result, with all rows in each."""
    product = Product.of(task.pointers, _all_rows(task.counts), Count)
    rows, result = product.c, replace(product.c, lead=1)  # pointers that are not used are the same as that of c
    leads = {"a": 0, "b": product.columns.b.factor, "order": 0, **({"start": 1} if product.has_start.factor else {})}
    moved = {
        name: replace(pointer, lead=lead)
        for name, lead in leads.items()
        if (pointer := getattr(product, name)) != rows or name == "start"
    }
    pointers = [result if pointer == rows else pointer for pointer in product.pointers]
    product = replace(Product.of(pointers, product.numbers, Count), **moved)
    columns = replace(product.columns, count=Count(1, "rows"))
    return replace(
        task,
        pointers=product.pointers,
        counts=replace(product, columns=columns).numbers,
        axis=product.columns.count.factor,
        grain=_panel(kernel, machine),
        is_by_columns=True,
    )


def _has_whole_panels(task: Task) -> bool:
    """Whether the outputs of a convolution fill several panels: its memory of weights is cut between them."""
    numbers = dict(zip(winograd.numbers("convolve"), task.counts, strict=True))
    outputs, width = numbers["outputs"].factor, numbers["width"].factor
    return outputs % width == 0 and outputs >= _FEWEST_PANELS * width


def _convolution_by_columns(task: Task) -> Task:
    """Returns a convolution over the samples of the batch as one over its outputs, each for all samples.

    Workers take whole panels, of which a column counts as its share of the panel.
    """
    names = winograd.pointers("convolve")
    numbers = dict(zip(winograd.numbers("convolve"), _all_rows(task.counts), strict=True))
    outputs, width = numbers["outputs"].factor, numbers["width"].factor
    numbers["outputs"] = Count(1, "rows")
    leads = {"panels": numbers["channels"].factor, "result": 1, "start": 1}
    return replace(
        task,
        pointers=tuple(
            replace(pointer, lead=leads.get(name, 0)) for name, pointer in zip(names, task.pointers, strict=True)
        ),
        counts=tuple(numbers.values()),
        axis=outputs,
        grain=width,
        is_by_columns=True,
    )
