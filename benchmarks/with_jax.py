"""JAX as a contender: one jitted step that Python calls, or many steps in one compiled `lax.scan`.

Its state is donated, and its batch is in memory beforehand.
"""

import time
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.models import LEARNING_RATE, Model


class Contender:
    def __init__(self, variant: str, threads: int) -> None:
        self.is_scan = variant == "scan"

    def build(self, model: Model) -> None:
        """Prepares the state, the batch and the jitted functions of a model."""
        self.model = model
        parameters = [(jnp.array(weight), jnp.zeros(weight.shape[-1])) for weight in model.weights()]
        if model.units:
            (w, b), (u, _), (v, c) = parameters
            parameters = [(w, b), (u,), (v, c)]
        if model.is_normalised:  # scale and shift of each convolution
            parameters += [(jnp.ones(channels), jnp.zeros(channels)) for channels in model.convolutions]
        zeros = partial(jax.tree.map, jnp.zeros_like)
        self.state: Any = (parameters, zeros(parameters), zeros(parameters), jnp.float32(0))
        x, y = model.data(model.batch)
        self.x, self.y = jnp.array(x), jnp.array(y)
        loss = partial(_loss, model.loss == "cross_entropy", len(model.convolutions), model.is_normalised)
        if model.is_mirrored:
            loss = partial(_mirrored_loss, len(model.convolutions))
        if model.units:
            loss = partial(_recurrent_loss, jnp.array(model.lengths(model.batch)))
        step = partial(_step, loss)
        self.step = jax.jit(step, donate_argnums=0)

        def many(state: Any, x: Any, y: Any) -> Any:
            return jax.lax.scan(lambda before, _: step(before, x, y), state, None, length=model.steps)

        def epoch(state: Any, x: Any, y: Any, order: Any) -> Any:
            return jax.lax.scan(lambda before, chosen: step(before, x[chosen], y[chosen]), state, order)

        self.many, self.scanned = jax.jit(many, donate_argnums=0), jax.jit(epoch, donate_argnums=0)

    def advance(self) -> float:
        """Takes one step and returns its loss."""
        self.state, loss = self.step(self.state, self.x, self.y)
        return float(loss)

    def round(self) -> float:
        """Takes many steps and returns the seconds per step."""
        start = time.perf_counter()
        if self.is_scan:
            self.state, _ = self.many(self.state, self.x, self.y)
        else:
            for _ in range(self.model.steps):
                self.state, _ = self.step(self.state, self.x, self.y)
        jax.block_until_ready(self.state)
        return (time.perf_counter() - start) / self.model.steps

    def epoch(self, x: np.ndarray, y: np.ndarray) -> float:
        """Trains for one epoch, including shuffling, and returns the seconds."""
        inputs, labels = jnp.array(x), jnp.array(y)
        batch = self.model.batch
        start = time.perf_counter()
        shuffled = np.random.default_rng().permutation(len(y))[: len(y) // batch * batch]
        order = shuffled.reshape(-1, batch).astype(np.int32)
        if self.is_scan:
            self.state, _ = self.scanned(self.state, inputs, labels, order)
        else:
            for chosen in order:
                self.state, _ = self.step(self.state, x[chosen], y[chosen])
        jax.block_until_ready(self.state)
        return time.perf_counter() - start


def _loss(labelled: bool, windows: int, is_normalised: bool, parameters: Any, x: Any, y: Any) -> Any:
    """The loss of a fully connected network behind `windows` convolutions with pools."""
    output = x
    if is_normalised:
        parameters, scales = parameters[:-windows], parameters[-windows:]
    for i, (weight, bias) in enumerate(parameters):
        if i < windows:
            output = jax.lax.conv_general_dilated(
                output, weight, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
            )
            output = output + bias
            if is_normalised:
                mean, variance = output.mean((0, 1, 2)), output.var((0, 1, 2))
                output = (output - mean) * jax.lax.rsqrt(variance + 1e-5) * scales[i][0] + scales[i][1]
            output = jax.nn.relu(output)
            output = jax.lax.reduce_window(output, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
            continue
        output = output.reshape(len(output), -1) @ weight + bias
        if i < len(parameters) - 1:
            output = jax.nn.relu(output)
    if labelled:
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(output), y[:, None], 1))
    return jnp.mean((output - x) ** 2)


def _mirrored_loss(windows: int, parameters: Any, x: Any, y: Any) -> Any:
    """The loss of an autoencoder: convolutions with a stride of 2, two layers, and transposed convolutions."""
    output = x
    for weight, bias in parameters[:windows]:
        how = {"dimension_numbers": ("NHWC", "HWIO", "NHWC")}
        output = jax.nn.relu(jax.lax.conv_general_dilated(output, weight, (2, 2), [(1, 1), (1, 1)], **how) + bias)
    shape = output.shape
    for weight, bias in parameters[windows:-windows]:
        output = jax.nn.relu(output.reshape(len(output), -1) @ weight + bias)
    output = output.reshape(shape)
    for i, (weight, bias) in enumerate(parameters[-windows:]):
        turned, around = weight[::-1, ::-1], [(1, 2), (1, 2)]
        output = jax.lax.conv_general_dilated(output, turned, (1, 1), around, lhs_dilation=(2, 2), **how) + bias
        output = jax.nn.relu(output) if i < windows - 1 else output
    return jnp.mean((output - x) ** 2)


def _recurrent_loss(lengths: Any, parameters: Any, x: Any, y: Any) -> Any:
    """The loss of an LSTM's last states over padded sequences.

    `x @ W` of all steps is one product, as is usual in JAX.
    """
    (w, b), (u,), (v, c) = parameters
    before = jnp.moveaxis(x @ w + b, 1, 0)

    def step(state: Any, gates: Any) -> Any:
        h, cell = state
        i, f, g, o = jnp.split(gates + h @ u, 4, axis=1)
        cell = jax.nn.sigmoid(f) * cell + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(cell)
        return (h, cell), h

    zero = jnp.zeros((len(x), u.shape[0]))
    _, states = jax.lax.scan(step, (zero, zero), before)
    output = states[lengths - 1, jnp.arange(len(x))] @ v + c
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(output), y[:, None], 1))


def _step(loss_of: Any, state: Any, x: Any, y: Any) -> Any:
    """A step with Adam, as in optax and PyTorch."""
    parameters, first, second, count = state
    count = count + 1
    loss, gradients = jax.value_and_grad(loss_of)(parameters, x, y)
    first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, gradients)
    second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, second, gradients)
    rate, scale = LEARNING_RATE / (1 - 0.9**count), 1 / jnp.sqrt(1 - 0.999**count)
    parameters = jax.tree.map(lambda w, m, v: w - rate * m / (jnp.sqrt(v) * scale + 1e-8), parameters, first, second)
    return (parameters, first, second, count), loss
