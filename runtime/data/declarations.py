"""The records that a checked `data` block consists of: its source, its fields with their steps, its split."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from netc.dsl.source import NOWHERE, Span

PARTS = ("train", "valid", "test")
Constants = Mapping[str, object]  # the values of the file's `let`s


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """`csv("data/cars.csv")`: a reader and a path as written; `options` are the settings of `images`."""

    reader: str
    path: str
    span: Span
    options: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class StepSpec:
    """`impute(median)`: a step of STEPS with its arguments."""

    name: str
    arguments: tuple[Any, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """A field of the data: the columns that it consists of, and its steps.

    With `is_rest` it consists of all columns of the table except for `columns`. An `is_single` field has no axis of
    columns. The samples of an `is_sequence` field have lengths of their own, because its type in the model has a
    varying dimension. An `is_target` field is a target of the model.
    """

    name: str
    columns: tuple[str, ...]
    is_single: bool
    steps: tuple[StepSpec, ...]
    span: Span
    is_rest: bool = False
    is_sequence: bool = False
    is_target: bool = False


@dataclass(frozen=True, slots=True)
class SplitSpec:
    """How rows are divided into parts.

    `way` is "random", "ordered", "by" (rows that have the same cell in `column` stay together) or "column" (the cells
    of `column` name the parts). `fractions` are the shares that parts have of the block's source; the parts in
    `sources` have a source of their own.
    """

    way: str = "random"
    fractions: tuple[tuple[str, float], ...] = (("train", 0.8), ("valid", 0.1), ("test", 0.1))
    column: str | None = None
    sources: tuple[tuple[str, SourceSpec], ...] = ()
    span: Span = NOWHERE


@dataclass(frozen=True, slots=True)
class DataSpec:
    """A checked `data` block.

    `source` is divided by the split's fractions: the block's own source, or else that of the training part.
    """

    source: SourceSpec
    fields: dict[str, FieldSpec]
    split: SplitSpec
    span: Span
