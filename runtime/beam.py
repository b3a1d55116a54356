"""Beam search: of what a decoder could say, the likeliest as far as a few beginnings are followed at once (Lowerre 1976).

A decoder is an output that is yielded by `scan ... until` as the argmax of scores, and fed to its next step. The scores' softmax are the chances of what
may be said; a step is the scan's own body, with what is chosen in place of the argmax.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from netc.compiler.ir.dims import names_in
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.roles import Role
from netc.compiler.ir.value import OPERATIONS, Value, View
from netc.compiler.model import Model
from netc.compiler.operations.reduce import argmax, softmax
from netc.compiler.operations.scan import Part, Room, Scan
from netc.compiler.operations.shape import reshape
from netc.compiler.passes.simplify import rebuild
from netc.compiler.pipeline import prediction_graph
from netc.compiler.reference import evaluate
from netc.dsl.diagnostics import fault
from netc.dsl.source import Span
from netc.runtime.data.stored import Array

_CHOSEN = "chosen"
_ROWS = 2048  # beginnings that are followed at once


@dataclass(frozen=True, slots=True)
class Decoder:
    """`before` gives what its carries begin with, what it walks and what it reads, for each sample; `scores` and `after` are a step up to what is chosen, and from there on.
    At most `steps` are made."""

    output: str
    before: Graph
    scores: Graph
    after: Graph
    steps: int


def decoders(model: Model) -> list[Decoder]:
    """Those of a model's outputs that can be searched for. Fault E0507 if there is none."""
    graph = prediction_graph(model)
    outputs = {name: value for name, value in graph.results.items() if name.startswith("output.")}
    found = [one for name, value in outputs.items() if (one := _decoder(graph, name, value)) is not None]
    if not found:
        told = "one is yielded by `scan ... until` as an argmax, and carried to the next step"
        place = next(iter(outputs.values())).span if outputs else Span(model.source, 0, 0)
        fault("E0507", "no output of this model is decoded step by step", place, told)
    return found


def _decoder(graph: Graph, name: str, value: Value) -> Decoder | None:
    while value.definition is reshape or isinstance(value.attributes, Room):
        value = value.operands[0]
    if value.role is not Role.PART:
        return None
    one, yielded = Scan.of(value.operands[0]), value.attributes_as(Part).of
    token, ends = one.body.results.get(yielded), one.body.results[_last_yield(one)]
    if token is None or token.definition is not argmax or ends.type.dtype != "bool" or names_in(one.dim):
        return None
    if all(_seen_through(one.body.results[f"next.{i}"]) is not token for i in range(len(one.begins))):
        return None
    before, _ = graph.subgraph(one.operand_of())
    scores, _ = one.body.subgraph({"scores": _logits(token.operands[0])})
    size = graph.results[name].type.dims[1]
    assert isinstance(size, int)
    return Decoder(name.removeprefix("output."), before, scores, _after(one, token, ends), int(size))


def _last_yield(one: Scan) -> str:
    return max((name for name in one.body.results if name.startswith("yield.")), key=lambda name: int(name[6:]))


def _seen_through(value: Value) -> Value:
    while isinstance(OPERATIONS[value.operation].lower if value.operands else None, View):
        value = value.operands[0]
    return value


def _logits(scores: Value) -> Value:
    """What the softmax is of, if the scores are chances already."""
    return scores.operands[0] if scores.definition is softmax else scores


def _after(one: Scan, token: Value, ends: Value) -> Graph:
    """The next carries, and whether this is the end, from a token that was chosen."""
    following = {name: value for name, value in one.body.results.items() if name.startswith("next.")}
    body, made = one.body.subgraph({**following, "ends": ends, "token": token})
    del body.results["token"]

    def rule(copy: Graph, value: Value, operands: list[Value]) -> Value:
        if value is made[token]:
            return copy.leaf("given", _CHOSEN, value.type)
        return copy.add_copy(value, operands)

    return rebuild(body, rule)


def search(decoder: Decoder, held: Mapping[str, Any], samples: int, beam: int) -> list[Array]:
    """For each sample the tokens of the likeliest sequence found, its end included. `held` are the results of `decoder.before`."""
    found: list[Array] = []
    size = max(_ROWS // beam, 1)
    for at in range(0, samples, size):
        some = {
            name: value[at : at + size] if decoder.before.results[name].type.is_batched else value
            for name, value in held.items()
        }
        found += _Beams(decoder, some, min(size, samples - at), beam).tokens()
    return found


class _Beams:
    """The beginnings that are followed: as many for each sample, one behind the other."""

    def __init__(self, decoder: Decoder, held: Mapping[str, Any], samples: int, beam: int) -> None:
        self.decoder, self.samples, self.beam = decoder, samples, beam
        own = {name for name, value in decoder.before.results.items() if value.type.is_batched}
        self.held = {name: np.repeat(value, beam, axis=0) if name in own else value for name, value in held.items()}
        self.own = own
        self.total = np.where(np.arange(samples * beam) % beam == 0, 0.0, -np.inf)  # all but one would be the same
        self.is_over = np.zeros(samples * beam, bool)
        self.said = np.zeros((samples * beam, 0), np.int32)
        self.lengths = np.zeros(samples * beam, np.int64)

    def tokens(self) -> list[Array]:
        for step in range(self.decoder.steps):
            if self.is_over.all():
                break
            self.take(step)
        best = self.total.reshape(self.samples, self.beam).argmax(axis=1) + np.arange(self.samples) * self.beam
        return [self.said[row, : self.lengths[row]] for row in best]

    def take(self, step: int) -> None:
        """One token more, for the likeliest of what each sample's beginnings may become."""
        count = self.samples * self.beam
        leaves = {name: value[:, step] if name.startswith("x") else value for name, value in self.held.items()}
        scores = evaluate(self.decoder.scores, leaves, count)["scores"].astype(np.float64)
        chances = scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)
        width = chances.shape[1]
        chances[self.is_over] = -np.inf
        chances[self.is_over, 0] = 0.0  # what is over stays as it is
        candidates = (self.total[:, None] + chances).reshape(self.samples, -1)
        chosen = np.argsort(-candidates, axis=1, kind="stable")[:, : self.beam]
        self.total = np.take_along_axis(candidates, chosen, axis=1).ravel()
        source = (chosen // width + np.arange(self.samples)[:, None] * self.beam).ravel()
        token = (chosen % width).ravel().astype(np.int32)
        self.held = {name: value[source] if name in self.own else value for name, value in self.held.items()}
        self.is_over, self.lengths = self.is_over[source], self.lengths[source]
        self.said = np.concatenate([self.said[source], token[:, None]], axis=1)
        self.lengths += ~self.is_over
        leaves = {name: value[:, step] if name.startswith("x") else value for name, value in self.held.items()}
        made = evaluate(self.decoder.after, {**leaves, _CHOSEN: token}, count)
        for name, value in made.items():
            if name.startswith("next."):
                self.held[f"c{name[5:]}"] = value
        self.is_over = self.is_over | made["ends"]
