"""Evaluates formulas of equations with NumPy, to compare both sides of an equation.

A value has its rows (samples or steps) first if it depends on data. Functions that are missing here raise Unsupported.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from msgspec import Struct

from netc.compiler.analysis.equations.formula import (
    Call,
    Condition,
    Element,
    Formula,
    MatrixProduct,
    Name,
    Sum,
    Transpose,
)
from netc.dsl.structs import replace

Array = np.ndarray[Any, Any]
_COMPARISONS = {
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
    "==": np.equal,
    "!=": np.not_equal,
}


class Unsupported(Exception):
    """A formula that cannot be evaluated from the numbers of names alone."""


class Rows(Struct, frozen=True):
    """An array, and whether its first axis counts samples or steps."""

    array: Array
    has_rows: bool


def _softmax(x: Array) -> Array:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


_FUNCTIONS: Mapping[str, Callable[[Array], Array]] = {
    "tanh": np.tanh,
    "exp": np.exp,
    "log": np.log,
    "abs": np.abs,
    "sign": np.sign,
    "sin": np.sin,
    "cos": np.cos,
    "sqrt": np.sqrt,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "relu": lambda x: np.maximum(x, 0),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "softplus": lambda x: np.logaddexp(0, x),
    "softmax": _softmax,
    "logsumexp": lambda x: np.logaddexp.reduce(x, axis=-1),
}
_REDUCTIONS: Mapping[str, Callable[..., Array]] = {"sum": np.sum, "mean": np.mean, "max": np.max}


class Evaluator:
    """Evaluates formulas over the values of names; `classes` is the number of classes of each target."""

    def __init__(self, values: Mapping[Name, Rows], classes: Mapping[str, int]) -> None:
        self.values, self.classes = values, classes

    def value(self, formula: Formula) -> Rows:
        match formula:
            case Name():
                return self._name(formula)
            case Sum(terms):
                total = Rows(np.zeros(()), False)
                for term in terms:
                    product = Rows(np.asarray(term.number / term.divisor), False)
                    for factor, exponent in term.factors:
                        value = self.value(factor)
                        product = _together(np.multiply, product, replace(value, array=value.array**exponent))
                    total = _together(np.add, total, product)
                return total
            case MatrixProduct(left, right):
                return self._product(self.value(left), self.value(right))
            case Transpose(inner):
                return Rows(self.value(inner).array.T, False)
            case Condition(sign, left, right):
                result = _together(_COMPARISONS[sign], self.value(left), self.value(right))
                return replace(result, array=result.array.astype(float))
            case Element():
                return self._element(formula)
            case Call():
                return self._call(formula)

    def _name(self, name: Name) -> Rows:
        key = Name(name.text, name.is_derivative)
        if key not in self.values:
            raise Unsupported(str(name))
        value = self.values[key]
        return value if name.step in (None, 0) else replace(value, array=_shifted(value.array, name.step))

    def _product(self, left: Rows, right: Rows) -> Rows:
        if left.array.ndim != 2 or right.array.ndim > 2:
            raise Unsupported("a product of more than two dimensions")
        return Rows(left.array @ right.array, left.has_rows)

    def _element(self, formula: Element) -> Rows:
        inner = self.value(formula.inner)
        if isinstance(formula.at, str):
            if formula.at == "t":
                return inner  # at this step, of all steps
            start, stop = (
                map(int, formula.at.split("..")) if ".." in formula.at else (int(formula.at), int(formula.at) + 1)
            )
            return replace(inner, array=inner.array[..., start:stop])
        label = self.value(formula.at).array.astype(int)
        return replace(inner, array=np.take_along_axis(inner.array, label[..., None], -1)[..., 0])

    def _call(self, call: Call) -> Rows:
        arguments = [self.value(argument) for argument in call.arguments]
        first = arguments[0]
        match call.function:
            case "onehot":
                argument = call.arguments[0]
                assert isinstance(argument, Name)
                return replace(first, array=np.eye(self.classes[argument.text])[first.array.astype(int)])
            case "earlier" | "later":
                return replace(first, array=_shifted(first.array, -1 if call.function == "earlier" else 1))
            case "concat" if not call.over:
                return replace(first, array=np.concatenate([argument.array for argument in arguments], axis=-1))
            case "reverse":
                return replace(first, array=first.array[::-1])
            case function if function in _REDUCTIONS:
                rows = int(first.has_rows)
                axes = tuple(int(axis) + rows if axis.isdigit() else 0 for axis in call.over)
                axes = axes or tuple(range(rows, first.array.ndim))
                return Rows(_REDUCTIONS[function](first.array, axis=axes), first.has_rows and 0 not in axes)
            case function if function in _FUNCTIONS and not call.over:
                return replace(first, array=_FUNCTIONS[function](first.array))
        raise Unsupported(call.function)


def _shifted(array: Array, by: int | None) -> Array:
    """The rows one step earlier (-1) or later (1); 0 beyond the ends."""
    result = np.zeros_like(array)
    if by == 1:
        result[:-1] = array[1:]
    else:
        result[1:] = array[:-1]
    return result


def _together(function: Callable[[Array, Array], Array], left: Rows, right: Rows) -> Rows:
    """Element by element; a number for each row goes with all numbers of the row."""
    a, b = left.array, right.array
    if left.has_rows and right.has_rows:
        a = a.reshape(*a.shape, *([1] * max(b.ndim - a.ndim, 0)))
        b = b.reshape(*b.shape, *([1] * max(a.ndim - b.ndim, 0)))
    return Rows(function(a, b), left.has_rows or right.has_rows)
