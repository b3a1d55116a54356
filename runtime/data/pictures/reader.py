"""Reads `images("folder")`: pictures as a table of `image` (bytes, [h, w, c]), `label` (the folder's name) and `path`.

Pictures are decoded once (decoder.py): the cache keeps those of a source as one array.
"""

import hashlib
import json
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import Struct

from netc.dsl.diagnostics import Diagnostic, Label, fault
from netc.dsl.plural import counted
from netc.dsl.quoting import json_text
from netc.dsl.storage import eviction, home, temporary
from netc.dsl.structs import replace
from netc.runtime.available import NotEnough, refuse
from netc.runtime.data.access import opening
from netc.runtime.data.pictures import decoder
from netc.runtime.data.pictures.decoder import Settings, TooManyPixels
from netc.runtime.data.pictures.files import Listing, list_pictures
from netc.runtime.data.pictures.parts import decoded_together
from netc.runtime.data.pictures.table import ReadTable
from netc.runtime.data.readers.request import Request
from netc.runtime.data.stored import Array
from netc.runtime.data.tables import copies, store
from netc.runtime.data.tables.cells import BadRows, RowFault, RowProblem
from netc.runtime.data.tables.row_numbers import RowNumbers
from netc.runtime.data.tables.sharing import current
from netc.runtime.data.tables.table import Column, Table

# `size` (h, w) of the table's images, `channels` 1 or 3, `ground` (red, green, blue), `broken` "skip" or "refuse",
# `max_pixels` of a picture, and `shape` (h, w, c) of the pictures in training
Options = Mapping[str, Any]
_NONE: Mapping[int, Array] = {}


class _Decoded(Struct, frozen=True):
    """Pictures as one array [n, h, w, c], and for each the number of its file: broken ones may be left out."""

    images: Array
    file_numbers: Array


def read_images(request: Request, read_table: ReadTable) -> Table:
    """The table of a source of pictures. `read_table` reads a table that names them.

    With `bad_rows`, for new data, pictures that cannot be used are noted there, and stay in the table as rows of zeros.
    Without it, raises E0801 at the first picture that cannot be decoded, and E0804 at the first of another size than
    those before it.
    """
    listing = list_pictures(request, read_table)
    for file in listing.files:
        opening(file, str(file), request.span)
    if request.bad_rows is not None:
        images = _Decoder(listing, request).every(request.bad_rows)
        return _with_images(listing.table, images, listing.table.columns, bad_rows=request.bad_rows)
    decoded = _decoded(listing, request)
    numbers, table = decoded.file_numbers, listing.table
    skipped = len(listing.files) - len(numbers)
    if not skipped:
        return _with_images(table, decoded.images, table.columns)
    note = f"{request.shown}: {counted(skipped, 'broken picture')} skipped"
    columns = {name: column[numbers] for name, column in table.columns.items()}
    rows = RowNumbers.of_numbers(table.numbers(numbers))
    return _with_images(table, decoded.images, columns, rows=rows, notes=(*table.notes, note))


def _with_images(table: Table, images: Array, columns: Mapping[str, Column], **changes: Any) -> Table:
    names = ("image", *table.names) if table.names else ()
    return replace(table, columns={"image": images, **columns}, names=names, **changes)


def _decoded(listing: Listing, request: Request) -> _Decoded:
    """The pictures of a listing that can be decoded, from the cache if it has them."""
    folder = _cache_folder(listing.files, request.options)
    decoded = _open(folder) if folder is not None else None
    if decoded is not None and folder is not None:
        eviction.use(folder)
    if decoded is not None:
        return decoded
    processes = current()
    if processes is None or folder is None:
        return _decode(listing, request, folder)

    def decode(files: Sequence[Path]) -> tuple[Array, Array]:
        some = _Decoder(replace(listing, files=list(files)), request).good()
        return some.images, some.file_numbers

    ready = decoded_together(listing.files, folder.name, decode, processes)
    with processes.lock(processes.name(folder.name)):
        return _open(folder) or _decode(listing, request, folder, ready)


def _decode(listing: Listing, request: Request, folder: Path | None, ready: Mapping[int, Array] = _NONE) -> _Decoded:
    """Decodes pictures and keeps them in a folder of the cache. Those that are `ready` are decoded already."""
    decoded = _Decoder(listing, request, ready).good()
    if folder is not None:
        origin = copies.Origin(str(request.path.resolve()), repr(sorted(request.options.items())))
        decoded = _keep(folder, decoded, origin) or decoded
    return decoded


