"""Steps that change how a text is written: lowercase, strip, normalize_unicode. A missing text stays missing."""

import unicodedata
from collections.abc import Callable

import numpy as np

from netc.runtime.data.steps.data_step import DataStep, State, learn_nothing, unchanged
from netc.runtime.data.stored import Array
from netc.runtime.data.tables.cells import Location


def _rewriting(name: str, doc: str, rewrite: Callable[[str], str]) -> DataStep:
    """A step that replaces each text by another."""

    def apply(array: Array, state: State, location: Location) -> Array:
        result = np.empty(array.size, object)
        result[:] = [rewrite(cell) if isinstance(cell, str) else cell for cell in array.ravel()]
        return result.reshape(array.shape)

    return DataStep(apply, learn_nothing, unchanged, takes_text=True, doc=doc, name=name)


LOWERCASE = _rewriting("lowercase", "Changes a text to small letters.", str.lower)
STRIP = _rewriting("strip", "Removes blanks at both ends of a text.", str.strip)
NORMALIZE_UNICODE = _rewriting(
    "normalize_unicode",
    "Writes accented letters as one character each (Unicode's form NFC), so that texts that look alike are alike.",
    lambda text: unicodedata.normalize("NFC", text),
)
