"""Pictures that processes of one host decode together (tables/sharing.py): each begins with its share of the files."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from netc.dsl.diagnostics import Fault
from netc.runtime.data.stored import Array
from netc.runtime.data.tables.packed import NotPacked, open_table, write_table
from netc.runtime.data.tables.sharing import Sharing
from netc.runtime.data.tables.table import Table

Decode = Callable[[Sequence[Path]], tuple[Array, Array]]  # pictures [n, h, w, c], and for each the number of its file
_FEWEST = 16  # pictures that each process decodes


def decoded_together(files: Sequence[Path], key: object, decode: Decode, processes: Sharing) -> Mapping[int, Array]:
    """The pixels of pictures by the number of their file, mapped into memory; those of a part with a broken picture,
    which is left to the caller, are missing. `key` says how they are decoded.
    """
    pixels: dict[int, Array] = {}
    if len(files) < _FEWEST * processes.count:
        return pixels
    for step in range(processes.count):
        part = (processes.number + step) % processes.count
        numbers = np.arange(len(files))[part :: processes.count]
        folder = processes.name("pictures", key, part)
        with processes.lock(folder):
            opened = open_table(folder)
            if opened is None:
                table = Table("pictures", {})
                with suppress(Fault):
                    images, kept = decode([files[number] for number in numbers])
                    table = Table("pictures", {"image": images, "kept": kept})
                with suppress(NotPacked, OSError):
                    write_table(folder, table, {})
                    opened = open_table(folder)
        if opened is not None and "image" in opened[0].columns:
            images, kept = (np.asarray(opened[0].columns[name][:]) for name in ("image", "kept"))
            pixels |= dict(zip(numbers[kept].tolist(), images, strict=True))
    return pixels
