"""Plans run without machine code (compiler/emulator): against the reference interpreter, in many orders, for tiny caches; and broken plans, which must be caught."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import netc
from netc.compiler.emulator.run import random_order
from netc.compiler.kernels.targets import NAMED

# Caches so small, and shards taken so early, that a program of a few samples has several bands, and its sums have shards.
TINY = replace(
    NAMED["sse2"],
    first_cache=128,
    second_cache=512,
    many_bytes=1,
    few_pieces=1 << 30,
    few_weights=1 << 30,
    shard_ratio=0,
)
HEAD = "train {\n  precision = f64\n  batch = "
MODELS = {
    "dense": """model {
  input x: float[5]
  target y: class(3)
  h = x -> dense(7) -> relu -> layernorm
  z = h -> dense(3)
  loss cross_entropy(z, y)
}
train {
  precision = f64
  batch = 8
  optimizer = adam(lr = 0.01)
}
""",
    "shared and concatenated": """model {
  input x: float[6]
  target y: float[3]
  a = x -> dense(17) -> gelu
  b = a -> dense(17) -> tanh
  output z = concat(a + b, x) -> dense(3)
  loss mse(z, y)
}
train {
  precision = f64
  batch = 19
  optimizer = sgd(lr = 0.05, momentum = 0.9)
}
""",
    "convolution": """model {
  input x: float[6, 6, 2]
  target y: float[2]
  h = x -> conv(5, kernel = 3) -> relu -> maxpool(2)
  k = h -> conv(3, kernel = 3, pad = valid)
  output z = k -> flatten -> dense(2)
  loss mse(z, y)
}
train {
  precision = f64
  batch = 6
  optimizer = sgd(lr = 0.05)
}
""",
    "batch normalisation and dropout": """model {
  input x: float[4]
  target y: float[2]
  h = x -> dense(9) -> batchnorm -> relu -> dropout(0.3)
  output z = h -> dense(2)
  loss mse(z, y)
}
train {
  precision = f64
  batch = 7
  optimizer = adamw(lr = 0.01)
  clip_norm = 1.0
}
""",
    "accumulate": """model {
  input x: float[4]
  target y: class(3)
  output z = x -> dense(6) -> tanh -> dense(3)
  loss cross_entropy(z, y)
}
train {
  precision = f64
  batch = 4
  accumulate = 2
  optimizer = adam(lr = 0.01)
}
""",
    "embedding": """model {
  input x: class(11)
  input k: float[3]
  target y: float
  h = x -> embed(5)
  output z = concat(h, k) -> dense(1) -> squeeze
  loss mse(z, y)
  loss size = 0.01 * mean(square(h))
}
train {
  precision = f64
  batch = 8
  optimizer = sgd(lr = 0.05)
}
""",
    "states that swap": """block remember(x: float[n]) {
  state a: float[n] = zeros
  state b: float[n] = ones
  update a = b
  update b = 0.5 * a + mean(x, over = batch)
  return x + 0.1 * (a - b)
}
model {
  input x: float[3]
  target y: float[3]
  output z = x -> remember -> dense(3)
  loss mse(z, y)
}
train {
  precision = f64
  batch = 5
  optimizer = rmsprop(lr = 0.01)
}
""",
    "lstm": """model {
  input x: float[t, 3]
  target y: float[2]
  output z = last(x -> lstm(5)) -> dense(2)
  loss mse(z, y)
}
train {
  precision = f64
  batch = 5
  optimizer = adam(lr = 0.01)
}
""",
    "both ways": """model {
  input x: class(7)[t]
  target y: class(4)[t]
  h = x -> embed(3) -> bidirectional(gru(2))
  output z = h -> dense(4)
  loss cross_entropy(z, y)
}
train {
  precision = f64
  batch = 4
  optimizer = sgd(lr = 0.05)
}
""",
    "scan with carries that swap": """model {
  input x: float[t, 3]
  target y: float[t, 3]
  param w: float[3] = normal(1)
  h = scan s in x with p = w, q = zeros(3) {
    k = p + q
    q = tanh(p * s)
    p = tanh(k + s)
    yield p + q
  }
  loss mse(h, y)
}
train {
  precision = f64
  batch = 5
  optimizer = sgd(lr = 0.05)
}
""",
    "attention": """model {
  input x: float[t <= 6, 4]
  target y: class(3)
  h = x -> self_attention(heads = 2)
  output z = mean(h, over = t) -> dense(3)
  loss cross_entropy(z, y)
}
train {
  precision = f64
  batch = 5
  optimizer = sgd(lr = 0.05)
}
""",
    "line": """model {
  input x: float[t, 2]
  target y: float[t, 3]
  h = x -> conv(4, kernel = 3) -> relu
  output z = h -> dense(3)
  loss mse(z, y)
}
train {
  precision = f64
  batch = 3
  optimizer = adagrad(lr = 0.05)
}
""",
}


def synthetic(model: netc.Model, count: int) -> dict[str, Any]:
    """Random data for a model: sequences of one to four steps."""
    rng = np.random.default_rng(count)
    lengths = rng.integers(1, 5, count)

    def elements(shape: tuple[int, ...], classes: int | None) -> Any:
        return rng.integers(0, classes, shape).astype(np.int32) if classes else rng.standard_normal(shape)

    return {
        name: [elements((length, *type_.dims[1:]), type_.classes) for length in lengths]
        if type_.is_varying
        else elements(type_.shape(count), type_.classes)
        for name, type_ in {**model.inputs, **model.targets}.items()
    }


def trained(model: netc.Model, count: int, **options: Any) -> dict[str, np.ndarray]:
    """Gradients of a batch, and what three steps leave."""
    program = netc.compile(model, seed=3, **options)
    _, gradients = program.gradients(synthetic(model, count))
    losses = [program.step(synthetic(model, count * model.train.accumulate))["loss"] for _ in range(3)]
    kept = {f"{name} afterwards": array.copy() for name, array in program.persistent.items()}
    return {**gradients, **kept, "losses": np.array(losses)}


@pytest.mark.parametrize("name", MODELS)
def test_a_plan_comes_to_what_its_graph_means(name: str) -> None:
    model = netc.parse(MODELS[name])
    for count, runs in ((model.train.batch, [(1, None), (3, TINY), (2, TINY)]), (3, [(5, TINY)])):
        expected = trained(model, count, backend="reference")
        for threads, machine in runs:
            with random_order(threads):
                results = trained(model, count, backend="plan", threads=threads, machine=machine)
            for key, value in expected.items():
                message = f"{key} of {count} samples by {threads} members"
                np.testing.assert_allclose(results[key], value, rtol=1e-9, atol=1e-9, err_msg=message)
