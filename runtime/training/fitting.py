"""States that are computed from the training split rather than learned step by step: class weights and `fitted`."""

from functools import partial

import numpy as np

from netc.compiler.evaluation import fitting_graphs
from netc.compiler.ir.results import ResultKind
from netc.runtime.data.stored import Ragged
from netc.runtime.execution.compiled_model import CompiledModel
from netc.runtime.execution.fields import Fields, RawFields
from netc.runtime.inference.evaluation import Evaluator


def fit_class_weights(compiled: CompiledModel, fields: Fields) -> None:
    """Set the class weights before the first step: samples / (classes * samples of the class)."""
    for name, info in compiled.model.states.items():
        if info.weights_of is not None:
            field, array = fields[info.weights_of], compiled.state.arrays[name]
            labels = np.asarray(field.rows if isinstance(field, Ragged) else field).ravel()
            counts = np.bincount(labels, minlength=len(array))
            with compiled.guard.writing:
                array[...] = len(labels) / (len(counts) * np.maximum(counts, 1))


def refit(compiled: CompiledModel, evaluator: Evaluator, fields: RawFields) -> None:
    """Compute each `fitted` state from the split by the current parameters, after an epoch.

    They are computed in the order of the file, because one may read another.
    """
    names = list(compiled.model.graph.results_of(ResultKind.FITTED))
    ready = compiled.fields.ready(fields) if names else {}
    with compiled.guard.writing:
        for name in names:
            count = len(next(iter(ready.values())))
            graphs = partial(fitting_graphs, compiled.model, name)
            result = str(ResultKind.FITTED.named(name))
            compiled.state.arrays[name][...] = evaluator.results_of_split(result, graphs, ready, count, {})[result]
