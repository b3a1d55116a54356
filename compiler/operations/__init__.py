"""The operations of the language, a file a family; importing this registers them all."""

from netc.compiler.operations import (
    convolution,
    elementwise,
    figures,
    images,
    linear,
    pooling,
    random,
    reduce,
    shape,
    window,
)

__all__ = [
    "convolution",
    "elementwise",
    "figures",
    "images",
    "linear",
    "pooling",
    "random",
    "reduce",
    "shape",
    "window",
]
