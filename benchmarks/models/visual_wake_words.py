"""MLPerf Tiny's visual wake words: MobileNet v1 (Howard et al. 2017) of a quarter of the width, over 96 x 96 pixels.

From mlcommons/tiny, benchmark/training/visual_wake_words. With the border of strided convolutions on both sides, as
PyTorch has it.
"""

from typing import Any

from benchmarks.model import Model, labelled, numbered

# the stride and the channels of each separable convolution behind the first convolution
_BLOCKS = ((1, 16), (2, 32), (1, 32), (2, 64), (1, 64), (2, 128), *((1, 128),) * 5, (2, 256), (1, 256))
_PATHS = numbered(["separable"] * len(_BLOCKS), "h.")

_NET = f"""block separable(x: float[h, w, c], stride, n) {{
  y = x -> depthwise(stride = stride, pad = 1) -> batchnorm -> relu
  return y -> conv(n, kernel = 1) -> batchnorm -> relu
}}

model {{
  input x: float[96, 96, 3]
  target y: class(2)
  h = x -> conv(8, stride = 2, pad = 1) -> batchnorm -> relu
    {" ".join(f"-> separable({stride}, {channels})" for stride, channels in _BLOCKS)}
  z = h -> avgpool(3) -> flatten -> dense(2)
  loss cross_entropy(z, y)
}}
"""


def _in_torch(layers: Any) -> Any:
    from torch import nn

    modules = [layers.conv("h.conv", 2, 1), layers.batchnorm("h.batchnorm"), nn.ReLU()]
    for path, (stride, _) in zip(_PATHS, _BLOCKS, strict=True):
        modules += [layers.depthwise(f"{path}.y.depthwise", stride, 1), layers.batchnorm(f"{path}.y.batchnorm")]
        modules += [nn.ReLU(), layers.conv(f"{path}.conv"), layers.batchnorm(f"{path}.batchnorm"), nn.ReLU()]
    return nn.Sequential(*modules, nn.AvgPool2d(3), nn.Flatten(), layers.linear("z.dense"))


def _in_jax(layers: Any, fields: Any) -> Any:
    from jax.nn import relu

    pad = [(1, 1), (1, 1)]
    x = relu(layers.batchnorm("h.batchnorm", layers.conv("h.conv", fields["x"], 2, pad)))
    for path, (stride, _) in zip(_PATHS, _BLOCKS, strict=True):
        x = relu(layers.batchnorm(f"{path}.y.batchnorm", layers.depthwise(f"{path}.y.depthwise", x, stride, pad)))
        x = relu(layers.batchnorm(f"{path}.batchnorm", layers.conv(f"{path}.conv", x)))
    return layers.dense("z.dense", x.mean((1, 2)))


MODELS = (
    Model(
        "visual wake words",
        "MobileNet 0.25, 96x96x3",
        32,
        _NET,
        labelled((96, 96, 3), 2),
        _in_torch,
        _in_jax,
        # Adam's first steps have the size of the learning rate, however small a gradient is: 27 normalisations in a row
        # turn the rounding of some gradients into hundredths of the loss (JAX's third loss on an AMD Zen 4: 0.011)
        tolerance=2e-2,
    ),
)
