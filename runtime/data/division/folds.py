"""Divides rows into folds for cross-validation: stratified by a label, by groups, or in order."""

from collections.abc import Mapping

import numpy as np

from netc.runtime.data.block.declarations import SplitSpec
from netc.runtime.data.division.dealing import dealt, dealt_groups
from netc.runtime.data.division.groups import is_only_group, with_every_class
from netc.runtime.data.stored import Array


def in_folds(
    rows: Array, split: SplitSpec, classes: Array | None, groups: Array | None, series: Array | None
) -> dict[str, Array]:
    """The validation part is one fold, the training part the others, or with ordered folds those before it.

    The test part, if there is one, is set aside first, so that it is the same for every fold. Without a fold, all
    other rows are the training part.
    """
    if not split.test:
        if not split.fold:
            return {"train": rows}
        part_of = _fold_parts(split, len(rows), classes, groups, series)
        return {name: rows[part_of == number] for number, name in enumerate(("train", "valid"))}
    shares = {"rest": 1 - split.test, "test": split.test}
    is_rest = _set_aside(split, shares, len(rows), classes, groups, series) == 0
    if not split.fold:
        return {"train": rows[is_rest], "test": rows[~is_rest]}
    rest = [None if array is None else _renumbered(array[is_rest]) for array in (classes, groups, series)]
    part_of = _fold_parts(split, int(is_rest.sum()), *rest)
    parts = {name: rows[is_rest][part_of == number] for number, name in enumerate(("train", "valid"))}
    return {**parts, "test": rows[~is_rest]}


def _set_aside(
    split: SplitSpec,
    shares: Mapping[str, float],
    count: int,
    classes: Array | None,
    groups: Array | None,
    series: Array | None,
) -> Array:
    """The number of each row's share, of which the first is divided into folds and has every class."""
    if groups is not None:
        part_of = dealt_groups(groups, shares, split.seed)
        return part_of if classes is None else with_every_class(part_of, classes, groups, 0)
    if split.is_ordered or series is not None:
        return dealt(np.zeros(count, np.int64) if series is None else series, shares, 0, split.seed, True)
    return dealt(np.zeros(count, np.int64) if classes is None else classes, shares, 0, split.seed)


def _renumbered(numbers: Array) -> Array:
    """The same classes, groups or series, numbered from 0 without gaps."""
    inverse: Array = np.unique(numbers, return_inverse=True)[1]
    return inverse


def _fold_parts(
    split: SplitSpec, count: int, classes: Array | None, groups: Array | None, series: Array | None
) -> Array:
    """0 for each row of the training part, 1 for the validation part, 2 for rows after it with ordered folds.

    Of folds that are not ordered none trains without a class: the only row or group of a class is in every training
    part.
    """
    if split.is_ordered:
        shares = {str(number): 1.0 for number in range(split.folds + 1)}
        blocks = dealt(np.zeros(count, np.int64) if series is None else series, shares, None, split.seed, True)
        ordered: Array = np.clip(blocks - split.fold + 1, 0, 2)  # 1 is the block after the first `fold` ones
        return ordered
    shares = {str(number): 1 / split.folds for number in range(1, split.folds + 1)}
    units = np.arange(count) if groups is None else groups
    isdealt = np.ones(count, bool) if classes is None else ~is_only_group(classes, units)
    fold_of = np.full(count, -1)
    if groups is not None:
        fold_of[isdealt] = dealt_groups(_renumbered(groups[isdealt]), shares, split.seed)
        if classes is not None:
            fold_of = with_every_class(fold_of, classes, groups)
    else:
        strata = series if series is not None else classes if classes is not None else np.zeros(count, np.int64)
        strata = _renumbered(strata[isdealt])
        fold_of[isdealt] = dealt(strata, shares, None, split.seed, is_ordered=series is not None)
    part_of: Array = np.where(fold_of == split.fold - 1, 1, 0)
    return part_of
