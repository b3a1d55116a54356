"""The gradient of attention, block by block: the weights are computed again from the scores and the saved logarithms
of their sums (Dao et al. 2022, 2023).

With weights p, values v and the gradient g of the result: the gradient of the values is p^T g, that of the scores
p (g v^T - dot), where dot is the sum of g times the result for each query. attention.py says how blocks are walked;
the gradients of keys and values are summed in the kernel's memory over the blocks of queries, in order.
"""

from typing import Any

import numpy as np

from netc.compiler.program import attention as program
from netc.compiler.targets.cpu import attention_vectors as vectors
from netc.compiler.targets.cpu.attention import counts
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
from netc.compiler.targets.cpu.memory import load, store
from netc.compiler.targets.machine import Machine


def attention_gradient(dtype: str, machine: Machine) -> Any:
    """Returns the kernel of an element type: a Python function of its words, ready for Numba."""
    size, lanes, block = (4 if dtype == "f32" else 8), machine.lanes(dtype), machine.attention_block(dtype)
    jit, kind = jit_for(machine), np.float32 if dtype == "f32" else np.float64
    room, own_counts = jit(program.room, **OPTIONS), jit(counts(), **OPTIONS)
    copy_in, copy_out, number = pack(dtype, machine), unpack(dtype, machine), vectors.as_number(dtype)
    take_queries = jit(_take_queries(dtype, machine), **OPTIONS)
    add_block, clear_rest = jit(_add_block(dtype, machine), **OPTIONS), jit(_clear_rest(dtype), **OPTIONS)
    put, zero, unit = store(dtype, 2), kind(0), kind(1)

    def run(n):
        at, factor = room(block, lanes, n.key_count, n.width, n.value_width, 1), number(n.scale)
        for m in range(n.samples * n.heads):
            sample, head = m // n.heads, m % n.heads
            queries, keys = own_counts(n, sample)
            rows = (keys + lanes - 1) // lanes * lanes
            array = n.keys + (sample * n.keys_sample + head * n.keys_head) * size
            words = ArrayWords(array, n.keys_row, n.keys_column, keys, n.width)
            copy_in(words, n.scratch + at.keys * size, at.width, rows, unit)
            array = n.values + (sample * n.values_sample + head * n.values_head) * size
            words = ArrayWords(array, n.values_row, n.values_column, keys, n.value_width)
            copy_in(words, n.scratch + at.values * size, at.value_width, rows, unit)
            for i in range(rows * at.width):
                put(n.scratch, at.of_keys + i, zero)
            for i in range(rows * at.value_width):
                put(n.scratch, at.of_values + i, zero)
            array = n.of_queries + (sample * n.of_queries_sample + head * n.of_queries_head) * size
            for first in range(0, queries, block):
                count = min(block, queries - first)
                take_queries(n, at, sample, head, first, count, factor)
                end = min(keys, first + count) if n.is_causal else keys
                for k in range(0, end, block):
                    add_block(n, at, first, count, k, min(block, keys - k))
                target = array + first * n.of_queries_row * size
                words = ArrayWords(target, n.of_queries_row, n.of_queries_column, count, n.width)
                if end > 0:
                    copy_out(n.scratch + at.result * size, at.width, words, factor)
                else:
                    clear_rest(words, 0)
            clear_rest(ArrayWords(array, n.of_queries_row, n.of_queries_column, n.query_count, n.width), queries)
            array = n.of_keys + (sample * n.of_keys_sample + head * n.of_keys_head) * size
            words = ArrayWords(array, n.of_keys_row, n.of_keys_column, keys, n.width)
            copy_out(n.scratch + at.of_keys * size, at.width, words, unit)
            clear_rest(ArrayWords(array, n.of_keys_row, n.of_keys_column, n.key_count, n.width), keys)
            array = n.of_values + (sample * n.of_values_sample + head * n.of_values_head) * size
            words = ArrayWords(array, n.of_values_row, n.of_values_column, keys, n.value_width)
            copy_out(n.scratch + at.of_values * size, at.value_width, words, unit)
            clear_rest(ArrayWords(array, n.of_values_row, n.of_values_column, n.key_count, n.value_width), keys)

    return run


def _clear_rest(dtype: str) -> Any:
    """clear_rest(ArrayWords(...), count): zeros in the rows from `count` on."""
    size, put = (4 if dtype == "f32" else 8), store(dtype, 0)
    zero = (np.float32 if dtype == "f32" else np.float64)(0)

    def clear_rest(array, count):
        for i in range(count, array.rows):
            for j in range(array.columns):
                put(array.address + i * array.row * size, j * array.column, zero)

    return clear_rest


