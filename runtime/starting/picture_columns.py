"""Recognises a column of a table that names pictures, and chooses their size and the layers that read them."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from netc.runtime.data.pictures.decoder import SUFFIXES
from netc.runtime.data.tables.cells import is_missing
from netc.runtime.data.tables.table import Table

_SIDE = 64  # pixels: larger pictures are scaled down to it
_SMALLEST = 16  # pixels: a smaller picture is pooled once only
_LOOKED_AT = 200  # pictures whose size is compared

Shape = tuple[int, ...]  # height, width, channels


def column_of_pictures(table: Table, folder: Path) -> tuple[str, list[Path]] | None:
    """The first column whose cells are all paths of pictures in `folder`, and some of these paths; None if none is."""
    rows = np.arange(len(table))[:: max(1, len(table) // _LOOKED_AT)]
    for name, column in table.columns.items():
        cells = column[rows]
        if cells.ndim > 1 or is_missing(cells).any():
            continue
        paths = [folder / str(cell) for cell in cells]
        if all(path.suffix.lower() in SUFFIXES and os.path.isfile(path) for path in paths):
            return name, paths
    return None


def shape_of(files: Sequence[Path]) -> tuple[Shape, dict[str, Any]]:
    """The shape in which a first model reads pictures, and the options of `images` that bring them into it."""
    sizes, channels = _sizes(files)
    is_one_size = len(sizes) == 1 and max(next(iter(sizes), (_SIDE + 1,))) <= _SIDE
    height, width = next(iter(sizes)) if is_one_size else (_SIDE, _SIDE)
    options: dict[str, Any] = {} if is_one_size else {"size": (height, width)}
    return (height, width, channels), {**options, "channels": channels}


def _sizes(files: Sequence[Path]) -> tuple[set[tuple[int, int]], int]:
    """The heights and widths of the first pictures, and 3 channels if one of them has colours, else 1."""
    from PIL import Image

    sizes: set[tuple[int, int]] = set()
    channels = 1
    for file in files[:: max(1, len(files) // _LOOKED_AT)]:
        try:
            with Image.open(file) as picture:
                sizes.add((picture.height, picture.width))
                channels = 3 if picture.mode not in ("1", "L", "LA", "I", "I;16", "F") else channels
        except Exception:
            continue
    return sizes, channels


def maps_of(shape: Shape) -> str:
    """The layers from a picture to its last maps."""
    pool = " -> maxpool(2)" if min(shape[:2]) >= _SMALLEST else ""
    first = "conv(16) -> batchnorm -> relu -> maxpool(2) -> conv(32) -> batchnorm -> relu"
    return f"{first}{pool} -> conv(64) -> batchnorm -> relu"
