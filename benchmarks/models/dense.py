"""Fully connected networks with ReLU between the layers: classifiers, an autoencoder, and series of growing size."""

from typing import Any

from benchmarks.model import Model, labelled, numbered, unlabelled


def perceptron(name: str, widths: tuple[int, ...], batch: int, loss: str = "cross_entropy", series: str = "") -> Model:
    """A network with layers of these widths, from the input to the output. With the loss "mse" it is an autoencoder."""
    paths = numbered(["dense"] * (len(widths) - 1), "z.")
    layers = " -> relu -> ".join(f"dense({width})" for width in widths[1:])
    is_labelled = loss == "cross_entropy"
    target = f"  target y: class({widths[-1]})\n" if is_labelled else ""
    last = "cross_entropy(z, y)" if is_labelled else "mse(z, x)"
    depth = len(widths) - 2
    return Model(
        name,
        f"{widths[0]}-{depth}x{widths[1]}-{widths[-1]}" if depth > 5 else "-".join(map(str, widths)),
        batch,
        f"model {{\n  input x: float[{widths[0]}]\n{target}  z = x -> {layers}\n  loss {last}\n}}\n",
        labelled(widths[:1], widths[-1]) if is_labelled else unlabelled(widths[:1]),
        lambda layers: _in_torch(layers, paths),
        lambda layers, fields: _in_jax(layers, fields["x"], paths),
        loss,
        series=series,
    )


def _in_torch(layers: Any, paths: list[str]) -> Any:
    from torch import nn

    modules = [module for path in paths for module in (layers.linear(path), nn.ReLU())]
    return nn.Sequential(*modules[:-1])


def _in_jax(layers: Any, x: Any, paths: list[str]) -> Any:
    from jax.nn import relu

    for path in paths[:-1]:
        x = relu(layers.dense(path, x))
    return layers.dense(paths[-1], x)


def _growing(series: str, name: str, widths: tuple[int, ...], batch: int = 64) -> Model:
    return perceptron(f"{series} {name}", widths, batch, series=series)


MODELS = (
    perceptron("MLP", (784, 128, 10), 64),
    perceptron("middle MLP", (784, 512, 512, 10), 128),
    perceptron("digits8x8", (64, 32, 10), 32),
    perceptron("autoencoder", (784, 128, 32, 128, 784), 64, "mse"),
    *(_growing("width", str(width), (784, width, width, 10)) for width in (64, 128, 256, 512, 1024)),
    *(_growing("depth", str(depth), (784, *(256,) * depth, 10)) for depth in (1, 2, 4, 8, 16)),
    *(_growing("batch", str(batch), (784, 256, 256, 10), batch) for batch in (16, 32, 64, 128, 256)),
    perceptron("first step", (300, 70, 50, 7), 64, series="first step"),  # shapes and a depth that no other model has
)
