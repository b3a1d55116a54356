"""The attention kernel of a single query: the softmax of its scores times values, as `attention.py` has it for many.

Each key and each value is read once and where it lies: a query costs as much as reading them. First come all scores,
for as many keys at once as a vector has lanes; then their exponentials; then the sum of weighted values. The order of
all sums follows from the number of keys alone. Without keys the result is zero.
"""

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir

from netc.compiler.program import attention as program
from netc.compiler.targets.cpu.attention_arguments import UNIT, AttentionArguments
from netc.compiler.targets.cpu.attention_blocks import Block, function_of, larger
from netc.compiler.targets.cpu.function import I32, Function, Word, at_least, at_most
from netc.compiler.targets.cpu.math.exponential import exp
from netc.compiler.targets.cpu.math.logarithm import log
from netc.compiler.targets.cpu.math.terms import Term, select
from netc.compiler.targets.cpu.vectors import Lanes, repeated
from netc.compiler.targets.machine import VECTORS, Machine

_SIDE_BY_SIDE = 4  # weighted values are added to so many sums: one alone would wait for itself


def attention_query(symbol: str, dtype: str, machine: Machine) -> Any:
    """Returns an LLVM module with the kernel of an element type: the function `symbol` of program/attention.py.

    There is one query, and columns of keys and values are neighbours.
    """
    kernel = _AttentionOfQuery(ir.Module(symbol), symbol, Lanes(dtype, machine), is_gradient=False)
    kernel.write()
    return kernel.module


class _AttentionOfQuery(AttentionArguments):
    """Writes the kernel."""

    def write(self) -> None:
        words, run, lanes, size = self.words, self.run, self.lanes, self.size
        score, weigh, add_values = (
            _score(self.module, lanes),
            _weigh(self.module, lanes),
            _add_values(self.module, lanes),
        )
        room = program.room_of_query(lanes.count, words["key_count"], words["width"], words["value_width"])
        query = words["scratch"]
        scores, result, numbers = (words["scratch"] + offset * size for offset in room[:3])
        with self.heads():
            is_causal = ~words["is_causal"].equals(0)
            keys = is_causal.choose(at_most(words["own_keys"], 1), at_least(words["own_keys"], 0))
            width, columns, one = words["width"], words["value_width"], run.number(1)
            self.copied_in(run, query, room.scores, *self.view("queries"), one, width, one, words["scale"])
            score(run, query, *self.view("keys")[:2], keys, width, scores, numbers)
            weigh(run, scores, keys, numbers)
            add_values(run, scores, *self.view("values")[:2], keys, columns, result, numbers)
            self.copied_out(run, result, columns, *self.view("result"), one, columns, UNIT)
            self.copied_out(run, numbers, one, *self.view("sums"), one, one, UNIT)
        run.end()


def _score(module: Any, lanes: Lanes) -> Function:
    """Returns the function `score(query, keys, row, count, width, scores, maximum)`.

    Scores behind the last of `count` keys are minus infinity, up to a whole vector. All lanes of `maximum` become the
    largest score.
    """

    def write(block: Block, query: Word, keys: Word, row: Word, count: Word, *more: Word) -> None:
        width, scores, maximum = more
        function, size, number = block.function, lanes.size, lanes.count
        whole = width // number * number
        infinite = block.constant(float("-inf"))
        most, sums = block.variable(infinite), [block.variable(infinite) for _ in range(number)]
        mask = block.columns_mask(width - whole, 0)
        with function.loop(0, count, number) as i:
            left = count - i.index
            rows = [keys + (i.index + at_most(function.number(k), left - 1)) * row * size for k in range(number)]
            for total in sums:
                block.set(total, block.constant(0.0))
            with function.loop(0, whole, number) as j:
                factor = block.load(query + j.index * size)
                for address, total in zip(rows, sums, strict=True):
                    block.add(total, factor, block.load(address + j.index * size))
            with function.when(width > whole):
                factor = block.load_masked(query + whole * size, mask)
                for address, total in zip(rows, sums, strict=True):
                    block.add(total, factor, block.load_masked(address + whole * size, mask))
            added = Term(block.scope, lanes.dtype, _sums_of_lanes(block, [block.get(total).value for total in sums]))
            added = select(Term(block.scope, "bool", block.columns_mask(left, 0)), added, infinite)
            block.put(added, scores + i.index * size)
            block.set(most, larger(added, block.get(most)))
        block.put(_in_all_lanes(block, block.get(most), larger), maximum)

    return function_of(module, lanes, "score", 7, write)


