"""PyTorch's layers with netc's parameters as first weights, and the forms in which PyTorch may take a batch."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.model import Fields, Weights


@dataclass(frozen=True)
class Batch:
    """A batch: the arguments of the network, and the labels (None for an autoencoder).

    `layout` is the memory layout that the network must have. An input that is not `is_traceable` is not for
    torch.compile.
    """

    inputs: tuple[Any, ...]
    y: torch.Tensor | None
    layout: torch.memory_format = torch.contiguous_format
    is_traceable: bool = True


def batches(fields: Fields) -> Iterator[Batch]:
    """The batch as it is; an image with the channels first, in both memory layouts."""
    y = torch.tensor(fields["y"], dtype=torch.int64) if "y" in fields else None
    x = torch.tensor(fields["x"], dtype=torch.int64 if fields["x"].dtype.kind == "i" else torch.float32)
    if x.ndim != 4:
        yield Batch((x,), y)
        return
    for layout in (torch.contiguous_format, torch.channels_last):
        yield Batch((x.permute(0, 3, 1, 2).contiguous(memory_format=layout),), y, layout)


class Layers:
    """Makes layers by the paths of netc's parameters: `layers.linear("z.dense")` begins with z.dense.W and z.dense.b.

    A layer without a bias in netc has none here.
    """

    def __init__(self, weights: Weights) -> None:
        self._weights = weights

    def parameter(self, name: str) -> nn.Parameter:
        """A parameter as it is in netc."""
        return nn.Parameter(torch.tensor(self._weights[name]))

    def linear(self, path: str, image: tuple[int, int, int] | None = None, back: tuple[int, ...] | None = None) -> Any:
        """A linear layer. `image` is the [h, w, c] that its input is the flat form of, `back` that of its output:
        PyTorch flattens channels first."""
        weight = self._weights[f"{path}.W"]
        if image is not None:
            weight = weight.reshape(*image, -1).transpose(2, 0, 1, 3).reshape(weight.shape)
        bias = self._weights.get(f"{path}.b")
        if back is not None:
            weight = weight.reshape(-1, *back).transpose(0, 3, 1, 2).reshape(weight.shape)
            bias = None if bias is None else bias.reshape(back).transpose(2, 0, 1).reshape(-1)
        return self._filled(nn.Linear(*weight.shape, bias=bias is not None), weight.T, bias)

    def conv(self, path: str, stride: int = 1, padding: int | tuple[int, int] = 0) -> Any:
        """A convolution of images (weights [kh, kw, c, n]), or of single pixels (weights [c, n])."""
        weight = self._weights[f"{path}.W"]
        weight = weight[None, None] if weight.ndim == 2 else weight
        *kernel, channels, outputs = weight.shape
        bias = self._weights.get(f"{path}.b")
        layer = nn.Conv2d(channels, outputs, tuple(kernel), stride, padding, bias=bias is not None)
        return self._filled(layer, weight.transpose(3, 2, 0, 1), bias)

    def depthwise(self, path: str, stride: int = 1, padding: int = 0) -> Any:
        """A depthwise convolution of images (weights [kh, kw, c, 1]) or of lines (weights [k, 1, c])."""
        weight = self._weights[f"{path}.W"]
        weight = weight[:, :, :, None] if weight.ndim == 3 else weight
        *kernel, channels, _ = weight.shape
        bias = self._weights.get(f"{path}.b")
        layer = nn.Conv2d(channels, channels, tuple(kernel), stride, padding, groups=channels, bias=bias is not None)
        return self._filled(layer, weight.transpose(2, 3, 0, 1), bias)

    def conv_transpose(self, path: str) -> Any:
        """A transposed convolution that doubles height and width, with a kernel of 3 x 3."""
        weight = self._weights[f"{path}.W"]
        layer = nn.ConvTranspose2d(weight.shape[2], weight.shape[3], 3, stride=2, padding=1, output_padding=1)
        return self._filled(layer, weight.transpose(2, 3, 0, 1), self._weights[f"{path}.b"])

    def batchnorm(self, path: str, is_image: bool = True) -> Any:
        scale, shift = self._weights[f"{path}.scale"], self._weights[f"{path}.shift"]
        return self._filled(nn.BatchNorm2d(len(scale)) if is_image else nn.BatchNorm1d(len(scale)), scale, shift)

    def layernorm(self, path: str) -> Any:
        """A layer norm without a shift."""
        scale = self._weights[f"{path}.scale"]
        return self._filled(nn.LayerNorm(len(scale), bias=False), scale, None)

    def lstm(self, path: str) -> nn.LSTM:
        """An LSTM with one bias, as the other contenders have it."""
        w, u = self._weights[f"{path}.W"], self._weights[f"{path}.U"]
        layer = nn.LSTM(len(w), len(u))
        values = {"weight_ih_l0": w.T, "weight_hh_l0": u.T, "bias_ih_l0": self._weights[f"{path}.b"]}
        with torch.no_grad():
            layer.bias_hh_l0.zero_()
            for name, value in values.items():
                getattr(layer, name).copy_(torch.tensor(np.ascontiguousarray(value)))
        layer.bias_hh_l0.requires_grad_(False)
        return layer

    @staticmethod
    def _filled(layer: Any, weight: Any, bias: Any) -> Any:
        with torch.no_grad():
            layer.weight.copy_(torch.tensor(np.ascontiguousarray(weight)))
            if bias is not None:
                layer.bias.copy_(torch.tensor(bias))
        return layer
