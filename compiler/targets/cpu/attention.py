"""The attention kernel: the softmax of scores times values, block by block (Dao et al. 2022, 2023).

For each sample and head, all keys and values are copied to memory of the kernel, where their rows follow one another.
A block of queries then meets one block of keys after another. Scores are never in memory but for one block; a running
maximum and a running total of each query's softmax are kept (online softmax), and the result so far shrinks where the
maximum has grown. Causal blocks above the diagonal are skipped, and so are tiles above it.

Beyond a sample's own queries, results repeat those of the last one. Without keys they are zero. The order of all sums
follows from the numbers of queries and keys alone, so bits do not depend on how samples and heads are shared out.
"""

from typing import Any

import numpy as np

from netc.compiler.program import attention as program
from netc.compiler.targets.cpu import attention_vectors as vectors
from netc.compiler.targets.cpu.attention_blocks import (
    EVERYTHING,
    OPTIONS,
    ArrayWords,
    BlockWords,
    multiply,
    pack,
    turn,
    unpack,
)
from netc.compiler.targets.cpu.jit import jit_for
from netc.compiler.targets.cpu.math.words import words_for
from netc.compiler.targets.cpu.memory import load, store
from netc.compiler.targets.machine import Machine


def attention(dtype: str, machine: Machine) -> Any:
    """Returns the kernel of an element type: a Python function of its words, ready for Numba."""
    size, lanes, block = (4 if dtype == "f32" else 8), machine.lanes(dtype), machine.attention_block(dtype)
    jit, kind = jit_for(machine), np.float32 if dtype == "f32" else np.float64
    room, own_counts = jit(program.room, **OPTIONS), jit(counts(), **OPTIONS)
    copy_in, copy_out, number = pack(dtype, machine), unpack(dtype, machine), vectors.as_number(dtype)
    attend = jit(_attend_block(dtype, machine), **OPTIONS)
    repeat_last = jit(_repeat_last(dtype), **OPTIONS)
    unit = kind(1)

    def run(n):
        at, factor = room(block, lanes, n.key_count, n.width, n.value_width, 0), number(n.scale)
        for m in range(n.samples * n.heads):
            sample, head = m // n.heads, m % n.heads
            queries, keys = own_counts(n, sample)
            rows = (keys + lanes - 1) // lanes * lanes
            array = n.keys + (sample * n.keys_sample + head * n.keys_head) * size
            words = ArrayWords(array, n.keys_row, n.keys_column, keys, n.width)
            copy_in(words, n.scratch + at.keys * size, at.width, rows, unit)
            array = n.values + (sample * n.values_sample + head * n.values_head) * size
            words = ArrayWords(array, n.values_row, n.values_column, keys, n.value_width)
            copy_in(words, n.scratch + at.values * size, at.value_width, keys, unit)
            array = n.queries + (sample * n.queries_sample + head * n.queries_head) * size
            result = n.result + (sample * n.result_sample + head * n.result_head) * size
            sums = n.sums + (sample * n.sums_sample + head * n.sums_head) * size
            for first in range(0, queries, block):
                count = min(block, queries - first)
                words = ArrayWords(
                    array + first * n.queries_row * size, n.queries_row, n.queries_column, count, n.width
                )
                rows = (count + lanes - 1) // lanes * lanes
                copy_in(words, n.scratch + at.queries * size, at.width, rows, factor)
                attend(n, at, first, count, keys, sums + first * n.sums_row * size)
                target = result + first * n.result_row * size
                words = ArrayWords(target, n.result_row, n.result_column, count, n.value_width)
                copy_out(n.scratch + at.result * size, at.value_width, words, unit)
            words = ArrayWords(result, n.result_row, n.result_column, n.query_count, n.value_width)
            repeat_last(words, queries)
            repeat_last(ArrayWords(sums, n.sums_row, 1, n.query_count, 1), queries)

    return run


def counts() -> Any:
    """Returns the function own_counts(words, sample): how many queries and keys a sample has."""
    length = load("i32", 3)

    def own_counts(n, sample):
        queries, keys = n.query_count, n.key_count
        if n.lengths > 0:
            keys = min(keys, int(length(n.key_lengths, sample * n.key_lengths_sample)))
        if n.lengths > 1:
            queries = min(queries, int(length(n.query_lengths, sample * n.query_lengths_sample)))
        return queries, keys

    return own_counts


