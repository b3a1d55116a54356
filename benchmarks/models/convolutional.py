"""Small convolutional networks for images of 28 x 28: classifiers with pools, and an autoencoder with strides."""

from typing import Any

from benchmarks.model import Model, labelled, unlabelled


def classifier(name: str, is_normalised: bool) -> Model:
    """Two convolutions of 3 x 3 with pools of 2 x 2, and two layers."""
    normalised = "batchnorm -> " if is_normalised else ""
    windows = "".join(f"conv({channels}) -> {normalised}relu -> maxpool(2) -> " for channels in (32, 64))
    return Model(
        name,
        "32-64-3136-128-10",
        64,
        "model {\n  input x: float[28, 28, 1]\n  target y: class(10)\n"
        f"  z = x -> {windows}flatten -> dense(128) -> relu -> dense(10)\n  loss cross_entropy(z, y)\n}}\n",
        labelled((28, 28, 1), 10),
        lambda layers: _in_torch(layers, is_normalised),
        lambda layers, fields: _in_jax(layers, fields["x"], is_normalised),
    )


def _in_torch(layers: Any, is_normalised: bool) -> Any:
    from torch import nn

    modules: list[nn.Module] = []
    for suffix in ("", "_2"):
        modules.append(layers.conv(f"z.conv{suffix}", padding=1))
        if is_normalised:
            modules.append(layers.batchnorm(f"z.batchnorm{suffix}"))
        modules += [nn.ReLU(), nn.MaxPool2d(2)]
    first = layers.linear("z.dense", image=(7, 7, 64))
    return nn.Sequential(*modules, nn.Flatten(), first, nn.ReLU(), layers.linear("z.dense_2"))


def _in_jax(layers: Any, x: Any, is_normalised: bool) -> Any:
    from jax.nn import relu

    from benchmarks.jax_layers import maxpool

    for suffix in ("", "_2"):
        x = layers.conv(f"z.conv{suffix}", x)
        x = layers.batchnorm(f"z.batchnorm{suffix}", x) if is_normalised else x
        x = maxpool(relu(x))
    return layers.dense("z.dense_2", relu(layers.dense("z.dense", x.reshape(len(x), -1))))


_AUTOENCODER = """model {
  input x: float[28, 28, 1]
  code = x -> conv(16, stride = 2, pad = 1) -> relu -> conv(32, stride = 2, pad = 1) -> relu -> flatten -> dense(32)
  z = relu(code) -> dense(1568) -> relu -> reshape(7, 7, 32) -> conv_transpose(16, pad = (1, 0, 1, 0)) -> relu
    -> conv_transpose(1, pad = (1, 0, 1, 0))
  loss mse(z, x)
}
"""


def _autoencoder_in_torch(layers: Any) -> Any:
    from torch import nn

    return nn.Sequential(
        layers.conv("code.conv", 2, 1),
        nn.ReLU(),
        layers.conv("code.conv_2", 2, 1),
        nn.ReLU(),
        nn.Flatten(),
        layers.linear("code.dense", image=(7, 7, 32)),
        nn.ReLU(),
        layers.linear("z.dense", back=(7, 7, 32)),
        nn.ReLU(),
        nn.Unflatten(1, (32, 7, 7)),
        layers.conv_transpose("z.conv_transpose"),
        nn.ReLU(),
        layers.conv_transpose("z.conv_transpose_2"),
    )


def _autoencoder_in_jax(layers: Any, fields: Any) -> Any:
    from jax.nn import relu

    pad = [(1, 1), (1, 1)]
    x = relu(layers.conv("code.conv", fields["x"], 2, pad))
    x = relu(layers.conv("code.conv_2", x, 2, pad))
    x = relu(layers.dense("code.dense", x.reshape(len(x), -1)))
    x = relu(layers.dense("z.dense", x)).reshape(-1, 7, 7, 32)
    return layers.conv_transpose("z.conv_transpose_2", relu(layers.conv_transpose("z.conv_transpose", x)))


MODELS = (
    Model(
        "convolutional autoencoder",
        "16-32-1568-32-1568-16-1",
        64,
        _AUTOENCODER,
        unlabelled((28, 28, 1)),
        _autoencoder_in_torch,
        _autoencoder_in_jax,
        "mse",
    ),
    classifier("CNN", is_normalised=False),
    classifier("CNN, batchnorm", is_normalised=True),
)
