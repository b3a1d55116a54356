"""Averages of the parameters, by which a run is evaluated and used, while training goes on from the parameters.

`keep = average(0.999)` is a running mean over steps, which the compiled step updates (passes/update.py).
`keep = average(last = 5)` is the mean over the ends of the last epochs (Izmailov et al. 2018, arXiv:1803.05407).
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from netc.compiler.ir.results import ResultKind
from netc.compiler.model import Average
from netc.compiler.passes.update import AVERAGE, STEP
from netc.dsl.plural import counted
from netc.runtime.data.stored import Array
from netc.runtime.execution.compiled_model import CompiledModel


class Averages:
    """The averages of a model's parameters and of the states that it updates.

    `arrays` is what a checkpoint keeps of them, by name, beside the states of the graph.
    """

    def __init__(self, compiled: CompiledModel, setting: Average) -> None:
        self._compiled, self._setting = compiled, setting
        current = compiled.state.arrays
        names = [*compiled.model.trainables, *compiled.model.graph.results_of(ResultKind.UPDATE)]
        self.arrays: dict[str, Array] = {}
        if setting.decay is None:
            self._names = [name for name in names if current[name].dtype.kind == "f"]
            self.arrays = {AVERAGE + name: np.zeros_like(current[name]) for name in self._names}
        else:
            self._names = [name for name in names if AVERAGE + name in current]  # a frozen parameter has none

    def _number_of(self, epoch: int) -> int:
        """The number of an epoch among those that count, from 1 on; below that it does not count."""
        assert self._setting.last is not None
        return epoch - max(self._compiled.model.train.epochs - self._setting.last, 0)

    def end_epoch(self, epoch: int) -> bool:
        """Takes the parameters at the end of an epoch, counted from 1. Returns whether there is an average by now."""
        if self._setting.decay is not None:
            return True
        number = self._number_of(epoch)
        if number < 1:
            return False
        for name in self._names:
            average, current = self.arrays[AVERAGE + name], self._compiled.state.arrays[name]
            average[...] = current if number == 1 else average + (current - average) / number
        return True

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Puts the averages in the place of parameters and states, until the end. Nobody may train meanwhile."""
        current = self._compiled.state.arrays
        kept = {name: current[name].copy() for name in self._names}
        with self._compiled.guard.writing:
            for name in self._names:
                current[name][...] = self._average(name)
        try:
            yield
        finally:
            with self._compiled.guard.writing:
                for name, array in kept.items():
                    current[name][...] = array

    def _average(self, name: str) -> Array:
        """The average of a parameter. A running mean starts from 0, so it is divided by the sum of its weights."""
        if self._setting.decay is None:
            return self.arrays[AVERAGE + name]
        arrays = self._compiled.state.arrays
        mean: Array = arrays[AVERAGE + name] / (1 - self._setting.decay ** float(arrays[STEP]))
        return mean

    def describe(self, epoch: int) -> str:
        """A sentence about the parameters that the run keeps after this many epochs."""
        if self._setting.decay is not None:
            return f"kept the running mean of the parameters, {self._setting.decay:g} of it from earlier steps"
        count = self._number_of(epoch)
        if count < 1:
            return f"keep: training ended before its last {self._setting.last} epochs; the last parameters stay"
        return f"kept the mean of the parameters over {counted(count, 'epoch')}"
