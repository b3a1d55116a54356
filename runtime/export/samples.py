"""Synthetic samples for an exported file and for its run, and the padded form of sequences that ONNX files take."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from netc.compiler.export.exportable import Exported
from netc.compiler.ir.results import ResultKind
from netc.compiler.ir.types import DTYPES, Bounded, Type
from netc.dsl.source import NOWHERE
from netc.runtime.data.cells import Location
from netc.runtime.data.steps import STEPS
from netc.runtime.data.stored import Array, Ragged
from netc.runtime.data.synthetic import synthetic_data
from netc.runtime.export.exported import FORWARD, arithmetic_steps
from netc.runtime.runs.run import Run

_LONGEST = 9  # the most steps of a synthetic sample
_MISSING = 5  # every fifth number is missing where the file fills it


def samples_of(
    run: Run, inputs: Mapping[str, Type], count: int, seed: int = 0, longest: int = _LONGEST
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Synthetic samples of these inputs, as an exported file takes them, and as the run's model does."""
    raw, prepared = dict[str, Any](), dict[str, Any]()
    for name, field in synthetic_data(run.model, count, seed, inputs, longest).items():
        if isinstance(field, Ragged):
            pairs = [_both(run, name, sequence) for sequence in field]
            raw[name], prepared[name] = [before for before, _ in pairs], [after for _, after in pairs]
        else:
            raw[name], prepared[name] = _both(run, name, np.asarray(field))
    return raw, prepared


def _both(run: Run, name: str, drawn: Array) -> tuple[Array, Array]:
    """An array before and after the steps that are part of an exported file."""
    if name not in run.model.inputs:
        return drawn, drawn
    pairs = [(step.name, state) for step, state in arithmetic_steps(run, name) if step.name in FORWARD]
    raw = drawn
    for step, state in reversed(pairs):
        back = STEPS[step].undo
        raw = raw if back is None else back(raw, state)
    raw = raw.astype(drawn.dtype)
    if any(step == "impute" and not state["drop"] for step, state in pairs):
        raw.reshape(-1)[::_MISSING] = np.nan
    through = raw
    place = Location("", (name,), np.arange(len(raw)), NOWHERE)
    for step, state in pairs:
        result = STEPS[step].apply(through, state, place)
        assert not isinstance(result, Ragged)
        through = result
    return raw, through.astype(DTYPES[run.model.inputs[name].dtype].numpy)


def padded(asked: Exported, fields: Mapping[str, Any]) -> dict[str, Array]:
    """Fields as an ONNX file takes them: sequences [batch, DIM, ...] padded with zeros, and `length.DIM`."""
    arrays: dict[str, Array] = {}
    for name, type_ in asked.inputs.items():
        if not type_.is_varying:
            arrays[name] = np.asarray(fields[name], DTYPES[type_.dtype].numpy)
            continue
        lengths = np.array([len(sequence) for sequence in fields[name]], np.int64)
        sequences = np.zeros((len(lengths), lengths.max(), *map(int, type_.dims[1:])), DTYPES[type_.dtype].numpy)
        for i, sequence in enumerate(fields[name]):
            sequences[i, : len(sequence)] = sequence
        arrays[name], arrays[str(ResultKind.LENGTH.named(str(type_.rows)))] = sequences, lengths
    return arrays


def from_padded(results: Mapping[str, Array], asked: Exported, fields: Mapping[str, Array]) -> dict[str, Any]:
    """The results of an ONNX file, each sequence cut to its length. `fields` are those that the file was run on."""
    arrays = {**fields, **results}
    outputs: dict[str, Any] = {}
    for name, type_ in asked.outputs.items():
        array = results[name]
        if type_.is_varying:
            lengths = arrays[str(ResultKind.LENGTH.named(str(type_.rows)))]
            outputs[name] = [sequence[:n] for sequence, n in zip(array, lengths, strict=True)]
        elif type_.is_held:
            ends = [
                arrays.get(str(ResultKind.LENGTH.named(dim.name))) if isinstance(dim, Bounded) else None
                for dim in type_.dims[1:]
            ]
            outputs[name] = [
                sample[tuple(np.s_[: end[i]] if end is not None else np.s_[:] for end in ends)]
                for i, sample in enumerate(array)
            ]
        else:
            outputs[name] = array
    return outputs
