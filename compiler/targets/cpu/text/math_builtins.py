"""The functions of math/ as built-ins of a kernel's text, of numbers and of vectors (row_vectors.py)."""

from collections.abc import Sequence
from functools import cache
from typing import Any

from netc.compiler.targets.cpu.math.functions import FUNCTIONS, MathFunction
from netc.compiler.targets.cpu.math.terms import Scope, Term
from netc.compiler.targets.cpu.text.values import Builtin, Value, Vector, converted, splat
from netc.compiler.targets.machine import Machine


def builtins_for(machine: Machine) -> dict[str, Builtin]:
    """Returns the functions by name as built-ins for a machine."""
    return _builtins_for(machine.has_fma, machine.has_bf16)


@cache
def _builtins_for(has_fma: bool, has_bf16: bool) -> dict[str, Builtin]:
    return {name: _in_kernels(function, has_fma, has_bf16) for name, function in FUNCTIONS.items()}


def _in_kernels(function: MathFunction, has_fma: bool, has_bf16: bool) -> Builtin:
    """Returns a function as a built-in, whose operands are numbers, or vectors and numbers."""

    def call(builder: Any, operands: Sequence[Value]) -> Value:
        lanes = next((operand.kind.lanes for operand in operands if isinstance(operand.kind, Vector)), 0)
        scope, terms = Scope(builder, has_fma, lanes, has_bf16), list[Term]()
        for dtype, operand in zip(function.operands, operands, strict=True):
            if isinstance(operand.kind, Vector):
                value = operand.value
            else:
                value = converted(builder, operand, dtype)
                value = splat(builder, value, lanes) if lanes else value
            terms.append(Term(scope, dtype, value))
        kind = Vector(function.result, lanes) if lanes else function.result
        return Value(kind, function.write(*terms).value)

    return call
