"""Divides the rows of a table into parts: at random (stratified by a label), in order, by groups, by a hash of a cell,
into folds, or by a column.

Takes cells and gives row numbers. Which rows a part gets is decided in dealing.py and folds.py.
"""

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np

from netc.dsl.diagnostics import fault, nearest
from netc.dsl.quoting import cell
from netc.dsl.source import Span
from netc.runtime.data.block.declarations import PARTS, DataSpec, FieldSpec, SplitSpec
from netc.runtime.data.division.dealing import dealt, dealt_groups
from netc.runtime.data.division.folds import in_folds
from netc.runtime.data.division.groups import with_every_class
from netc.runtime.data.stored import Array
from netc.runtime.data.tables.cells import is_missing, texts_of
from netc.runtime.data.tables.columns import TextColumn
from netc.runtime.data.tables.table import Column, Table

_LEAST_SHARE = 1e-9  # a smaller one is a rounding error of the fractions' sum
_HASH_BITS = 53  # as many as a float64 holds


def divide(
    table: Table, rows: Array, spec: DataSpec, label: FieldSpec | None, series: Array | None
) -> dict[str, Array]:
    """The rows of each part, in the order of `rows`.

    A random split distributes the labels of the field `label` evenly. `series` has the number of each row's series, if
    windows are cut from them: they are divided in order. Raises E0803 and E0806 if a column names the parts and its
    cells are not names of parts, or never "train".
    """
    split = spec.split
    if split.way == "column":
        return _by_column(table, rows, spec)
    if split.way == "hash":
        return _by_hash(table, rows, split)
    classes = None if label is None or series is not None else class_numbers(table, rows, label)
    groups = group_numbers(table, rows, split.column, split.span) if split.keeps_groups else None
    if split.way == "folds":
        return in_folds(rows, split, classes, groups, series)
    shares = _shares(split)
    train = list(shares).index("train")
    if groups is not None:
        part_of = dealt_groups(groups, shares, split.seed)
        if classes is not None:
            part_of = with_every_class(part_of, classes, groups, train)
    elif split.way == "ordered" or series is not None:
        part_of = dealt(np.zeros(len(rows), np.int64) if series is None else series, shares, train, split.seed, True)
    else:
        part_of = dealt(np.zeros(len(rows), np.int64) if classes is None else classes, shares, train, split.seed)
    return {name: rows[part_of == number] for number, name in enumerate(shares) if name}


def _shares(split: SplitSpec) -> dict[str, float]:
    """The fraction of each part; under an empty name that of the rows that are in none."""
    shares = dict(split.fractions)
    if "train" not in shares:  # training has a source of its own, which is divided, and keeps the rest
        shares["train"] = 1 - sum(shares.values())
    rest = 1 - sum(shares.values())
    return {**shares, "": rest} if rest > _LEAST_SHARE else shares


def _by_hash(table: Table, rows: Array, split: SplitSpec) -> dict[str, Array]:
    """The rows of each part: the text of a cell alone decides where its row goes.

    Its hash is a number from 0 to 1, and the parts are intervals in the order of PARTS.
    """
    assert split.column is not None
    column = table.column(split.column, split.span)
    shares = _shares(split)
    ends = np.cumsum([shares.get(name, 0.0) for name in PARTS])
    ends[ends > 1 - _LEAST_SHARE] = 1.0
    parts: dict[str, list[Array]] = {name: [] for name in shares if name}
    for chunk in chunks_of(rows):
        cells = column[chunk]
        require_cells(cells, chunk, table, split.column, split.span)
        part_of = np.searchsorted(ends, _hashes(texts_of(cells), split.seed), side="right")
        for name, pieces in parts.items():
            pieces.append(chunk[part_of == PARTS.index(name)])
    return {name: np.concatenate(pieces) for name, pieces in parts.items()}


