"""States that are computed from a part of the data rather than learned step by step: class weights and `fitted`."""

from collections.abc import Collection, Mapping
from functools import partial

import numpy as np

from netc.compiler.evaluation import fitting_graphs
from netc.compiler.ir.results import ResultKind
from netc.compiler.model import ParameterInfo
from netc.runtime.data.stored import Ragged
from netc.runtime.execution.compiled_model import CompiledModel
from netc.runtime.execution.fields import Fields, RawFields, sample_count
from netc.runtime.inference.evaluation import Evaluator


def fit_class_weights(compiled: CompiledModel, fields: Fields) -> None:
    """Sets the class weights before the first step: samples / (classes * samples of the class).

    Raises ValueError if the field of the classes is missing, or has another shape.
    """
    types = {**compiled.model.inputs, **compiled.model.targets}
    for name, info in compiled.model.states.items():
        if info.weights_of is not None:
            sample_count(fields, {info.weights_of: types[info.weights_of]}, compiled.options.batch)
            field, array = fields[info.weights_of], compiled.state.arrays[name]
            labels = np.asarray(field.rows if isinstance(field, Ragged) else field).ravel()
            counts = np.bincount(labels, minlength=len(array))
            with compiled.guard.writing:
                array[...] = len(labels) / (len(counts) * np.maximum(counts, 1))


def fitting_part(info: ParameterInfo, parts: Collection[str]) -> str:
    """The part among `parts` that a state is fitted on: where there is no part `calibration`, it is `valid`."""
    return "valid" if info.part == "calibration" and info.part not in parts else info.part


def refit(compiled: CompiledModel, evaluator: Evaluator, parts: Mapping[str, RawFields]) -> None:
    """Computes each `fitted` state from its part of the data by the current parameters, after an epoch.

    They are computed in the order of the file, because one may read another. A state whose part is not among `parts`
    stays as it is. Raises ValueError if a part lacks a field of the model, or has one of another shape.
    """
    model = compiled.model
    names = model.graph.results_of(ResultKind.FITTED)
    part_of = {name: fitting_part(model.states[name], parts) for name in names}
    fields = {part: compiled.fields.ready(parts[part]) for part in {*part_of.values()} & {*parts}}
    types = {**model.inputs, **model.targets}
    counts = {part: sample_count(ready, types, compiled.options.batch) for part, ready in fields.items()}
    with compiled.guard.writing:
        for name, part in part_of.items():
            if part not in fields:
                continue
            graphs = partial(fitting_graphs, model, name)
            result = str(ResultKind.FITTED.named(name))
            results = evaluator.results_of_split(result, graphs, fields[part], counts[part])
            compiled.state.arrays[name][...] = results[result]
