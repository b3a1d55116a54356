"""Reads the data that a `data` block describes: readers, splits, and steps that are fitted on the training split.

Knows nothing of graphs except the types of inputs and targets.
"""
