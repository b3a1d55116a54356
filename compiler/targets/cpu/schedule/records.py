"""The records of the calls of generic kernels: their arguments, in memory on the stack of the step's function.

A generic kernel, such as that of products, has dozens of arguments, mostly strides and counts, of which a call changes
a few. So each call of a schedule has a record, and what is the same in all steps is written once, when the function is
entered: numbers that are known at compile time are copied from a constant, others are computed. A call writes the rest.

The stack of a thread is small. In a step of very many calls, those behind the first MOST_WORDS share one record, to
which each writes all of its arguments.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from msgspec import Struct

from netc.compiler.program.schedule import PRIVATE, Address, Count, Schedule
from netc.compiler.targets.cpu.schedule.step_function import StepFunction
from netc.compiler.targets.cpu.source import generic_of
from netc.compiler.targets.machine import LINE

MOST_WORDS = 1 << 14  # of records that calls do not share: 128 KiB, some 300 products
_WORD = 8  # bytes
_I64, _BYTE = ir.IntType(64), ir.IntType(8)


class CallRecord(Struct, frozen=True):
    """The record of a call: the number of its first word, and the numbers of the arguments that the call writes."""

    first: int
    written: tuple[int, ...]


class Records:
    """The records of a schedule in the function of a step. The constructor writes what all steps have in common.

    `value(argument)` emits the value of an argument that is the same in all calls.
    """

    def __init__(self, step: StepFunction, schedule: Schedule, value: Callable[[Address | Count], Any]) -> None:
        self.step = step
        words, computed = list[int](), dict[int, Address | Count]()
        self._records: dict[int, CallRecord] = {}
        calls = [
            (number, call)
            for number, call in enumerate(schedule.calls())
            if generic_of(call.kernel).source.reads_record
        ]
        for call_number, call in calls:
            if len(words) >= MOST_WORDS:
                self._records[call_number] = CallRecord(len(words), tuple(range(len(call.arguments))))
                continue
            written = tuple(number for number, argument in enumerate(call.arguments) if not _is_same(argument))
            self._records[call_number] = CallRecord(len(words), written)
            for argument in call.arguments:
                if isinstance(argument, Count) and argument.is_fixed:
                    words.append(argument.factor)
                else:
                    if _is_same(argument):
                        computed[len(words)] = argument
                    words.append(0)
            words += [0] * (-len(words) % (LINE // _WORD))  # so that a record begins with a cache line
        if len(words) >= MOST_WORDS:
            words += [0] * max(len(call.arguments) for _, call in calls)
        if words:
            self._begin(words)
        for word, argument in computed.items():
            step.builder.store(value(argument), self._at(word))

    def _begin(self, words: list[int]) -> None:
        """Copies the constant words to the stack."""
        step, kind = self.step, ir.ArrayType(_I64, len(words))
        constant = ir.GlobalVariable(step.module, kind, "records")
        constant.global_constant, constant.linkage, constant.align = True, "internal", LINE
        constant.initializer = ir.Constant(kind, words)
        self._memory = step.builder.alloca(kind)
        self._memory.align = LINE
        pointer = _BYTE.as_pointer()
        copy = step.intrinsic(
            "llvm.memcpy.p0.p0.i64", ir.FunctionType(ir.VoidType(), [pointer, pointer, _I64, ir.IntType(1)])
        )
        source, to = (step.builder.bitcast(memory, pointer) for memory in (constant, self._memory))
        step.builder.call(copy, [to, source, _I64(len(words) * _WORD), ir.IntType(1)(0)])

    def record_of(self, number: int) -> CallRecord | None:
        """Returns the record of a call by its number; None if its kernel takes arguments as they are."""
        return self._records.get(number)

    def complete(self, record: CallRecord, values: list[Any]) -> Any:
        """Writes the values of the arguments that a call writes, and returns the address of its record."""
        for number, value in zip(record.written, values, strict=True):
            self.step.builder.store(value, self._at(record.first + number))
        return self.step.builder.ptrtoint(self._at(record.first), _I64)

    def _at(self, word: int) -> Any:
        """The address of a word."""
        return self.step.builder.gep(self._memory, [_I64(0), _I64(word)])


def _is_same(argument: Address | Count) -> bool:
    """Whether an argument is the same in all calls: no number of rows, and in a memory that no step moves."""
    match argument:
        case Address(memory, _, lead, shard, step):
            return memory <= PRIVATE and not (lead or shard or step)
        case Count(_, per):
            return per != "rows"
