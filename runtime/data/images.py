"""`images("folder")`: pictures as a table of `image` (bytes, [h, w, c]), `label` (the folder's name) and `path`;
decoded once, kept as one array on disk.

A folder holds a folder a class. Or it is a csv with a column `path`, whose other columns stay. PNG and JPEG, by Pillow.
"""

import csv
import hashlib
import io
import json
import os
import zlib
from collections.abc import Mapping, Sequence
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

Array = np.ndarray[Any, Any]
Options = Mapping[str, Any]
_ENDINGS = (".png", ".jpg", ".jpeg")
_PIXEL = 8  # bytes of a pixel as it is decoded, and as it is converted
_FORMATS = ("PNG", "JPEG")  # Pillow knows others, some of which start programs of the system (PostScript: Ghostscript)


def read_images(path: Path, shown: str, span: Span, options: Options) -> tuple[dict[str, Array], tuple[str, ...]]:
    """The columns of the table, and what is to be said of it.

    `options`: `size` (h, w) they are brought to, `channels` 1 or 3, `broken` skip or refuse.

    Faults E0801 at the first picture that cannot be decoded, E0804 where one is of another size than the first.
    """
    files, columns = _listed(path, shown, span)
    for file in files:
        opening(file, str(file), span)
    if not files:
        fault("E0801", f"there are no pictures in `{shown}`", span, "a folder a class, with .png and .jpg in them")
    place = _place(files, options)
    found = _open(place)
    if found is not None and place is not None:
        eviction.use(place)
    if found is None:
        images, kept = _decode(files, shown, span, options)
        found = images, kept
        if place is not None:
            origin = copies.Origin(str(path.resolve()), repr(sorted(options.items())))
            found = _keep(place, images, kept, origin) or found
    images, kept = found
    skipped = len(files) - len(kept)
    notes = (f"{shown}: {skipped} broken picture{'s' * (skipped > 1)} skipped",) if skipped else ()
    return {"image": images, **{name: column[kept] for name, column in columns.items()}}, notes


def _texts(cells: Sequence[Any]) -> Array:
    column = np.empty(len(cells), object)
    column[:] = cells
    return column


def _listed(path: Path, shown: str, span: Span) -> tuple[list[Path], dict[str, Array]]:
    """The files in order, and a cell for each of what else is known."""
    if os.path.isdir(path):
        for folder in path.iterdir():
            if folder.is_symlink() and folder.is_dir():
                opening(folder, f"{shown}/{folder.name}", span)
        files = sorted(one for one in path.glob("*/*") if one.suffix.lower() in _ENDINGS)
        return files, {
            "label": _texts([one.parent.name for one in files]),
            "path": _texts([str(one.relative_to(path)) for one in files]),
        }
    if not os.path.exists(path):
        fault("E0801", f"there is no folder `{shown}`", span, "paths start from the `.net` file's folder")
    text = content_of(path).decode("utf-8-sig")
    table = csv.DictReader(io.StringIO(text, newline=None))
    rows, names = list(table), table.fieldnames or ()
    if not rows or "path" not in names:
        fault("E0802", f"`{shown}` has no column `path`", span, "a table of pictures names each one's file")
    files = [path.parent / str(row["path"]) for row in rows]
    return files, {name: _texts([row.get(name) or None for row in rows]) for name in names}


