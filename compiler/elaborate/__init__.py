"""Syntax tree -> checked model: names, constants, blocks, shapes.

Layers are gone afterwards, primitive operations remain.
"""
