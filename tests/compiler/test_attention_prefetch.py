"""What the tiles of an attention kernel prefetch: each line that the head writes, and that the next head reads."""

import ctypes
from itertools import product

import llvmlite.binding as llvm
import numpy as np
import pytest
from llvmlite import ir

from netc.compiler.program import attention
from netc.compiler.targets.cpu.attention.arguments import AttentionArguments
from netc.compiler.targets.cpu.attention.prefetch import VARIABLES, Prefetches
from netc.compiler.targets.cpu.compile import start_llvm, target_machine
from netc.compiler.targets.cpu.llvm.function import I64
from netc.compiler.targets.cpu.llvm.vectors import Lanes
from netc.compiler.targets.cpu.products import tile
from netc.compiler.targets.machine import LINE, host

SAMPLES, HEADS, TILES, DEPTH = 2, 3, 200, 7


def prefetched(is_gradient: bool, numbers: dict[str, int]) -> np.ndarray:
    """The addresses and steps of TILES tiles of each head, [samples, heads, tiles, 2], with the operands' addresses in
    `numbers`."""
    module, lanes = ir.Module("walk"), Lanes("f32", host())
    arguments = AttentionArguments(module, "walk", lanes, is_gradient, (*VARIABLES, *tile.FIELDS))
    run, words = arguments.run, arguments.words
    prefetches = Prefetches(module, arguments.fields, 4, is_gradient)
    with arguments.heads():
        prefetches.begin_head(run, words, arguments.address, arguments.is_packed)
        with run.loop(0, TILES) as i:
            words["depth"] = DEPTH
            prefetches.advance(run, words, arguments.address)
            at = words["all_keys"] + (((words["sample"] * HEADS + words["head"]) * TILES + i.index) * 16)
            for offset, name in ((0, "fetched"), (8, "fetched_step")):
                run.builder.store(words[name].value, run.builder.inttoptr((at + offset).value, I64.as_pointer()))
    run.end()
    start_llvm()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(str(module)), target_machine(host()))
    engine.finalize_object()
    result = np.zeros((SAMPLES, HEADS, TILES, 2), np.int64)
    names = (*attention.pointers(is_gradient), *attention.numbers(is_gradient))
    words_of = numbers | {"all_keys": result.ctypes.data}
    record = (ctypes.c_int64 * len(names))(*(words_of.get(name, 0) for name in names))
    ctypes.CFUNCTYPE(None, ctypes.c_int64)(engine.get_function_address("walk"))(ctypes.addressof(record))
    return result


@pytest.mark.parametrize("rows", [9, 700])
@pytest.mark.parametrize("is_gradient", [False, True])
def test_each_line_is_prefetched_once_and_large_operands_are_not(is_gradient: bool, rows: int) -> None:
    numbers = {"samples": SAMPLES, "heads": HEADS, "query_count": 9, "key_count": rows, "width": 40, "value_width": 24}
    tensors, written = attention.tensors(is_gradient), attention.written(is_gradient)
    for i, name in enumerate(tensors):  # addresses that no memory has to have
        numbers |= {name: (i + 1) << 32, f"{name}_row": 1024, f"{name}_head": 64, f"{name}_sample": 1 << 20}
    lines = prefetched(is_gradient, numbers)
    for sample, head in product(range(SAMPLES), range(HEADS)):
        after = sample * HEADS + head + 1
        expected = set()
        for name in tensors:
            number = after - 1 if name in written else after
            sizes = {axis: numbers[size] for axis, size in attention.axes_of(name)}
            is_large = sizes["row"] * -(-sizes["column"] * 4 // LINE) * LINE > 64 << 10
            if number == SAMPLES * HEADS or is_large:
                continue
            first = numbers[name] + 4 * ((number // HEADS << 20) + number % HEADS * 64)
            expected |= {
                first + row * 4096 + line for row in range(sizes["row"]) for line in range(0, sizes["column"] * 4, LINE)
            }
        moving = [(at, step) for at, step in lines[sample, head].tolist() if step]
        fetched = [at + k * step for at, step in moving for k in range(DEPTH)]
        assert expected <= set(fetched)
        # the last tile of a column of lines may go past the rows
        assert len(fetched) < len(expected) + DEPTH * len(tensors) * 3
