"""Divides rows in given shares by the method of largest remainders: a total, or each class and the total at once.

Takes counts and gives counts; which rows they are is decided by split.py.
"""

import numpy as np

from netc.runtime.data.stored import Array

_DIGITS = 6  # decimal digits to which shares of rows are compared: below them there is only rounding


def apportioned(shares: Array, count: int, named: int) -> Array:
    """Integers that add up to `count`, in the ratio of the shares.

    Each of the first `named` shares gets at least 1 if the count suffices. Of equal remainders the first is rounded up.
    """
    ideal = np.round(shares / shares.sum() * count, _DIGITS)
    sizes: Array = np.floor(ideal).astype(np.int64)
    order = np.argsort(sizes - ideal, kind="stable")
    sizes[order[: count - int(sizes.sum())]] += 1
    for part in np.flatnonzero(sizes[:named] == 0) if count >= named else ():
        sizes[len(sizes) - 1 - np.argmax(sizes[::-1])] -= 1  # of equal ones the last, which may have no name
        sizes[part] = 1
    return sizes


def divided_classes(counts: Array, sizes: Array, train: int | None, ranks: Array) -> Array:
    """The number of rows of each class in each part, [classes, parts]: as even as whole rows allow.

    `counts` has the rows of each class and `sizes` those of each part, with the same sum. Rows and columns of the
    result add up to them. Each class has at least one row in the part `train`, which grows if it is too small for that.
    Classes with equal remainders are rounded up in the order of their `ranks`.
    """
    ideal = np.round(_ideal(counts, sizes, train), _DIGITS)
    totals = apportioned(ideal.sum(axis=0), int(counts.sum()), 0)
    result: Array = np.floor(ideal).astype(np.int64)
    remainders = ideal - result
    pending = counts - result.sum(axis=1)
    for part in range(len(totals) - 1):
        missing = max(int(totals[part] - result[:, part].sum()), 0)
        # a class with as many pending rows as parts that may still be rounded up has no other place for them
        slack = (remainders[:, part:] > 0).sum(axis=1) - pending
        order = np.lexsort((ranks, -remainders[:, part], slack, remainders[:, part] == 0))
        rounded_up = order[pending[order] > 0][:missing]
        result[rounded_up, part] += 1
        pending[rounded_up] -= 1
    result[:, -1] += pending
    return result


def _ideal(counts: Array, sizes: Array, train: int | None) -> Array:
    """The share of each part in each class, [classes, parts]: in the ratio of the sizes, but at least 1 row to train.

    What classes with few rows give to the training part beyond their share, the others give it less.
    """
    if train is None:
        return np.outer(counts, sizes / sizes.sum())
    others = np.where(np.arange(len(sizes)) == train, 0, sizes)
    ideal = np.zeros((len(counts), len(sizes)))
    is_small = np.zeros(len(counts), bool)
    while True:
        left = np.maximum(sizes - ideal[is_small].sum(axis=0), 0)
        if not is_small.all():
            ideal[~is_small] = np.outer(counts[~is_small], left / left.sum())
        is_next = ~is_small & (np.round(ideal[:, train], _DIGITS) < 1)
        if not is_next.any():
            return ideal
        ideal[is_next] = np.outer(counts[is_next] - 1, others / max(others.sum(), 1))
        ideal[is_next, train] = 1
        is_small |= is_next
