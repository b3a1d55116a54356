"""Reads and fits data once where a command counts the classes of its file in the data, and then loads that data.

Inside of `reused`, the second request for the same parts or the same fitted steps gets those of the first. What is
kept ends with the context, so a file that changes later is read again. What reads data is imported where it is needed:
a model without data does without.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct, field

from netc.dsl.source import Source
from netc.dsl.structs import replace

if TYPE_CHECKING:
    from netc.runtime.data.block.declarations import DataSpec, FieldSpec
    from netc.runtime.data.pipeline import Part
    from netc.runtime.data.readers.sources import ReadSource
    from netc.runtime.data.steps.data_step import State


class _Reading(Struct):
    """The parts that a data block with relative paths from `folder` was divided into, with steps that are fitted."""

    spec: "DataSpec"
    folder: Path
    label: str | None
    parts: "dict[str, Part]"
    fitted: "list[tuple[FieldSpec, list[State]]]" = field(default_factory=list)


_readings: ContextVar[list[_Reading] | None] = ContextVar("readings", default=None)


@contextmanager
def reused() -> Iterator[None]:
    """Inside, data is read, divided and fitted once, by whatever function needs it first."""
    token = _readings.set([])
    try:
        yield
    finally:
        _readings.reset(token)


def parts_of(
    spec: "DataSpec", source: Source, label: str | None, read: "ReadSource | None" = None
) -> "dict[str, Part]":
    """The same as `read_parts`."""
    from netc.runtime.data.division.partition import read_parts
    from netc.runtime.data.readers.sources import read_source

    readings, read = _readings.get(), read or read_source
    if readings is None or read is not read_source:
        return read_parts(spec, source, label, read)
    for reading in readings:
        if (reading.spec, reading.folder, reading.label) == (spec, source.folder, label):
            return dict(reading.parts)
    parts = read_parts(spec, source, label)
    readings[:] = [_Reading(spec, source.folder, label, dict(parts))]  # the last one alone: tables take memory
    return parts


def states_of(field: "FieldSpec", training: "Part") -> "list[State]":
    """The same as `fit_steps`."""
    from netc.runtime.data.pipeline import fit_steps

    reading = next((each for each in _readings.get() or () if each.parts["train"] is training), None)
    if reading is None:
        return fit_steps(field, training)
    for fitted, states in reading.fitted:
        if _fit_alike(fitted, field):
            return list(states)
    states = fit_steps(field, training)
    reading.fitted.append((field, list(states)))
    return states


def _fit_alike(fitted: "FieldSpec", field: "FieldSpec") -> bool:
    """Whether two fields are the same to their steps. Until a model is elaborated, it is not known which of its fields
    are sequences, and steps that make sequences of texts need not know.
    """
    from netc.runtime.data.steps.steps import STEPS

    if any(STEPS[step.name].makes_sequences for step in fitted.steps):
        field = replace(field, is_sequence=fitted.is_sequence)
    return fitted == field
