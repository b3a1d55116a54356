"""Reads `images("folder")`: pictures as a table of `image` (bytes, [h, w, c]), `label` (the folder's name) and `path`.

The source is a folder with a folder for each class, or a csv with a column `path`, whose other columns are kept. PNG
and JPEG are decoded by Pillow, once: the cache keeps the pictures of a source as one array.
"""

import csv
import hashlib
import io
import json
import os
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from netc.dsl import eviction, home, temporary
from netc.dsl.diagnostics import fault
from netc.dsl.files import content_of, opened, reason
from netc.dsl.quoting import json_text
from netc.dsl.source import Span
from netc.runtime.available import NotEnough, refuse, require
from netc.runtime.data import copies, store
from netc.runtime.data.access import opening
from netc.runtime.data.stored import Array

Options = Mapping[str, Any]  # `size` (h, w) of the table's images, `channels` 1 or 3, `broken` "skip" or "refuse"
_SUFFIXES = (".png", ".jpg", ".jpeg")
_PIXEL = 8  # bytes of a pixel while it is decoded and converted
_FORMATS = ("PNG", "JPEG")  # Pillow knows others, some of which start programs of the system (PostScript: Ghostscript)


@dataclass(frozen=True, slots=True)
class _Decoded:
    """Pictures as one array [n, h, w, c], and for each the number of its file: broken ones may be left out."""

    images: Array
    file_numbers: Array


def read_images(path: Path, shown: str, span: Span, options: Options) -> tuple[dict[str, Array], tuple[str, ...]]:
    """The columns of the table, and notes for the user.

    Faults E0801 at the first picture that cannot be decoded, E0804 at the first of another size than those before it.
    """
    files, columns = _listed(path, shown, span)
    for file in files:
        opening(file, str(file), span)
    if not files:
        fault("E0801", f"there are no pictures in `{shown}`", span, "a folder a class, with .png and .jpg in them")
    folder = _cache_folder(files, options)
    decoded = _open(folder) if folder is not None else None
    if decoded is not None and folder is not None:
        eviction.use(folder)
    if decoded is None:
        decoded = _decode(files, shown, span, options)
        if folder is not None:
            origin = copies.Origin(str(path.resolve()), repr(sorted(options.items())))
            decoded = _keep(folder, decoded, origin) or decoded
    numbers = decoded.file_numbers
    skipped = len(files) - len(numbers)
    notes = (f"{shown}: {skipped} broken picture{'s' * (skipped > 1)} skipped",) if skipped else ()
    return {"image": decoded.images, **{name: column[numbers] for name, column in columns.items()}}, notes


def _text_column(cells: Sequence[Any]) -> Array:
    column = np.empty(len(cells), object)
    column[:] = cells
    return column


def _listed(path: Path, shown: str, span: Span) -> tuple[list[Path], dict[str, Array]]:
    """The files of a source in order, and its columns besides the images."""
    if os.path.isdir(path):
        for folder in path.iterdir():
            if folder.is_symlink() and folder.is_dir():
                opening(folder, f"{shown}/{folder.name}", span)
        files = sorted(file for file in path.glob("*/*") if file.suffix.lower() in _SUFFIXES)
        return files, {
            "label": _text_column([file.parent.name for file in files]),
            "path": _text_column([str(file.relative_to(path)) for file in files]),
        }
    if not os.path.exists(path):
        fault("E0801", f"there is no folder `{shown}`", span, "paths start from the `.net` file's folder")
    text = content_of(path).decode("utf-8-sig")
    table = csv.DictReader(io.StringIO(text, newline=None))
    rows, names = list(table), table.fieldnames or ()
    if not rows or "path" not in names:
        fault("E0802", f"`{shown}` has no column `path`", span, "a table of pictures names each one's file")
    files = [path.parent / str(row["path"]) for row in rows]
    return files, {name: _text_column([row.get(name) or None for row in rows]) for name in names}


