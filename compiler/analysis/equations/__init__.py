"""The equations of a model: forward from its inputs to the loss, and backward from the loss to its parameters.

`derivation` decides which values have an equation and a name, `reading` turns values into formulas, `formula` is the
algebra of these, and `text` and `latex` write them.
"""
