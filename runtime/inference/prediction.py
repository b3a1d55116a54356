"""The outputs of a model, or of a part of it, for any number of samples."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from msgspec import Struct

from netc.compiler.ir.graph import Graph
from netc.compiler.ir.results import ResultKind
from netc.compiler.ir.types import Bounded, Type
from netc.compiler.model import Model
from netc.runtime.data.stored import Array, Ragged
from netc.runtime.execution.compiled_model import CompiledModel, built_once
from netc.runtime.execution.fields import Fields, RawFields, sample_count
from netc.runtime.execution.step import Step
from netc.runtime.inference.beam import Decoder, decoders, search
from netc.runtime.inference.parts import fields_of, part_of


class Predictor:
    """Predicts with a compiled model. Several threads may use one."""

    def __init__(self, compiled: CompiledModel) -> None:
        self._compiled = compiled
        self._parts: dict[object, _Part] = {}
        self._decoders: dict[str, list[Decoder]] = {}

    def predict(self, fields: RawFields, beam: int = 1, outputs: Sequence[str] | None = None) -> dict[str, Any]:
        """See Program.predict."""
        compiled, ready = self._compiled, self._compiled.fields.ready(fields)
        part = self._part(ready, outputs)
        count = sample_count(ready, part.fields, compiled.options.batch)
        step = compiled.step_of(part.key, lambda: part.graph, ready)  # while it is built, others may write
        with compiled.guard.reading:
            if not compiled.has(step):
                step = compiled.step_of(part.key, lambda: part.graph, ready)
            results = compiled.results_of(step, ready, count)
            predictions = {name: results[printed] for name, printed in step.names_of(ResultKind.OUTPUT).items()}
            for name, type_ in part.padded.items():
                predictions[name] = _cut(type_, predictions[name], results)
            for name in part.varying:
                predictions[name] = list(predictions[name])
            if beam > 1:
                for decoder in built_once(self._decoders, "all", lambda: decoders(compiled.model)):
                    if decoder.output in predictions:
                        predictions[decoder.output] = self._search(decoder, ready, count, beam)
        return predictions

    def step_for(self, fields: RawFields) -> Step:
        """The step that predicts all outputs from these fields, built once."""
        ready = self._compiled.fields.ready(fields)
        part = self._part(ready, None)
        return self._compiled.step_of(part.key, lambda: part.graph, ready)

    def _part(self, fields: Fields, outputs: Sequence[str] | None) -> "_Part":
        """The part of the model that computes these outputs from these fields."""
        key = ("prediction", None if outputs is None else (*outputs,), *sorted(fields))
        return built_once(self._parts, key, lambda: _Part.of(key, self._compiled.model, fields, outputs))

    def _search(self, decoder: Decoder, fields: Fields, count: int, beam: int) -> list[Array]:
        """The sequences of a decoder that a beam search finds."""
        step = self._compiled.step_of(("beam", decoder.output), lambda: decoder.before, fields)
        inputs = {
            name: np.stack(list(value)) if isinstance(value, Ragged) else value
            for name, value in self._compiled.results_of(step, fields, count).items()
        }
        return search(decoder, inputs, count, beam)


class _Part(Struct, frozen=True):
    """A part of a model, and the key of its step: what a prediction needs to know of the graph.

    A prediction of one sample takes less time than to walk a large graph, so that is done once. `fields` are the types
    of what it reads; `padded` are the outputs whose varying dimensions stand at their bounds, `varying` those that have
    a row for each step.
    """

    key: object
    graph: Graph
    fields: dict[str, Type]
    padded: dict[str, Type]
    varying: list[str]

    @classmethod
    def of(cls, key: object, model: Model, fields: Fields, outputs: Sequence[str] | None) -> "_Part":
        graph = part_of(model, fields, outputs)
        types = {name: value.type for name, value in graph.results_of(ResultKind.OUTPUT).items()}
        padded = {name: type_ for name, type_ in types.items() if type_.is_held and not type_.is_varying}
        varying = [name for name, type_ in types.items() if type_.is_varying]
        return cls(key, graph, fields_of(model, graph), padded, varying)


def _cut(type_: Type, value: Array, results: Mapping[str, Any]) -> list[Array]:
    """An output whose varying dimensions stand at their bounds, each sample cut to its lengths `length.DIM`."""
    lengths = [
        results[str(ResultKind.LENGTH.named(dim.name))] if isinstance(dim, Bounded) else None for dim in type_.dims[1:]
    ]
    return [
        sample[tuple(np.s_[:] if length is None else np.s_[: length[i]] for length in lengths)]
        for i, sample in enumerate(value)
    ]
