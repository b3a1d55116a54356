"""MLPerf Tiny's keyword spotting: DS-CNN (Zhang et al. 2017), over 49 x 10 spectral coefficients.

From mlcommons/tiny, benchmark/training/keyword_spotting. Without its dropout, and with the border of the strided
convolution on both sides, as PyTorch has it.
"""

from typing import Any

from benchmarks.model import Model, labelled

_NET = """block separable(x: float[h, w, c], n) {
  y = x -> depthwise -> batchnorm -> relu
  return y -> conv(n, kernel = 1) -> batchnorm -> relu
}

model {
  input x: float[49, 10, 1]
  target y: class(12)
  h = x -> conv(64, kernel = (10, 4), stride = 2, pad = (5, 5, 1, 1)) -> batchnorm -> relu
    -> separable(64) -> separable(64) -> separable(64) -> separable(64)
  z = h -> avgpool((24, 5)) -> flatten -> dense(12)
  loss cross_entropy(z, y)
}
"""
_BLOCKS = ("h.separable", "h.separable_2", "h.separable_3", "h.separable_4")


def _in_torch(layers: Any) -> Any:
    from torch import nn

    modules = [layers.conv("h.conv", 2, (5, 1)), layers.batchnorm("h.batchnorm"), nn.ReLU()]
    for path in _BLOCKS:
        modules += [layers.depthwise(f"{path}.y.depthwise", 1, 1), layers.batchnorm(f"{path}.y.batchnorm"), nn.ReLU()]
        modules += [layers.conv(f"{path}.conv"), layers.batchnorm(f"{path}.batchnorm"), nn.ReLU()]
    return nn.Sequential(*modules, nn.AvgPool2d((24, 5)), nn.Flatten(), layers.linear("z.dense"))


def _in_jax(layers: Any, fields: Any) -> Any:
    from jax.nn import relu

    x = relu(layers.batchnorm("h.batchnorm", layers.conv("h.conv", fields["x"], 2, [(5, 5), (1, 1)])))
    for path in _BLOCKS:
        x = relu(layers.batchnorm(f"{path}.y.batchnorm", layers.depthwise(f"{path}.y.depthwise", x)))
        x = relu(layers.batchnorm(f"{path}.batchnorm", layers.conv(f"{path}.conv", x)))
    return layers.dense("z.dense", x[:, :24].mean((1, 2)))


MODELS = (
    Model(
        "keyword spotting",
        "DS-CNN 49x10x1, 4 blocks of 64",
        100,
        _NET,
        labelled((49, 10, 1), 12),
        _in_torch,
        _in_jax,
    ),
)
