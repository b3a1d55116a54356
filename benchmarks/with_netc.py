"""netc as a contender.

Like its peers it steps over one batch that is in memory beforehand, or, with the variant "table", over batches
gathered from a table of 40 MB in another order each time, as its training loop does. The variant "bf16" trains with
`precision = bf16`.
"""

import time

import numpy as np

import netc
from benchmarks.model import Fields, Model, Weights
from netc.compiler.analysis.cost import flops_of
from netc.compiler.ir.dims import lengths_of
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import Sizes, size_of
from netc.compiler.operations.attention import attend, attend_gradient
from netc.compiler.operations.scan import Scan
from netc.dsl.structs import replace
from netc.runtime.data.stored import Field, Ragged


class Contender:
    def __init__(self, variant: str, threads: int) -> None:
        self.threads, self.gathers, self.is_narrow = threads, variant == "table", variant == "bf16"

    def build(self, model: Model, weights: Weights) -> None:
        """Compiles a model and sets its weights."""
        self.model = model
        parsed = netc.parse(model.net())
        if self.is_narrow:
            parsed = replace(parsed, train=replace(parsed.train, precision="bf16"))
        self.program = netc.compile(parsed, threads=self.threads)
        for name, first in weights.items():
            self.program.parameters[name][...] = first
        self.rows = model.table_rows() if self.gathers else model.batch
        self.fields = stored(model.data(self.rows))

    def advance(self) -> float:
        """Takes one step on the first batch and returns its loss."""
        return float(self.program.steps(self.fields, np.arange(self.model.batch), 0).values["loss"][0])

    def flops(self) -> int:
        """The FLOPs of the matrix products of a step. A multiply-add counts as two.

        A depthwise convolution is a sum of products, but none of matrices, and does not count.
        """
        graph = self.program.training(self.fields).graph
        batch = self.model.batch
        varying = self.program.varying  # also of values that are not inputs
        lengths = {varying[name]: field.lengths[:batch] for name, field in self.fields.items() if name in varying}
        rows = {str(value.type.rows) for value in graph.values() if value.type.is_varying}
        return _product_flops(
            graph, {"batch": batch, **{dim: int(lengths_of(dim, lengths, batch).sum()) for dim in rows}}
        )

    def round(self, steps: int) -> float:
        """Takes some steps and returns the seconds per step."""
        count = steps * self.model.batch
        rng = np.random.default_rng()
        rounds = -(-count // self.rows)
        order = np.concatenate([rng.permutation(self.rows) for _ in range(rounds)])[:count].astype(np.int32)
        start = time.perf_counter()
        self.program.steps(self.fields, order, 0)
        return (time.perf_counter() - start) / steps

    def epoch(self, x: np.ndarray, y: np.ndarray) -> float:
        """Trains for one epoch, including shuffling, and returns the seconds."""
        fields = {"x": x, "y": y}
        start = time.perf_counter()
        order = np.random.default_rng().permutation(len(y))
        self.program.steps(fields, order, 0)
        return time.perf_counter() - start


def stored(fields: Fields) -> dict[str, Field]:
    """The fields as netc stores them: sequences of different lengths without padding."""
    stored: dict[str, Field] = {name: array for name, array in fields.items() if name != "lengths"}
    if "lengths" in fields:
        sequences = [steps[:n] for steps, n in zip(fields["x"], fields["lengths"], strict=True)]
        stored["x"] = Ragged.of(sequences, np.float32)
    return stored


def _product_flops(graph: Graph, sizes: Sizes) -> int:
    """The FLOPs of all matrix products of a graph, those of attention and in the bodies of its scans included."""
    total = 0
    for value in graph.values():
        if value.role is Role.SCAN:
            scan = Scan.of(value)
            total += _product_flops(scan.body, size_of(scan.dim, sizes))
        elif value.role is Role.CONTRACTION or value.definition in (attend, attend_gradient):
            total += flops_of(value, sizes)
    return total
