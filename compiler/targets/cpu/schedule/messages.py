"""The functions by which a rank begins and completes a message to the other ranks, as LLVM IR.

They go through the lists of a message's record (targets/gathering.py): copies of rows into a packet or out of it, and
calls of C functions, such as those of MPI, whose addresses the record has.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from llvmlite import ir
from msgspec import Struct

from netc.compiler.targets.cpu.llvm.counted_loop import counted_loop
from netc.compiler.targets.gathering import CALL, COPY, PACKS, STARTS, UNPACKS, WAITS

_I64, _I32, _I1, _BYTE = ir.IntType(64), ir.IntType(32), ir.IntType(1), ir.IntType(8)


class Messages(Struct, frozen=True):
    """The functions `i64 begin(record, step)` and `i64 complete(record, step)`. `step` is the one in which the message
    is begun; they return 0 or the code of an error."""

    begin: Any
    complete: Any


def emit_messages(module: Any) -> Messages:
    """Adds the functions of messages to a module."""
    copy, call = _emit_copies(module), _emit_calls(module)
    functions = []
    for name, copies, calls, is_packed_first in (("begin", PACKS, STARTS, True), ("complete", UNPACKS, WAITS, False)):
        function, builder = _function(module, f"netc_{name}", 2)
        record, step = function.args
        copied = [*_list(builder, record, copies), step, _number(int(is_packed_first))]
        if is_packed_first:
            builder.call(copy, copied)
        code = builder.call(call, _list(builder, record, calls))
        if not is_packed_first:
            with builder.if_then(builder.icmp_signed("==", code, _number(0))):
                builder.call(copy, copied)
        builder.ret(code)
        functions.append(function)
    return Messages(*functions)


def _emit_copies(module: Any) -> Any:
    """Adds `i64 netc_copies(count, records, step, is_packing)`: copies rows into a packet or out of it."""
    function, builder = _function(module, "netc_copies", 4)
    count, records, step, is_packing = function.args
    pointer = _BYTE.as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [pointer, pointer, _I64, _I1])
    copy = module.globals.get("llvm.memcpy.p0.p0.i64") or ir.Function(module, kind, "llvm.memcpy.p0.p0.i64")
    with _records(builder, count, records, COPY) as (begin, move, packet, nbytes):
        row = builder.add(begin, builder.mul(step, move))
        packs = builder.icmp_signed("!=", is_packing, _number(0))
        ends = (builder.select(packs, packet, row), builder.select(packs, row, packet))
        target, source = (builder.inttoptr(end, pointer) for end in ends)
        builder.call(copy, [target, source, nbytes, _I1(0)])
    builder.ret(_number(0))
    return function


def _emit_calls(module: Any) -> Any:
    """Adds `i64 netc_calls(count, records)`: calls functions until one fails, and returns its result, or else 0."""
    function, builder = _function(module, "netc_calls", 2)
    kind = ir.FunctionType(_I32, [_I64] * (CALL - 1))
    count, records = function.args
    with _records(builder, count, records, CALL) as (address, *arguments):
        code = builder.call(builder.inttoptr(address, kind.as_pointer()), arguments)
        with builder.if_then(builder.icmp_signed("!=", code, ir.Constant(_I32, 0)), likely=False):
            builder.ret(builder.zext(code, _I64))
    builder.ret(_number(0))
    return function


def _function(module: Any, name: str, arguments: int) -> tuple[Any, Any]:
    """A function of words of 64 bits, and the builder of its body."""
    function = ir.Function(module, ir.FunctionType(_I64, [_I64] * arguments), name)
    function.linkage = "internal"
    return function, ir.IRBuilder(function.append_basic_block("entry"))


def _list(builder: Any, record: Any, word: int) -> list[Any]:
    """The count and the address of a list of a record."""
    words = builder.inttoptr(record, _I64.as_pointer())
    return [builder.load(builder.gep(words, [_number(word + i)])) for i in range(2)]


@contextmanager
def _records(builder: Any, count: Any, records: Any, size: int) -> Iterator[list[Any]]:
    """A loop over `count` records of `size` words. Yields the words."""
    words = builder.inttoptr(records, _I64.as_pointer())
    with counted_loop(builder, _number(0), count, _number(1), "records") as i:
        first = builder.mul(i, _number(size))
        yield [builder.load(builder.gep(words, [builder.add(first, _number(word))])) for word in range(size)]


def _number(value: int) -> Any:
    return ir.Constant(_I64, value)
