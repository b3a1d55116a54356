"""netc as a contender.

Like its peers it steps over one batch that is in memory beforehand, or, with the variant "table", over batches
gathered from a table of 40 MB in another order each time, as its training loop does.
"""

import time

import numpy as np

import netc
from benchmarks.models import ROWS, Model
from netc.runtime.data.stored import Ragged


class Contender:
    def __init__(self, variant: str, threads: int) -> None:
        self.threads, self.gathers = threads, variant == "table"

    def build(self, model: Model) -> None:
        """Compiles a model and sets its weights."""
        self.model = model
        self.program = netc.compile(netc.parse(model.net()), threads=self.threads)
        weights = [array for name, array in self.program.parameters.items() if name.endswith((".W", ".U"))]
        for array, first in zip(weights, model.weights(), strict=True):
            array[...] = first
        self.rows = 10 * model.batch if model.units else ROWS
        x, y = model.data(self.rows)
        if model.shortest:
            x = Ragged.of([steps[:n] for steps, n in zip(x, model.lengths(self.rows), strict=True)], np.float32)
        self.fields = {"x": x, "y": y} if model.loss == "cross_entropy" else {"x": x}

    def advance(self) -> float:
        """Takes one step on the first batch and returns its loss."""
        return float(self.program.steps(self.fields, np.arange(self.model.batch), 0).values["loss"][0])

    def round(self) -> float:
        """Takes many steps and returns the seconds per step."""
        count = self.model.steps * self.model.batch
        rows = self.rows if self.gathers else self.model.batch
        rng = np.random.default_rng()
        order = np.concatenate([rng.permutation(rows) for _ in range(-(-count // rows))])[:count].astype(np.int32)
        start = time.perf_counter()
        self.program.steps(self.fields, order, 0)
        return (time.perf_counter() - start) / self.model.steps

    def epoch(self, x: np.ndarray, y: np.ndarray) -> float:
        """Trains for one epoch, including shuffling, and returns the seconds."""
        fields = {"x": x, "y": y}
        start = time.perf_counter()
        order = np.random.default_rng().permutation(len(y))
        self.program.steps(fields, order, 0)
        return time.perf_counter() - start
