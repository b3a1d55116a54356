"""Divides the rows of a table into parts: at random (stratified by a label), in order, by groups, or by a column."""

from collections.abc import Iterator

import numpy as np

from netc.dsl.diagnostics import fault, nearest
from netc.dsl.quoting import cell
from netc.runtime.data import windows
from netc.runtime.data.cells import natural, texts_of
from netc.runtime.data.declarations import PARTS, DataSpec, FieldSpec
from netc.runtime.data.store import TextColumn
from netc.runtime.data.stored import Array
from netc.runtime.data.table import Column, Table
from netc.runtime.random import generator


def divide(table: Table, rows: Array, spec: DataSpec, label: FieldSpec | None, seed: int) -> dict[str, Array]:
    """The rows of each part, in the order of the table.

    A random split distributes the labels of the field `label` evenly. Faults E0803 and E0806 if a column names the
    parts and its cells are no names of parts, or never "train".
    """
    split = spec.split
    if split.way == "column":
        return _by_column(table, rows, spec)
    fractions = dict(split.fractions)
    if "train" not in fractions:  # training has a source of its own, which is divided, and keeps the rest
        fractions = {**fractions, "train": 1 - sum(fractions.values())}
    if split.way == "ordered" or windows.is_series(spec.fields.values()):
        edges = _edges(fractions, len(rows))
        return {name: rows[start:stop] for name, (start, stop) in edges.items()}
    if split.way == "by":
        assert split.column is not None
        return _by_group(rows, _labels(table.column(split.column, split.span), rows), fractions, seed)
    return _at_random(table, rows, label, fractions, seed)


def _at_random(
    table: Table, rows: Array, label: FieldSpec | None, fractions: dict[str, float], seed: int
) -> dict[str, Array]:
    """The rows of each part, drawn at random: the same share of the rows with each label."""
    groups = [rows]
    if label is not None and len(label.columns) == 1 and not label.is_rest:
        cells = _labels(table.column(label.columns[0], label.span), rows)
        groups = np.split(rows[np.argsort(cells, kind="stable")], np.cumsum(np.bincount(cells))[:-1])
    parts: dict[str, list[Array]] = {name: [] for name in fractions}
    for i, group in enumerate(groups):
        order = generator(seed, "split", i).permutation(len(group))
        for name, (start, stop) in _edges(fractions, len(group)).items():
            parts[name].append(group[order[start:stop]])
    return {name: np.sort(np.concatenate(chunks)) for name, chunks in parts.items()}


def _edges(fractions: dict[str, float], count: int) -> dict[str, tuple[int, int]]:
    """The first row of each part and the row after its last, out of `count` rows."""
    edges = np.round(np.cumsum([0.0, *fractions.values()]) * count).astype(int)
    return {name: (int(start), int(stop)) for name, start, stop in zip(fractions, edges, edges[1:], strict=False)}


def _labels(column: Column, rows: Array) -> Array:
    """A number for each row: rows with the same cell have the same number, in the order of the cells."""
    if isinstance(column, TextColumn):
        names, codes = [str(word) for word in (*column.words, None)], np.asarray(column.codes)[rows]
        rank = np.empty(len(names), np.int64)
        rank[sorted(range(len(names)), key=lambda i: natural(names[i]))] = np.arange(len(names))
        return np.unique(rank[codes], return_inverse=True)[1]
    cells = column[rows]
    if cells.ndim > 1:
        return np.unique(cells.reshape(len(cells), -1), axis=0, return_inverse=True)[1].reshape(-1)
    texts = texts_of(cells)
    number_of = {text: i for i, text in enumerate(sorted(set(texts)))}
    return np.array([number_of[text] for text in texts], np.int64)


def _by_group(rows: Array, groups: Array, fractions: dict[str, float], seed: int) -> dict[str, Array]:
    """The rows of each part, all rows of a group in one: groups in random order, each to the part of its middle row."""
    sizes = np.bincount(groups)
    order = generator(seed, "split", "groups").permutation(len(sizes))
    middles = np.cumsum(sizes[order]) - sizes[order] / 2
    part_of = np.full(len(sizes), -1)
    for i, (start, stop) in enumerate(_edges(fractions, len(rows)).values()):
        part_of[order[(middles >= start) & (middles < stop)]] = i
    return {name: rows[part_of[groups] == i] for i, name in enumerate(fractions)}


def _by_column(table: Table, rows: Array, spec: DataSpec) -> dict[str, Array]:
    """The rows of each part, which the cells of a column name."""
    assert spec.split.column is not None
    column = table.column(spec.split.column, spec.split.span)
    parts: dict[str, list[Array]] = {}
    for chunk in chunks_of(rows):
        cells = np.array(texts_of(column[chunk]), object)
        for name in sorted(set(cells)):
            if name not in PARTS:
                row = int(table.rows.of(chunk[np.flatnonzero(cells == name)[:1]])[0])
                fault(
                    "E0803",
                    f'"{cell(name)}" is no part',
                    spec.split.span,
                    f"`{table.name}`, row {row}, column `{spec.split.column}`",
                    hint=nearest(name, PARTS) or "train, valid and test",
                )
            parts.setdefault(name, []).append(chunk[cells == name])
    if "train" not in parts:
        fault("E0806", "the part `train` has no rows", spec.split.span)
    return {name: np.concatenate(parts[name]) for name in PARTS if name in parts}


_CHUNK = 1 << 16  # rows at a time


def chunks_of(rows: Array) -> Iterator[Array]:
    """Yields the row numbers in chunks, so that the cells of a chunk fit into memory."""
    for start in range(0, len(rows), _CHUNK):
        yield rows[start : start + _CHUNK]
