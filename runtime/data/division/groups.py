"""Divides whole groups of rows into parts of given sizes, and sees to it that every class occurs in training."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from netc.runtime.data.stored import Array


def divided_groups(groups: Array, sizes: Array, named: int, random: np.random.Generator) -> Array:
    """The number of each row's part, where rows of one group are in one part.

    Groups come in random order. Each goes to the part that lacks the largest share of its size, among those that have
    room for at least half of the group; if none has, to the part with the most room. None of the first `named`
    parts stays empty if there are enough groups.
    """
    counts = np.bincount(groups)
    order = random.permutation(len(counts))
    part_of = np.empty(len(counts), np.int64)
    remaining = sizes.astype(float).tolist()
    empty = set(range(named))
    for position, group in enumerate(order.tolist()):
        count = float(counts[group])
        if len(order) - position <= len(empty):
            part = min(empty, key=partial(_misfit, remaining, count))
        else:
            part = max(range(len(remaining)), key=partial(_fit, remaining, sizes.tolist(), count))
        part_of[group] = part
        remaining[part] -= count
        empty.discard(part)
    return part_of[groups]


def _misfit(remaining: Sequence[float], count: float, part: int) -> float:
    """The difference between the size of a group and the room that a part has left."""
    return abs(remaining[part] - count)


def _fit(remaining: Sequence[float], sizes: Sequence[int], count: float, part: int) -> tuple[bool, float]:
    """The need of a part for a group of `rows` rows: parts that have room for half of the group come first."""
    fits = sizes[part] > 0 and 2 * remaining[part] >= count
    return fits, remaining[part] / sizes[part] if fits else remaining[part]


def is_only_group(classes: Array, groups: Array) -> Array:
    """Whether each row belongs to a group that is the only one of some class."""
    pairs = np.unique(classes * (groups.max(initial=0) + 1) + groups)
    class_of, group_of = np.divmod(pairs, groups.max(initial=0) + 1)
    is_lone = np.bincount(class_of)[class_of] == 1
    return np.isin(groups, group_of[is_lone])


def with_every_class(part_of: Array, classes: Array, groups: Array, train: int | None = None) -> Array:
    """The number of each row's part, changed so that no class is missing in training.

    For a class without rows in the part `train`, the group of its first row is moved there. If `train` is None, each
    part is left out of training once (folds): a class all of whose rows are in one part gives that group to the part
    -1, which is never left out.
    """
    if train is None:
        least, most = np.full(classes.max() + 1, part_of.max() + 1), np.full(classes.max() + 1, -1)
        np.minimum.at(least, classes, part_of)
        np.maximum.at(most, classes, part_of)
        is_lost = least == most
    else:
        is_lost = np.bincount(classes, part_of == train) == 0
    first_rows = np.unique(classes, return_index=True)[1]
    moved = groups[first_rows[is_lost]]
    return np.where(np.isin(groups, moved), -1 if train is None else train, part_of)
