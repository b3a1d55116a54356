"""The records of calls: a kernel with many arguments reads them in memory, where its caller writes what changes."""

import ctypes

import llvmlite.binding as llvm
import numpy as np
import pytest

from netc.compiler.program.kernels import Contraction
from netc.compiler.program.product import POINTERS, WORDS
from netc.compiler.program.schedule import PERSISTENT, PRIVATE, TABLES, Address, Call, Count, Group, Schedule
from netc.compiler.targets.cpu.compile import start_llvm, target_machine
from netc.compiler.targets.cpu.linked import load
from netc.compiler.targets.cpu.schedule import records
from netc.compiler.targets.cpu.schedule.context import BARRIER, BARRIER_WORDS, BATCH, FIRST_TABLE, MEMBERS, STEPS
from netc.compiler.targets.cpu.schedule.emit import emit
from netc.compiler.targets.cpu.source import source_of
from netc.compiler.targets.machine import host

# A kernel that copies its arguments to the address that is the first of them.
COPY = f"""
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
define void @copy(i64 %record) {{
  %arguments = inttoptr i64 %record to ptr
  %first = load i64, ptr %arguments
  %to = inttoptr i64 %first to ptr
  call void @llvm.memcpy.p0.p0.i64(ptr %to, ptr %arguments, i64 {8 * len(WORDS)}, i1 false)
  ret void
}}
"""
BATCH_ROWS, ROW_BLOCK, STEP_BYTES = 5, 2, 24


def call_of(number: int) -> Call:
    """A product that writes its arguments to its own part of this worker's arena, one behind another for each row."""
    row = 8 * len(WORDS)
    pointers = [Address(PRIVATE, number * BATCH_ROWS * row, row), Address(PERSISTENT, 16), Address(TABLES, 8, lead=4)]
    pointers += [Address(PRIVATE, 8 * place) for place in range(len(POINTERS) - len(pointers))]
    counts = [Count(3 + number, "rows"), Count(5, "batch")]
    counts += [Count(100 * number + place) for place in range(len(WORDS) - len(POINTERS) - len(counts))]
    return Call(Contraction("f32"), tuple(pointers), tuple(counts))


@pytest.mark.parametrize("most", [records.MOST_WORDS, 1, 0])
def test_a_call_reads_what_all_calls_share_and_what_it_writes_itself(
    most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `most` words of records, 1 or 0, the calls but one, or all calls, share a record."""
    monkeypatch.setattr(records, "MOST_WORDS", most)
    calls = (call_of(0), call_of(1), call_of(2))
    schedule = Schedule(((Group("samples", calls, ROW_BLOCK),),), ((STEP_BYTES, 0),))
    text = emit(schedule, {source_of(Contraction("f32")): "copy"})
    start_llvm()
    objects = [bytes(target_machine(host(), 0).emit_object(llvm.parse_assembly(module))) for module in (text, COPY)]
    _memory, entry = load(objects)
    arena, barrier = np.zeros((len(calls), BATCH_ROWS, len(WORDS)), np.int64), np.zeros(BARRIER_WORDS, np.int64)
    context = np.zeros(FIRST_TABLE + 1, np.int64)
    context[PRIVATE], context[BARRIER], context[PERSISTENT], context[FIRST_TABLE] = (
        *(arena.ctypes.data, barrier.ctypes.data),
        *(1000, 2000),
    )
    context[MEMBERS], context[BATCH], context[STEPS] = 1, BATCH_ROWS, 3
    assert ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(entry)(context.ctypes.data) == 0

    memories = {PRIVATE: arena.ctypes.data, PERSISTENT: 1000, TABLES: 2000 + 2 * STEP_BYTES}  # in the last step
    expected = np.zeros_like(arena)
    for number, call in enumerate(calls):
        for row in range(0, BATCH_ROWS, ROW_BLOCK):
            counts = {"one": 1, "rows": min(ROW_BLOCK, BATCH_ROWS - row), "batch": BATCH_ROWS}
            expected[number, row] = [
                memories[argument.memory] + argument.offset + row * argument.lead
                if isinstance(argument, Address)
                else argument.factor * counts[argument.per]
                for argument in call.arguments
            ]
    np.testing.assert_array_equal(arena, expected)
