"""Sums of the numbers of steps, such as the distance of two steps, and comparisons of them that have a certain result.

A step of a graph reads values that have elements for other steps. These are in three regions: the steps up to the
current one, the later ones, and the space beyond the end of the sequence. A causal mask compares `key - query <= 0`:
that is true in the first region and false in the second.
"""

import math
from enum import Enum

from msgspec import Struct

from netc.dsl.structs import replace


class Counted(Enum):
    """The step that is counted."""

    THIS = "the current step"
    OTHER = "the step of the element"
    CLAMPED = "the same, but beyond the end it is the last step"
    END = "the number of steps"


class Region(Enum):
    """Elements of a value, by their step."""

    EARLIER = "up to the current step"
    LATER = "after the current step"
    BEYOND = "beyond the end of the sequence"


# The range of each number in a region, relative to one of them, by (offset, sign, once): offset + sign * n for some
# integer n >= once.
_OFFSETS: dict[Region, dict[Counted, tuple[int, int, int]]] = {
    Region.EARLIER: {
        Counted.THIS: (0, 0, 0),
        Counted.OTHER: (0, -1, 0),
        Counted.CLAMPED: (0, -1, 0),
        Counted.END: (0, 1, 1),
    },
    Region.LATER: {
        Counted.OTHER: (0, 0, 0),
        Counted.CLAMPED: (0, 0, 0),
        Counted.THIS: (0, -1, 1),
        Counted.END: (0, 1, 1),
    },
    Region.BEYOND: {
        Counted.END: (0, 0, 0),
        Counted.CLAMPED: (-1, 0, 0),
        Counted.OTHER: (0, 1, 0),
        Counted.THIS: (0, -1, 1),
    },
}


class Number(Struct, frozen=True):
    """A sum of numbers of steps, each with its factor, and of a constant."""

    terms: tuple[tuple[Counted, float], ...]
    plus: float = 0.0

    @classmethod
    def of(cls, counted: Counted) -> "Number":
        return cls(((counted, 1.0),))

    @property
    def depends_on_end(self) -> bool:
        """Whether it depends on how many steps there are."""
        return any(counted is Counted.END for counted, _ in self.terms)

    def as_other(self, counted: Counted) -> "Number":
        """The number of the current step, as that of another one."""
        return replace(self, terms=tuple((counted, factor) for _, factor in self.terms))

    def scaled(self, factor: float) -> "Number":
        return Number(tuple((counted, coefficient * factor) for counted, coefficient in self.terms), self.plus * factor)

    def added(self, other: "Number") -> "Number":
        factors = dict(self.terms)
        for counted, factor in other.terms:
            factors[counted] = factors.get(counted, 0.0) + factor
        kept = tuple((counted, factor) for counted, factor in factors.items() if factor)
        return Number(kept, self.plus + other.plus)

    def bounds(self, region: Region) -> tuple[float, float]:
        """The least and the largest value in a region."""
        if sum(factor for _, factor in self.terms):
            return -math.inf, math.inf
        least = most = self.plus
        for counted, factor in self.terms:
            offset, sign, once = _OFFSETS[region][counted]
            step = factor * sign
            least += factor * offset + (step * once if step >= 0 else -math.inf)
            most += factor * offset + (step * once if step <= 0 else math.inf)
        return least, most


def compared(operation: str, difference: Number, region: Region) -> bool | None:
    """Whether x > y, for example, where `difference` is x - y; None if that is not the same in the whole region."""
    least, most = difference.bounds(region)
    match operation:
        case "greater":
            return True if least > 0 else False if most <= 0 else None
        case "greater_equal":
            return True if least >= 0 else False if most < 0 else None
        case "less":
            return compared("greater", difference.scaled(-1), region)
        case "less_equal":
            return compared("greater_equal", difference.scaled(-1), region)
        case "equal":
            return False if least > 0 or most < 0 else True if least == most == 0 else None
    return None