def _hashes(texts: Sequence[str], seed: int) -> Array:
    """A number from 0 to below 1 for each text: the first bits of its BLAKE2b, the same on every machine."""
    salt = seed.to_bytes(16, "big", signed=True)
    digests = [
        hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8, salt=salt).digest() for text in texts
    ]
    return np.array([(int.from_bytes(digest, "big") >> 64 - _HASH_BITS) / 2**_HASH_BITS for digest in digests])


def class_numbers(table: Table, rows: Array, label: FieldSpec) -> Array | None:
    """The number of each row's class by the cells of one column; None if the label has several."""
    if len(label.columns) != 1 or label.is_rest:
        return None
    return _labels(table.column(label.columns[0], label.span), rows)


def group_numbers(table: Table, rows: Array, name: str | None, span: Span) -> Array:
    """The number of each row's group: rows with the same cell in the column `name` have the same.

    Without a column there is one group. Raises E0803 at the first row whose cell is missing.
    """
    if name is None:
        return np.zeros(len(rows), np.int64)
    column = table.column(name, span)
    for chunk in chunks_of(rows):
        require_cells(column[chunk], chunk, table, name, span)
    return _labels(column, rows)


def require_cells(cells: Array, rows: Array, table: Table, name: str, span: Span) -> None:
    """Raises E0803 at the first row that has no cell in the column that the split or the series reads."""
    is_empty = is_missing(cells).reshape(len(rows), -1).any(axis=1)
    if is_empty.any():
        note = f"{table.words_for_row(rows[is_empty][0])}, column `{cell(name)}`; {int(is_empty.sum())} in all"
        fault("E0803", "a value is missing", span, note, hint="each row needs a cell here, which decides where it goes")


def _labels(column: Column, rows: Array) -> Array:
    """A number for each row: rows with the same cell have the same number, in the order of their texts."""
    if isinstance(column, TextColumn):
        names, codes = [str(word) for word in (*column.words, None)], np.asarray(column.codes)[rows]
        rank = np.empty(len(names), np.int64)
        rank[sorted(range(len(names)), key=names.__getitem__)] = np.arange(len(names))
        return np.unique(rank[codes], return_inverse=True)[1]
    cells = column[rows]
    if cells.ndim > 1:
        return np.unique(cells.reshape(len(cells), -1), axis=0, return_inverse=True)[1].reshape(-1)
    texts = texts_of(cells)
    number_of = {text: i for i, text in enumerate(sorted(set(texts)))}
    return np.fromiter(map(number_of.__getitem__, texts), np.int64, len(texts))


def _by_column(table: Table, rows: Array, spec: DataSpec) -> dict[str, Array]:
    """The rows of each part, which the cells of a column name."""
    assert spec.split.column is not None
    column = table.column(spec.split.column, spec.split.span)
    parts: dict[str, list[Array]] = {}
    for chunk in chunks_of(rows):
        cells = np.array(texts_of(column[chunk]), object)
        for name in sorted(set(cells)):
            if name not in PARTS:
                location = f"{table.words_for_row(chunk[cells == name][0])}, column `{spec.split.column}`"
                hint = nearest(name, PARTS) or "train, valid, test and calibration"
                fault("E0803", f'"{cell(name)}" is not a part', spec.split.span, location, hint=hint)
            parts.setdefault(name, []).append(chunk[cells == name])
    if "train" not in parts:
        fault("E0806", "the part `train` has no rows", spec.split.span)
    return {name: np.concatenate(parts[name]) for name in PARTS if name in parts}


_CHUNK = 1 << 16  # rows at a time
_PICTURES = 1 << 22  # bytes of pictures at a time: what is copied from them is then still in a cache


def chunks_of(rows: Array, column: Column | None = None) -> Iterator[Array]:
    """Yields the row numbers in chunks, so that the cells of a chunk fit into memory; pictures of a `column` of bytes
    fit into a cache.
    """
    step = _CHUNK
    if isinstance(column, np.ndarray) and column.dtype == np.uint8 and column.size:
        step = min(step, max(_PICTURES // column[:1].size, 1))
    for start in range(0, len(rows), step):
        yield rows[start : start + step]
