"""L-BFGS: steps from the last changes of parameters and gradient, each of a length that is searched along a line.

The direction is that of the two loops of Nocedal and Wright, "Numerical Optimization" (2006), algorithm 7.4; the search
for a length that meets the strong Wolfe conditions is their algorithms 3.5 and 3.6, with the cubic interpolation 3.59.

Vectors are f64 and have an entry for each element of each parameter. Knows a function that evaluates, and no graph.
"""

import math
from collections.abc import Callable, Iterator

import numpy as np
from msgspec import Struct

from netc.runtime.data.stored import Array

_DECREASE, _CURVATURE = 1e-4, 0.9  # the constants c1 and c2 of the Wolfe conditions that the book advises
_MOST_EVALUATIONS = 25  # in one search
_LONGER = 10.0  # the most by which a length grows from one trial to the next
_INNER = 0.1  # a trial keeps this share of the bracket from its ends, so that the bracket shrinks
_FLAT = 1e-10  # of the change's square: a product of move and change below it has no curvature to learn from


class Point(Struct, frozen=True):
    """Parameters, as they are stored, with the loss and its gradient there."""

    parameters: Array
    loss: float
    gradient: Array

    @property
    def is_finite(self) -> bool:
        return math.isfinite(self.loss) and bool(np.isfinite(self.gradient).all())


Evaluate = Callable[[Array], Point]  # at parameters that it may round to the precision of the model


class History(Struct, frozen=True):
    """The last moves of the parameters and the changes of the gradient that they made, [history, parameters] each.

    `count` is how many there have ever been: number i is in row i modulo the history.
    """

    moves: Array
    changes: Array
    count: Array

    @classmethod
    def of(cls, length: int, parameters: int) -> "History":
        """An empty history of the last `length` moves."""
        moves, changes = np.zeros((2, length, parameters))
        return cls(moves, changes, np.zeros((), np.int64))

    @property
    def arrays(self) -> dict[str, Array]:
        """All of it, by the names under which a checkpoint has it."""
        return {"lbfgs.moves": self.moves, "lbfgs.changes": self.changes, "lbfgs.count": self.count}

    def clear(self) -> None:
        self.count[...] = 0

    def add(self, move: Array, change: Array) -> None:
        """Remember a move, unless the gradient hardly changed along it or fell: the matrix stays positive definite."""
        if move @ change > _FLAT * (change @ change):
            row = int(self.count) % len(self.moves)
            self.moves[row], self.changes[row] = move, change
            self.count[...] += 1

    def rows(self) -> Iterator[int]:
        """The rows that are filled, the latest first."""
        count = int(self.count)
        for number in range(count - 1, max(count - len(self.moves), 0) - 1, -1):
            yield number % len(self.moves)

    def direction(self, gradient: Array) -> Array:
        """Minus the gradient times an approximation of the inverse of the matrix of second derivatives."""
        rows, direction = [*self.rows()], -gradient
        shares: list[float] = []
        for row in rows:
            move, change = self.moves[row], self.changes[row]
            shares.append(float(move @ direction) / float(move @ change))
            direction = direction - shares[-1] * change
        if rows:
            move, change = self.moves[rows[0]], self.changes[rows[0]]
            direction = direction * (float(move @ change) / float(change @ change))
        for row, share in zip(reversed(rows), reversed(shares), strict=True):
            move, change = self.moves[row], self.changes[row]
            direction = direction + (share - float(change @ direction) / float(move @ change)) * move
        return direction


def next_point(start: Point, history: History, rate: float, evaluate: Evaluate) -> Point | None:
    """A point with a smaller loss, one step further. Returns None if no step along the gradient lowers the loss.

    `rate` is the length that a search tries first, in steps of the direction. The history takes the move.
    """
    while True:
        is_first = not int(history.count)
        direction = history.direction(start.gradient)
        if not is_first and not start.gradient @ direction < 0:
            history.clear()  # rounding has spoiled it: the direction leads upwards
            continue
        length = rate * min(1.0, 1.0 / max(float(np.abs(start.gradient).sum()), 1e-300)) if is_first else rate
        point = _Search(start, direction, evaluate).run(length)
        if point.loss < start.loss:
            history.add(point.parameters - start.parameters, point.gradient - start.gradient)
            return point
        if is_first:
            return None
        history.clear()


class _Trial(Struct, frozen=True):
    """A length along the direction: the point there, and the slope of the loss along the direction."""

    length: float
    slope: float
    point: Point

    @property
    def loss(self) -> float:
        return self.point.loss


class _Search:
    """The search for a length along a direction at which the loss has fallen enough and is flat enough."""

    def __init__(self, start: Point, direction: Array, evaluate: Evaluate) -> None:
        self._direction, self._evaluate, self._left = direction, evaluate, _MOST_EVALUATIONS
        self._start = _Trial(0.0, float(start.gradient @ direction), start)

    def run(self, length: float) -> Point:
        """The point at the best length that was found: the start, if no trial has a smaller loss."""
        before = self._start
        while self._left:
            trial = self._try(length)
            if self._is_too_long(trial) or (before is not self._start and trial.loss >= before.loss):
                return self._between(before, trial)
            if self._is_flat(trial):
                return trial.point
            if trial.slope >= 0:
                return self._between(trial, before)
            gap = trial.length - before.length
            length = min(max(_cubic(before, trial), trial.length + 0.01 * gap), trial.length * _LONGER)
            before = trial
        return before.point

    def _try(self, length: float) -> _Trial:
        self._left -= 1
        point = self._evaluate(self._start.point.parameters + length * self._direction)
        return _Trial(length, float(point.gradient @ self._direction) if point.is_finite else math.inf, point)

    def _is_too_long(self, trial: _Trial) -> bool:
        """Whether the loss has not fallen enough for this length, or is not a number."""
        enough = self._start.loss + _DECREASE * trial.length * self._start.slope
        return not (trial.point.is_finite and trial.loss <= enough)

    def _is_flat(self, trial: _Trial) -> bool:
        return abs(trial.slope) <= _CURVATURE * abs(self._start.slope)

    def _between(self, low: _Trial, high: _Trial) -> Point:
        """The best point between two lengths, of which `low` has the smaller loss: the bracket shrinks around it."""
        was_at_end = False  # of the bracket: twice in a row it would hardly shrink
        while self._left:
            width = high.length - low.length
            share = (_cubic(low, high) - low.length) / width if high.point.is_finite else 0.5
            is_at_end = not _INNER <= share <= 1 - _INNER
            if is_at_end and (was_at_end or not 0 < share < 1):
                share, is_at_end = min(max(share, _INNER), 1 - _INNER), False
            was_at_end = is_at_end
            trial = self._try(low.length + share * width)
            if np.array_equal(trial.point.parameters, low.point.parameters):
                break  # the bracket has no other number in the model's precision
            if self._is_too_long(trial) or trial.loss >= low.loss:
                high = trial
                continue
            if self._is_flat(trial):
                return trial.point
            if trial.slope * width >= 0:
                high = low
            low = trial
        return low.point


def _cubic(first: _Trial, second: _Trial) -> float:
    """The length at which the cubic through two losses with their slopes is least; the middle if it has no minimum."""
    width = second.length - first.length
    middle = first.length + 0.5 * width
    if not width:
        return middle
    inner = first.slope + second.slope - 3 * (second.loss - first.loss) / width
    square = inner * inner - first.slope * second.slope
    if not square >= 0:
        return middle
    root = math.copysign(math.sqrt(square), width)
    bottom = second.slope - first.slope + 2 * root
    return second.length - width * (second.slope + root - inner) / bottom if bottom else middle
