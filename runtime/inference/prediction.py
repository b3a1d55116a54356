"""The outputs of a model, or of a part of it, for any number of samples."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from netc.compiler.ir.graph import Graph
from netc.compiler.ir.results import ResultKind
from netc.compiler.ir.types import Bounded, Type
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
        self._parts: dict[tuple[object, ...], tuple[Graph, dict[str, Type]]] = {}
        self._decoders: dict[str, list[Decoder]] = {}

    def predict(self, fields: RawFields, beam: int = 1, outputs: Sequence[str] | None = None) -> dict[str, Any]:
        """See Program.predict."""
        compiled, ready = self._compiled, self._compiled.fields.ready(fields)
        key, (graph, types_of_fields) = self._part(ready, outputs)
        count = sample_count(ready, types_of_fields, compiled.options.batch)
        compiled.step_of(key, lambda: graph, ready)  # while it is built, others may write
        with compiled.guard.reading:
            step = compiled.step_of(key, lambda: graph, ready)
            results = compiled.results_of(step, ready, count)
            types = {name: value.type for name, value in graph.results_of(ResultKind.OUTPUT).items()}
            predictions = {
                name: list(value) if isinstance(value, Ragged) else _without_padding(types[name], value, results)
                for name, value in graph.select(ResultKind.OUTPUT, results).items()
            }
            if beam > 1:
                for decoder in built_once(self._decoders, "all", lambda: decoders(compiled.model)):
                    if decoder.output in predictions:
                        predictions[decoder.output] = self._search(decoder, ready, count, beam)
        return predictions

    def step_for(self, fields: RawFields) -> Step:
        """The step that predicts all outputs from these fields, built once."""
        ready = self._compiled.fields.ready(fields)
        key, (graph, _) = self._part(ready, None)
        return self._compiled.step_of(key, lambda: graph, ready)

    def _part(self, fields: Fields, outputs: Sequence[str] | None) -> tuple[object, tuple[Graph, dict[str, Type]]]:
        """The key of the step that computes these outputs from these fields, its graph, and the fields that it reads.

        A prediction of one sample takes less time than to walk a large graph, so that is done once.
        """
        key = ("prediction", None if outputs is None else (*outputs,), *sorted(fields))

        def build() -> tuple[Graph, dict[str, Type]]:
            graph = part_of(self._compiled.model, fields, outputs)
            return graph, fields_of(self._compiled.model, graph)

        return key, built_once(self._parts, key, build)

    def _search(self, decoder: Decoder, fields: Fields, count: int, beam: int) -> list[Array]:
        """The sequences of a decoder that a beam search finds."""
        step = self._compiled.step_of(("beam", decoder.output), lambda: decoder.before, fields)
        inputs = {
            name: np.stack(list(value)) if isinstance(value, Ragged) else value
            for name, value in self._compiled.results_of(step, fields, count).items()
        }
        return search(decoder, inputs, count, beam)


def _without_padding(type_: Type, value: Array, results: Mapping[str, Any]) -> Array | list[Array]:
    """An output whose varying dimensions stand at their bounds, each sample cut to its lengths `length.DIM`."""
    if not type_.is_held:
        return value
    lengths = [
        results[str(ResultKind.LENGTH.named(dim.name))] if isinstance(dim, Bounded) else None for dim in type_.dims[1:]
    ]
    return [
        sample[tuple(np.s_[:] if length is None else np.s_[: length[i]] for length in lengths)]
        for i, sample in enumerate(value)
    ]
