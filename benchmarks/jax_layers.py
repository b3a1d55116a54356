"""Layers for JAX by the paths of netc's parameters. They are as users of JAX write them."""

from typing import Any

import jax
import jax.numpy as jnp

_ORDER = ("NHWC", "HWIO", "NHWC")
Pads = str | list[tuple[int, int]]


class Layers:
    """Applies layers with parameters by name: `layers.dense("z.dense", x)` uses z.dense.W and z.dense.b."""

    def __init__(self, parameters: dict[str, Any]) -> None:
        self.parameters = parameters

    def dense(self, path: str, x: Any) -> Any:
        return self._biased(path, x @ self.parameters[f"{path}.W"])

    def conv(self, path: str, x: Any, stride: int = 1, pad: Pads = "SAME") -> Any:
        """A convolution of images (weights [kh, kw, c, n])."""
        w = self.parameters[f"{path}.W"]
        y = jax.lax.conv_general_dilated(x, w, (stride, stride), pad, dimension_numbers=_ORDER)
        return self._biased(path, y)

    def depthwise(self, path: str, x: Any, stride: int = 1, pad: Pads = "SAME") -> Any:
        """A depthwise convolution of images (weights [kh, kw, c, 1]) or of lines (weights [k, 1, c])."""
        w = self.parameters[f"{path}.W"]
        w = w.reshape(len(w), 1, 1, -1) if w.ndim == 3 else w.reshape(*w.shape[:2], 1, -1)
        channels = w.shape[-1]
        y = jax.lax.conv_general_dilated(
            x, w, (stride, stride), pad, dimension_numbers=_ORDER, feature_group_count=channels
        )
        return self._biased(path, y)

    def conv_transpose(self, path: str, x: Any) -> Any:
        """A transposed convolution that doubles height and width, with a kernel of 3 x 3."""
        turned = self.parameters[f"{path}.W"][::-1, ::-1]
        y = jax.lax.conv_general_dilated(
            x, turned, (1, 1), [(1, 2), (1, 2)], lhs_dilation=(2, 2), dimension_numbers=_ORDER
        )
        return self._biased(path, y)

    def batchnorm(self, path: str, x: Any) -> Any:
        """Normalises each channel over the batch and all positions."""
        axes = tuple(range(x.ndim - 1))
        scale, shift = self.parameters[f"{path}.scale"], self.parameters[f"{path}.shift"]
        return (x - x.mean(axes)) * jax.lax.rsqrt(x.var(axes) + 1e-5) * scale + shift

    def layernorm(self, path: str, x: Any) -> Any:
        """Normalises the last axis. There is no shift."""
        mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
        return (x - mean) * jax.lax.rsqrt(variance + 1e-5) * self.parameters[f"{path}.scale"]

    def _biased(self, path: str, y: Any) -> Any:
        bias = self.parameters.get(f"{path}.b")
        return y if bias is None else y + bias


def maxpool(x: Any) -> Any:
    """The largest element of each window of 2 x 2."""
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


def cross_entropy(logits: Any, y: Any) -> Any:
    """The mean cross-entropy of labels, which have the shape of the logits without the last axis."""
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(logits), y[..., None], -1))
