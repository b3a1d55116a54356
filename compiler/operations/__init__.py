"""The operations of the language, a file a family; importing this registers them all."""

from netc.compiler.operations import (
    convolution,
    derivative,
    elementwise,
    images,
    linear,
    metrics,
    pooling,
    random,
    reduce,
    shape,
    window,
)

__all__ = [
    "convolution",
    "derivative",
    "elementwise",
    "images",
    "linear",
    "metrics",
    "pooling",
    "random",
    "reduce",
    "shape",
    "window",
]
