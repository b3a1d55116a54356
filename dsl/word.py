"""A word of the language, as `netc ops` and messages describe it, and the section in which it is written."""

from enum import Enum

from msgspec import Struct


class Section(Enum):
    """The part of a file that a word belongs to, as a text with `{}` where an example of the word stands."""

    FILE = "{}"
    DATA = "data {{\n{}\n}}"
    MODEL = "model {{\n{}\n}}"
    BLOCK = "block name(x: float[n]) {{\n{}\n}}"
    SCAN = "model {{\nh = scan e in x with h = zeros(4) {{\n{}\n}}\n}}"
    TRAIN = "train {{\n{}\n}}"
    STUDY = "study {{\n{}\n}}"
    TYPE = "model {{\ninput x: {}\n}}"


class Word(Struct, frozen=True):
    """A word with an example of its use in `section`."""

    example: str
    section: Section
    doc: str
