"""Beam search: the likeliest output of a decoder among the hypotheses that are kept at each step (Lowerre 1976).

A decoder is an output that `scan ... until` yields as the argmax of scores, and feeds to its next step. The softmax of
the scores are the probabilities of the next token; a step is the scan's own body, with the chosen token in place of the
argmax.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from msgspec import Struct

from netc.compiler.ir.dims import names_in
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.results import Result, ResultKind
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import fixed_size
from netc.compiler.ir.value import Value, viewed
from netc.compiler.model import Model
from netc.compiler.operations.reduce import argmax, softmax
from netc.compiler.operations.scan import Part, Scan, Slot, SlotKind, unpack
from netc.compiler.operations.shape import reshape
from netc.compiler.passes.simplify import rebuild
from netc.compiler.pipeline import prediction_graph
from netc.compiler.reference import evaluate
from netc.dsl.diagnostics import fault
from netc.dsl.source import Span
from netc.runtime.data.stored import Array

_CHOSEN = "chosen"
_SCORES, _ENDS = ResultKind.VALUE.named("scores"), ResultKind.VALUE.named("ends")
_ROWS = 2048  # hypotheses that are extended at once


class Decoder(Struct, frozen=True):
    """An output that beam search can compute, as three graphs.

    `before` has what the scan reads for each sample: the first carries, its sequences, captured values. `scores` is a
    step up to the choice of a token, `after` the rest of the step. There are at most `steps` steps. `slots` are the
    operands of the scan.
    """

    output: str
    before: Graph
    scores: Graph
    after: Graph
    steps: int
    slots: tuple[Slot, ...]


def decoders(model: Model) -> list[Decoder]:
    """The outputs of a model that beam search can compute. Raises E0507 if there is none."""
    graph = prediction_graph(model)
    outputs = graph.results_of(ResultKind.OUTPUT)
    candidates = [_decoder(graph, name, value) for name, value in outputs.items()]
    searchable = [decoder for decoder in candidates if decoder is not None]
    if not searchable:
        label = "one is yielded by `scan ... until` as an argmax, and carried to the next step"
        span = next(iter(outputs.values())).span if outputs else Span(model.source, 0, 0)
        fault("E0507", "no output of this model is decoded step by step", span, label)
    return searchable


def _decoder(graph: Graph, name: str, value: Value) -> Decoder | None:
    while value.definition in (reshape, unpack):
        value = value.operands[0]
    if value.role is not Role.PART:
        return None
    scan, yielded = Scan.of(value.operands[0]), value.attributes_as(Part).result
    token, ends = scan.body.results.get(yielded), scan.body.results[_last_yield(scan)]
    if token is None or token.definition is not argmax or ends.type.dtype != "bool" or names_in(scan.dim):
        return None
    if all(viewed(scan.body.results[ResultKind.NEXT.named(i)]) is not token for i in range(len(scan.begins))):
        return None
    before, _ = graph.subgraph(
        {ResultKind.VALUE.named(str(slot)): operand for slot, operand in scan.operand_of().items()}
    )
    scores, _ = scan.body.subgraph({_SCORES: _logits(token.operands[0])})
    steps = fixed_size(graph.results[ResultKind.OUTPUT.named(name)].type.dims[1])
    return Decoder(name, before, scores, _after(scan, token, ends), int(steps), tuple(scan.operand_of()))


def _last_yield(scan: Scan) -> Result:
    return max((key for key in scan.body.results if key.kind is ResultKind.YIELD), key=lambda key: key.number)


def _logits(scores: Value) -> Value:
    """The operand of the softmax, if the scores are probabilities."""
    return scores.operands[0] if scores.definition is softmax else scores


def _after(scan: Scan, token: Value, ends: Value) -> Graph:
    """The graph of the next carries, and of whether this is the last step, from a chosen token."""
    following = {result: value for result, value in scan.body.results.items() if result.kind is ResultKind.NEXT}
    chosen = ResultKind.VALUE.named(_CHOSEN)
    body, copies = scan.body.subgraph({**following, _ENDS: ends, chosen: token})
    del body.results[chosen]

    def rule(copy: Graph, value: Value, operands: list[Value]) -> Value:
        if value is copies[token]:
            return copy.leaf(Role.GIVEN, _CHOSEN, value.type)
        return copy.add_copy(value, operands)

    return rebuild(body, rule)


def search(decoder: Decoder, inputs: Mapping[str, Any], samples: int, beam: int) -> list[Array]:
    """The tokens of each sample's likeliest sequence, its end included. `inputs` are results of `decoder.before`."""
    sequences: list[Array] = []
    size = max(_ROWS // beam, 1)
    before = decoder.before.printed_results()
    for start in range(0, samples, size):
        chunk = {
            name: value[start : start + size] if before[name].type.is_batched else value
            for name, value in inputs.items()
        }
        sequences += _Beams(decoder, chunk, min(size, samples - start), beam).tokens()
    return sequences


class _Beams:
    """The hypotheses: `beam` rows for each sample, one sample behind the other."""

    def __init__(self, decoder: Decoder, inputs: Mapping[str, Any], samples: int, beam: int) -> None:
        self.decoder, self.samples, self.beam = decoder, samples, beam
        before = decoder.before.printed_results()
        self.batched = {slot for slot in decoder.slots if before[str(slot)].type.is_batched}
        arrays = {slot: inputs[str(slot)] for slot in decoder.slots}
        self.inputs = {
            slot: np.repeat(value, beam, axis=0) if slot in self.batched else value for slot, value in arrays.items()
        }
        self.log_probability = np.where(np.arange(samples * beam) % beam == 0, 0.0, -np.inf)  # at first all are equal
        self.is_over = np.zeros(samples * beam, bool)
        self.sequences = np.zeros((samples * beam, 0), np.int32)
        self.lengths = np.zeros(samples * beam, np.int64)

    def tokens(self) -> list[Array]:
        for step in range(self.decoder.steps):
            if self.is_over.all():
                break
            self.take(step)
        offsets = np.arange(self.samples) * self.beam
        best = self.log_probability.reshape(self.samples, self.beam).argmax(axis=1) + offsets
        return [self.sequences[row, : self.lengths[row]] for row in best]

    def take(self, step: int) -> None:
        """Extend the hypotheses by a token: for each sample the likeliest extensions are kept."""
        count = self.samples * self.beam
        scores = evaluate(self.decoder.scores, self._leaves(step), count)[str(_SCORES)].astype(np.float64)
        extensions = scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)
        width = extensions.shape[1]
        extensions[self.is_over] = -np.inf
        extensions[self.is_over, 0] = 0.0  # a finished hypothesis stays as it is
        candidates = (self.log_probability[:, None] + extensions).reshape(self.samples, -1)
        chosen = np.argsort(-candidates, axis=1, kind="stable")[:, : self.beam]
        self.log_probability = np.take_along_axis(candidates, chosen, axis=1).ravel()
        source = (chosen // width + np.arange(self.samples)[:, None] * self.beam).ravel()
        token = (chosen % width).ravel().astype(np.int32)
        self.inputs = {slot: value[source] if slot in self.batched else value for slot, value in self.inputs.items()}
        self.is_over, self.lengths = self.is_over[source], self.lengths[source]
        self.sequences = np.concatenate([self.sequences[source], token[:, None]], axis=1)
        self.lengths += ~self.is_over
        results = evaluate(self.decoder.after, {**self._leaves(step), _CHOSEN: token}, count)
        for name, array in self.decoder.after.select(ResultKind.NEXT, results).items():
            self.inputs[SlotKind.CARRY.slot(int(name))] = array
        self.is_over = self.is_over | results[str(_ENDS)]

    def _leaves(self, step: int) -> dict[str, Any]:
        """The leaves of a step of the body: of each sequence the element of this step."""
        return {
            str(slot): value[:, step] if slot.kind is SlotKind.STEP_INPUT else value
            for slot, value in self.inputs.items()
        }
