"""A model of the benchmarks: one network for netc, PyTorch and JAX, with its batch, its data and its weights.

The netc text is the original: its parameters name and shape the initial weights that every contender starts from.
Knows no contender; netc is imported only by what reads the text, so that a peer's process does without it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from benchmarks.jax_layers import Layers as JaxLayers
    from benchmarks.torch_layers import Batch
    from benchmarks.torch_layers import Layers as TorchLayers

Array = np.ndarray[Any, Any]
Fields = dict[str, Array]
Weights = dict[str, Array]

LEARNING_RATE = 1e-3
_TABLE_BYTES = 40_000_000  # of the table that netc gathers batches from: more than any cache holds


@dataclass(frozen=True)
class Model:
    """A network that all contenders train with Adam.

    `network` is the text of its .net file without the block `train`; it has an input x and, unless the loss is "mse"
    against the input, a target y. `data(n)` returns n samples by field; fewer samples are the beginning of more. A
    field `lengths` says how many steps of x each sample has. `in_torch(layers)` returns a module, and
    `in_jax(layers, fields)` computes the output; their layers begin with the weights of netc's parameters of the same
    name. `torch_batches` returns the forms in which PyTorch may take a batch, of which the fastest counts; by default
    an image in both memory layouts. `sizes` describes the network in a table. `series` names the series of another
    table than that of the steps that the model belongs to. `tolerance` is by how much of the first loss the losses of
    two contenders may differ in the first five steps.
    """

    name: str
    sizes: str
    batch: int
    network: str
    data: Callable[[int], Fields]
    in_torch: Callable[[TorchLayers], Any]
    in_jax: Callable[[JaxLayers, Any], Any]
    loss: str = "cross_entropy"
    torch_batches: Callable[[Fields], Iterable[Batch]] | None = None
    series: str = ""
    tolerance: float = 1e-3

    def __str__(self) -> str:
        return f"{self.name} {self.sizes}, batch {self.batch}"

    def net(self) -> str:
        """The model as a .net file."""
        return f"{self.network}train {{\n  optimizer = adam(lr = {LEARNING_RATE})\n  batch = {self.batch}\n}}\n"

    def weights(self) -> Weights:
        """The initial parameters, which are netc's own, by name."""
        import netc
        from netc.runtime.random import initial

        return {name: initial(info, 1) for name, info in netc.parse(self.net()).trainables.items()}

    def table_rows(self) -> int:
        """The number of samples, in whole batches, of a table that no cache holds."""
        nbytes = sum(array.nbytes for array in self.data(self.batch).values())
        return self.batch * max(10, -(-_TABLE_BYTES // nbytes))


def labelled(shape: tuple[int, ...], classes: int) -> Callable[[int], Fields]:
    """Samples with an x of this shape, uniform between 0 and 1, and a label y."""

    def samples(count: int) -> Fields:
        x = np.random.default_rng(2).random((count, *shape), np.float32)
        return {"x": x, "y": np.random.default_rng(3).integers(0, classes, count).astype(np.int32)}

    return samples


def unlabelled(shape: tuple[int, ...]) -> Callable[[int], Fields]:
    """Samples with an x of this shape alone, uniform between 0 and 1."""
    return lambda count: {"x": np.random.default_rng(2).random((count, *shape), np.float32)}


def numbered(names: Iterable[str], prefix: str = "") -> list[str]:
    """The paths that netc gives layers in this order: `dense`, `conv`, `dense_2`, ... behind the prefix."""
    counts: dict[str, int] = {}
    paths = []
    for name in names:
        counts[name] = counts.get(name, 0) + 1
        paths.append(f"{prefix}{name}" if counts[name] == 1 else f"{prefix}{name}_{counts[name]}")
    return paths