class _Decoder:
    """Decodes the pictures of a source into one array. Those that are `ready` are decoded already.

    It has as many channels as the option `channels` says, or else one if all pictures are grey and three if not.
    """

    def __init__(self, listing: Listing, request: Request, ready: Mapping[int, Array] = _NONE) -> None:
        options, self.listing, self.ready = request.options, listing, ready
        self.files, self.shown, self.span = listing.files, request.shown, request.span
        self.skips_broken = options.get("broken") == "skip"
        shape = options.get("shape")
        channels = options.get("channels") or (shape[2] if shape else None)
        ground = options.get("ground", decoder.WHITE)
        most = options.get("max_pixels", decoder.MOST_PIXELS)
        self.settings = Settings(options.get("size"), channels, ground, most)
        self.images: Array | None = None if shape is None else store.allocate((len(self.files), *shape), np.uint8)
        self.example = "training" if shape else ""

    def good(self) -> _Decoded:
        """All pictures but the broken ones, if the option `broken` is "skip".

        Raises RowFault at the first picture that is broken or has another size.
        """
        numbers: list[int] = []
        with decoder.decoding_pictures():
            for number in range(len(self.files)):
                try:
                    pixels = self._decode(number)
                except RowFault:
                    if not self.skips_broken:
                        raise
                else:
                    self._put(pixels, len(numbers), number)
                    numbers.append(number)
        if self.images is None:
            fault("E0801", f"no picture in `{self.shown}` can be decoded", self.span)
        return _Decoded(self.images[: len(numbers)], np.array(numbers))

    def every(self, bad_rows: BadRows) -> Array:
        """All pictures; those that cannot be used are zeros and noted. Raises RowFault if there is no other one."""
        with decoder.decoding_pictures():
            for number in range(len(self.files)):
                try:
                    self._put(self._decode(number), number, number)
                except RowFault as error:
                    bad_rows.note(error)
        if bad_rows.first is not None and len(bad_rows.problems) == len(self.files):
            raise bad_rows.first
        assert self.images is not None, "a picture is good"
        self.images[bad_rows.among(self.listing.table.numbers(np.arange(len(self.files))))] = 0
        return self.images

    def _decode(self, number: int) -> Array:
        """The pixels of the picture of a file. Raises RowFault if it is broken."""
        if number in self.ready:
            return self.ready[number]
        file = self.files[number]
        try:
            return decoder.pixels(file, self.settings)
        except NotEnough as lack:
            refuse(lack, self.span)
        except MemoryError:
            raise
        except Exception as error:  # a decoder may raise any exception for a broken picture
            hint = f'images("{self.shown}", broken = skip) leaves such pictures out'
            if isinstance(error, TooManyPixels):
                hint = f'images("{self.shown}", max_pixels = {error.pixels:_}) reads it'
            raise self._refusal("E0801", number, f"cannot decode `{file}`", decoder.why(error), hint) from None

    def _put(self, pixels: Array, position: int, number: int) -> None:
        """Puts a picture into the array, which gets three channels with the first picture that has colours.

        Raises RowFault if it has another size than those before it, or in training.
        """
        if self.images is None:
            self.images = store.allocate((len(self.files), *pixels.shape), np.uint8)
            self.example = f"`{self.files[number]}`"
        height, width, channels = self.images.shape[1:]
        if pixels.shape[:2] != (height, width):
            fact = f"`{self.files[number]}` has {pixels.shape[0]} x {pixels.shape[1]} pixels"
            hint = f'images("{self.shown}", size = ({height}, {width})) makes them alike'
            raise self._refusal("E0804", number, fact, f"{self.example} has {height} x {width}", hint)
        if pixels.shape[2] > channels:
            colours = store.allocate((*self.images.shape[:3], pixels.shape[2]), np.uint8)
            colours[...] = self.images
            self.images = colours
        self.images[position] = pixels

    def _refusal(self, code: str, number: int, fact: str, note: str, hint: str) -> RowFault:
        cells, reason = self.listing.cells, f"{fact}: {note}"
        diagnostic = Diagnostic(
            code, fact, Label(self.span, note if cells is None else f"{cells.cell([number])}: {note}"), hint=hint
        )
        row = int(self.listing.table.numbers(np.array([number]))[0])
        return RowFault([diagnostic], [RowProblem(row, "image", reason)])


# ------------------------------------------------------------------ the cache


def _cache_folder(files: Sequence[Path], options: Options) -> Path | None:
    """The folder of the cache for these files, named by a hash of them, the options and the decoder's version.

    Returns None if there is no cache.
    """
    parent = copies.folder()
    if parent is None:
        return None
    key: list[Any] = [
        decoder.decoder_version(),
        sorted((name, str(value)) for name, value in options.items()),
    ]
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

    Returns None if the cache cannot be written: the pictures are decoded again each time.
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
