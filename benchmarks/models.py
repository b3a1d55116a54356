"""The models that are compared, as plain numbers from which every contender builds its own network.

They are fully connected networks with ReLU between the layers. Some have convolutions of 3 x 3 with ReLU and pools of
2 x 2 in front, some an LSTM. All are trained with Adam.
"""

from dataclasses import dataclass

import numpy as np

ROWS = 12_800  # rows of the table that netc gathers batches from: 40 MB at 784 numbers a row, more than any cache holds
LEARNING_RATE = 1e-3


@dataclass(frozen=True)
class Model:
    """A network: the `widths` of its layers from input to output, its batch and its loss.

    `loss` is "cross_entropy" of labels, or "mse" against the input (an autoencoder). With `convolutions` (their
    channels), the input is an image of 28 x 28, and `widths` begin with the numbers that are left of it. If it
    `is_mirrored`, convolutions have a stride of 2 in place of pools, and their transposes lead back to the image.
    With `units`, the input is a sequence of `longest` steps (or of `shortest` to `longest` steps, if `shortest` is
    not 0), and the last state of an LSTM goes into the layers.
    """

    name: str
    widths: tuple[int, ...]
    batch: int
    loss: str = "cross_entropy"
    convolutions: tuple[int, ...] = ()
    is_normalised: bool = False
    is_mirrored: bool = False
    units: int = 0
    longest: int = 0
    shortest: int = 0

    def __str__(self) -> str:
        steps = f"{self.shortest or ''}{' to ' if self.shortest else ''}{self.longest} steps of "
        back = self.convolutions[-2::-1] + (1,) if self.is_mirrored else ()
        widths = (*self.convolutions, *self.widths, *back)
        widths = (self.widths[0], self.units, *self.widths[1:]) if self.units else widths
        return f"{self.name} {steps if self.units else ''}{'-'.join(map(str, widths))}, batch {self.batch}"

    @property
    def flops(self) -> int:
        """The FLOPs of the products of a step: forward, weight gradients, and input gradients except for the first
        layer.

        A multiply-add counts as 2.
        """
        if self.units:
            rows, (n, m) = int(self.lengths(self.batch).sum()), self.widths
            return 2 * rows * 4 * self.units * (2 * n + 3 * self.units) + 6 * self.batch * self.units * m
        pairs = [n * m for n, m in zip(self.widths, self.widths[1:], strict=False)]
        for i, (n, m) in reversed(list(enumerate(self._channels))):
            pairs.insert(0, (28 >> i + self.is_mirrored) ** 2 * 9 * n * m)
            pairs += [
                pairs[0]
            ] * self.is_mirrored  # a transposed convolution has as many multiplications as its convolution
        return 2 * self.batch * (3 * sum(pairs) - pairs[0])

    @property
    def steps(self) -> int:
        """The number of steps in a round of measuring, which takes some tens of milliseconds."""
        return max(6 if self.convolutions else 20, min(5000, round(4e9 / self.flops)))

    def weights(self) -> list[np.ndarray]:
        """The initial weights, the same for every contender; biases start at 0."""
        rng = np.random.default_rng(1)
        if self.units:
            (n, m), u = self.widths, self.units
            shapes = [(n, 4 * u), (u, 4 * u), (u, m)]
            return [rng.standard_normal(shape).astype(np.float32) / np.float32(np.sqrt(shape[0])) for shape in shapes]
        pairs = zip(self.widths, self.widths[1:], strict=False)
        shapes = [(3, 3, n, m) for n, m in self._channels] + list(pairs)
        if self.is_mirrored:
            shapes += [(3, 3, m, n) for n, m in reversed(self._channels)]
        return [
            rng.standard_normal(shape).astype(np.float32) / np.float32(np.sqrt(np.prod(shape[:-1]))) for shape in shapes
        ]

    @property
    def _channels(self) -> list[tuple[int, int]]:
        """The input and output channels of each convolution."""
        return list(zip((1, *self.convolutions), self.convolutions, strict=False))

    def lengths(self, rows: int) -> np.ndarray:
        """The number of steps of each sample."""
        if not self.shortest:
            return np.full(rows, self.longest)
        return np.random.default_rng(4).integers(self.shortest, self.longest + 1, rows)

    def data(self, rows: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows of inputs and labels. Fewer rows are the beginning of more rows."""
        size = (28, 28, 1) if self.convolutions else (self.longest,) * bool(self.units) + (self.widths[0],)
        x = np.random.default_rng(2).random((rows, *size), np.float32)
        return x, np.random.default_rng(3).integers(0, self.widths[-1], rows).astype(np.int32)

    def net(self) -> str:
        """The model as a `.net` file."""
        layers = " -> relu -> ".join(f"dense({width})" for width in self.widths[1:])
        if self.units:
            steps = "time" if self.shortest else self.longest
            return (
                f"model {{\n  input x: float[{steps}, {self.widths[0]}]\n  target y: class({self.widths[1]})\n"
                f"  h = x -> lstm({self.units}, forget = 0)\n  z = last(h) -> dense({self.widths[1]})\n"
                f"  loss cross_entropy(z, y)\n}}\n"
                f"train {{\n  optimizer = adam(lr = {LEARNING_RATE})\n  batch = {self.batch}\n}}\n"
            )
        labelled = self.loss == "cross_entropy"
        target = f"  target y: class({self.widths[-1]})\n" if labelled else ""
        loss = "cross_entropy(z, y)" if labelled else "mse(z, x)"
        if self.is_mirrored:
            down = "".join(f"conv({n}, stride = 2, pad = 1) -> relu -> " for n in self.convolutions)
            back = " -> relu -> ".join(f"conv_transpose({n}, pad = (1, 0, 1, 0))" for n, _ in reversed(self._channels))
            side, channels = 28 >> len(self.convolutions), self.convolutions[-1]
            layers = f"{down}flatten -> {layers} -> relu -> reshape({side}, {side}, {channels}) -> {back}"
        normalised = "batchnorm -> " if self.is_normalised else ""
        windows = "".join(f"conv({n}) -> {normalised}relu -> maxpool(2) -> " for n in self.convolutions)
        layers = f"{windows}flatten -> {layers}" if windows and not self.is_mirrored else layers
        size = "28, 28, 1" if windows else self.widths[0]
        return (
            f"model {{\n  input x: float[{size}]\n{target}  z = x -> {layers}\n  loss {loss}\n}}\n"
            f"train {{\n  optimizer = adam(lr = {LEARNING_RATE})\n  batch = {self.batch}\n}}\n"
        )


MODELS = (
    Model("MLP", (784, 128, 10), 64),
    Model("middle MLP", (784, 512, 512, 10), 128),
    Model("digits8x8", (64, 32, 10), 32),
    Model("autoencoder", (784, 128, 32, 128, 784), 64, "mse"),
    Model("convolutional autoencoder", (1568, 32, 1568), 64, "mse", convolutions=(16, 32), is_mirrored=True),
    Model("CNN", (3136, 128, 10), 64, convolutions=(32, 64)),
    Model("CNN, batchnorm", (3136, 128, 10), 64, convolutions=(32, 64), is_normalised=True),
    Model("LSTM", (28, 10), 64, units=64, longest=28),
    Model("LSTM, wide", (65, 10), 32, units=128, longest=50),
    Model("LSTM, lengths", (64, 10), 32, units=128, longest=100, shortest=10),
)
