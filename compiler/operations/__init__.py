"""The operations of the language, a file a family; importing this registers them all."""

from netc.compiler.operations import elementwise, linear, random, reduce, shape, window

__all__ = ["elementwise", "linear", "random", "reduce", "shape", "window"]
