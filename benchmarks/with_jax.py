"""JAX as a contender: one jitted step that Python calls, or many steps in one compiled `lax.scan`.

Its state is donated, and its batch is in memory beforehand.
"""

import time
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.jax_layers import Layers, cross_entropy
from benchmarks.model import LEARNING_RATE, Model, Weights


class Contender:
    def __init__(self, variant: str, threads: int) -> None:
        self.is_scan = variant == "scan"

    def build(self, model: Model, weights: Weights) -> None:
        """Prepares the state, the batch and the jitted functions of a model."""
        self.model = model
        parameters = {name: jnp.array(weight) for name, weight in weights.items()}
        zeros = partial(jax.tree.map, jnp.zeros_like)
        self.state: Any = (parameters, zeros(parameters), zeros(parameters), jnp.float32(0))
        self.fields = {name: jnp.array(array) for name, array in model.data(model.batch).items()}
        step = partial(_step, partial(_loss, model))
        self.step = jax.jit(step, donate_argnums=0)

        def many(state: Any, fields: Any, steps: int) -> Any:
            return jax.lax.scan(lambda before, _: step(before, fields), state, None, length=steps)

        def epoch(state: Any, fields: Any, order: Any) -> Any:
            return jax.lax.scan(lambda before, chosen: step(before, _rows(fields, chosen)), state, order)

        self.many = jax.jit(many, donate_argnums=0, static_argnames="steps")
        self.scanned = jax.jit(epoch, donate_argnums=0)

    def advance(self) -> float:
        """Takes one step and returns its loss."""
        self.state, loss = self.step(self.state, self.fields)
        return float(loss)

    def round(self, steps: int) -> float:
        """Takes some steps and returns the seconds per step."""
        start = time.perf_counter()
        if self.is_scan:
            self.state, _ = self.many(self.state, self.fields, steps)
        else:
            for _ in range(steps):
                self.state, _ = self.step(self.state, self.fields)
        jax.block_until_ready(self.state)
        return (time.perf_counter() - start) / steps

    def epoch(self, x: np.ndarray, y: np.ndarray) -> float:
        """Trains for one epoch, including shuffling, and returns the seconds."""
        fields = {"x": jnp.array(x), "y": jnp.array(y)}
        batch = self.model.batch
        start = time.perf_counter()
        shuffled = np.random.default_rng().permutation(len(y))[: len(y) // batch * batch]
        order = shuffled.reshape(-1, batch).astype(np.int32)
        if self.is_scan:
            self.state, _ = self.scanned(self.state, fields, order)
        else:
            for chosen in order:
                self.state, _ = self.step(self.state, {"x": x[chosen], "y": y[chosen]})
        jax.block_until_ready(self.state)
        return time.perf_counter() - start


def _rows(fields: Any, chosen: Any) -> Any:
    return {name: array[chosen] for name, array in fields.items()}


def _loss(model: Model, parameters: Any, fields: Any) -> Any:
    output = model.in_jax(Layers(parameters), fields)
    if model.loss == "cross_entropy":
        return cross_entropy(output, fields["y"])
    return jnp.mean((output - fields["x"]) ** 2)


def _step(loss_of: Any, state: Any, fields: Any) -> Any:
    """A step with Adam, as in optax and PyTorch."""
    parameters, first, second, count = state
    count = count + 1
    loss, gradients = jax.value_and_grad(loss_of)(parameters, fields)
    first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, gradients)
    second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, second, gradients)
    rate, scale = LEARNING_RATE / (1 - 0.9**count), 1 / jnp.sqrt(1 - 0.999**count)
    parameters = jax.tree.map(lambda w, m, v: w - rate * m / (jnp.sqrt(v) * scale + 1e-8), parameters, first, second)
    return (parameters, first, second, count), loss
