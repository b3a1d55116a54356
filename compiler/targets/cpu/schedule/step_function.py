"""The function of a step under construction: words of its context, loops, a clock, and the mode of the processor.

Knows no schedule.
"""

from contextlib import AbstractContextManager
from typing import Any

from llvmlite import ir

from netc.compiler.targets.cpu.llvm.counted_loop import counted_loop
from netc.compiler.targets.cpu.schedule.context import PROFILE

_FLUSH = 0x8040  # MXCSR: subnormal results and operands are zero
_I64, _I32, _BYTE = ir.IntType(64), ir.IntType(32), ir.IntType(8)


def is_x86(module: Any) -> bool:
    """Whether a module is for x86-64."""
    return bool(module.triple.startswith("x86_64"))


class StepFunction:
    """`i64 NAME(i64* context)` in a module, and what its body is written with."""

    def __init__(self, module: Any, name: str) -> None:
        self.module, self.is_x86 = module, is_x86(module)
        function = ir.Function(module, ir.FunctionType(_I64, [_I64.as_pointer()]), name)
        self.builder = ir.IRBuilder(function.append_basic_block("entry"))
        self.context = function.args[0]

    def word(self, index: int) -> Any:
        """Loads a word of the context."""
        return self.builder.load(self.builder.gep(self.context, [self.number(index)]))

    @staticmethod
    def number(value: int) -> Any:
        return ir.Constant(_I64, value)

    def intrinsic(self, name: str, type_: Any) -> Any:
        return self.module.globals.get(name) or ir.Function(self.module, type_, name)

    def times(self, value: Any, factor: int) -> Any:
        return self.builder.mul(value, self.number(factor))

    def smaller(self, x: Any, y: Any) -> Any:
        return self.builder.select(self.builder.icmp_signed("<", x, y), x, y)

    def loop(self, low: Any, high: Any, step: int) -> AbstractContextManager[Any]:
        """Writes `for i in range(low, high, step)` around what the body of the `with` statement emits. Yields i."""
        return counted_loop(self.builder, low, high, self.number(step))

    def ticks(self) -> Any:
        """Reads a clock of constant rate. (On ARM, a program may not read the cycle counter.)"""
        name = "llvm.readcyclecounter" if self.is_x86 else "llvm.readsteadycounter"
        return self.builder.call(self.intrinsic(name, ir.FunctionType(_I64, [])), [])

    def add_ticks(self, before: Any, index: int) -> None:
        """Adds the ticks since `before` to a word at PROFILE."""
        builder = self.builder
        spent = builder.sub(self.ticks(), before)
        at = builder.gep(builder.inttoptr(self.word(PROFILE), _I64.as_pointer()), [self.number(index)])
        builder.store(builder.add(builder.load(at), spent), at)

    def flush_subnormals(self) -> Any:
        """Flushes subnormal numbers to zero from here on, on x86. Returns a function that emits the switch back."""
        if not self.is_x86:
            return lambda: None
        builder, pointer = self.builder, _BYTE.as_pointer()
        get, put = (
            self.intrinsic(f"llvm.x86.sse.{name}mxcsr", ir.FunctionType(ir.VoidType(), [pointer]))
            for name in ("st", "ld")
        )
        before, during = builder.alloca(_I32), builder.alloca(_I32)
        builder.call(get, [builder.bitcast(before, pointer)])
        builder.store(builder.or_(builder.load(before), ir.Constant(_I32, _FLUSH)), during)
        builder.call(put, [builder.bitcast(during, pointer)])
        return lambda: builder.call(put, [builder.bitcast(before, pointer)])
