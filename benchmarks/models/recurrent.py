"""LSTMs over sequences of equal or different lengths, with a layer over the last state."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.model import Fields, Model, labelled

if TYPE_CHECKING:
    from benchmarks.torch_layers import Batch

_CLASSES = 10


def recurrent(name: str, width: int, units: int, batch: int, longest: int, shortest: int = 0) -> Model:
    """An LSTM over `longest` steps; if `shortest` is not 0, over `shortest` to `longest` steps."""
    steps = "time" if shortest else longest
    of = f"{shortest} to {longest}" if shortest else str(longest)
    return Model(
        name,
        f"{of} steps of {width}-{units}-{_CLASSES}",
        batch,
        f"model {{\n  input x: float[{steps}, {width}]\n  target y: class({_CLASSES})\n"
        f"  h = x -> lstm({units}, forget = 0)\n  z = last(h) -> dense({_CLASSES})\n  loss cross_entropy(z, y)\n}}\n",
        _data(width, longest, shortest),
        _in_torch,
        _in_jax,
        torch_batches=_batches,
    )


def _data(width: int, longest: int, shortest: int) -> Callable[[int], Fields]:
    padded = labelled((longest, width), _CLASSES)

    def samples(count: int) -> Fields:
        if not shortest:
            return padded(count)
        return {**padded(count), "lengths": np.random.default_rng(4).integers(shortest, longest + 1, count)}

    return samples


def _batches(fields: Fields) -> Iterator["Batch"]:
    """The steps first and padded, with the rows of the last states; if lengths differ, also packed."""
    import torch

    from benchmarks.torch_layers import Batch

    x, y = torch.tensor(fields["x"]), torch.tensor(fields["y"], dtype=torch.int64)
    lengths = torch.tensor(fields.get("lengths", np.full(len(x), x.shape[1])))
    ranked = torch.argsort(lengths, descending=True, stable=True)
    x, y, lengths = x[ranked].transpose(0, 1)[: int(lengths.max())].contiguous(), y[ranked], lengths[ranked]
    yield Batch((x, (lengths - 1, torch.arange(len(y)))), y)
    if "lengths" in fields:
        yield Batch((torch.nn.utils.rnn.pack_padded_sequence(x, lengths),), y, is_traceable=False)


def _in_torch(layers: Any) -> Any:
    from torch import nn

    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm, self.dense = layers.lstm("h.lstm"), layers.linear("z.dense")

        def forward(self, x: Any, rows: Any = None) -> Any:
            states, (last, _) = self.lstm(x)
            return self.dense(last[0] if rows is None else states[rows])

    return Recurrent()


def _in_jax(layers: Any, fields: Any) -> Any:
    """The input's part of all gates is one product over all steps, as is usual in JAX."""
    import jax
    from jax import numpy as jnp

    x, u = fields["x"], layers.parameters["h.lstm.U"]

    def step(state: Any, gates: Any) -> Any:
        h, cell = state
        i, f, g, o = jnp.split(gates + h @ u, 4, axis=1)
        cell = jax.nn.sigmoid(f) * cell + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(cell)
        return (h, cell), h

    zero = jnp.zeros((len(x), len(u)))
    (last, _), states = jax.lax.scan(step, (zero, zero), jnp.moveaxis(layers.dense("h.lstm", x), 1, 0))
    if "lengths" in fields:
        last = states[fields["lengths"] - 1, jnp.arange(len(x))]
    return layers.dense("z.dense", last)


MODELS = (
    recurrent("LSTM", 28, 64, 64, longest=28),
    recurrent("LSTM, wide", 65, 128, 32, longest=50),
    recurrent("LSTM, lengths", 64, 128, 32, longest=100, shortest=10),
)
