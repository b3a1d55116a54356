"""The arithmetic of varying dimensions: the lengths of slices, windows and concatenations of sequences.

A dimension is a sum of terms, each times a number, and of a number: `time - 1`, `ceil(time / 2)`, `2 * time + s`. A
term is a declared name, `ceil(SUM / n)` or `min(SUM, n)`. The normal form gives equal lengths equal names. A
dimension without any name is called `steps of N`: every sample has N rows.
"""

import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np
from msgspec import Struct

Array = np.ndarray[Any, Any]
_SAME = re.compile(r"steps of (\d+)")
_TOKEN = re.compile(r"\s*(\d+|\w+|[-+*/(),])")


class _Of(Struct, frozen=True):
    """`ceil(inner / number)` or `min(inner, number)`, as `kind` says."""

    kind: str
    inner: "_Sum"
    number: int

    def __str__(self) -> str:
        return f"ceil({self.inner} / {self.number})" if self.kind == "ceil" else f"min({self.inner}, {self.number})"


class _Sum(Struct, frozen=True):
    """A sum of terms, each with its factor, and of a number."""

    terms: tuple[tuple["str | _Of", int], ...]
    number: int

    def __str__(self) -> str:
        text = " + ".join(str(term) if times == 1 else f"{times} * {term}" for term, times in self.terms)
        if not text:
            return str(self.number)
        return text + (f" {'-' if self.number < 0 else '+'} {abs(self.number)}" if self.number else "")

    @property
    def dim(self) -> str:
        """The name of this dimension."""
        return str(self) if self.terms else same(self.number)

    def value(self, of: Callable[[str], Any], minimum: Callable[[Any, int], Any] = np.minimum) -> Any:
        """Evaluates the sum. `of` returns the value of a name: a number or an array."""
        total: Any = self.number
        for term, times in self.terms:
            if isinstance(term, str):
                size = of(term)
            elif term.kind == "ceil":
                size = -(-term.inner.value(of, minimum) // term.number)
            else:
                size = minimum(term.inner.value(of, minimum), term.number)
            total = total + times * size
        return total

    def names(self) -> tuple[str, ...]:
        """The names in the sum, each once."""
        names = [(term,) if isinstance(term, str) else term.inner.names() for term, _ in self.terms]
        return tuple(dict.fromkeys(name for group in names for name in group))


def _added(*parts: tuple[_Sum, int]) -> _Sum:
    terms: dict[str | _Of, int] = {}
    for part, times in parts:
        for term, count in part.terms:
            terms[term] = terms.get(term, 0) + times * count
    kept = sorted(((term, count) for term, count in terms.items() if count), key=lambda item: str(item[0]))
    return _Sum(tuple(kept), sum(times * part.number for part, times in parts))


@cache
def _read(dim: str) -> _Sum:
    """Reads the sum from the name of a dimension."""
    if match := _SAME.fullmatch(dim):
        return _Sum((), int(match[1]))
    tokens = _TOKEN.findall(dim)
    tokens.reverse()

    def term() -> tuple[_Sum, int]:
        times = 1
        if len(tokens) > 1 and tokens[-2] == "*":
            times = int(tokens.pop())
            tokens.pop()
        word = tokens.pop()
        if word.isdigit():
            return _Sum((), int(word)), times
        if tokens and tokens[-1] == "(" and word in ("ceil", "min"):
            tokens.pop()
            inner = total()
            tokens.pop()
            number = int(tokens.pop())
            tokens.pop()
            return _Sum(((_Of(word, inner, number), 1),), 0), times
        return _Sum(((word, 1),), 0), times

    def total() -> _Sum:
        parts = [term()]
        while tokens and tokens[-1] in "+-":
            sign = 1 if tokens.pop() == "+" else -1
            part, times = term()
            parts.append((part, sign * times))
        return _added(*parts)

    return total()


def same(steps: int) -> str:
    """The dimension along which every sample has `steps` rows, for scans along an axis of fixed size."""
    return f"steps of {steps}"


def plus(dim: str, *others: str | int) -> str:
    """The dimension whose lengths are the sums of those of `dim` and the others, which may be numbers."""
    more = [(_Sum((), other) if isinstance(other, int) else _read(other), 1) for other in others]
    return _added((_read(dim), 1), *more).dim


def times(dim: str, number: int) -> str:
    """The dimension whose lengths are those of `dim` times `number`."""
    return _added((_read(dim), number)).dim


def divided(dim: str, by: int) -> str:
    """The dimension whose lengths are those of `dim` divided by `by`, rounded up."""
    inner = _read(dim)
    if by == 1:
        return inner.dim
    return _Sum(((_Of("ceil", inner, by), 1),), 0).dim if inner.terms else same(-(-inner.number // by))


def at_most(dim: str, number: int) -> str:
    """The dimension whose lengths are those of `dim`, but at most `number`."""
    inner = _read(dim)
    return _Sum(((_Of("min", inner, number), 1),), 0).dim if inner.terms else same(min(inner.number, number))


def names_in(dim: str) -> tuple[str, ...]:
    """The declared dimensions that the lengths of `dim` depend on; none if the lengths are fixed."""
    return _read(dim).names()


def order_of(dim: str) -> str | None:
    """The dimension whose lengths rank the samples of `dim`.

    It is the declared dimension that `dim` depends on, or `dim` itself if there are several, or None if all samples
    have the same length.
    """
    names = names_in(dim)
    return None if not names else names[0] if len(names) == 1 else dim


def bound_of(dim: str, bounds: Mapping[str, int]) -> int | None:
    """The largest length of `dim`, from the bounds of the declared dimensions; None if one of them has no bound."""
    if any(name not in bounds for name in names_in(dim)):
        return None
    return int(value_of(dim, bounds))


def value_of(dim: str, declared: Mapping[str, Any], minimum: Callable[[Any, int], Any] = np.minimum) -> Any:
    """Evaluates a dimension from the values of the declared ones.

    The values are numbers, arrays, or other objects that support sums, products and `//`.
    """
    return _read(dim).value(lambda name: declared[name], minimum)


def lengths_of(dim: str, declared: Mapping[str, Array], samples: int) -> Array:
    """The length of each of `samples` samples along `dim`, from their lengths along the declared dimensions."""
    lengths = value_of(dim, declared)
    return np.asarray(lengths) if names_in(dim) else np.full(samples, lengths)
