"""MLPerf Tiny's streaming wake word (new in version 1.3): a DS-CNN along time, over 30 frames of 40 filter energies.

From mlcommons/tiny, benchmark/training/streaming_wakeword/keras_model.py (`ds_tcn` with its default configuration):
depthwise kernels of 3, 5, 10 and 15 frames without a border, so that one frame is left; no layer but the last has a
bias. Without its dropout.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from benchmarks.model import Fields, Model, labelled

if TYPE_CHECKING:
    from benchmarks.torch_layers import Batch

_NET = """block depthwise_line(x: float[t, c], kernel) {
  param W: float[kernel, 1, c] = he_uniform
  return conv1d(x, W, groups = c)
}

block pointwise(x: float[t, c], n) {
  param W: float[c, n] = he_uniform
  return x @ W
}

block separable(x: float[t, c], n, kernel) {
  return x -> depthwise_line(kernel) -> pointwise(n) -> batchnorm -> relu
}

model {
  input x: float[30, 40]
  target y: class(3)
  h = x -> separable(128, 3) -> separable(64, 5) -> separable(64, 10) -> separable(32, 15)
  z = h -> flatten -> dense(3)
  loss cross_entropy(z, y)
}
"""
_BLOCKS = ("h.separable", "h.separable_2", "h.separable_3", "h.separable_4")


def _batches(fields: Fields) -> Iterator["Batch"]:
    """The frames as the height of an image of width 1, as the reference has them."""
    from benchmarks.torch_layers import batches

    return batches({**fields, "x": fields["x"][:, :, None]})


def _in_torch(layers: Any) -> Any:
    from torch import nn

    modules: list[Any] = []
    for path in _BLOCKS:
        modules += [layers.depthwise(f"{path}.depthwise_line"), layers.conv(f"{path}.pointwise")]
        modules += [layers.batchnorm(f"{path}.batchnorm"), nn.ReLU()]
    return nn.Sequential(*modules, nn.Flatten(), layers.linear("z.dense"))


def _in_jax(layers: Any, fields: Any) -> Any:
    from jax.nn import relu

    x = fields["x"][:, :, None]
    for path in _BLOCKS:
        x = layers.dense(f"{path}.pointwise", layers.depthwise(f"{path}.depthwise_line", x, pad="VALID"))
        x = relu(layers.batchnorm(f"{path}.batchnorm", x))
    return layers.dense("z.dense", x.reshape(len(x), -1))


MODELS = (
    Model(
        "streaming wake word",
        "DS-CNN 30x40, 128-64-64-32",
        100,
        _NET,
        labelled((30, 40), 3),
        _in_torch,
        _in_jax,
        torch_batches=_batches,
    ),
)