def _take_queries(dtype: str, machine: Machine) -> Any:
    """take_queries(words, Room(...), sample, head, first, count, factor): copies a block of queries, of the result and
    of its gradient, transposes them, and computes for each query the sum of result times gradient."""
    size, lanes, block = (4 if dtype == "f32" else 8), machine.lanes(dtype), machine.attention_block(dtype)
    copy_in, transposed = pack(dtype, machine), turn(dtype, machine)
    dot, element, put = vectors.add_products(dtype, machine), load(dtype, 2), store(dtype, 2)
    kind = np.float32 if dtype == "f32" else np.float64
    zero, unit = kind(0), kind(1)

    def take_queries(n, at, sample, head, first, count, factor):
        columns = (count + lanes - 1) // lanes * lanes
        array = n.result + (sample * n.result_sample + head * n.result_head + first * n.result_row) * size
        words = ArrayWords(array, n.result_row, n.result_column, count, n.value_width)
        copy_in(words, n.scratch + at.gradients * size, at.value_width, columns, unit)
        results = n.scratch + at.results_across * size
        transposed(n.scratch + at.gradients * size, at.value_width, columns, results, block)
        array = n.gradient + (sample * n.gradient_sample + head * n.gradient_head + first * n.gradient_row) * size
        words = ArrayWords(array, n.gradient_row, n.gradient_column, count, n.value_width)
        copy_in(words, n.scratch + at.gradients * size, at.value_width, columns, unit)
        gradients = n.scratch + at.gradients_across * size
        transposed(n.scratch + at.gradients * size, at.value_width, columns, gradients, block)
        array = n.queries + (sample * n.queries_sample + head * n.queries_head + first * n.queries_row) * size
        words = ArrayWords(array, n.queries_row, n.queries_column, count, n.width)
        copy_in(words, n.scratch + at.queries * size, at.width, columns, factor)
        transposed(n.scratch + at.queries * size, at.width, columns, n.scratch + at.queries_across * size, block)
        rows = n.scratch + at.rows * size
        sums = n.sums + (sample * n.sums_sample + head * n.sums_head + first * n.sums_row) * size
        for i in range(columns):
            put(rows, i, element(sums, i * n.sums_row) if i < count else zero)
        for j in range(0, columns, lanes):
            dot(results + j * size, gradients + j * size, block, n.value_width, rows + (block + j) * size)

    return take_queries


def _add_block(dtype: str, machine: Machine) -> Any:
    """add_block(words, Room(...), first, count, k, own): adds to the gradients what a block of `count` queries, from
    number `first` on, has to do with a block of `own` keys, from number `k` on."""
    size, lanes, block = (4 if dtype == "f32" else 8), machine.lanes(dtype), machine.attention_block(dtype)
    product = multiply(dtype, machine)
    step, clear, put = vectors.gradient_step(dtype, machine), vectors.clear(dtype, machine), store(dtype, 2)
    zero = (np.float32 if dtype == "f32" else np.float64)(0)

    def weigh(scores, slopes, rows, own, columns, diagonal):
        for j in range(0, columns, lanes):
            seen = min(own, diagonal + j + lanes)
            step(scores + j * size, slopes + j * size, block, seen, rows + j * size, rows + (block + j) * size)
            clear(scores + j * size, block, seen, own)
            clear(slopes + j * size, block, seen, own)
            for i in range(lanes):
                for k in range(diagonal + j + i + 1, seen):
                    put(scores + j * size, k * block + i, zero)
                    put(slopes + j * size, k * block + i, zero)

    weigh = jit_for(machine)(weigh, **OPTIONS)

    def add_block(n, at, first, count, k, own):
        columns = (count + lanes - 1) // lanes * lanes
        diagonal = first - k if n.is_causal and k + own > first + 1 else EVERYTHING
        scores, slopes = n.scratch + at.scores * size, n.scratch + at.slopes * size
        some_keys = n.scratch + (at.keys + k * at.width) * size
        some_values = n.scratch + (at.values + k * at.value_width) * size
        across, wide = n.scratch + at.queries_across * size, n.scratch + at.gradients_across * size
        product(
            BlockWords(some_keys, at.width, 1, across, block, scores, block, 0, own, columns, n.width,
                       diagonal, EVERYTHING, EVERYTHING)
        )  # fmt: skip
        product(
            BlockWords(some_values, at.value_width, 1, wide, block, slopes, block, 0, own, columns, n.value_width,
                       diagonal, EVERYTHING, EVERYTHING)
        )  # fmt: skip
        weigh(scores, slopes, n.scratch + at.rows * size, own, columns, diagonal)
        gradients, of_values = n.scratch + at.gradients * size, n.scratch + (at.of_values + k * at.value_width) * size
        product(
            BlockWords(scores, block, 1, gradients, at.value_width, of_values, at.value_width, 1, own, at.value_width,
                       count, EVERYTHING, EVERYTHING, diagonal)
        )  # fmt: skip
        queries, of_keys = n.scratch + at.queries * size, n.scratch + (at.of_keys + k * at.width) * size
        product(
            BlockWords(slopes, block, 1, queries, at.width, of_keys, at.width, 1, own, at.width,
                       count, EVERYTHING, EVERYTHING, diagonal)
        )  # fmt: skip
        result = n.scratch + at.result * size
        product(
            BlockWords(slopes, 1, block, some_keys, at.width, result, at.width, int(k > 0), count, at.width,
                       own, EVERYTHING, diagonal, EVERYTHING)
        )  # fmt: skip

    return add_block