def _repeat_last(dtype: str) -> Any:
    """repeat_last(ArrayWords(...), count): fills the rows from `count` on with the one before, or with zeros."""
    size, element, put = (4 if dtype == "f32" else 8), load(dtype, 0), store(dtype, 0)

    def repeat_last(array, count):
        for i in range(count, array.rows):
            row = array.address + i * array.row * size
            for j in range(array.columns):
                last = element(array.address, (count - 1) * array.row + j * array.column) if count else 0
                put(row, j * array.column, last)

    return repeat_last


def _attend_block(dtype: str, machine: Machine) -> Any:
    """attend(words, Room(...), first, count, keys, sums): the result of a block of `count` queries, from number `first`
    on, and the logarithms of their sums."""
    size, lanes, block = (4 if dtype == "f32" else 8), machine.lanes(dtype), machine.attention_block(dtype)
    kind = np.float32 if dtype == "f32" else np.float64
    product, transposed, weigh = multiply(dtype, machine), turn(dtype, machine), _weigh(dtype, machine)
    weigh = jit_for(machine)(weigh, **OPTIONS)
    scale, clear = vectors.scale(dtype, machine), vectors.clear(dtype, machine)
    element, put, log = load(dtype, 2), store(dtype, 2), words_for(machine)[f"log_{dtype}"]
    zero, unit, least = kind(0), kind(1), kind(-np.inf)

    def attend(n, at, first, count, keys, sums):
        columns = (count + lanes - 1) // lanes * lanes
        queries, scores = n.scratch + at.queries_across * size, n.scratch + at.scores * size
        result, rows = n.scratch + at.result * size, n.scratch + at.rows * size
        transposed(n.scratch + at.queries * size, at.width, columns, queries, block)
        for i in range(columns):
            put(rows, i, least)
            put(rows, block + i, zero)
        end = min(keys, first + count) if n.is_causal else keys
        for k in range(0, end, block):
            own = min(block, keys - k)
            diagonal = first - k if n.is_causal and k + own > first + 1 else EVERYTHING
            some_keys = n.scratch + (at.keys + k * at.width) * size
            product(
                BlockWords(some_keys, at.width, 1, queries, block, scores, block, 0, own, columns, n.width,
                           diagonal, EVERYTHING, EVERYTHING)
            )  # fmt: skip
            weigh(scores, rows, own, columns, diagonal)
            if k > 0:
                for i in range(count):
                    shrunk = element(rows, 2 * block + i)
                    for j in range(0, at.value_width, lanes):
                        address = result + (i * at.value_width + j) * size
                        scale(address, address, shrunk)
            some_values = n.scratch + (at.values + k * at.value_width) * size
            product(
                BlockWords(scores, 1, block, some_values, at.value_width, result, at.value_width, int(k > 0), count,
                           at.value_width, own, EVERYTHING, diagonal, EVERYTHING)
            )  # fmt: skip
        for i in range(count):
            total = element(rows, block + i)
            for j in range(0, at.value_width, lanes):
                address = result + (i * at.value_width + j) * size
                if end > 0:
                    scale(address, address, unit / total)
                else:
                    clear(address, 0, 0, 1)
            put(sums, i * n.sums_row, element(rows, i) + log(total))

    return attend


def _weigh(dtype: str, machine: Machine) -> Any:
    """weigh(scores, rows, own, columns, diagonal): a block of scores of `own` keys becomes weights, with zeros for
    the keys behind the diagonal."""
    size, lanes, block = (4 if dtype == "f32" else 8), machine.lanes(dtype), machine.attention_block(dtype)
    step, clear, put = vectors.softmax_step(dtype, machine), vectors.clear(dtype, machine), store(dtype, 2)
    least = (np.float32 if dtype == "f32" else np.float64)(-np.inf)

    def weigh(scores, rows, own, columns, diagonal):
        for j in range(0, columns, lanes):
            column, row = scores + j * size, rows + j * size
            seen = min(own, diagonal + j + lanes)
            for i in range(lanes):
                for k in range(diagonal + j + i + 1, seen):
                    put(column, k * block + i, least)
            step(column, block, seen, row, row + block * size, row + 2 * block * size)
            clear(column, block, seen, own)

    return weigh
