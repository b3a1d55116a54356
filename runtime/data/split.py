"""Which rows of a table go to which part: at random (stratified by a label), in order, by groups, or as a column says."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from netc.dsl.diagnostics import fault, nearest
from netc.dsl.quoting import cell
from netc.runtime.data import windows
from netc.runtime.data.cells import natural, texts_of
from netc.runtime.data.declarations import PARTS, DataSpec, FieldSpec
from netc.runtime.data.store import TextColumn
from netc.runtime.data.table import Column, Table
from netc.runtime.random import generator

Array = np.ndarray[Any, Any]


def divide(table: Table, rows: Array, spec: DataSpec, label: FieldSpec | None, seed: int) -> dict[str, Array]:
    """The rows of each part, in the order of the table.

    `label` is the field whose labels each part shall have its share of.
    """
    split = spec.split
    if split.way == "column":
        return _as_told(table, rows, spec)
    fractions = dict(split.fractions)
    if (
        "train" not in fractions
    ):  # the training part is a source of its own: fractions are taken of it, and it keeps the rest
        fractions = {**fractions, "train": 1 - sum(fractions.values())}
    if split.way == "ordered" or windows.is_series(spec.fields.values()):
        edges = _edges(fractions, len(rows))
        return {name: rows[start:stop] for name, (start, stop) in edges.items()}
    if split.way == "by":
        assert split.column is not None
        return _by_group(rows, _labels(table.column(split.column, split.span), rows), fractions, seed)
    groups = [rows]
    if label is not None and len(label.columns) == 1 and not label.is_rest:
        cells = _labels(table.column(label.columns[0], label.span), rows)
        groups = np.split(rows[np.argsort(cells, kind="stable")], np.cumsum(np.bincount(cells))[:-1])
    chosen: dict[str, list[Array]] = {name: [] for name in fractions}
    for i, group in enumerate(groups):
        order = generator(seed, "split", i).permutation(len(group))
        for name, (start, stop) in _edges(fractions, len(group)).items():
            chosen[name].append(group[order[start:stop]])
    return {name: np.sort(np.concatenate(parts)) for name, parts in chosen.items()}


def _edges(fractions: dict[str, float], count: int) -> dict[str, tuple[int, int]]:
    """Where each part begins and ends, of so many rows."""
    edges = np.round(np.cumsum([0.0, *fractions.values()]) * count).astype(int)
    return {name: (int(start), int(stop)) for name, start, stop in zip(fractions, edges, edges[1:], strict=False)}


def _labels(column: Column, rows: Array) -> Array:
    """A number for each row that is the same where the cell is, in the order of the labels."""
    if isinstance(column, TextColumn):
        names, codes = [str(word) for word in (*column.words, None)], np.asarray(column.codes)[rows]
        place = np.empty(len(names), np.int64)
        place[sorted(range(len(names)), key=lambda i: natural(names[i]))] = np.arange(len(names))
        return np.unique(place[codes], return_inverse=True)[1]
    cells = column[rows]
    if cells.ndim > 1:
        return np.unique(cells.reshape(len(cells), -1), axis=0, return_inverse=True)[1].reshape(-1)
    texts = texts_of(cells)
    number_of = {text: i for i, text in enumerate(sorted(set(texts)))}
    return np.array([number_of[text] for text in texts], np.int64)


def _by_group(rows: Array, groups: Array, fractions: dict[str, float], seed: int) -> dict[str, Array]:
    """All rows of a group in one part: groups in a drawn order, each to the part in which its middle row falls."""
    sizes = np.bincount(groups)
    order = generator(seed, "split", "groups").permutation(len(sizes))
    middles = np.cumsum(sizes[order]) - sizes[order] / 2
    part_of = np.full(len(sizes), -1)
    for i, (start, stop) in enumerate(_edges(fractions, len(rows)).values()):
        part_of[order[(middles >= start) & (middles < stop)]] = i
    return {name: rows[part_of[groups] == i] for i, name in enumerate(fractions)}


def _as_told(table: Table, rows: Array, spec: DataSpec) -> dict[str, Array]:
    assert spec.split.column is not None
    column = table.column(spec.split.column, spec.split.span)
    found: dict[str, list[Array]] = {}
    for chosen in chunks_of(rows):
        cells = np.array(texts_of(column[chosen]), object)
        for name in sorted(set(cells)):
            if name not in PARTS:
                row = chosen[int(np.flatnonzero(cells == name)[0])] + table.first_row
                fault(
                    "E0803",
                    f'"{cell(name)}" is no part',
                    spec.split.span,
                    f"`{table.name}`, row {row}, column `{spec.split.column}`",
                    hint=nearest(name, PARTS) or "train, valid and test",
                )
            found.setdefault(name, []).append(chosen[cells == name])
    if "train" not in found:
        fault("E0806", "the part `train` has no rows", spec.split.span)
    return {name: np.concatenate(found[name]) for name in PARTS if name in found}


_CHUNK = 1 << 16  # rows at a time


def chunks_of(rows: Array) -> Iterator[Array]:
    """The row numbers, so many at a time as fit into memory with all their cells."""
    for start in range(0, len(rows), _CHUNK):
        yield rows[start : start + _CHUNK]
