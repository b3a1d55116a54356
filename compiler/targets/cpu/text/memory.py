"""Loads and stores through addresses, as built-ins of kernel text: `x = load_f32_2(p0, i0)`, `store_f32_0(p1, i0, x)`.

The last number is an alias scope: buffers of different scopes never overlap. LLVM vectorises a loop over many buffers
only if it knows that, and the planner guarantees it.
"""

from functools import cache
from typing import Any
from weakref import WeakKeyDictionary

from llvmlite import ir
from msgspec import Struct, field

from netc.compiler.ir.types import DTYPES
from netc.compiler.targets.cpu.llvm.counted_loop import counted_loop
from netc.compiler.targets.cpu.nests.nest_writer import SCOPES
from netc.compiler.targets.cpu.text.values import Builtin, builtin
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
_OF_BF16 = "f32"  # the type of values that memory keeps as bf16
_UNROLLED = 4  # prefetches that LLVM may write one behind another; a loop of more takes no longer than its memory does
_HALF = 16  # bits: a bf16 number is the upper half of an f32


class _Scopes(Struct):
    """The alias scopes of a module as metadata, and the marks of loads and stores of those in use: the scope, and all
    others."""

    scopes: list[Any]
    marks: dict[int, tuple[Any, Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, module: ir.Module) -> "_Scopes":
        domain = module.add_metadata([ir.MetaDataString(module, "netc")])
        return cls([module.add_metadata([ir.MetaDataString(module, f"netc.{i}"), domain]) for i in range(SCOPES)])


_scopes: WeakKeyDictionary[ir.Module, _Scopes] = WeakKeyDictionary()


def mark(builder: Any, instruction: Any, scope: int) -> None:
    """Attaches the metadata of an alias scope to a load or store."""
    module = builder.module
    if module not in _scopes:
        _scopes[module] = _Scopes.of(module)
    scopes, marks = _scopes[module].scopes, _scopes[module].marks
    if scope not in marks:
        others = module.add_metadata([*scopes[:scope], *scopes[scope + 1 :]])
        marks[scope] = module.add_metadata([scopes[scope]]), others
    alias_scope, other_scopes = marks[scope]
    instruction.set_metadata("alias.scope", alias_scope)
    instruction.set_metadata("noalias", other_scopes)


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


def _kind(dtype: str) -> str:
    return _OF_BF16 if dtype == "bf16" else dtype


@cache
def load(dtype: str, scope: int) -> Builtin:
    """Returns the built-in `load(address, i)`: element i of the buffer at an address."""

    @builtin(("i64", "i64"), _kind(dtype))
    def emit(builder: Any, base: Any, offset: Any) -> Any:
        value = builder.load(_element(builder, dtype, base, offset))
        value.align = DTYPES[dtype].bytes
        mark(builder, value, scope)
        return _loaded(builder, dtype, value)

    return emit


@cache
def store(dtype: str, scope: int) -> Builtin:
    """Returns the built-in `store(address, i, value)`."""

    @builtin(("i64", "i64", _kind(dtype)), None)
    def emit(builder: Any, base: Any, offset: Any, value: Any) -> None:
        instruction = builder.store(_stored(builder, dtype, value), _element(builder, dtype, base, offset))
        instruction.align = DTYPES[dtype].bytes
        mark(builder, instruction, scope)

    return emit


@cache
def fetch(dtype: str) -> Builtin:
    """Returns the built-in `fetch(address, i, count)`: prefetches the cache lines of `count` elements from element i on
    into the second cache. They need not exist."""

    @builtin(("i64", "i64", "i64"), None)
    def emit(builder: Any, base: Any, offset: Any, count: Any) -> None:
        declared = builder.module.globals.get("llvm.prefetch.p0")
        prefetch = declared or ir.Function(builder.module, _PREFETCH, "llvm.prefetch.p0")
        step = LINE // DTYPES[dtype].bytes
        is_short = isinstance(count, ir.Constant) and count.constant <= _UNROLLED * step
        kind = "range" if is_short else "single"
        with counted_loop(builder, _I64(0), count, _I64(step), "fetch", flags=("nsw",), kind=kind) as index:
            pointer = _element(builder, dtype, base, builder.add(offset, index))
            builder.call(prefetch, [builder.bitcast(pointer, _BYTE), *(ir.Constant(_I32, flag) for flag in (0, 2, 1))])

    return emit
