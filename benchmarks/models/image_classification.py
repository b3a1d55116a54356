"""MLPerf Tiny's image classification: ResNet-8 (He et al. 2016) for CIFAR-10.

From mlcommons/tiny, benchmark/training/image_classification. With the border of strided convolutions on both sides, as
PyTorch has it.
"""

from typing import Any

from benchmarks.model import Model, labelled

_NET = """block stack(x: float[h, w, c], n, stride) {
  inner = x -> conv(n, stride = stride, pad = 1) -> batchnorm -> relu -> conv(n) -> batchnorm
  across = x if stride == 1 else x -> conv(n, kernel = 1, stride = stride)
  return relu(inner + across)
}

model {
  input x: float[32, 32, 3]
  target y: class(10)
  h = x -> conv(16) -> batchnorm -> relu -> stack(16, 1) -> stack(32, 2) -> stack(64, 2)
  z = h -> avgpool(8) -> flatten -> dense(10)
  loss cross_entropy(z, y)
}
"""
_STACKS = (("h.stack", 1), ("h.stack_2", 2), ("h.stack_3", 2))


def _in_torch(layers: Any) -> Any:
    from torch import nn

    class Stack(nn.Module):
        def __init__(self, path: str, stride: int) -> None:
            super().__init__()
            self.inner = nn.Sequential(
                layers.conv(f"{path}.inner.conv", stride, 1),
                layers.batchnorm(f"{path}.inner.batchnorm"),
                nn.ReLU(),
                layers.conv(f"{path}.inner.conv_2", 1, 1),
                layers.batchnorm(f"{path}.inner.batchnorm_2"),
            )
            self.across = nn.Identity() if stride == 1 else layers.conv(f"{path}.across.conv", stride)

        def forward(self, x: Any) -> Any:
            return nn.functional.relu(self.inner(x) + self.across(x))

    return nn.Sequential(
        layers.conv("h.conv", 1, 1),
        layers.batchnorm("h.batchnorm"),
        nn.ReLU(),
        *(Stack(path, stride) for path, stride in _STACKS),
        nn.AvgPool2d(8),
        nn.Flatten(),
        layers.linear("z.dense"),
    )


def _in_jax(layers: Any, fields: Any) -> Any:
    from jax.nn import relu

    pad = [(1, 1), (1, 1)]
    x = relu(layers.batchnorm("h.batchnorm", layers.conv("h.conv", fields["x"])))
    for path, stride in _STACKS:
        inner = relu(layers.batchnorm(f"{path}.inner.batchnorm", layers.conv(f"{path}.inner.conv", x, stride, pad)))
        inner = layers.batchnorm(f"{path}.inner.batchnorm_2", layers.conv(f"{path}.inner.conv_2", inner))
        x = relu(inner + (x if stride == 1 else layers.conv(f"{path}.across.conv", x, stride, "VALID")))
    return layers.dense("z.dense", x.mean((1, 2)))


MODELS = (
    Model(
        "image classification",
        "ResNet-8, 32x32x3",
        32,
        _NET,
        labelled((32, 32, 3), 10),
        _in_torch,
        _in_jax,
    ),
)
