"""The attention kernel of a single query: the softmax of its scores times values. kernel.py has that of many.

Each key and each value is read once, without a copy: a query takes the time of reading them. First come the scores of
all heads, as many keys at a time as a vector has lanes; then their exponentials; then the sums of weighted values.
The order of all sums follows from the number of keys alone. Without keys the result is zero.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from llvmlite import ir

from netc.compiler.program import attention as program
from netc.compiler.targets.cpu.attention import blocks
from netc.compiler.targets.cpu.attention.arguments import UNIT, AttentionArguments
from netc.compiler.targets.cpu.attention.blocks import Block, function_of
from netc.compiler.targets.cpu.attention.softmax import larger
from netc.compiler.targets.cpu.llvm.function import I32, Function, Number, Word, at_least, at_most
from netc.compiler.targets.cpu.llvm.vectors import Lanes, repeated
from netc.compiler.targets.cpu.math.exponential import exp
from netc.compiler.targets.cpu.math.logarithm import log
from netc.compiler.targets.cpu.math.terms import Term, select
from netc.compiler.targets.machine import VECTORS, Machine

_KEYS, _VALUES = 32, 16  # rows of a block, which all heads read before the next block
_GROUP = 2  # keys that share a pointer: the second one's address is a register behind
_SIDE_BY_SIDE = 4  # sums of weighted values: with one, each addition would wait for the one before


def attention_query(symbol: str, dtype: str, machine: Machine) -> Any:
    """Returns an LLVM module with the kernel of an element type: the function `symbol` of program/attention.py.

    There is one query, and columns of keys and values are neighbours.
    """
    kernel = _AttentionOfQuery(ir.Module(symbol), symbol, Lanes(dtype, machine), False, ("seen",))
    kernel.write()
    return kernel.module


class _AttentionOfQuery(AttentionArguments):
    """Writes the kernel."""

    def write(self) -> None:
        words, run, module, lanes = self.words, self.run, self.module, self.lanes
        score, softmax, add_values = _score(module, lanes), _softmax(module, lanes), _add_values(module, lanes)
        filled = blocks.fill(module, lanes)
        sizes = (words[name] for name in ("heads", "key_count", "width", "value_width"))
        self.layout = layout = program.query_layout(lanes.count, *sizes)
        width, columns = words["width"], words["value_width"]
        with self.samples():
            is_causal = ~words["is_causal"].equals(0)
            words["seen"] = is_causal.choose(at_most(words["own_keys"], 1), at_least(words["own_keys"], 0))
            with self.each_head() as head:
                query = self.address_of(head * layout.queries_apart)
                self.copy_in("queries", 0, (query, layout.queries_apart), (1, width, 1, words["scale"]))
                filled(run, self.numbers(head), lanes.count, program.bits_of(float("-inf")))
                filled(run, self.result(head), layout.result_apart, 0)
            with self.blocks(_KEYS) as (first, count), self.each_head() as head:
                keys, row, _ = self.view("keys", first)
                operands = (self.scores(head, first), self.numbers(head), words["seen"])
                score(run, self.address_of(head * layout.queries_apart), keys, row, count, width, *operands)
            with self.each_head() as head:
                softmax(run, self.scores(head), words["seen"], self.numbers(head))
            with self.blocks(_VALUES) as (first, count), self.each_head() as head:
                values, row, _ = self.view("values", first)
                add_values(run, self.scores(head, first), values, row, count, columns, self.result(head))
            with self.each_head() as head:
                self.copy_out("result", 0, (self.result(head), columns), (1, columns, UNIT))
                self.copy_out("sums", 0, (self.numbers(head), 1), (1, 1, UNIT))
        run.end()

    def address_of(self, element: Word) -> Word:
        """The address of an element of the kernel's memory."""
        return self.words["scratch"] + element * self.size

    def scores(self, head: Word, first: Number = 0) -> Word:
        """The address of a head's scores, from a key on."""
        return self.address_of(head * self.layout.scores_apart + self.layout.scores + first)

    def result(self, head: Word) -> Word:
        """The address of a head's result."""
        return self.address_of(head * self.layout.result_apart + self.layout.result)

    def numbers(self, head: Word) -> Word:
        """The address of a head's maximum, which becomes the logarithm of its sum."""
        return self.address_of(head * self.lanes.count + self.layout.numbers)

    @contextmanager
    def blocks(self, most: int) -> Iterator[tuple[Word, Word]]:
        """Loops over blocks of at most `most` keys. Yields the first key of a block and their number.

        The body loops over heads, because rows of all heads follow one another in memory.
        """
        with self.run.loop(0, self.words["seen"], most) as first:
            yield first.index, at_most(self.words["seen"] - first.index, most)


