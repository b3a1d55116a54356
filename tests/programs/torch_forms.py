"""Special forms and operators for the evaluation by PyTorch, which need the evaluator or all samples at once."""

from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import torch

from tests.programs.torch_functions import FUNCTIONS, one_hot
from tests.programs.torch_values import Pair, Results, Samples, Scope, Unsupported

if TYPE_CHECKING:
    from tests.programs.torch_evaluator import Evaluator


def _filled(number: float) -> Callable[..., Any]:
    def build(self: "Evaluator", positional: list[Any], named: dict[str, Any], scope: Scope) -> Any:
        return self.each(lambda *dims: torch.full(dims, number, dtype=torch.float64), *positional)

    return build


def _arange(self: "Evaluator", positional: list[Any], named: dict[str, Any], scope: Scope) -> Any:
    return self.each(lambda n: torch.arange(n, dtype=torch.float64), positional[0])


def _einsum(self: "Evaluator", positional: list[Any], named: dict[str, Any], scope: Scope) -> Any:
    return self.each(lambda *xs: torch.einsum(positional[-1], *xs), *positional[:-1])


def _grad(self: "Evaluator", positional: list[Any], named: dict[str, Any], scope: Scope) -> Any:
    """The derivative of each sample's number, or of its sum over the steps."""

    def slope(y: Any, x: Any) -> Any:
        gradient = torch.autograd.grad(y.sum(), x, create_graph=True, allow_unused=True)[0] if y.requires_grad else None
        return torch.zeros_like(x) if gradient is None else gradient

    y, x = positional
    if not isinstance(x, Samples):
        raise Unsupported("grad by what all samples share")
    return self.each(slope, y, x)


def _moments(self: "Evaluator", positional: list[Any], named: dict[str, Any], scope: Scope) -> Any:
    x = positional[0]
    rows = torch.cat([sample.reshape(-1, sample.shape[-1]) for sample in (x if isinstance(x, Samples) else (x,))])
    return Results([rows.mean(0), rows.var(0, correction=0)])


def _batchnorm(self: "Evaluator", positional: list[Any], named: dict[str, Any], scope: Scope) -> Any:
    scale, shift = self.parameter(), self.parameter()
    next(self.states), next(self.states)
    x = positional[0]
    rows = torch.cat([sample.reshape(-1, sample.shape[-1]) for sample in x])
    # PyTorch refuses a batch of one row, so its formula is written out
    mean, var = rows.mean(0), rows.var(0, correction=0)
    return self.each(lambda sample: (sample - mean) * torch.rsqrt(var + 1e-5) * scale + shift, x)


def _weights(self: "Evaluator", positional: list[Any], named: dict[str, Any], scope: Scope) -> Any:
    """All elements of the parameters so far whose names match a pattern."""
    names = [name for name in list(self.parameters)[: self.taken] if fnmatchcase(name, positional[0])]
    return torch.cat([self.parameters[name].reshape(-1) for name in names])


def _one_hot(self: "Evaluator", positional: list[Any], named: dict[str, Any], scope: Scope) -> Any:
    if len(positional) == 1:
        raise Unsupported("one_hot without a size")
    return self.each(one_hot, *positional)


SPECIAL: dict[str, Callable[..., Any]] = {
    "zeros": _filled(0.0),
    "ones": _filled(1.0),
    "arange": _arange,
    "einsum": _einsum,
    "grad": _grad,
    "moments": _moments,
    "batchnorm": _batchnorm,
    "weights": _weights,
    "one_hot": _one_hot,
    "pair": lambda self, positional, named, scope: (
        positional[0] if isinstance(positional[0], Pair) else Pair([positional[0]] * 2)
    ),
}


OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "//": lambda a, b: FUNCTIONS["floor_divide"](a, b) if isinstance(a, torch.Tensor) else a // b,
    "%": lambda a, b: FUNCTIONS["remainder"](a, b) if isinstance(a, torch.Tensor) else a % b,
    "**": lambda a, b: a**b,
    "@": lambda a, b: a @ b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "and": lambda a, b: a & b if isinstance(a, torch.Tensor) else a and b,
    "or": lambda a, b: a | b if isinstance(a, torch.Tensor) else a or b,
}
