"""Loads and stores through addresses, as Numba intrinsics. Each has an alias scope: buffers of different scopes never
overlap.

LLVM vectorises a loop over many buffers only if it knows that. The planner guarantees it.
"""

from functools import cache
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from netc.compiler.ir.types import DTYPES
from netc.compiler.targets.cpu.nest_writer import SCOPES
from netc.compiler.targets.machine import LINE

_IR = {
    "f32": ir.FloatType(),
    "f64": ir.DoubleType(),
    "i32": ir.IntType(32),
    "u8": ir.IntType(8),
    "bool": ir.IntType(8),
    "bf16": ir.IntType(16),
}
_I32, _I64, _BYTE = ir.IntType(32), ir.IntType(64), ir.IntType(8).as_pointer()
_PREFETCH = ir.FunctionType(ir.VoidType(), [_BYTE, _I32, _I32, _I32])  # address, whether written, how near, data
_NUMBA: dict[str, Any] = {
    "f32": types.float32,
    "f64": types.float64,
    "i32": types.int32,
    "u8": types.uint8,
    "bool": types.boolean,
    "bf16": types.float32,
}
_HALF = 16  # bits: a bf16 number is the upper half of an f32


def mark(builder: Any, instruction: Any, scope: int) -> None:
    """Attaches the metadata of an alias scope to a load or store."""
    module = builder.module
    domain = module.add_metadata([ir.MetaDataString(module, "netc")])
    scopes = [module.add_metadata([ir.MetaDataString(module, f"netc.{i}"), domain]) for i in range(SCOPES)]
    instruction.set_metadata("alias.scope", module.add_metadata([scopes[scope]]))
    instruction.set_metadata("noalias", module.add_metadata([*scopes[:scope], *scopes[scope + 1 :]]))


def _element(builder: Any, dtype: str, base: Any, offset: Any) -> Any:
    return builder.gep(builder.inttoptr(base, _IR[dtype].as_pointer()), [offset])


def _loaded(builder: Any, dtype: str, element: Any) -> Any:
    """The value that an element in memory stands for."""
    if dtype == "bool":
        return builder.icmp_signed("!=", element, ir.Constant(_IR["bool"], 0))
    if dtype == "bf16":
        bits = builder.shl(builder.zext(element, _IR["i32"]), ir.Constant(_IR["i32"], _HALF))
        return builder.bitcast(bits, _IR["f32"])
    return element


def _stored(builder: Any, dtype: str, value: Any) -> Any:
    """The element in memory that stands for a value. A value of a bf16 buffer is rounded to bf16 already."""
    if dtype == "bool":
        return builder.zext(value, _IR["bool"])
    if dtype == "bf16":
        bits = builder.bitcast(value, _IR["i32"])
        return builder.trunc(builder.lshr(bits, ir.Constant(_IR["i32"], _HALF)), _IR["bf16"])
    return value


@cache
def load(dtype: str, scope: int) -> Any:
    """Returns the intrinsic `load(address, i)`: element i of the buffer at an address."""

    @intrinsic
    def get(typing, base, offset):
        def codegen(context, builder, signature, arguments):
            value = builder.load(_element(builder, dtype, *arguments))
            value.align = DTYPES[dtype].bytes
            mark(builder, value, scope)
            return _loaded(builder, dtype, value)

        return _NUMBA[dtype](types.int64, types.int64), codegen

    return get


@cache
def store(dtype: str, scope: int) -> Any:
    """Returns the intrinsic `store(address, i, value)`."""

    @intrinsic
    def put(typing, base, offset, value):
        def codegen(context, builder, signature, arguments):
            element = _stored(builder, dtype, arguments[2])
            instruction = builder.store(element, _element(builder, dtype, arguments[0], arguments[1]))
            instruction.align = DTYPES[dtype].bytes
            mark(builder, instruction, scope)
            return context.get_dummy_value()

        return types.void(types.int64, types.int64, _NUMBA[dtype]), codegen

    return put


@cache
def fetch(dtype: str) -> Any:
    """Returns the intrinsic `fetch(address, i, count)`: prefetches the lines of `count` elements from element i on into
    the second cache. They need not exist."""

    @intrinsic
    def prefetch(typing, base, offset, count):
        def codegen(context, builder, signature, arguments):
            base, offset, count = arguments
            declared = builder.module.globals.get("llvm.prefetch.p0")
            word = declared or ir.Function(builder.module, _PREFETCH, "llvm.prefetch.p0")
            with cgutils.for_range_slice(
                builder, ir.Constant(_I64, 0), count, ir.Constant(_I64, LINE // DTYPES[dtype].bytes)
            ) as (i, _):
                place = _element(builder, dtype, base, builder.add(offset, i))
                builder.call(word, [builder.bitcast(place, _BYTE), *(ir.Constant(_I32, flag) for flag in (0, 2, 1))])
            return context.get_dummy_value()

        return types.void(types.int64, types.int64, types.int64), codegen

    return prefetch
