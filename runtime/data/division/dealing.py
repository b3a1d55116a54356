"""Deals rows to parts of given shares: each class or series by itself, or whole groups.

Takes a number for each row and gives the number of its part.
"""

from collections.abc import Mapping

import numpy as np

from netc.runtime.data.division.apportion import apportioned, divided_classes
from netc.runtime.data.division.groups import divided_groups
from netc.runtime.data.stored import Array
from netc.runtime.random import generator


def _sizes(shares: Mapping[str, float], count: int) -> Array:
    """The number of rows of each part."""
    return apportioned(np.array(list(shares.values())), count, sum(bool(name) for name in shares))


def dealt(classes: Array, shares: Mapping[str, float], train: int | None, seed: int, is_ordered: bool = False) -> Array:
    """The number of each row's part: each class is divided in these shares, in order or else at random."""
    if not len(classes):
        return np.empty(0, np.int64)
    random = generator(seed, "split")
    order = np.arange(len(classes)) if is_ordered else random.permutation(len(classes))
    order = order[np.argsort(classes[order], kind="stable")]  # class after class
    counts = np.bincount(classes)
    ranks = np.arange(len(counts)) if is_ordered else random.permutation(len(counts))
    rows_by_class = divided_classes(counts, _sizes(shares, len(classes)), train, ranks)
    part_of = np.empty(len(classes), np.int64)
    part_of[order] = np.repeat(np.tile(np.arange(len(shares)), len(counts)), rows_by_class.ravel())
    return part_of


def dealt_groups(groups: Array, shares: Mapping[str, float], seed: int) -> Array:
    """The number of each row's part: whole groups are divided at random, so that parts have about these shares."""
    named = sum(bool(name) for name in shares)
    return divided_groups(groups, _sizes(shares, len(groups)), named, generator(seed, "split", "groups"))
