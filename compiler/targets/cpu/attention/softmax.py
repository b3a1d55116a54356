"""The softmax of a column of scores and its gradient, as functions of the attention kernels.

A block of scores has a row for each key and a column for each query. These functions take a column of vectors, so that
each lane is a query of its own, and no sum crosses lanes. Sums run over the keys in order.
"""

from typing import Any

from netc.compiler.targets.cpu.attention.blocks import Block, function_of
from netc.compiler.targets.cpu.llvm.function import Function, Word, at_most
from netc.compiler.targets.cpu.llvm.vectors import Lanes, repeated
from netc.compiler.targets.cpu.math.exponential import exp
from netc.compiler.targets.cpu.math.logarithm import log
from netc.compiler.targets.cpu.math.terms import Term, select

_MAXIMA = 4  # running maxima of a column: with one, each comparison would wait for the one before


def online_softmax(module: Any, lanes: Lanes, row: int) -> Function:
    """Returns the function `online_softmax(scores, end, limit, maximum, total, factor)`: a block of keys of one column.

    The column has `end` scores, `row` elements apart. Lane i, a query, sees the scores 0 to limit + i (causal
    attention): they become exp(score - maximum), and the others zero. `maximum` and `total`, the running maximum and
    the running sum of exponentials of each lane, are updated. Earlier results must be multiplied by `factor`, because
    the maximum has grown.
    """

    def write(block: Block, scores: Word, end: Word, limit: Word, *addresses: Word) -> None:
        function, step = block.function, row * lanes.size
        maximum, total, factor = addresses
        seen = at_most(end, limit + lanes.count)
        with function.loop(at_most(limit + 1, seen), seen) as k:
            at = scores + k.index * step
            block.put(block.masked(block.term(at), k.index - limit, float("-inf")), at)
        before = block.term(maximum)
        slots = [block.variable(before) for _ in range(_MAXIMA)]
        added = block.variable(block.constant(0.0))
        in_rounds = seen // _MAXIMA * _MAXIMA
        with function.loop(0, in_rounds, _MAXIMA) as k:
            for number, slot in enumerate(slots):
                block.set(slot, larger(block.term(scores + (k.index + number) * step), block.get(slot)))
        with function.loop(in_rounds, seen) as k:
            block.set(slots[0], larger(block.term(scores + k.index * step), block.get(slots[0])))
        after = block.get(slots[0])
        for slot in slots[1:]:
            after = larger(block.get(slot), after)
        shrunk = exp(before - after)
        block.put(after, maximum)
        block.put(shrunk, factor)
        with function.loop(0, seen) as k:
            weight = exp(block.term(scores + k.index * step) - after)
            block.put(weight, scores + k.index * step)
            block.set(added, block.get(added) + weight)
        block.put(block.term(total) * shrunk + block.get(added), total)
        _clear(block, scores, step, seen, end)

    return function_of(module, lanes, "online_softmax", 6, write)


def larger(x: Term, y: Term) -> Term:
    """Returns the larger of two terms, lane by lane."""
    return select(x > y, x, y)


def _clear(block: Block, column: Word, step: int, first: Word, end: Word) -> None:
    """Writes a loop that sets the rows of a column from `first` to `end` to zero."""
    with block.function.loop(first, end) as k:
        block.put(block.constant(0.0), column + k.index * step)


def softmax_gradient(module: Any, lanes: Lanes, row: int) -> Function:
    """Returns the function `softmax_gradient(scores, slopes, end, limit, sums, dots, scale)` of one column.

    `scores` and `slopes`, the gradient of the weights, have `end` rows, `row` elements apart. Lane i, a query, sees
    rows 0 to limit + i: scores become weights, exp(score - sum) with the logarithm of the sum of exponentials, and
    slopes the gradient of the scores before their scale, scale * weight * (slope - dot). Other rows become zero.
    """

    def write(block: Block, scores: Word, slopes: Word, end: Word, limit: Word, *more: Word) -> None:
        function, step = block.function, row * lanes.size
        log_sum, dot = (block.term(address) for address in more[:2])
        scale = Term(block.scope, lanes.dtype, repeated(function.builder, block.factor(more[2]), lanes.vector))
        seen = at_most(end, limit + lanes.count)
        with function.loop(0, seen) as k:
            at = k.index * step
            weight = exp(block.term(scores + at) - log_sum)
            block.put(weight, scores + at)
            block.put(weight * scale * (block.term(slopes + at) - dot), slopes + at)
        with function.loop(at_most(limit + 1, seen), seen) as k:
            for column in (scores + k.index * step, slopes + k.index * step):
                block.put(block.masked(block.term(column), k.index - limit, 0.0), column)
        _clear(block, scores, step, seen, end)
        _clear(block, slopes, step, seen, end)

    return function_of(module, lanes, "softmax_gradient", 7, write)


def finish(module: Any, lanes: Lanes) -> Function:
    """Returns the function `finish(columns, maximum, total, factor)`.

    Maxima become logarithms of the sums of exponentials, and `factor` the reciprocals of the totals; 0 for a total of
    0, without any scores.
    """

    def write(block: Block, columns: Word, maximum: Word, total: Word, factor: Word) -> None:
        with block.function.loop(0, columns, lanes.count) as j:
            at = j.index * lanes.size
            sums = block.term(total + at)
            block.put(block.term(maximum + at) + log(sums), maximum + at)
            block.put(select(sums.equals(0.0), block.constant(0.0), 1.0 / sums), factor + at)

    return function_of(module, lanes, "finish", 4, write)
