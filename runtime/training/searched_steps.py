"""Steps of an optimizer that searches: the compiled step computes loss and gradient, and the parameters move between.

Connects lbfgs.py, which knows vectors, with the arrays of a compiled model.
"""

import zlib
from collections.abc import Callable

import numpy as np

from netc.compiler.ir.supplied import SuppliedKind, parse_supplied
from netc.runtime.available import require_at
from netc.runtime.data.stored import Array, Bytes, Ragged
from netc.runtime.execution.compiled_model import CompiledModel
from netc.runtime.execution.fields import Fields
from netc.runtime.execution.step import Step
from netc.runtime.metric_values import Losses
from netc.runtime.settings import setting_span
from netc.runtime.training.lbfgs import History, Point, next_point

_GRADIENT = "gradient."  # the states in which the step keeps the gradients of parameters (passes/update.py)


class SearchedSteps:
    """Moves the parameters of a compiled model. `arrays` is what goes on in a resumed training, by name.

    Raises E1005 if the history is larger than the memory of the machine.
    """

    def __init__(self, compiled: CompiledModel) -> None:
        arrays, numbers = compiled.state.arrays, compiled.model.train.optimizer.numbers
        names = [name for name in compiled.model.trainables if _GRADIENT + name in arrays]
        self._parameters = [arrays[name] for name in names]
        self._gradients = [arrays[_GRADIENT + name] for name in names]
        self._rate, length = float(numbers["lr"]), int(numbers["history"])
        count = sum(array.size for array in self._parameters)
        span = setting_span(compiled.model, "optimizer")
        require_at(2 * 8 * length * count, f"{length} moves of {count:,} parameters", span, "a smaller `history`")
        self._history, self._is_over = History.of(length, count), np.zeros((), np.int64)
        self._loss, self._data = np.full((), np.nan), np.zeros((), np.int64)

    @property
    def arrays(self) -> dict[str, Array]:
        facts = {"is_over": self._is_over, "loss": self._loss, "data": self._data}
        return {**self._history.arrays, **{f"lbfgs.{name}": array for name, array in facts.items()}}

    @property
    def is_over(self) -> bool:
        """Whether no step along the gradient lowers the loss."""
        return bool(self._is_over)

    def take(self, step: Step, fields: Fields, evaluate: Callable[[], Losses]) -> Losses:
        """Moves the parameters once, and returns the losses at the new ones. Must be called under the guard.

        `evaluate` runs `step` on these fields, at the parameters that are in memory. The loss where the last step ended
        is not computed again, unless it depends on the epoch: by random numbers, or by augmented fields.
        """
        tried: list[tuple[Point, Losses]] = []

        def at(parameters: Array) -> Point:
            self._move_to(parameters)
            losses = evaluate()
            point = Point(_flat(self._parameters), float(losses.values["loss"][0]), _flat(self._gradients))
            tried.append((point, losses))
            return point

        data = _checksum(fields)
        if np.isfinite(self._loss) and data == self._data and _is_fixed(step):
            start = Point(_flat(self._parameters), float(self._loss), _flat(self._gradients))
        else:
            start = at(_flat(self._parameters))
        end = next_point(start, self._history, self._rate, at)
        if end is None:
            self._is_over[...] = 1
            end = at(start.parameters)
        self._move_to(end.parameters)
        _fill(self._gradients, end.gradient)
        self._loss[...], self._data[...] = end.loss, data
        return next(losses for point, losses in tried if point is end)

    def _move_to(self, parameters: Array) -> None:
        _fill(self._parameters, parameters)


def _fill(arrays: list[Array], vector: Array) -> None:
    """Gives arrays the elements of a vector of all."""
    first = 0
    for array in arrays:
        array[...] = vector[first : first + array.size].reshape(array.shape)
        first += array.size


def _flat(arrays: list[Array]) -> Array:
    """The elements of all arrays in one vector of f64."""
    return np.concatenate([array.ravel() for array in arrays]).astype(np.float64)


def _is_fixed(step: Step) -> bool:
    """Whether the loss depends only on parameters and fields, and not on random numbers that change with the epoch."""
    supplied = [parse_supplied(name) for name in step.given]
    return not any(entry is not None and entry.kind is SuppliedKind.RANDOM for entry in supplied)


def _checksum(fields: Fields) -> int:
    """A number that differs if a field differs."""
    total = 0
    for name in sorted(fields):
        field = fields[name]
        arrays = (field.rows, field.lengths) if isinstance(field, Ragged) else (field,)
        for array in arrays:
            stored = array.array if isinstance(array, Bytes) else array
            total = zlib.crc32(np.ascontiguousarray(stored).data, total)
    return total
