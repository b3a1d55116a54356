"""Reads `idx("folder")`: LeCun's format, as MNIST has it."""

import math
import os
from pathlib import Path

import numpy as np

from netc.dsl.diagnostics import fault
from netc.dsl.quoting import cell
from netc.dsl.source import Span
from netc.runtime.data.access import opening
from netc.runtime.data.readers.content import content
from netc.runtime.data.readers.reading import reading
from netc.runtime.data.readers.request import Request
from netc.runtime.data.stored import Array
from netc.runtime.data.tables.table import Table, table_of

_IDX_TYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
_MOST_AXES = 32


def _read_idx_file(path: Path, span: Span) -> Array:
    """The array in a file: two zero bytes, a type, the number of dimensions, each as a big-endian int32, the elements.

    Raises E0801 if the file has another format or is cut short.
    """
    shown = path.name
    opening(path, shown, span)
    with reading(shown, span):
        raw = content(path, shown, span)
    if len(raw) < 4 or raw[:2] != b"\0\0" or raw[2] not in _IDX_TYPES or not 1 <= raw[3] <= _MOST_AXES:
        fault("E0801", f"`{shown}` is not an idx file", span)
    rank, kind = raw[3], np.dtype(_IDX_TYPES[raw[2]])
    dims = [int.from_bytes(raw[4 + 4 * i : 8 + 4 * i], "big") for i in range(rank)]
    size, present = kind.itemsize * math.prod(dims), max(len(raw) - 4 - 4 * rank, 0)
    if size != present or len(raw) < 4 + 4 * rank:
        fact = f"`{shown}` {'is cut short' if size >= present else 'is longer than its head says'}"
        fault("E0801", fact, span, f"{present:,} bytes where its head says {size:,}")
    return np.frombuffer(raw, kind, offset=4 + 4 * rank).reshape(dims).astype(kind.newbyteorder("="), copy=False)


def read_idx(request: Request) -> Table:
    """The arrays of a folder, or of the files whose names begin with its path: the columns `image` and `label`."""
    path, shown, span = request.path, request.shown, request.span
    folder, beginning = (path, "") if os.path.isdir(path) else (path.parent, path.name)
    entries = folder.iterdir() if os.path.isdir(folder) else ()
    parts: dict[str, list[Array]] = {}
    for file in sorted(entry for entry in entries if entry.name.startswith(beginning) and _is_idx(entry)):
        name = "label" if "label" in file.name else "image" if "image" in file.name else file.name.split(".")[0]
        parts.setdefault(name, []).append(_read_idx_file(file, span))
    if not parts:
        hint = 'idx("folder"), or the beginning of the names: idx("folder/train")'
        fault("E0801", f"there are no idx files `{shown}`", span, hint=hint)
    for name, arrays in parts.items():
        if len({array.shape[1:] for array in arrays}) != 1:
            fault("E0804", f"the files of `{shown}` hold `{cell(name)}` of different shapes", span)
    columns = {name: arrays[0] if len(arrays) == 1 else np.concatenate(arrays) for name, arrays in parts.items()}
    return table_of(shown, columns, "files", span)


def _is_idx(path: Path) -> bool:
    """Whether a file's name is that of an idx file: `train-images-idx3-ubyte`, `train.idx`, `train.idx.gz`."""
    return ("-idx" in path.name and ".idx" not in path.name) or path.name.endswith((".idx", ".idx.gz"))
