"""The text of scalar expressions in a kernel, with the functions of math/ for an element type."""

from collections.abc import Mapping

from netc.compiler.ir.types import DTYPES
from netc.compiler.program.scalars import Expression, FunctionCall, Number, Spelling, written

_OF_EVERY_TYPE = ("abs", "max", "min")  # Python's own functions, which serve every type


def text_of(tree: Expression, names: Mapping[str, str] | None = None) -> str:
    """Returns an expression as kernel text. `names` maps names in the tree to what is written for them."""
    return written(tree, _SPELLING, names)


def _number(number: Number) -> str:
    """Returns a number, converted to its type: a plain 1 would turn f32 into f64."""
    if number.dtype == "bool" and number.text in ("True", "False"):
        return number.text
    text = number.text.replace("inf", "INF").replace("nan", "NAN")
    return f"{DTYPES[number.dtype].conversion}({text})"


def _function(call: FunctionCall) -> str:
    return call.function if call.function in _OF_EVERY_TYPE else f"{call.function}_{call.dtype}"


_SPELLING = Spelling(_number, _function, lambda dtype: DTYPES[dtype].conversion, branches=False)
