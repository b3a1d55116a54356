"""The arithmetic of scalar expressions: how many floating-point operations an element costs, counted from the text.

The functions that expressions call have a table, whose numbers are those of targets/cpu/math/. Divisions and square
roots are counted beside the others, because CPUs compute them in a unit of their own, at a fraction of the rate.
"""

import ast
from functools import cache

from msgspec import Struct


class Arithmetic(Struct, frozen=True):
    """An amount of arithmetic.

    `flops` are floating-point operations: an addition, multiplication, comparison, division or square root is one, a
    multiply-add two; changing a sign, choosing and converting are none. `divisions` and `roots` are those among them.
    """

    flops: int = 0
    divisions: int = 0
    roots: int = 0

    def __add__(self, other: "Arithmetic") -> "Arithmetic":
        return Arithmetic(self.flops + other.flops, self.divisions + other.divisions, self.roots + other.roots)

    def __mul__(self, count: int) -> "Arithmetic":
        return Arithmetic(self.flops * count, self.divisions * count, self.roots * count)


# The arithmetic of functions in f32 and in f64, with fused multiply-adds and without the ways that only few operands
# take (large angles). A function that computes in f64 for f32 counts an operation of f64 as two.
FUNCTIONS: dict[str, tuple[Arithmetic, Arithmetic]] = {
    "exp": (Arithmetic(22), Arithmetic(34)),
    "expm1": (Arithmetic(27), Arithmetic(39)),
    "tanh": (Arithmetic(27, 1), Arithmetic(39, 1)),
    "sigmoid": (Arithmetic(23, 1), Arithmetic(35, 1)),
    "sinh": (Arithmetic(34, 1), Arithmetic(54, 1)),
    "cosh": (Arithmetic(23, 1), Arithmetic(35, 1)),
    "log": (Arithmetic(29), Arithmetic(27, 1)),
    "log1p": (Arithmetic(39), Arithmetic(37, 1)),
    "softplus": (Arithmetic(51), Arithmetic(60, 1)),
    "erf": (Arithmetic(52), Arithmetic(104)),
    "normal_cdf": (Arithmetic(78, 2), Arithmetic(121, 2)),
    "gelu": (Arithmetic(84, 2), Arithmetic(127, 2)),
    "pow": (Arithmetic(103), Arithmetic(121, 1)),
    "sin": (Arithmetic(28), Arithmetic(38)),
    "cos": (Arithmetic(28), Arithmetic(38)),
    "tan": (Arithmetic(51, 1), Arithmetic(61, 1)),
    "asin": (Arithmetic(26, 0, 1), Arithmetic(41, 0, 1)),
    "acos": (Arithmetic(28, 0, 1), Arithmetic(43, 0, 1)),
    "atan": (Arithmetic(26, 1), Arithmetic(51, 1)),
    "atan2": (Arithmetic(28, 1), Arithmetic(53, 1)),
    "sqrt": (Arithmetic(1, 0, 1), Arithmetic(1, 0, 1)),
    "rint": (Arithmetic(3), Arithmetic(3)),
    "floor": (Arithmetic(5), Arithmetic(5)),
    "unit": (Arithmetic(1), Arithmetic(1)),
    "fma": (Arithmetic(2), Arithmetic(2)),
    "as_bf16": (Arithmetic(1), Arithmetic(1)),
    "scramble": (Arithmetic(18), Arithmetic(18)),  # of integers, which take as long
    "max": (Arithmetic(1), Arithmetic(1)),
    "min": (Arithmetic(1), Arithmetic(1)),
    "abs": (Arithmetic(), Arithmetic()),
    "T": (Arithmetic(), Arithmetic()),
}


@cache
def arithmetic_of(expression: str, dtype: str) -> Arithmetic:
    """Returns the arithmetic of an operation's expression for one element of a type; integers count as f32 does.

    Equal parts of the expression count once, as they are computed once.
    """
    total = Arithmetic()
    parts = {ast.dump(node): node for node in ast.walk(ast.parse(expression, mode="eval"))}
    for node in parts.values():
        match node:
            case ast.BinOp(op=ast.Div()):
                total += Arithmetic(1, 1)
            case ast.BinOp():
                total += Arithmetic(1)
            case ast.Compare(ops=operators):
                total += Arithmetic(len(operators))
            case ast.Call(func=ast.Name(id=name)):
                total += FUNCTIONS[name][dtype == "f64"]
    return total
