"""The arithmetic of varying dimensions: what slices, windows and joins make of a length, in one normal form, so that equal lengths have equal names.

A dimension is a sum of declared names, of `ceil(SUM / n)` and `min(SUM, n)`, each times a number, and a number: `time - 1`, `ceil(time / 2)`,
`2 * time + s`. What no name is in is `steps of N`: rows that every sample has as many of.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
_SAME = re.compile(r"steps of (\d+)")
_TOKEN = re.compile(r"\s*(\d+|\w+|[-+*/(),])")


@dataclass(frozen=True, slots=True)
class _Of:
    """`ceil(inner / number)` or `min(inner, number)`, as `kind` says."""

    kind: str
    inner: "_Sum"
    number: int

    def __str__(self) -> str:
        return f"ceil({self.inner} / {self.number})" if self.kind == "ceil" else f"min({self.inner}, {self.number})"


@dataclass(frozen=True, slots=True)
class _Sum:
    """The terms, each with how often it counts, and a number."""

    terms: tuple[tuple["str | _Of", int], ...]
    number: int

    def __str__(self) -> str:
        text = " + ".join(str(term) if times == 1 else f"{times} * {term}" for term, times in self.terms)
        if not text:
            return str(self.number)
        return text + (f" {'-' if self.number < 0 else '+'} {abs(self.number)}" if self.number else "")

    @property
    def dim(self) -> str:
        return str(self) if self.terms else same(self.number)

    def value(self, of: Callable[[str], Any], minimum: Callable[[Any, int], Any] = np.minimum) -> Any:
        """What it comes to, from what each name is: numbers, or arrays of them."""
        total: Any = self.number
        for term, times in self.terms:
            if isinstance(term, str):
                found = of(term)
            elif term.kind == "ceil":
                found = -(-term.inner.value(of, minimum) // term.number)
            else:
                found = minimum(term.inner.value(of, minimum), term.number)
            total = total + times * found
        return total

    def names(self) -> tuple[str, ...]:
        found = [(term,) if isinstance(term, str) else term.inner.names() for term, _ in self.terms]
        return tuple(dict.fromkeys(name for some in found for name in some))


def _added(*parts: tuple[_Sum, int]) -> _Sum:
    terms: dict[str | _Of, int] = {}
    for one, times in parts:
        for term, count in one.terms:
            terms[term] = terms.get(term, 0) + times * count
    kept = sorted(((term, count) for term, count in terms.items() if count), key=lambda one: str(one[0]))
    return _Sum(tuple(kept), sum(times * one.number for one, times in parts))


@cache
def _read(dim: str) -> _Sum:
    """The sum that a dimension is called by."""
    if found := _SAME.fullmatch(dim):
        return _Sum((), int(found[1]))
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
            one, times = term()
            parts.append((one, sign * times))
        return _added(*parts)

    return total()


def same(steps: int) -> str:
    """The dimension of rows that every sample has as many of: what a scan walks along an axis of a known size."""
    return f"steps of {steps}"


def plus(dim: str, *others: str | int) -> str:
    """The dimension whose every length is greater by others."""
    more = [(_Sum((), one) if isinstance(one, int) else _read(one), 1) for one in others]
    return _added((_read(dim), 1), *more).dim


def times(dim: str, number: int) -> str:
    """The dimension whose every length is so many times as great."""
    return _added((_read(dim), number)).dim


def divided(dim: str, by: int) -> str:
    """The dimension whose every length is the least whole number not below its part."""
    one = _read(dim)
    if by == 1:
        return one.dim
    return _Sum(((_Of("ceil", one, by), 1),), 0).dim if one.terms else same(-(-one.number // by))


def at_most(dim: str, number: int) -> str:
    """The dimension whose every length is no more than a number."""
    one = _read(dim)
    return _Sum(((_Of("min", one, number), 1),), 0).dim if one.terms else same(min(one.number, number))


def names_in(dim: str) -> tuple[str, ...]:
    """The declared dimensions that decide its lengths; none if they are known."""
    return _read(dim).names()


def order_of(dim: str) -> str | None:
    """The dimension by whose lengths its samples are ranked: the one that it is made of, itself if it is made of several, None if all are as long."""
    names = names_in(dim)
    return None if not names else names[0] if len(names) == 1 else dim


def bound_of(dim: str, bounds: Mapping[str, int]) -> int | None:
    """How long it is at most, from the bounds of the declared ones; None if nobody said."""
    if any(name not in bounds for name in names_in(dim)):
        return None
    return int(value_of(dim, bounds))


def value_of(dim: str, known: Mapping[str, Any], minimum: Callable[[Any, int], Any] = np.minimum) -> Any:
    """What a dimension comes to, from what each declared one is: numbers, or whatever knows sums, products and `//`."""
    return _read(dim).value(lambda name: known[name], minimum)


def lengths_of(dim: str, declared: Mapping[str, Array], samples: int) -> Array:
    """Its lengths for so many samples, from those of the declared ones."""
    found = value_of(dim, declared)
    return np.asarray(found) if names_in(dim) else np.full(samples, found)