def _decode(files: Sequence[Path], shown: str, span: Span, options: Options) -> tuple[Array, Array]:
    """All pictures as one array, and which of the files they are."""
    images: Array | None = None
    kept: list[int] = []
    channels, size = options.get("channels"), options.get("size")
    for number, file in enumerate(files):
        try:
            pixels = _pixels(file, channels, size)
        except NotEnough as lack:
            refuse(lack, span)
        except MemoryError:
            raise
        except Exception as error:  # a decoder raises anything where a picture is broken
            if options.get("broken") == "skip":
                continue
            fault(
                "E0801",
                f"cannot decode `{file}`",
                span,
                _why(error),
                hint=f'images("{shown}", broken = skip) leaves such pictures out',
            )
        channels = pixels.shape[2]
        if images is None:
            images = store.allocate((len(files), *pixels.shape), np.uint8)
        if pixels.shape != images.shape[1:]:
            first = files[kept[0]]
            fault(
                "E0804",
                f"`{file}` has {pixels.shape[0]} x {pixels.shape[1]} pixels",
                span,
                f"`{first}` has {images.shape[1]} x {images.shape[2]}",
                hint=f'images("{shown}", size = ({images.shape[1]}, {images.shape[2]})) makes them alike',
            )
        images[len(kept)] = pixels
        kept.append(number)
    if images is None:
        fault("E0801", f"no picture in `{shown}` can be decoded", span)
    return images[: len(kept)], np.array(kept)


def _why(error: Exception) -> str:
    """What keeps a picture from being decoded. Pillow names its own stream where it knows no format."""
    return "it is no PNG or JPEG" if type(error).__name__ == "UnidentifiedImageError" else reason(error)


def _pixels(file: Path, channels: int | None, size: tuple[int, int] | None) -> Array:
    """A picture [h, w, c], brought to a size; grey ones have one channel if `channels` does not say it."""
    from PIL import Image

    with opened(file) as stream, Image.open(stream, formats=_FORMATS) as picture:
        require(_PIXEL * picture.width * picture.height, f"`{file}`, {picture.width} x {picture.height} pixels,")
        channels = channels or (1 if picture.mode in ("1", "L", "I;16") else 3)
        decoded = picture.convert("L" if channels == 1 else "RGB")
        if size is not None:
            decoded = decoded.resize((size[1], size[0]), Image.Resampling.BILINEAR)
        pixels: Array = np.asarray(decoded, np.uint8).reshape(decoded.height, decoded.width, channels)
    return pixels


# ------------------------------------------------------------------ decoded once


def _place(files: Sequence[Path], options: Options) -> Path | None:
    """Where the decoded pictures of these files lie: a name for what they are and were made with."""
    own = copies.folder()
    if own is None:
        return None
    told: list[Any] = [sorted((key, str(value)) for key, value in options.items())]
    for file in files:
        try:
            status = file.stat()
            told.append((str(file.resolve()), status.st_size, status.st_mtime_ns))
        except (OSError, ValueError):  # ValueError: a null character in the path
            told.append(str(file))
    return own / f"images-{hashlib.sha256(json.dumps(told).encode()).hexdigest()[:32]}"


def _open(place: Path | None) -> tuple[Array, Array] | None:
    """The pictures and which files they are, memory-mapped; None if they are not there, or not as they were written."""
    try:
        if place is None:
            return None
        told = json.loads((place / "images.json").read_text(encoding="utf-8"))
        images = np.load(place / "images.npy", mmap_mode="r")
        if list(images.shape) != told["shape"] or images.dtype != np.uint8 or _checksum(images) != told["crc"]:
            return None
        return images, np.array(told["kept"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _checksum(images: Array) -> int:
    return zlib.crc32(np.ascontiguousarray(images).data)


def _keep(place: Path, images: Array, kept: Array, origin: copies.Origin) -> tuple[Array, Array] | None:
    """Keep decoded pictures, and return them as they are kept.

    None where there is no room for them: they are decoded anew each time.
    """
    try:
        place.parent.mkdir(0o700, exist_ok=True)
        with temporary.folder(place.parent) as beside:
            np.save(beside / "images.npy", images)
            told = {"shape": list(images.shape), "crc": _checksum(images), "kept": kept.tolist()}
            (beside / "images.json").write_text(json_text(told), encoding="utf-8")
            found = _open(beside)  # mapped files stay usable, whatever becomes of their names
            copies.publish(beside, place, origin)
            return found
    except OSError as error:
        home.warn_cannot_write(error)
        return None