def _score(module: Any, lanes: Lanes) -> Function:
    """Returns the function `score(query, keys, row, count, width, scores, maximum, seen)` of a block of keys.

    The block is one of `seen` keys in all. Behind its last score comes a vector of minus infinity. All lanes of
    `maximum` become the largest score so far.
    """

    def write(block: Block, query: Word, keys: Word, row: Word, count: Word, *more: Word) -> None:
        width, scores, maximum, seen = more
        function, size, number = block.function, lanes.size, lanes.count
        step, infinite = row * size, block.constant(float("-inf"))
        most, sums = block.variable(block.term(maximum)), [block.variable(infinite) for _ in range(number)]
        has_vector = seen >= number
        with function.when(has_vector), function.loop(0, count, number) as i:
            first = at_most(i.index, count - number)  # the last vector begins within the one before
            rows = [keys + (first + k) * step for k in range(0, number, _GROUP)]
            _multiply(block, query, [head + step * k for head in rows for k in range(_GROUP)], width, sums)
            added = _sums_of_lanes(block, sums)
            block.put(added, scores + first * size)
            block.set(most, larger(added, block.get(most)))
        with function.when(~has_vector):
            rows = [keys + at_least(at_most(function.number(k), count - 1), 0) * step for k in range(number)]
            with function.when(count > 0):
                _multiply(block, query, rows, width, sums)
                added = select(
                    Term(block.scope, "bool", block.columns_mask(count, 0)), _sums_of_lanes(block, sums), infinite
                )
                block.put(added, scores)
                block.set(most, added)
        block.put(infinite, scores + count * size)
        block.put(_in_all_lanes(block, block.get(most), larger), maximum)

    return function_of(module, lanes, "score", 8, write)


def _multiply(block: Block, query: Word, rows: Sequence[Word], width: Word, sums: Sequence[Any]) -> None:
    """Sets each sum to the products of the query and a row, lane by lane; the rows are given by their addresses."""
    function, size, number = block.function, block.lanes.size, block.lanes.count
    step = VECTORS * number

    def add(at: Word, vectors: int) -> None:
        for k in range(vectors):
            offset = at + k * number
            factor = block.load(query + offset * size)
            for address, total in zip(rows, sums, strict=True):
                block.add(total, factor, block.load(address + offset * size))

    for total in sums:
        block.set(total, block.constant(0.0))
    in_steps, in_vectors = width // step * step, width // number * number
    with function.loop(0, in_steps, step) as j:
        add(j.index, VECTORS)
    with function.loop(in_steps, in_vectors, number) as j:
        add(j.index, 1)
    with function.when(width > in_vectors):
        mask, factor = block.columns_mask(width - in_vectors, 0), block.load(query + in_vectors * size)
        for address, total in zip(rows, sums, strict=True):
            block.add(total, factor, block.load_masked(address + in_vectors * size, mask))


def _sums_of_lanes(block: Block, variables: Sequence[Any]) -> Term:
    """A vector with the sums of the lanes of as many variables as it has lanes."""
    builder, count = block.function.builder, block.lanes.count
    vectors = [block.get(variable).value for variable in variables]
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
    return Term(block.scope, block.lanes.dtype, sums)


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


def _softmax(module: Any, lanes: Lanes) -> Function:
    """Returns the function `softmax(scores, count, numbers)`.

    Scores become weights, exp(score - maximum) / total. The vector of numbers, the maximum, becomes the logarithm of
    the sum of exponentials.
    """

    def write(block: Block, scores: Word, count: Word, numbers: Word) -> None:
        function, size = block.function, lanes.size
        total, maximum = block.variable(block.constant(0.0)), block.term(numbers)
        with function.loop(0, count, lanes.count) as i:
            power = exp(block.term(scores + i.index * size) - maximum)
            block.put(power, scores + i.index * size)
            block.set(total, block.get(total) + power)
        sums = _in_all_lanes(block, block.get(total), lambda x, y: x + y)
        block.put(maximum + log(sums), numbers)
        factor = 1.0 / sums
        with function.loop(0, count, lanes.count) as i:
            block.put(block.term(scores + i.index * size) * factor, scores + i.index * size)

    return function_of(module, lanes, "softmax", 3, write)


def _add_values(module: Any, lanes: Lanes) -> Function:
    """Returns the function `add_values(weights, values, row, count, columns, result)`: adds weights times values."""

    def write(block: Block, weights: Word, values: Word, row: Word, count: Word, *more: Word) -> None:
        columns, result = more
        function, size = block.function, lanes.size
        step = VECTORS * lanes.count
        zero = block.constant(0.0)
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
                    at = result + (j.index + k * lanes.count) * size
                    block.put(block.term(at) + ((first + second) + (third + fourth)), at)

    return function_of(module, lanes, "add_values", 6, write)
