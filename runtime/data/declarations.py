"""A checked `data` block as plain data: its source, its fields with their steps, its split."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from netc.dsl.source import NOWHERE, Span

PARTS = ("train", "valid", "test")
Constants = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """`csv("data/cars.csv")`: a reader and a path as written; of pictures, how they are read."""

    reader: str
    path: str
    span: Span
    options: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class StepSpec:
    name: str
    arguments: tuple[Any, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """A field of the data: the columns that it is made of (all of the table but `columns`, if `is_rest`), and its steps. `is_single` fields lose the axis of columns."""

    name: str
    columns: tuple[str, ...]
    is_single: bool
    steps: tuple[StepSpec, ...]
    span: Span
    is_rest: bool = False
    is_sequence: bool = False  # in the model, each sample has a length of its own


@dataclass(frozen=True, slots=True)
class SplitSpec:
    """How rows become parts: `fractions` of the source by `way` (random, ordered, by a group's column), by what a `column` says, or `sources` of their own."""

    way: str = "random"
    fractions: tuple[tuple[str, float], ...] = (("train", 0.8), ("valid", 0.1), ("test", 0.1))
    column: str | None = None
    sources: tuple[tuple[str, SourceSpec], ...] = ()
    span: Span = NOWHERE


@dataclass(frozen=True, slots=True)
class DataSpec:
    """`source` is what fractions are taken of: the block's own, or the training part's."""

    source: SourceSpec
    fields: dict[str, FieldSpec]
    split: SplitSpec
    span: Span
