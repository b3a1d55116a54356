"""Syntax tree -> checked model: names, constants, blocks, shapes. Layers are gone afterwards, primitive operations remain."""

from netc.compiler.elaborate.elaborator import elaborate

__all__ = ["elaborate"]
