"""Columns whose cells are not all in memory as objects: texts by numbers of words, and packed cells."""

from typing import Any

import msgspec
import numpy as np
from msgspec import Struct

from netc.runtime.data.stored import Array


class TextColumn(Struct, frozen=True):
    """A column of texts on disk; indexed by row numbers it is an array of str and None."""

    codes: Array
    words: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, rows: Any) -> Array:
        codes, which = np.unique(np.asarray(self.codes[rows]), return_inverse=True)
        lexicon = np.array([None if code < 0 else self.words[code] for code in codes.tolist()], object)
        texts: Array = lexicon[which.reshape(np.shape(which))]
        return texts


class PackedColumn(Struct, frozen=True):
    """A column of other cells, each a message of msgpack; indexed by row numbers it is an array of objects."""

    ends: Array
    messages: Array

    def __len__(self) -> int:
        return len(self.ends) - 1

    def __getitem__(self, rows: Any) -> Array:
        selected = np.arange(len(self))[rows]
        result = np.empty(selected.size, object)
        for position, row in enumerate(selected.ravel().tolist()):
            result[position] = msgspec.msgpack.decode(self.messages[self.ends[row] : self.ends[row + 1]].tobytes())
        return result.reshape(selected.shape)


Columns = dict[str, Array | TextColumn]
