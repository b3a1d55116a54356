"""Reads `npz("file.npz")`: NumPy arrays by name from a zip archive. Only numbers and texts: nothing is unpickled.

The header of an array is compared with its size in the archive before memory is taken for it.
"""

import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from netc.dsl.diagnostics import fault
from netc.dsl.quoting import cell
from netc.dsl.source import Span
from netc.dsl.storage.files import opened, reason
from netc.runtime.available import require_at
from netc.runtime.data.readers.content import HEAD
from netc.runtime.data.readers.file_kinds import other_kind
from netc.runtime.data.readers.reading import decoding
from netc.runtime.data.stored import Array

_NUMBERS, _TEXTS = "biuf", "US"  # kinds of elements
_MOST_AXES = 32
_CELL = 80  # bytes of a text that is a cell


def read_arrays(path: Path, shown: str, span: Span) -> dict[str, Array]:
    """The arrays of an archive by name; texts as cells. Raises E0801 if the file is not an archive of arrays."""
    with opened(path) as file:
        if not zipfile.is_zipfile(file):
            file.seek(0)
            kind = other_kind(file.read(HEAD))
            label = "" if kind is None else f"it is {kind[0]}"
            fault("E0801", f"`{shown}` is not an .npz archive", span, label, hint=None if kind is None else kind[1])
        with decoding(shown, span), zipfile.ZipFile(file) as archive:
            arrays = _arrays(archive, shown, span)
    return arrays


def _arrays(archive: zipfile.ZipFile, shown: str, span: Span) -> dict[str, Array]:
    arrays: dict[str, Array] = {}
    for name, member in _members(archive, shown, span).items():
        with decoding(f"{shown}: {cell(name)}", span), archive.open(member) as stream:
            array: Array = np.lib.format.read_array(stream, allow_pickle=False)
            arrays[name] = _cells(array) if array.dtype.kind in _TEXTS else array
    return arrays


def _members(archive: zipfile.ZipFile, shown: str, span: Span) -> dict[str, zipfile.ZipInfo]:
    """The members of an archive by the name of their array. Only their headers are read.

    Raises E0801 if a member is not an array that netc reads, E1005 if the arrays do not fit in memory.
    """
    if not archive.infolist():
        fault("E0801", f"`{shown}` holds no arrays", span)
    members: dict[str, zipfile.ZipInfo] = {}
    lengths: dict[str, int] = {}
    needed = 0
    for member in archive.infolist():
        name = member.filename.removesuffix(".npy")
        if name == member.filename:
            title = f"`{shown}` holds `{cell(name)}`, which is not an array"
            fault("E0801", title, span, "np.savez writes arrays alone")
        if name in members:
            fault("E0801", f"`{shown}` holds two arrays `{cell(name)}`", span)
        with decoding(f"{shown}: {cell(name)}", span), archive.open(member) as stream:
            shape, dtype = _head(stream, member, f"`{cell(name)}` in `{shown}`", span)
        members[name] = member
        lengths |= {name: shape[0]} if shape else {}
        needed += member.file_size + (_CELL * math.prod(shape) if dtype.kind in _TEXTS else 0)
    if len(lengths) == len(members):
        refuse_lengths(lengths, "arrays", shown, span)
    require_at(needed, f"the arrays of `{shown}`", span)
    return members


def refuse_lengths(lengths: Mapping[str, int], what: str, shown: str, span: Span) -> None:
    """Raises E0801 if the arrays or files of a source have different numbers of rows, or if there are none. `what` is
    their name in messages.
    """
    if not lengths:
        fault("E0801", f"`{shown}` has no {what}", span)
    if len(set(lengths.values())) > 1:
        first = {length: name for name, length in reversed([*lengths.items()])}  # of each length
        note = ", ".join(f"{cell(name)}: {length}" for length, name in reversed([*first.items()]))
        fault("E0801", f"the {what} of `{shown}` differ in length", span, note)


def _head(stream: IO[bytes], member: zipfile.ZipInfo, what: str, span: Span) -> tuple[tuple[int, ...], "np.dtype[Any]"]:
    """The shape of an array and the type of its elements, from its header.

    Raises E0801 if netc does not read such elements, or the archive does not have as many bytes as the header says.
    """
    version = np.lib.format.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        fault("E0801", f"{what} has named fields", span, _KINDS)
    head = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    try:
        shape, _, dtype = head(stream)
    except (ValueError, SyntaxError, RecursionError, MemoryError, OverflowError) as error:
        fault("E0801", f"the head of {what} is broken", span, _words(error))
    if dtype.hasobject:
        fault("E0801", f"{what} holds Python objects", span, "netc never unpickles")
    if dtype.kind not in _NUMBERS + _TEXTS:
        fault("E0801", f"{what} holds {cell(dtype)}", span, _KINDS)
    if len(shape) > _MOST_AXES or any(dim < 0 for dim in shape):
        fault("E0801", f"{what} has the shape {cell(list(shape))}", span)
    promised, size = math.prod(shape) * dtype.itemsize, member.file_size - stream.tell()
    if promised != size:
        fault("E0801", f"{what} is damaged", span, f"{size:,} bytes where its head says {cell(f'{promised:,}')}")
    return shape, dtype


def _words(error: BaseException) -> str:
    """The reason without the addresses of Python's objects."""
    text = reason(error)
    return "" if " object at 0x" in text else text


_KINDS = "netc reads numbers and texts"


def _cells(array: Array) -> Array:
    """An array of texts as objects; bytes are decoded as UTF-8."""
    if array.dtype.kind == "U":
        return array.astype(object)
    return np.array([text.decode() for text in array.ravel().tolist()], object).reshape(array.shape)