def _decode(files: Sequence[Path], shown: str, span: Span, options: Options) -> _Decoded:
    """Decodes the pictures in the files; those that are broken are left out if the option `broken` is "skip"."""
    images: Array | None = None
    numbers: list[int] = []
    channels, size = options.get("channels"), options.get("size")
    for number, file in enumerate(files):
        try:
            pixels = _pixels(file, channels, size)
        except NotEnough as lack:
            refuse(lack, span)
        except MemoryError:
            raise
        except Exception as error:  # a decoder may raise any exception for a broken picture
            if options.get("broken") == "skip":
                continue
            hint = f'images("{shown}", broken = skip) leaves such pictures out'
            fault("E0801", f"cannot decode `{file}`", span, _why(error), hint=hint)
        channels = pixels.shape[2]
        if images is None:
            images = store.allocate((len(files), *pixels.shape), np.uint8)
        if pixels.shape != images.shape[1:]:
            h, w = images.shape[1:3]
            fact, note = (
                f"`{file}` has {pixels.shape[0]} x {pixels.shape[1]} pixels",
                f"`{files[numbers[0]]}` has {h} x {w}",
            )
            fault("E0804", fact, span, note, hint=f'images("{shown}", size = ({h}, {w})) makes them alike')
        images[len(numbers)] = pixels
        numbers.append(number)
    if images is None:
        fault("E0801", f"no picture in `{shown}` can be decoded", span)
    return _Decoded(images[: len(numbers)], np.array(numbers))


def _why(error: Exception) -> str:
    """The reason why a picture cannot be decoded. (Pillow's message for an unknown format names its stream.)"""
    return "it is no PNG or JPEG" if type(error).__name__ == "UnidentifiedImageError" else reason(error)


def _pixels(file: Path, channels: int | None, size: tuple[int, int] | None) -> Array:
    """The pixels [h, w, c] of a picture, scaled to `size`. Without `channels`, grey pictures have 1 and others 3."""
    from PIL import Image

    with opened(file) as stream, Image.open(stream, formats=_FORMATS) as picture:
        for height, width in ((picture.height, picture.width), size or (0, 0)):
            require(_PIXEL * width * height, f"`{file}`, {width} x {height} pixels,")
        channels = channels or (1 if picture.mode in ("1", "L", "I;16") else 3)
        decoded = picture.convert("L" if channels == 1 else "RGB")
        if size is not None:
            decoded = decoded.resize((size[1], size[0]), Image.Resampling.BILINEAR)
        pixels: Array = np.asarray(decoded, np.uint8).reshape(decoded.height, decoded.width, channels)
    return pixels


# ------------------------------------------------------------------ the cache


def _cache_folder(files: Sequence[Path], options: Options) -> Path | None:
    """The folder of the cache for these files and options, named by a hash of both; None if there is no cache."""
    parent = copies.folder()
    if parent is None:
        return None
    key: list[Any] = [sorted((name, str(value)) for name, value in options.items())]
    for file in files:
        try:
            status = file.stat()
            key.append((str(file.resolve()), status.st_size, status.st_mtime_ns))
        except (OSError, ValueError):  # ValueError: a null character in the path
            key.append(str(file))
    return parent / f"images-{hashlib.sha256(json.dumps(key).encode()).hexdigest()[:32]}"


def _open(folder: Path) -> _Decoded | None:
    """The pictures in a folder of the cache, memory-mapped; None if they are not there, or not as they were written."""
    try:
        listing = json.loads((folder / "images.json").read_text(encoding="utf-8"))
        images = np.load(folder / "images.npy", mmap_mode="r")
        if list(images.shape) != listing["shape"] or images.dtype != np.uint8 or _checksum(images) != listing["crc"]:
            return None
        return _Decoded(images, np.array(listing["kept"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _checksum(images: Array) -> int:
    return zlib.crc32(np.ascontiguousarray(images).data)


def _keep(folder: Path, decoded: _Decoded, origin: copies.Origin) -> _Decoded | None:
    """Writes decoded pictures to the cache, and returns them mapped from there.

    Returns None if the cache cannot be written: the pictures are decoded anew each time.
    """
    try:
        folder.parent.mkdir(0o700, exist_ok=True)
        with temporary.folder(folder.parent) as temporary_folder:
            images = decoded.images
            np.save(temporary_folder / "images.npy", images)
            listing = {"shape": list(images.shape), "crc": _checksum(images), "kept": decoded.file_numbers.tolist()}
            (temporary_folder / "images.json").write_text(json_text(listing), encoding="utf-8")
            mapped = _open(temporary_folder)  # mapped files stay usable when they are renamed or removed
            copies.publish(temporary_folder, folder, origin)
            return mapped
    except OSError as error:
        home.warn_cannot_write(error)
        return None
