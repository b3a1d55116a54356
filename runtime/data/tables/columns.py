"""Columns whose cells are not all in memory as objects: texts by numbers, and packed cells."""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct

from netc.runtime.data.stored import Array, Ragged


class TextColumn(Struct, frozen=True):
    """A column of texts with few different ones; indexed by row numbers it is an array of str and None.

    `codes` are positions in `words`, -1 where a text is missing.
    """

    codes: Array
    words: tuple[str, ...]

    @classmethod
    def of(cls, texts: Sequence[str]) -> "TextColumn":
        """A column of these texts."""
        number_of = {text: number for number, text in enumerate(dict.fromkeys(texts))}
        return cls(np.fromiter(map(number_of.__getitem__, texts), np.int32, len(texts)), tuple(number_of))

    @classmethod
    def of_characters(cls, text: str) -> "TextColumn":
        """A column with a row for each character of a text."""
        points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
        code_of = np.zeros(int(points.max(initial=0)) + 1, np.int32)
        code_of[points] = 1
        different = np.flatnonzero(code_of)
        code_of[different] = np.arange(len(different), dtype=np.int32)
        return cls(code_of[points], tuple(map(chr, different.tolist())))

    def __len__(self) -> int:
        return len(self.codes)

    def take(self, rows: Any) -> "TextColumn":
        """The texts of some rows, still by numbers, with no more words than rows or than there are."""
        codes = np.asarray(self.codes[rows])
        if len(self.words) <= len(codes):
            return TextColumn(codes, self.words)
        present, positions = np.unique(codes, return_inverse=True)
        words = tuple(self.words[code] for code in present.tolist() if code >= 0)
        return TextColumn(positions.reshape(codes.shape) - (len(present) - len(words)), words)

    def __getitem__(self, rows: Any) -> Array:
        codes, which = np.unique(np.asarray(self.codes[rows]), return_inverse=True)
        lexicon = np.array([None if code < 0 else self.words[code] for code in codes.tolist()], object)
        texts: Array = lexicon[which.reshape(np.shape(which))]
        return texts


class TextSequences(Struct, frozen=True):
    """Sequences of texts by numbers: `rows` are the texts of the first, then those of the second, ...; `lengths` is how
    many each has.
    """

    rows: TextColumn
    lengths: Array

    def __len__(self) -> int:
        return len(self.lengths)

    def take(self, chosen: Array) -> Ragged:
        """The sequences with the numbers `chosen`, in this order, with the texts themselves."""
        return self.decoded().take(chosen)

    def decoded(self) -> Ragged:
        """The sequences with the texts themselves."""
        return Ragged(self.rows[:], self.lengths)


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
