"""Pairs of bf16 numbers in the lanes of f32: the first number in the lower half. Sums of their products are in f32.

AVX512_BF16 has an instruction for it. Elsewhere two multiply-adds do the same, in the same order, with the same bits:
a product of two bf16 numbers is exact in f32.
"""

from typing import Any

from llvmlite import ir

from netc.compiler.targets.cpu.llvm.function import I32, Function
from netc.compiler.targets.machine import Machine

_UPPER = -(1 << 16)  # the upper half of a lane


class BFloat(ir.Type):  # type: ignore[misc]
    """LLVM's type of a bf16 number, which llvmlite does not have."""

    def _to_string(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BFloat)

    def __hash__(self) -> int:
        return hash(BFloat)


def multiply_add(function: Function, machine: Machine, x: Any, y: Any, z: Any) -> Any:
    """z plus both products in each lane of x and y, that of the second numbers first."""
    builder, vector = function.builder, z.type
    if machine.has_bf16:
        halves = ir.VectorType(BFloat(), 2 * vector.count)
        kind = ir.FunctionType(vector, [vector, halves, halves])
        dot = function.declared(f"llvm.x86.avx512bf16.dpbf16ps.{32 * vector.count}", kind)
        return builder.call(dot, [z, builder.bitcast(x, halves), builder.bitcast(y, halves)])
    for half in (_second, _first):
        left, right = half(builder, x), half(builder, y)
        if machine.has_fma:
            fma = function.declared(f"llvm.fma.v{vector.count}f32", ir.FunctionType(vector, [vector] * 3))
            z = builder.call(fma, [left, right, z])
        else:
            z = builder.fadd(builder.fmul(left, right), z)
    return z


def multiply_add_repeated(builder: Any, base: Any, offset: Any, y: Any, z: Any) -> Any:
    """The same for one pair of x in memory, repeated in each lane, `offset` numbers behind the pointer `base`.

    The instruction repeats the pair itself, which LLVM does not write: a load that does it, for each multiplication,
    takes longer. Needs AVX512_BF16. The caller must write nothing to this memory.
    """
    kind = ir.FunctionType(z.type, [base.type, offset.type, y.type, z.type])
    text = f"vdpbf16ps ($1,$2,2){{1to{z.type.count}}}, $3, $0"
    return builder.asm(kind, text, "=v,r,r,v,0", [base, offset, y, z], False)


def joined(builder: Any, first: Any, second: Any) -> Any:
    """The pairs of two vectors of f32 whose numbers bf16 has exactly."""
    lower = builder.lshr(builder.bitcast(first, _integers(first)), _repeated(first, 16))
    upper = builder.and_(builder.bitcast(second, _integers(second)), _repeated(second, _UPPER))
    return builder.bitcast(builder.or_(lower, upper), first.type)


def _first(builder: Any, pairs: Any) -> Any:
    return builder.bitcast(builder.shl(builder.bitcast(pairs, _integers(pairs)), _repeated(pairs, 16)), pairs.type)


def _second(builder: Any, pairs: Any) -> Any:
    kept = builder.and_(builder.bitcast(pairs, _integers(pairs)), _repeated(pairs, _UPPER))
    return builder.bitcast(kept, pairs.type)


def _integers(vector: Any) -> Any:
    return ir.VectorType(I32, vector.type.count)


def _repeated(vector: Any, number: int) -> Any:
    return ir.Constant(_integers(vector), [number] * vector.type.count)
