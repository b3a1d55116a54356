"""The `data` block at work: readers, steps fitted on the training split, splits.

Knows nothing of graphs but the types it must give.
"""
