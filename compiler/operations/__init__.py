"""The operations of the language, one file for each family. Importing this package registers all of them."""

from netc.compiler.operations import (
    convolution,
    derivative,
    elementwise,
    functions,
    gathering,
    images,
    linear,
    metrics,
    pooling,
    random,
    reduce,
    reshaping,
    shape,
    touched,
    trigonometry,
    window,
)

__all__ = [
    "convolution",
    "derivative",
    "elementwise",
    "functions",
    "gathering",
    "images",
    "linear",
    "metrics",
    "pooling",
    "random",
    "reduce",
    "reshaping",
    "shape",
    "touched",
    "trigonometry",
    "window",
]