def _sums_of_lanes(block: Block, vectors: Sequence[Any]) -> Any:
    """A vector with the sums of the lanes of as many vectors as it has lanes."""
    builder, count = block.function.builder, block.lanes.count
    segment = count  # lanes that belong to the same sum
    while segment > 1:
        half = segment // 2
        first = [start + k for start in range(0, 2 * count, segment) for k in range(half)]
        masks = [ir.Constant(ir.VectorType(I32, count), [lane + more for lane in first]) for more in (0, half)]
        vectors = [
            builder.fadd(*(builder.shuffle_vector(x, y, mask) for mask in masks))
            for x, y in zip(vectors[::2], vectors[1::2], strict=True)
        ]
        segment = half
    (sums,) = vectors
    return sums


def _in_all_lanes(block: Block, term: Term, combine: Callable[[Term, Term], Term]) -> Term:
    """Combines all lanes of a vector, in pairs: each lane with the one that is half a vector away, and so on."""
    builder, count = block.function.builder, block.lanes.count
    distance = count // 2
    while distance:
        lanes = ir.Constant(ir.VectorType(I32, count), [lane ^ distance for lane in range(count)])
        turned = builder.shuffle_vector(term.value, ir.Constant(term.value.type, ir.Undefined), lanes)
        term = combine(term, Term(term.scope, term.dtype, turned))
        distance //= 2
    return term


def _weigh(module: Any, lanes: Lanes) -> Function:
    """Returns the function `weigh(scores, count, numbers)`.

    Scores become exp(score - maximum). The first of the two vectors `numbers`, the maximum, becomes the logarithm of
    the sum of exponentials in all lanes. The second one becomes the factor of weights: 1 / total, or 0 without keys.
    """

    def write(block: Block, scores: Word, count: Word, numbers: Word) -> None:
        total, maximum = block.variable(block.constant(0.0)), block.term(numbers)
        with block.function.loop(0, count, lanes.count) as i:
            at = scores + i.index * lanes.size
            weight = exp(block.term(at) - maximum)
            block.put(weight, at)
            block.set(total, block.get(total) + weight)
        sums = _in_all_lanes(block, block.get(total), lambda x, y: x + y)
        block.put(maximum + log(sums), numbers)
        reciprocal = select(sums.equals(0.0), block.constant(0.0), 1.0 / sums)
        block.put(reciprocal, numbers + lanes.machine.vector_bytes)

    return function_of(module, lanes, "weigh", 3, write)


def _add_values(module: Any, lanes: Lanes) -> Function:
    """Returns the function `add_values(weights, values, row, count, columns, result, numbers)`.

    The result is the sum of weights times values, times the second vector of `numbers`, up to a whole vector.
    """

    def write(block: Block, weights: Word, values: Word, row: Word, count: Word, *more: Word) -> None:
        columns, result, numbers = more
        function, size = block.function, lanes.size
        step = VECTORS * lanes.count
        zero, factor = block.constant(0.0), block.term(numbers + lanes.machine.vector_bytes)
        sums = [[block.variable(zero) for _ in range(VECTORS)] for _ in range(_SIDE_BY_SIDE)]
        in_rounds = count // _SIDE_BY_SIDE * _SIDE_BY_SIDE
        with function.loop(0, columns, step) as j:
            masks = [block.columns_mask(columns - j.index, k * lanes.count) for k in range(VECTORS)]

            def add(i: Word, totals: Sequence[Any], is_whole: bool, j: Word, masks: Sequence[Any]) -> None:
                weight = repeated(function.builder, block.element(weights + i * size), lanes.vector)
                for k, total in enumerate(totals):
                    at = values + (i * row + j + k * lanes.count) * size
                    block.add(total, weight, block.load(at) if is_whole else block.load_masked(at, masks[k]))

            def add_all(is_whole: bool, j: Word, masks: Sequence[Any]) -> None:
                with function.loop(0, in_rounds, _SIDE_BY_SIDE) as i:
                    for k, totals in enumerate(sums):
                        add(i.index + k, totals, is_whole, j, masks)
                with function.loop(in_rounds, count) as i:
                    add(i.index, sums[0], is_whole, j, masks)

            for total in (total for totals in sums for total in totals):
                block.set(total, zero)
            is_whole = j.index + step <= columns
            with function.when(is_whole):
                add_all(True, j.index, masks)
            with function.when(~is_whole):
                add_all(False, j.index, masks)
            for k in range(VECTORS):
                with function.when(j.index + k * lanes.count < columns):
                    first, second, third, fourth = (block.get(totals[k]) for totals in sums)
                    block.put(
                        ((first + second) + (third + fourth)) * factor, result + (j.index + k * lanes.count) * size
                    )

    return function_of(module, lanes, "add_values", 7, write)
