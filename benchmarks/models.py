"""The models that are compared: fully connected networks with ReLU between, trained with Adam, as plain numbers that every contender builds its own from."""

from dataclasses import dataclass

import numpy as np

ROWS = 12_800  # of the table that netc gathers its batches from: 40 MB of 784 numbers each, which no cache holds
LEARNING_RATE = 1e-3


@dataclass(frozen=True)
class Model:
    """`widths` from input to output; `loss` is "cross_entropy" of labels, or "mse" against the input (an autoencoder)."""

    name: str
    widths: tuple[int, ...]
    batch: int
    loss: str = "cross_entropy"

    def __str__(self) -> str:
        return f"{self.name} {'-'.join(map(str, self.widths))}, batch {self.batch}"

    @property
    def flops(self) -> int:
        """Of the products of a step alone: forward, weight gradients, and input gradients but for the first layer; 2 a multiply-add."""
        pairs = [n * m for n, m in zip(self.widths, self.widths[1:], strict=False)]
        return 2 * self.batch * (3 * sum(pairs) - pairs[0])

    @property
    def steps(self) -> int:
        """In a round of measuring: some tens of milliseconds."""
        return max(20, min(5000, round(4e9 / self.flops)))

    def weights(self) -> list[np.ndarray]:
        """The first weights, the same for every contender; biases start at 0."""
        rng = np.random.default_rng(1)
        pairs = zip(self.widths, self.widths[1:], strict=False)
        return [rng.standard_normal((n, m)).astype(np.float32) / np.float32(np.sqrt(n)) for n, m in pairs]

    def data(self, rows: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows of inputs and labels; fewer rows are the first of more."""
        x = np.random.default_rng(2).random((rows, self.widths[0]), np.float32)
        return x, np.random.default_rng(3).integers(0, self.widths[-1], rows).astype(np.int32)

    def net(self) -> str:
        """The model as a `.net` file."""
        layers = " -> relu -> ".join(f"dense({width})" for width in self.widths[1:])
        labelled = self.loss == "cross_entropy"
        target = f"  target y: class({self.widths[-1]})\n" if labelled else ""
        loss = "cross_entropy(z, y)" if labelled else "mse(z, x)"
        return (
            f"model {{\n  input x: float[{self.widths[0]}]\n{target}  z = x -> {layers}\n  loss {loss}\n}}\n"
            f"train {{\n  optimizer = adam(lr = {LEARNING_RATE})\n  batch = {self.batch}\n}}\n"
        )


MODELS = (
    Model("MLP", (784, 128, 10), 64),
    Model("middle MLP", (784, 512, 512, 10), 128),
    Model("digits8x8", (64, 32, 10), 32),
    Model("autoencoder", (784, 128, 32, 128, 784), 64, "mse"),
)
