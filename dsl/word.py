"""A word of the language, as `netc ops` and messages describe it, and the place where it is written."""

from enum import Enum

from msgspec import Struct


class Place(Enum):
    """The surroundings of a word, as a text with the example in place of `{}`."""

    FILE = "{}"
    DATA = "data {{\n{}\n}}"
    MODEL = "model {{\n{}\n}}"
    BLOCK = "block name(x: float[n]) {{\n{}\n}}"
    SCAN = "model {{\nh = scan e in x with h = zeros(4) {{\n{}\n}}\n}}"
    TRAIN = "train {{\n{}\n}}"
    STUDY = "study {{\n{}\n}}"
    TYPE = "model {{\ninput x: {}\n}}"


class Word(Struct, frozen=True):
    """A word with an example of its use at `place`."""

    example: str
    place: Place
    doc: str
